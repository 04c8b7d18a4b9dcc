"""The model card, evaluation/MODEL_CARD.md: what the model is for, how good it is, where it is not, filled from facts.

The sections are those of Mitchell et al. 2019, Model Cards for Model Reporting; the head is Hugging Face's, which model
hubs read. Nothing in it is an opinion: a sentence stands there because a number or a file says so. Refuses to know
where the facts lie.
"""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import pandas as pd
import yaml

from headstart.evaluation.declared import OF_LABELS, Figures

# What examples are called, by task, and how the model is asked about some.
KINDS = {
    "image-classification": (
        "pictures",
        "{answers} = model.predict(pictures)  # float32 [n, {size}, {size}, 3]: RGB, 0-255, nothing subtracted",
    ),
    "text-classification": (
        "texts",
        "{answers} = model.predict(ids)  # int32 [n, tokens], made by tokenizer.json as model.json says",
    ),
}
OTHER = ("examples", "{answers} = model.predict(inputs)")


class Words(NamedTuple):
    """How a card speaks of a label kind.

    tells: what the model does, of {what}, for so many classes {n}, {names}.
    answers: what the model's answers are called.
    output: what the head ends in.
    use: what each example is taken to be, and what the model answers.
    """

    tells: str
    answers: str
    output: str
    use: str


# By `data.labels`.
WORDS = {
    "class": Words(
        "Tells {n} classes of {what} apart: {names}.",
        "probabilities",
        "a softmax",
        "each of exactly one of the classes above. It answers with one of them whatever it is shown: it has no answer "
        "for what belongs to none.",
    ),
    "multi": Words(
        "Tells which of {n} classes {what} are of, any number of them or none: {names}.",
        "probabilities",
        "a sigmoid for each class",
        "each of any number of the classes above. It answers with a probability for each class by itself; those of 0.5 "
        "or more are counted as a yes here.",
    ),
    "score": Words(
        "Gives {what} a score: {names}.",
        "scores",
        "one number in the data's own unit",
        "each with one score. It answers with a number whatever it is shown, also with one outside of the scores that "
        "it learned from.",
    ),
}
# A class with fewer test examples, or with less than a third of the largest class's training examples, is worth a word.
FEW, UNEVEN = 20, 3
# Names in a sentence.
LISTED = 20


class Facts(NamedTuple):
    """What a card is filled from.

    knobs: the parameters turned most, by their names in params.yaml; `task` and `backbone` among them.
    views: of a test example, whose probabilities are averaged.
    metrics: metrics/evaluate.json.
    classes: a row per class that is in the test split: class, n, precision, recall, f1.
    prepared: metrics/prepare.json.
    source: of the data: source, name, licence, as far as known; see `headstart.data.sources`.
    backbone: models/backbone/backbone.json.
    labels: their kind.
    """

    knobs: Mapping[str, Any]
    views: int
    metrics: Mapping[str, Any]
    classes: pd.DataFrame
    prepared: Mapping[str, Any]
    source: Mapping[str, Any]
    backbone: Mapping[str, Any]
    labels: str = "class"


def card(facts: Facts) -> str:
    """The card as Markdown with a head in YAML."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701  # Markdown, not HTML: names from the data go through _plain
    )  # fmt: skip
    what, code = KINDS.get(facts.knobs["task"], OTHER)
    words, figures, splits = WORDS[facts.labels], OF_LABELS[facts.labels], facts.prepared["splits"]
    names = list(splits["train"]["classes"])
    return environment.get_template("card.md").render(
        **facts._asdict() | {"classes": facts.classes.to_dict("records")},
        head=yaml.safe_dump(_head(facts), sort_keys=False, allow_unicode=True, width=120),
        task=facts.knobs["task"].replace("-", " "),
        what=what,
        code=code.format(answers=words.answers, size=facts.backbone.get("image_size")),
        splits=splits,
        words=words,
        tells=words.tells.format(n=len(names), what=what, names=_listed(names or ["one number each"])),
        counted="class" if names else "score",
        counts={split: of["classes"] or of["scores"] for split, of in splits.items()},
        figures=figures,
        limitations=limitations(facts),
        interval=partial(_interval, figures),
        plain=_plain,
    )


def limitations(facts: Facts) -> list[str]:
    """What follows from the facts that a user of the model should mind, a sentence each."""
    what, _ = KINDS.get(facts.knobs["task"], OTHER)
    said, prepared, found = facts.metrics, facts.prepared, []
    figures = OF_LABELS[facts.labels]
    first = figures.primary
    if said[first] is not None:
        low, high = said["interval"][first]
        wide = f"{100 * (high - low):.1f} points" if figures.percent else f"{high - low:.3f}"
        found.append(
            f"{said['n']} test {what} leave the {figures.short} an interval of {wide}. It says what "
            "another test split could show of this model, not what another seed or another source of data could."
        )
    low, high = said["gain"]["interval"]
    if facts.knobs["trainable_layers"] != 0 and low is not None and low <= 0 <= high:
        found.append("The test split does not show that fine-tuning did better than the head alone.")
    found += _of_classes(facts, what)
    if prepared["conflicting_labels"]:
        found.append(
            f"{prepared['conflicting_labels']} {what} are there with different labels, so some labels are wrong."
        )
    if prepared["quarantined"]:
        found.append(f"{prepared['quarantined']} {what} could not be used and were set aside.")
    if copies := sum(prepared.get(key, 0) for key in ("repeated_pictures", "repeated_texts", "near_copies")):
        found.append(
            f"{copies} {what} are copies or near copies of others. Those that were found share a split; any that were "
            "not make the figures look better than they are."
        )
    licence = facts.source.get("licence") or ""
    if re.search(r"\bNC\b|non-?commercial", licence, re.IGNORECASE):
        found.append(f"The data are not for commercial use ({_plain(licence)}).")
    for whose, stated in (("data", licence), ("pretrained weights", facts.backbone["licence"])):
        if not stated:
            found.append(f"The licence of the {whose} is not stated.")
    return found


def _of_classes(facts: Facts, what: str) -> list[str]:
    """Those that follow from the classes, if there are some."""
    found: list[str] = []
    if not len(facts.classes):
        return found
    trained, tested = (facts.prepared["splits"][split]["classes"] for split in ("train", "test"))
    most, least = max(trained, key=trained.__getitem__), min(trained, key=trained.__getitem__)
    if trained[most] >= UNEVEN * trained[least]:
        found.append(
            f"The classes are uneven: of {_plain(most)} there are {trained[most]} training {what}, of {_plain(least)} "
            f"{trained[least]}."
        )
    if rare := [name for name, count in tested.items() if count < FEW]:
        found.append(f"Of some classes the test split, with fewer than {FEW} {what}, says little: {_listed(rare)}.")
    worst = facts.classes.sort_values(["recall", "class"]).iloc[0]
    if worst["recall"] < round(float(facts.classes["recall"].mean()), 6):
        found.append(
            f"It recognises {_plain(worst['class'])} worst: {100 * worst['recall']:.0f} % of {worst['n']} test {what}."
        )
    return found


def _head(facts: Facts) -> dict[str, Any]:
    """Hugging Face's metadata: https://huggingface.co/docs/hub/model-cards."""
    backbone, said, task = facts.backbone, facts.metrics, facts.knobs["task"]
    licences = {facts.source.get("licence") or "", backbone["licence"] or ""}
    one = licences.pop() if len(licences) == 1 else ""
    data = facts.source.get("name") or facts.source.get("source") or "own data"
    hub = OF_LABELS[facts.labels].hub
    results = [{"type": kind, "value": said[name]} for name, kind in hub.items() if said[name] is not None]
    return {
        **({"license": one.lower()} if one and " " not in one else {"license": "other", "license_name": "see-below"}),
        "library_name": "keras",
        "pipeline_tag": task,
        "base_model": backbone["name"],
        "datasets": [data],
        "metrics": list(hub.values()),
        "model-index": [
            {
                "name": f"{backbone['name']} on {data}",
                "results": [
                    {
                        "task": {"type": task},
                        "dataset": {"name": data, "type": data, "split": "test"},
                        "metrics": results,
                    }
                ],
            }
        ],
    }


def _interval(figures: Figures, of: Mapping[str, Any], figure: str) -> str:
    if of[figure] is None:
        return "undefined"
    return "{} [{}, {}]".format(*(figures.shown(figure, value) for value in (of[figure], *of["interval"][figure])))


def _plain(text: object) -> str:
    """Text that Markdown takes for nothing else."""
    return re.sub(r"([\\`*_{}\[\]<>|#~$&])", r"\\\1", " ".join(str(text).split()))


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(map(_plain, names[:LISTED])) + more

"""What stands on the page: each section from the files that it shows, as numbers, sentences and charts.

Refuses to know where files come from (a `Read` gives them) and how the page looks (page.html does). What is not there
makes its section empty.
"""

import base64
import io
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray
from PIL import Image

from headstart.evaluation.declared import OF_LABELS, Figures, kind_of
from headstart.reporting.charts import Line, chart, grid
from headstart.reporting.held import Read

Json = dict[str, Any]

# Classes up to which a confusion matrix is a table of numbers, and up to which it can be drawn at all; classes that the
# table and the data show before the rest is folded; pairs of classes that are taken for each other.
NUMBERS, DRAWN, ROWS, PAIRS = 12, 200, 20, 10
UNIT = (0.0, 1.0)
# Packages whose version can change a result.
PACKAGES = ("keras", "tensorflow", "numpy", "scikit-learn", "onnxruntime", "openvino", "pillow", "dvc", "mlflow")
OUTPUTS = {
    "data/fetched": "raw data",
    "data/prepared": "prepared data",
    "models/backbone": "backbone",
    "data/features": "embeddings",
    "data/activations": "activations",
    "models/head": "head",
    "models/final": "final model",
}


def read_json(read: Read, path: str) -> Json:
    """A file of JSON; empty if it is not there."""
    content = read(path)
    return json.loads(content) if content else {}


def read_yaml(read: Read, path: str) -> Json:
    """A file of YAML; empty if it is not there."""
    content = read(path)
    return yaml.safe_load(content) if content else {}


def read_table(read: Read, path: str, *, text: bool = False) -> pd.DataFrame:
    """A table in a CSV file, without rows if it is not there; names of classes stay text."""
    content = read(path)
    if not content:
        return pd.DataFrame()
    if text:
        return pd.read_csv(io.BytesIO(content), dtype=object, keep_default_na=False)
    # Of the columns of numbers, these alone may have gaps.
    gaps = {"roc_auc": [""], "average_precision": [""]}
    return pd.read_csv(io.BytesIO(content), dtype={"class": object}, keep_default_na=False, na_values=gaps)


def headline(metrics: Json, params: Json, tuned: Json) -> Json:
    """Each figure with its interval, of the final model and the head alone; what fine-tuning gained, as a sentence."""
    figures = OF_LABELS[kind_of(params)]
    rows = [
        {
            "key": key,
            "name": name,
            "lower": key in figures.lower,
            "digits": "%.4g" if key in figures.in_unit else "%.3f",
            "change": "%+.4g" if key in figures.in_unit else "%+.3f",
            "final": _figure(metrics, key),
            "head_only": _figure(metrics["head_only"], key),
        }
        for key, name in figures.names.items()
    ]
    first, name = figures.primary, figures.short
    gain, (low, high) = metrics["gain"][first], metrics["gain"]["interval"]
    points = "undefined"
    if gain is not None:
        points = f"{difference(figures, gain, name)} [{difference(figures, low)}, {difference(figures, high)}]"
    if params.get("trainable_layers") == 0:
        said = "Nothing was unfrozen: the head’s model is the final one."
    elif tuned.get("best_epoch") == 0:
        said = "Fine-tuning did no better on the validation split, so the head’s model is the final one."
    else:
        beyond = "within the noise" if low is None or low <= 0 <= high else "more than chance"
        said = f"Fine-tuning against the head alone: {points}, {beyond}."
    return {
        "rows": rows, "gain": said, "n": metrics["n"], "primary": first, "name": figures.names[first],
        "big": next(row for row in rows if row["key"] == first)["final"], "percent": figures.percent,
        "unit": f"points of {name}" if figures.percent else name,
    }  # fmt: skip


def difference(figures: Figures, value: float, name: str = "") -> str:
    """A difference of the primary figure, in points where it is spoken of in percent."""
    if figures.percent:
        return f"{100 * value:+.1f}" + (f" points of {name}" if name else "")
    return f"{value:+.3f}" + (f" of {name}" if name else "")


def _figure(of: Json, key: str) -> Json | None:
    if of.get(key) is None:
        return None
    low, high = of["interval"][key]
    return {"value": of[key], "low": low, "high": high}


def learning(read: Read) -> list[Json]:
    """The loss and what else was followed in both trainings; a training without epochs says so."""
    found = []
    for stage, title in (("train_head", "Head"), ("fine_tune", "Fine-tuning")):
        history, summary = read_table(read, f"plots/{stage}.csv"), read_json(read, f"metrics/{stage}.json")
        charts = []
        if len(history):
            epochs = [float(epoch) for epoch in history["epoch"]]
            for kind in [name for name in map(str, history) if f"val_{name}" in history]:
                curves = [list(map(float, history[column])) for column in (kind, f"val_{kind}")]
                lines = [Line(epochs, curve, look, dots=True) for curve, look in zip(curves, ("s0", "s1"), strict=True)]
                ends = f"training ends at {curves[0][-1]:.3f}, validation at {curves[1][-1]:.3f}"
                spoken = kind.replace("_", " ")
                says = f"{title}, {spoken} over {len(epochs)} epochs: {ends}"
                charts.append(
                    {"title": f"{title}: {spoken}", "svg": chart(lines, says=says, x="epoch", y=spoken, whole=True)}
                )
        found.append(
            {"title": title, "charts": charts, "best": summary.get("best_epoch"), "epochs": summary.get("epochs")}
        )
    return found


def confusion(read: Read, names: Sequence[str]) -> Json:
    """Counts as a table for few classes, as a picture for more; the pairs that are taken for each other most often."""
    table = read_table(read, "plots/evaluate/confusion.csv", text=True)
    if not len(table):
        return {}
    number = {name: i for i, name in enumerate(names)}
    counts = Counter(zip(table["actual"].map(number), table["predicted"].map(number), strict=True))
    sizes = [sum(n for (row, _), n in counts.items() if row == i) for i in range(len(names))]
    wrong = sorted(
        ((n, pair) for pair, n in counts.items() if pair[0] != pair[1]), key=lambda item: (-item[0], item[1])
    )
    found: Json = {
        "pairs": [{"actual": names[a], "predicted": names[b], "n": n} for n, (a, b) in wrong[:PAIRS]],
        "wrong": sum(n for n, _ in wrong),
        "n": len(table),
        "rows": [],
        "picture": None,
    }
    if len(names) <= NUMBERS:
        found["rows"] = [
            {
                "name": name,
                "cells": [{"n": counts[i, j], "share": counts[i, j] / max(sizes[i], 1)} for j in range(len(names))],
            }
            for i, name in enumerate(names)
        ]
    elif len(names) <= DRAWN:
        cells = [(row, column, n) for (row, column), n in sorted(counts.items())]
        says = (
            f"Confusion matrix of {len(names)} classes: {len(table) - found['wrong']} of {len(table)} on the diagonal"
        )
        found["picture"] = grid(cells, sizes, names, says=says)
    return found


def curves(read: Read, metrics: Json, names: Sequence[str], classes: pd.DataFrame, kind: str) -> list[Json]:
    """ROC and precision-recall of the final model and the head alone; empty if the test split has one class."""
    roc, recall = (read_table(read, f"plots/evaluate/{name}.csv") for name in ("roc", "precision_recall"))
    if not len(roc) or not len(recall):
        return []
    n = dict(zip(classes["class"], classes["n"], strict=True))
    pair = len(names) == 2 and kind == "class"
    every = metrics["n"] if kind == "multi" else sum(n.values())
    shares = [n.get(name, 0) / every for name in (names[1:2] if pair else n)]
    chance = float(np.mean(shares))

    def lines(table: pd.DataFrame, over: str) -> list[Line]:
        x = list(map(float, table[over]))
        return [Line(x, list(map(float, table[model])), look) for model, look in (("head_only", "s1"), ("final", "s0"))]

    of = f"of {names[1]}" if pair else "one class against the rest, mean over the classes"
    key = "roc_auc_macro" if kind == "multi" else "roc_auc"
    area = f"area {metrics[key]:.3f}, head only {metrics['head_only'][key]:.3f}"
    return [
        {
            "title": "ROC",
            "note": f"{of}; {area}",
            "svg": chart(
                [Line([0, 1], [0, 1], "chance"), *lines(roc, "false_positive_rate")],
                says=f"ROC curve {of}: {area}", x="false-positive rate", y="true-positive rate",
                across=UNIT, up=UNIT,
            ),
        },
        {
            "title": "Precision and recall",
            "note": f"{of}; guessing has a precision of {chance:.2f}",
            "svg": chart(
                [Line([0, 1], [chance, chance], "chance"), *lines(recall, "recall")],
                says=f"Precision over recall {of}", x="recall", y="precision",
                across=UNIT, up=UNIT,
            ),
        },
    ]  # fmt: skip


def scatter(read: Read) -> Json:
    """Predicted over true scores; empty where the labels are none."""
    table = read_table(read, "plots/evaluate/scatter.csv")
    if not len(table):
        return {}
    true = list(map(float, table["true"]))
    found = {}
    for model, look in (("final", "s0"), ("head_only", "s1")):
        points = Line(true, list(map(float, table[model])), f"{look} points", dots=True)
        every = [*true, *points.y]
        ends = [min(every), max(every)]
        found[model] = chart(
            [Line(ends, ends, "chance"), points], says=f"{len(true)} predicted scores over the true ones, {model}",
            x="true score", y="predicted score",
        )  # fmt: skip
    return {"n": len(true), "charts": found}


def reliability(read: Read, metrics: Json, names: Sequence[str], kind: str) -> Json:
    """Observed share over predicted probability, before and after temperature scaling."""
    said = metrics.get("calibration")
    tables = {when: read_table(read, f"plots/evaluate/calibration/{when}.csv") for when in ("before", "after")}
    if not said or not all(len(table) for table in tables.values()):
        return {}
    what = f"probability of {names[1]}" if len(names) == 2 else "probability of the predicted class"
    if kind == "multi":
        what = "probability of a class"
    charts = []
    for (when, table), look in zip(tables.items(), ("s1", "s0"), strict=True):
        line = Line(
            list(map(float, table["predicted"])), list(map(float, table["observed"])), look, dots=True,
            spread=list(zip(table["low"].map(float), table["high"].map(float), strict=True)),
        )  # fmt: skip
        charts.append(
            {
                "title": f"{when.capitalize()} temperature scaling",
                "svg": chart(
                    [Line([0, 1], [0, 1], "chance"), line],
                    says=f"Reliability {when} temperature scaling: calibration error {said['ece'][when]:.3f}",
                    x=what, y="observed share", across=UNIT, up=UNIT,
                ),
            }
        )  # fmt: skip
    return {"charts": charts, **said}


def by_class(classes: pd.DataFrame) -> Json:
    """A row per class of the test split, in the order of the model's outputs; of many classes, the worst apart."""
    rows = [
        {name: None if isinstance(value, float) and np.isnan(value) else value for name, value in row.items()}
        for row in classes.to_dict("records")
    ]
    worst = sorted(rows, key=lambda row: (row["f1"], str(row["class"])))[:ROWS] if len(rows) > ROWS else []
    return {"rows": rows, "worst": worst}


def mistakes(read: Read) -> list[Json]:
    """The most confident mistakes: pictures beside themselves under their heat map, or tokens with their evidence."""
    content = read("evaluation/mistakes.json")
    rows: list[Json] = json.loads(content) if content else []
    rows = [{"picture": None, "heat": None, "tokens": None, "probability": None} | row for row in rows]
    packed = read("evaluation/mistakes.npz")
    if packed:
        with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
            for row, picture, evidence in zip(rows, arrays["pictures"], arrays["evidence"], strict=True):
                row |= {"picture": _jpeg(picture), "heat": _heat(evidence)}
    for row in rows:
        if tokens := row["tokens"]:
            most = max((abs(value) for _, value in tokens), default=0) or 1
            row["tokens"] = [
                {"text": text, "for": max(v, 0) / most, "against": max(-v, 0) / most} for text, v in tokens
            ]
    return rows


def data(prepared: Json, source: Json, tokens: Json) -> Json:
    """Classes and splits, what is known of their origin, and of texts how many were cut off."""
    if not prepared:
        return {}
    splits = prepared["splits"]
    what = "classes" if splits["train"]["classes"] else "scores"
    names = list(splits["train"][what])
    counts = {name: {split: of[what][name] for split, of in splits.items()} for name in names}
    most = max(sum(row.values()) for row in counts.values())
    rows = [
        {"name": name, "counts": row, "widths": {split: 100 * n / most for split, n in row.items()}}
        for name, row in counts.items()
    ]
    notes = {
        key.replace("_", " "): n
        for key, n in prepared.items()
        if key
        in ("of_no_class", "quarantined", "repeated_pictures", "repeated_texts", "near_copies", "conflicting_labels")
    }
    return {
        "rows": rows[:ROWS],
        "rest": rows[ROWS:],
        "what": "class" if what == "classes" else "score",
        "totals": {split: of["examples"] for split, of in splits.items()},
        "examples": prepared["examples"],
        "notes": notes,
        "cut": {key: sum(of[key] for of in tokens.values()) for key in ("texts", "cut")} if tokens else {},
        "source": source.get("source"),
        "licence": source.get("licence"),
    }


def caches(read: Read, prepared: Json, params: Json, lock: Json) -> list[Json]:
    """How often the frozen layers ran, and how often their output was used, by what the trainings did.

    Uses are those of this one run: each epoch of the head shows every view, one of fine-tuning a view of each example,
    and both look at the validation split once before the first. Experiments that share a cache add theirs.
    """
    if not prepared or not params:
        return []
    n = {split: of["examples"] for split, of in prepared["splits"].items()}
    epochs = {stage: read_json(read, f"metrics/{stage}.json").get("epochs", 0) for stage in ("train_head", "fine_tune")}
    views, looks = params["features"]["views"], params["evaluate"]["views"]
    size = {
        out["path"]: out.get("size", 0) for stage in lock.get("stages", {}).values() for out in stage.get("outs", [])
    }
    found = [
        {
            "name": "embeddings",
            "path": "data/features",
            "computed": n["train"] * views + n["validation"] + n["test"] * looks,
            "used": epochs["train_head"] * n["train"] * views
            + (epochs["train_head"] + 1) * n["validation"]
            + n["test"] * looks,
        }
    ]
    if read_json(read, "data/activations/activations.json").get("cached"):
        found.append(
            {
                "name": "activations",
                "path": "data/activations",
                "computed": n["train"] * views + n["validation"],
                "used": epochs["fine_tune"] * n["train"] + (epochs["fine_tune"] + 1) * n["validation"],
            }
        )
    return [row | {"size": size.get(row["path"])} for row in found]


def origin(read: Read, lock: Json, source: Json, backbone: Json) -> Json:
    """Hashes of what went in and came out, pinned versions of what computed it."""
    outs = {out["path"]: out["md5"] for stage in lock.get("stages", {}).values() for out in stage.get("outs", [])}
    hashes = [{"what": what, "path": path, "md5": outs[path]} for path, what in OUTPUTS.items() if path in outs]
    pins = re.findall(
        r"^([a-z0-9-]+)==(\S+)(?: ; (.+?))?(?: \\)?$", (read("requirements.lock") or b"").decode(), re.MULTILINE
    )
    versions = [
        {"name": name, "version": version, "where": where.replace("python_full_version", "Python")}
        for name, version, where in pins
        if name in PACKAGES
    ]
    archives = [
        {"what": what, "source": of["source"], "sha256": of["sha256"]}
        for what, of in (("data", source), ("weights", backbone))
        if of.get("source") and of.get("sha256")
    ]
    return {"hashes": hashes, "archives": archives, "versions": versions}


def flat(params: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested parameters as one mapping, keys joined by dots, as `dvc exp run -S` takes them."""
    found: dict[str, Any] = {}
    for key, value in params.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def _uri(image: Image.Image, kind: str, **options: Any) -> str:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(content.getvalue()).decode()}"


def _jpeg(picture: NDArray[np.uint8]) -> str:
    return _uri(Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture), "JPEG", quality=80)


def _heat(evidence: NDArray[np.floating]) -> str:
    """A layer to lay over the picture: orange where it spoke for the mistake, blue where against."""
    values = evidence.astype(np.float32)
    values /= max(float(np.abs(values).max()), 1e-9)
    # Finer before it is coloured: the browser would mix the colours, not the values.
    values = np.asarray(Image.fromarray(values).resize((64, 64), Image.Resampling.BICUBIC)).clip(-1, 1)
    layer = np.where(values[..., None] > 0, (230, 110, 0, 0), (0, 90, 220, 0)).astype(np.uint8)
    layer[..., 3] = np.abs(values) * 190
    return _uri(Image.fromarray(layer), "PNG", optimize=True)

"""The page about one run as one file: it opens offline, on a phone and in the dark."""

import hashlib
import os
import re
import sys
from pathlib import Path
from typing import Any

import jinja2

from headstart import stage
from headstart.evaluation.declared import OF_LABELS, kind_of
from headstart.reporting import contents, held
from headstart.stage import UserError

PAGE = "reports/index.html"
# In a page about the workspace: whose results it shows.
SHOWN = re.compile(r'<meta name="shows" content="([0-9a-f]{64})">')


def write(rev: str | None = None, against: str | None = None, into: str | Path = PAGE) -> Path:
    """Write the page about a revision.

    Args:
        rev: a commit, branch, tag or experiment; None: the workspace.
        against: what to compare it with; None: the last commit or experiment before it with other results.
        into: the file to write.

    Raises:
        UserError: no such revision, or no results there.
    """
    if against is not None and against == rev:
        raise UserError(f"{rev} is given twice: nothing to compare")
    read = held.reader(rev)
    metrics = read(held.METRICS)
    if not metrics:
        where = rev or "the workspace"
        raise UserError(
            f"{held.METRICS} of {where} is not there: `dvc repro` makes it, `dvc pull` fetches what others made"
        )
    name = rev or os.environ.get("DVC_EXP_NAME") or "workspace"
    figures = OF_LABELS[kind_of(contents.read_yaml(read, "params.yaml"))]
    other = against or held.earlier(rev, metrics, figures.names)
    commit = held.commit_of(rev) or ""
    facts = {"name": name, "commit": commit, "workspace": rev is None}
    stage.write(into, render(read, facts, compared(read, name, other, named=against)))
    return Path(into)


def try_to_write() -> bool:
    """Write the workspace's page for a stage whose results are safe already: what fails is a note, not an error."""
    try:
        write()
        return True
    except Exception as error:  # a page is no reason to lose an experiment; `headstart report` shows what was wrong
        print(f"note: {PAGE} could not be written ({type(error).__name__}: {error})", file=sys.stderr)
        return False


def follow() -> bool:
    """Write the workspace's page anew if DVC has restored, pulled or applied other results since; whether it did.

    A page about another revision, which somebody asked for, stays.
    """
    read, there = held.reader(None), Path(PAGE)
    if not read(held.METRICS):
        return False
    if there.exists():
        shown = SHOWN.search(there.read_text(encoding="utf-8"))
        if shown is None or shown[1] == _mark(read):
            return False
    return try_to_write()


def _mark(read: held.Read) -> str:
    """What tells a run's results from another's."""
    parts = [read(path) or b"" for path in (held.METRICS, "params.yaml", "evaluation/mistakes.json")]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def compared(read: held.Read, name: str, other: str | None, *, named: str | None = None) -> dict[str, Any] | None:
    """How a run differs from another one, figure by figure, by the paired bootstrap of `headstart.compare`.

    Args:
        read: gives the run's files.
        name: what the run is called.
        other: the revision to compare with; None: there is none.
        named: what the user calls it, if it was chosen by the user.

    Returns:
        None without another one; else its name and rows, or a sentence that says why they can't be compared.
    """
    if other is None:
        return None
    from headstart import compare  # scikit-learn takes longer than all else here

    before = held.reader(other)
    metrics = contents.read_json(before, held.METRICS)
    title = named or held.title(other)
    params = contents.read_yaml(read, "params.yaml")
    kind, its = kind_of(params), contents.read_yaml(before, "params.yaml")
    value = metrics.get(OF_LABELS[kind].primary)
    said: dict[str, Any] = {"name": title, "value": value, "rows": {}, "why_not": None}
    said["changed"] = _changed(its, params)
    if kind_of(its) != kind:
        return said | {"why_not": "its labels are of another kind"}
    tables = [contents.read_table(of, "evaluation/predictions.csv", text=True) for of in (before, read)]
    if not all(len(table) for table in tables):
        return said | {"why_not": "its predictions are not in the cache here"}
    examples = contents.read_table(read, "data/prepared/examples.csv", text=True)
    groups = dict(zip(examples["id"], examples["group"], strict=True)) if len(examples) else {}
    groups = {example: group for example, group in groups.items() if group}
    try:
        rows, _ = compare.compare(
            {title: tables[0], name: tables[1]},
            groups,
            resamples=params["evaluate"]["bootstrap"],
            seed=params["seed"],
            labels=kind,
        )
    except UserError as error:
        return said | {"why_not": str(error)}
    columns = ["figure", "before", "after", "difference", "low", "high", "differs"]
    return said | {"rows": {row["figure"]: row for row in rows.set_axis(columns, axis=1).to_dict("records")}}


def render(read: held.Read, facts: dict[str, Any], compared: dict[str, Any] | None) -> str:
    """The page as HTML.

    Args:
        read: gives the run's files.
        facts: the run's name, its commit ("" if there is none), and whether it is the workspace's.
        compared: as `compared` gives it.
    """
    metrics, prepared = contents.read_json(read, held.METRICS), contents.read_json(read, "metrics/prepare.json")
    params, lock = contents.read_yaml(read, "params.yaml"), contents.read_yaml(read, "dvc.lock")
    source = contents.read_json(read, "data/prepared/source.json")
    backbone = contents.read_json(read, "models/backbone/backbone.json")
    classes = contents.read_table(read, "plots/evaluate/classes.csv")
    names = list(prepared["splits"]["train"]["classes"]) if prepared else list(classes["class"])
    kind = kind_of(params)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    return environment.get_template("page.html").render(
        **facts,
        mark=_mark(read) if facts["workspace"] else "",
        task=str(params.get("task", "")).replace("-", " "),
        backbone=params.get("backbone", ""),
        headline=contents.headline(metrics, params, contents.read_json(read, "metrics/fine_tune.json")),
        compared=compared,
        learning=contents.learning(read),
        confusion=contents.confusion(read, names),
        curves=contents.curves(read, metrics, names, classes, kind),
        scatter=contents.scatter(read),
        reliability=contents.reliability(read, metrics, names, kind),
        kind=kind,
        classes=contents.by_class(classes),
        mistakes=contents.mistakes(read),
        data=contents.data(prepared, source, contents.read_json(read, "data/features/tokens.json")),
        caches=contents.caches(read, prepared, params, lock),
        origin=contents.origin(read, lock, source, backbone),
        params=contents.flat(params),
    )


def _changed(before: dict[str, Any], after: dict[str, Any]) -> list[dict[str, Any]]:
    """Parameters that two runs do not share."""
    one, other = contents.flat(before), contents.flat(after)
    return [
        {"key": key, "before": one.get(key), "after": other.get(key)}
        for key in dict.fromkeys([*one, *other])
        if one.get(key) != other.get(key)
    ]

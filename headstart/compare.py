"""Whether two experiments differ, or their difference is what another test set of this size could show as well."""

import io
from collections.abc import Mapping
from typing import Any

import pandas as pd

from headstart import params
from headstart.evaluation import kinds
from headstart.evaluation.intervals import bootstrap, interval
from headstart.stage import UserError


def experiments(first: str, second: str | None) -> str:
    """Compare two experiments; what there is to say of them, for a terminal.

    Args:
        first: a commit, branch, tag, or an experiment's name.
        second: another; None for the workspace.

    Raises:
        UserError: as `read` and `compare`, or the two are the same.
    """
    names = {first: first, second or "workspace": second}
    if len(names) == 1:
        raise UserError(f"{first} is given twice: nothing to compare")
    settings = params.load()
    predictions = {name: read("evaluation/predictions.csv", rev) for name, rev in names.items()}
    examples = read("data/prepared/examples.csv", first)
    groups = {name: group for name, group in zip(examples["id"], examples["group"], strict=True) if group}
    found, n = compare(
        predictions, groups, resamples=settings.evaluate.bootstrap, seed=settings.seed, labels=settings.data.labels
    )
    return said(found, n)


def read(path: str, rev: str | None) -> pd.DataFrame:
    """A table that DVC tracks, as text, at a revision.

    Raises:
        UserError: no such revision, or the table is in no cache at hand.
    """
    import dvc.api
    from dvc.exceptions import DvcException
    from scmrepo.exceptions import SCMError

    try:
        text = dvc.api.read(path, rev=rev, encoding="utf-8")
    except (DvcException, SCMError, FileNotFoundError) as error:
        where = rev or "the workspace"
        raise UserError(f"{path} of {where}: {error}; `dvc exp list` names the experiments") from None
    return pd.read_csv(io.StringIO(text), dtype=object, keep_default_na=False)


def compare(
    predictions: Mapping[str, pd.DataFrame],
    groups: Mapping[str, str],
    *,
    resamples: int,
    seed: int,
    labels: str = "class",
) -> tuple[pd.DataFrame, int]:
    """Compare two models' figures on the test examples that both were judged by.

    Args:
        predictions: name -> what evaluation/predictions.csv holds, as text or numbers; two of them.
        groups: id -> group, of the examples that have one.
        resamples, seed: of the paired bootstrap (see `intervals.bootstrap`).
        labels: their kind.

    Returns:
        A row a figure: both values, their difference (second less first), low and high of its 95 % interval, and
        whether that leaves 0 out; and the number of examples.

    Raises:
        UserError: other classes, other labels, or no examples in common.
    """
    (first, one), (second, other) = predictions.items()
    kind = kinds.of(labels)
    try:
        truth, answers = kind.read_predictions(one)[1:]
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{first} holds no predictions of data.labels {labels}; compare runs of one kind") from None
    columns = [[name for name in map(str, table) if name.startswith("p_")] for table in (one, other)]
    if columns[0] != columns[1]:
        raise UserError(f"{first} and {second} do not have the same classes: nothing to compare")
    common = one.index[one["id"].isin(other["id"])]
    if len(common) == 0 or len(common) < max(len(one), len(other)):
        raise UserError(
            f"{first} was tested on {len(one)} examples, {second} on {len(other)}, {len(common)} of them the same: "
            "another seed or other data are another test split; compare experiments of one split, seeds by `make seeds`"
        )
    other = other.set_index("id").loc[one["id"]].reset_index()
    if (one["truth"].to_numpy() != other["truth"].to_numpy()).any():
        raise UserError(f"{first} and {second} do not give the same examples the same labels")
    models = {first: answers, second: kind.read_predictions(other)[2]}
    member = [f"group {groups[name]}" if name in groups else f"example {name}" for name in one["id"]]
    drawn = bootstrap(truth, models, groups=member, resamples=resamples, seed=seed, kind=kind)
    values = {name: kind.scores(truth, table) for name, table in models.items()}
    rows: list[dict[str, Any]] = []
    for figure in kind.FIGURES.names:
        a, b = values[first][figure], values[second][figure]
        bounds = interval(drawn[second][figure] - drawn[first][figure])
        if a is None or b is None or bounds is None:
            continue
        low, high = bounds
        rows.append({"figure": figure, first: a, second: b, "difference": b - a, "low": low, "high": high})
    table = pd.DataFrame(rows)
    table["differs"] = (table["low"] > 0) | (table["high"] < 0)
    return table, len(one)


def said(table: pd.DataFrame, n: int) -> str:
    """The comparison for a terminal."""
    first, second = table.columns[1:3]
    shown = pd.DataFrame({"": table["figure"], first: table[first].map("{:.4f}".format)})
    shown[second] = table[second].map("{:.4f}".format)
    bounds = zip(table["difference"], table["low"], table["high"], strict=True)
    shown["difference  [95 %]"] = ["{:+.4f}  [{:+.4f}, {:+.4f}]".format(*row) for row in bounds]
    shown["  "] = table["differs"].map({True: "differs", False: "within the noise"})
    return f"{n} test examples\n{shown.to_string(index=False)}"

"""What an evaluation says: the metrics file, the predictions, the plots' data, the summary for a terminal.

Refuses to know where these are written. Numbers are rounded to six digits, so that files of equal results are
equal.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from headstart.evaluation import curves
from headstart.evaluation.intervals import bootstrap, interval
from headstart.evaluation.metrics import FIGURES, scores

Models = Mapping[str, NDArray[np.floating]]  # model -> probabilities [n, k]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 6)


def _bounds(values: NDArray[np.float64]) -> list[float | None]:
    """[low, high]: DVC's tables make a column of every number, but leave lists out."""
    return [_rounded(bound) for bound in interval(values) or (None, None)]


def report(
    truth: NDArray[np.integer],
    final: NDArray[np.floating],
    head_only: NDArray[np.floating],
    *,
    groups: Sequence[object] | None,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """The metrics file: the final model's figures with 95 % intervals, the same of the head alone, the gain.

    `gain` is the final model's accuracy less the head-only model's, with its paired-bootstrap interval: where
    that holds 0, the test split does not show that fine-tuning helped. An interval is [low, high]. Where the
    test split has one class, `roc_auc` is None and has no interval.

    Args:
        truth: int [n].
        final: float [n, k].
        head_only: float [n, k].
        groups: as in `intervals.bootstrap`.
        resamples: behind each interval.
        seed: of the resamples.

    Raises:
        ValueError: as `metrics.checked`.
    """
    models = {"final": final, "head_only": head_only}
    drawn = bootstrap(truth, models, groups=groups, resamples=resamples, seed=seed)

    def judged(name: str) -> dict[str, Any]:
        found = scores(truth, models[name])
        intervals = {f: _bounds(drawn[name][f]) for f in FIGURES if found[f] is not None}
        return {f: _rounded(found[f]) for f in FIGURES} | {"interval": intervals}

    said = {**judged("final"), "n": len(truth), "head_only": judged("head_only")}
    said["gain"] = {
        "accuracy": _rounded(said["accuracy"] - said["head_only"]["accuracy"]),
        "interval": _bounds(drawn["final"]["accuracy"] - drawn["head_only"]["accuracy"]),
    }
    return said


def flat(said: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The report's numbers by names such as `head_only.interval.accuracy.low`, without the undefined ones."""
    numbers: dict[str, float] = {}
    for key, value in said.items():
        if isinstance(value, list):
            value = dict(zip(("low", "high"), value, strict=True))
        if isinstance(value, Mapping):
            numbers |= flat(value, f"{prefix}{key}.")
        elif value is not None:
            numbers[prefix + key] = value
    return numbers


def summary(said: Mapping[str, Any]) -> str:
    """The report as a table for a terminal: figures with intervals, the final model beside the head alone."""

    def cell(of: Mapping[str, Any], figure: str) -> str:
        if of[figure] is None:
            return "undefined"
        return "{:.4f}  [{:.4f}, {:.4f}]".format(of[figure], *of["interval"][figure])

    rows = [(f"test split, n = {said['n']}", "final model  [95 %]", "head only  [95 %]")]
    rows += [(figure, cell(said, figure), cell(said["head_only"], figure)) for figure in FIGURES]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "─" * (sum(widths) + 4))
    gain = said["gain"]
    lines.append("gain in accuracy: {:+.4f}  [{:+.4f}, {:+.4f}]".format(gain["accuracy"], *gain["interval"]))
    return "\n".join(lines)


def predictions(examples: pd.DataFrame, labels: Sequence[str], probabilities: NDArray[np.floating]) -> pd.DataFrame:
    """A table [id, split, truth, predicted, p_CLASS …], probabilities to six significant digits.

    The prefix keeps a class called `id` or `truth` apart from the other columns.

    Args:
        examples: columns id, split, label; a row per row of `probabilities`.
        labels: class names, by column of `probabilities`.
        probabilities: float [n, k].
    """
    k = probabilities.shape[1]
    digits = [np.char.mod("%.6g", probabilities[:, c]).astype(float) for c in range(k)]
    table = pd.DataFrame({f"p_{label}": column for label, column in zip(labels, digits, strict=True)})
    names = np.asarray(labels, dtype=object)[probabilities.argmax(axis=1)]
    table.insert(0, "predicted", names)
    for position, (name, source) in enumerate({"id": "id", "split": "split", "truth": "label"}.items()):
        table.insert(position, name, examples[source].to_numpy())
    return table


def plots(truth: NDArray[np.integer], models: Models, labels: Sequence[str]) -> dict[str, pd.DataFrame]:
    """File name -> table, for `dvc plots`: see the `plots` of dvc.yaml for the axes.

    The curves of `roc.csv` and `precision_recall.csv` are means over the classes, a column per model; so
    revisions compare whatever their number of classes. `classes.csv` has the first model's classes one by
    one.
    """
    truth = np.asarray(truth)
    first = next(iter(models.values()))
    roc = curves.side_by_side("false_positive_rate", {m: curves.roc(truth, p) for m, p in models.items()})
    recall = curves.side_by_side("recall", {m: curves.precision_recall(truth, p) for m, p in models.items()})
    if len(roc):
        roc["random"] = roc["false_positive_rate"]
        # A column of zeros, so that the line starts in the corner even where it rises at once.
        roc = pd.concat([roc.iloc[:1] * 0, roc], ignore_index=True)
    tables = {
        "roc": roc,
        "precision_recall": recall,
        "classes": curves.by_class(truth, first, labels),
        "confusion": curves.confusion(truth, first, labels),
    }
    for model, probabilities in models.items():
        tables[f"reliability/{model}"] = curves.reliability(truth, probabilities)
    tables["reliability/ideal"] = pd.DataFrame({"predicted": [0.0, 1.0], "observed": [0.0, 1.0]})
    return {f"{name}.csv": table.round(6) for name, table in tables.items()}


def calibration_plots(truth: NDArray[np.integer], models: Models) -> dict[str, pd.DataFrame]:
    """File name -> table: the reliability of each of `models`, usually before and after temperature scaling."""
    return {f"calibration/{name}.csv": curves.reliability(truth, p).round(6) for name, p in models.items()}

"""The curves behind the plots, as small tables: ROC, precision-recall, reliability, and one line per class.

Refuses to know how they are drawn. ROC and precision-recall are sampled on a fixed grid, so that models,
classes and revisions can be averaged and laid over each other, and a table stays small for any number of
examples.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import (
    auc,
    average_precision_score,
    precision_recall_curve,
    precision_recall_fscore_support,
    roc_auc_score,
    roc_curve,
)

from headstart.evaluation.metrics import checked, scored_classes

GRID = np.linspace(0.0, 1.0, 201)  # finer than a picture of 300 pixels shows


class Curve(NamedTuple):
    """One class against the rest: the curve on `GRID` as float64 [201], and its exact area."""

    rates: NDArray[np.float64]
    area: float


def roc(truth: NDArray[np.integer], probabilities: NDArray[np.floating]) -> dict[int, Curve]:
    """True-positive rate on `GRID` of false-positive rates, for each scored class; areas as in `roc_auc`.

    Where the curve rises at one false-positive rate, its upper end counts. Means over classes are vertical
    averages (Fawcett 2006, An introduction to ROC analysis, section 8.1), whose area is the mean of the
    areas.
    """
    truth, probabilities = checked(truth, probabilities)
    curves = {}
    for c in scored_classes(truth, probabilities.shape[1]):
        false, true, _ = roc_curve(truth == c, probabilities[:, c])
        # np.interp would not know which of several points at one false-positive rate is meant.
        before = np.searchsorted(false, GRID + 1e-9, side="right") - 1  # 0.15 may lie a rounding below 3/20
        after = np.minimum(before + 1, len(false) - 1)
        way = np.divide(GRID - false[before], false[after] - false[before], where=after > before, out=GRID * 0)
        rates = true[before] + way.clip(min=0) * (true[after] - true[before])
        curves[c] = Curve(rates, float(auc(false, true)))
    return curves


def precision_recall(truth: NDArray[np.integer], probabilities: NDArray[np.floating]) -> dict[int, Curve]:
    """Precision on `GRID` of recalls, for each scored class; the area is the average precision.

    The precision at the highest threshold that reaches the recall, a step curve: a straight line between
    points would promise too much (Davis & Goadrich 2006, The relationship between precision-recall and ROC
    curves).
    """
    truth, probabilities = checked(truth, probabilities)
    curves = {}
    for c in scored_classes(truth, probabilities.shape[1]):
        precision, recall, _ = precision_recall_curve(truth == c, probabilities[:, c])
        # From the highest threshold to the lowest, without scikit-learn's made-up last point of recall 0.
        precision, recall = precision[:-1][::-1], recall[:-1][::-1]
        # The grid's 0.15 may lie a rounding above the recall's 3/20; and at 0 stands what the first hit has.
        reached = np.searchsorted(recall, (GRID - 1e-9).clip(min=1e-9))
        curves[c] = Curve(precision[reached], float(average_precision_score(truth == c, probabilities[:, c])))
    return curves


def mean(of: Mapping[int, Curve]) -> Curve:
    """The mean over the classes of `roc` or `precision_recall`."""
    return Curve(
        np.mean([curve.rates for curve in of.values()], axis=0),
        float(np.mean([curve.area for curve in of.values()])),
    )


def followed(history: pd.DataFrame) -> list[str]:
    """The figures in a table of epochs that both training and validation have: the loss, and one more."""
    return [name for name in map(str, history) if f"val_{name}" in history]


def side_by_side(grid: str, models: Mapping[str, Mapping[int, Curve]]) -> pd.DataFrame:
    """A column of `GRID`, then each model's mean curve; no rows if no class has a curve."""
    known = all(models.values())
    columns: dict[str, Any] = {model: mean(of).rates if known else [] for model, of in models.items()}
    return pd.DataFrame({grid: GRID if known else [], **columns})


def from_corner(roc: pd.DataFrame) -> pd.DataFrame:
    """ROC curves of `side_by_side` for a plot: with that of guessing, from the corner even where they rise at once."""
    if not len(roc):
        return roc
    roc = roc.assign(random=roc["false_positive_rate"])
    return pd.concat([roc.iloc[:1] * 0, roc], ignore_index=True)


def reliabilities(truth: NDArray[np.integer], models: Mapping[str, NDArray[np.floating]]) -> dict[str, pd.DataFrame]:
    """`reliability/MODEL` -> its table, and `reliability/ideal`, the line on which a probability means what it says."""
    found = {f"reliability/{model}": reliability(truth, probabilities) for model, probabilities in models.items()}
    return found | {"reliability/ideal": pd.DataFrame({"predicted": [0.0, 1.0], "observed": [0.0, 1.0]})}


def reliability(truth: NDArray[np.integer], probabilities: NDArray[np.floating]) -> pd.DataFrame:
    """How often it is true, against the probability that was given to it.

    With two classes "it" is the second label; with more, the predicted class, whichever that is (Guo et al.
    2017, On Calibration of Modern Neural Networks, section 2). Bins hold about equally many examples (Nixon
    et al. 2019, Measuring Calibration in Deep Learning): bins of equal width are nearly empty where a sure
    model says nothing. There are at most ten, of at least twenty examples while that leaves two; equal
    probabilities are never parted, so there may be fewer.

    Returns:
        A table [predicted, observed, low, high, n], a row per bin in ascending order: mean probability,
        share, the 95 % interval of the share (Wilson 1927), number of examples.
    """
    truth, probabilities = checked(truth, probabilities)
    if probabilities.shape[1] == 2:
        given, true = probabilities[:, 1], truth == 1
    else:
        given, true = probabilities.max(axis=1), truth == probabilities.argmax(axis=1)
    bins = int(np.clip(len(truth) // 20, 2, 10))
    edges = np.unique(np.quantile(given, np.linspace(0, 1, bins + 1)[1:-1]))
    table = pd.DataFrame({"predicted": given, "observed": true.astype(float)})
    table = table.groupby(np.searchsorted(edges, given)).agg(
        predicted=("predicted", "mean"), observed=("observed", "mean"), n=("observed", "size")
    )
    z, n, share = 1.959964, table["n"], table["observed"]  # the normal distribution's 97.5 % point
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    table["low"], table["high"] = (centre - half).clip(0, 1), (centre + half).clip(0, 1)
    return table.reset_index(drop=True)[["predicted", "observed", "low", "high", "n"]]


def by_class(truth: NDArray[np.integer], probabilities: NDArray[np.floating], labels: Sequence[str]) -> pd.DataFrame:
    """A table [class, n, precision, recall, f1, roc_auc], a row per class of `truth`, against the rest."""
    truth, probabilities = checked(truth, probabilities)
    present = np.unique(truth)
    precision, recall, f1, n = precision_recall_fscore_support(
        truth, probabilities.argmax(axis=1), labels=present, zero_division=0.0
    )
    area = [roc_auc_score(truth == c, probabilities[:, c]) if len(present) > 1 else np.nan for c in present]
    names = [labels[c] for c in present]
    return pd.DataFrame({"class": names, "n": n, "precision": precision, "recall": recall, "f1": f1, "roc_auc": area})


def confusion(truth: NDArray[np.integer], probabilities: NDArray[np.floating], labels: Sequence[str]) -> pd.DataFrame:
    """A table [actual, predicted] of class names, a row per example: DVC's templates count by themselves."""
    truth, probabilities = checked(truth, probabilities)
    names = np.asarray(labels, dtype=object)
    return pd.DataFrame({"actual": names[truth], "predicted": names[probabilities.argmax(axis=1)]})

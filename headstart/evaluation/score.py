"""A score an example: how far the answers are from the truth, in the data's own unit, and whether they rise with it.

Truth is float [n], answers are float [n, 1].
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import sparse

from headstart.evaluation import figures as drawn
from headstart.evaluation import weighted
from headstart.evaluation.declared import OF_LABELS
from headstart.evaluation.mistakes import SHOWN

FIGURES = OF_LABELS["score"]
# A variance below this share of all examples' is taken for none: what is left of it is rounding.
NONE = 1e-12
Models = Mapping[str, NDArray[np.floating]]  # model -> answers [n, 1]


def checked(truth: NDArray[np.floating], answers: NDArray[np.floating]) -> tuple[NDArray[np.float64], ...]:
    """Both as float64 [n].

    Raises:
        ValueError: the shapes do not fit, there is no example, or something is not a number.
    """
    known, given = np.asarray(truth, dtype=np.float64), np.asarray(answers, dtype=np.float64)
    if known.ndim != 1 or given.shape != (len(known), 1) or not len(known):
        raise ValueError(
            f"truth is {known.shape}, answers are {given.shape}; [n] and [n, 1] are needed, of one or more"
        )
    if not (np.isfinite(known).all() and np.isfinite(given).all()):
        raise ValueError("a score is not a number")
    return known, given[:, 0]


class _Counters:
    """One model's answers beside the truth, ready for weights."""

    def __init__(self, truth: NDArray[np.float64], answers: NDArray[np.float64]) -> None:
        self.error = np.stack([np.abs(answers - truth), (answers - truth) ** 2])
        # From their means, so that squares do not drown what they differ by.
        self.pair = (truth - truth.mean(), answers - answers.mean())
        self.ranks = [_Ranks(of) for of in self.pair]

    def figures(self, weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Each figure [b] under the weights [n, b]."""
        total = weights.sum(axis=0)
        absolute, squared = self.error @ weights / total
        truth = self.pair[0]
        variance = _variance(truth**2 @ weights / total, (truth @ weights / total), truth)
        ranks = [of.of(weights) for of in self.ranks]
        wide = [np.broadcast_to(of[:, None], weights.shape) for of in self.pair]
        return {
            "r2": 1 - weighted.divided(squared, variance),
            "mae": absolute,
            "rmse": np.sqrt(squared),
            "pearson": _correlation(wide[0], wide[1], weights),
            "spearman": _correlation(ranks[0], ranks[1], weights),
        }


class _Ranks:
    """Ranks of numbers in a resample, ties in the middle of theirs."""

    def __init__(self, numbers: NDArray[np.float64]) -> None:
        _, self.tie = np.unique(numbers, return_inverse=True)
        n = len(numbers)
        self.count: sparse.csr_array = weighted.indicator(self.tie, np.arange(n), (int(self.tie.max()) + 1, n))

    def of(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """float64 [n, b], up to a constant; from the middle, so that squares stay small."""
        of_tie = self.count @ weights
        middle = np.cumsum(of_tie, axis=0) - of_tie / 2
        return (middle - weights.sum(axis=0) / 2)[self.tie]


def _variance(
    square: NDArray[np.float64], mean: NDArray[np.float64], everyone: NDArray[np.float64]
) -> NDArray[np.float64]:
    found = square - mean**2
    return np.where(found > NONE * max(float((everyone**2).mean()), np.finfo(float).tiny), found, 0.0)


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pearson's [b] of two [n, b]; NaN where one does not vary."""
    total = weights.sum(axis=0)

    def mean(of: NDArray[np.float64]) -> NDArray[np.float64]:
        return (of * weights).sum(axis=0) / total

    first, second = mean(a), mean(b)
    spread = _variance(mean(a**2), first, a) * _variance(mean(b**2), second, b)
    return weighted.divided(mean(a * b) - first * second, np.sqrt(spread))


def counters(truth: NDArray[np.floating], answers: NDArray[np.floating]) -> _Counters:
    """What gives each figure under weights.

    Raises:
        ValueError: as `checked`.
    """
    return _Counters(*checked(truth, answers))


def scores(truth: NDArray[np.floating], answers: NDArray[np.floating]) -> dict[str, float | None]:
    """Each figure; None where it is undefined: all of them but the errors, where the truth is one number alone.

    `r2` is 1 less the squared error over the truth's variance: 0 for who always answers the split's own mean.

    Args:
        truth: float [n].
        answers: float [n, 1].

    Raises:
        ValueError: as `checked`.
    """
    return weighted.unweighted(counters(truth, answers).figures, len(truth))


def predictions(examples: pd.DataFrame, labels: Sequence[str], answers: NDArray[np.floating]) -> pd.DataFrame:
    """A table [id, split, truth, predicted], six significant digits of what is predicted.

    Args:
        examples: columns id, split, label; a row per row of `answers`.
        labels: the one name of all scores; it heads no column.
        answers: float [n, 1].
    """
    table = {"id": examples["id"], "split": examples["split"], "truth": examples["label"]}
    columns = {name: column.to_numpy() for name, column in table.items()}
    return pd.DataFrame(columns | {"predicted": np.char.mod("%.6g", np.asarray(answers)[:, 0]).astype(float)})


def read_predictions(table: pd.DataFrame) -> tuple[list[str], NDArray[Any], NDArray[np.float64]]:
    """No class names, truth [n] and answers [n, 1] out of a table of `predictions`, which may hold text.

    Raises:
        ValueError: what is predicted there is no number.
    """
    return [], table["truth"].to_numpy(float), table[["predicted"]].to_numpy(float)


def tables(truth: NDArray[np.floating], models: Models, labels: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Predicted against true scores; the tables of classes have their columns and no rows."""
    names = list(models)
    empty = {
        "roc": ["false_positive_rate", *names, "random"],
        "precision_recall": ["recall", *names],
        "classes": ["class", "n", "precision", "recall", "f1", "roc_auc"],
        "confusion": ["actual", "predicted"],
        **{f"reliability/{name}": ["predicted", "observed", "low", "high", "n"] for name in names},
        "reliability/ideal": ["predicted", "observed"],
    }
    found = {name: pd.DataFrame(columns=columns) for name, columns in empty.items()}
    known, _ = checked(truth, next(iter(models.values())))
    columns = {"true": known} | {name: checked(truth, answers)[1] for name, answers in models.items()}
    digits = {name: np.char.mod("%.6g", column).astype(float) for name, column in columns.items()}
    return {f"{name}.csv": table for name, table in (found | {"scatter": pd.DataFrame(digits)}).items()}


def calibration(
    validation: object, test: object, labels: Sequence[str]
) -> tuple[dict[str, Any], dict[str, pd.DataFrame], dict[str, Figure]]:
    """Nothing: a score has no probability that could mean something. The tables have their columns and no rows."""
    columns = ["predicted", "observed", "low", "high", "n"]
    return {}, {f"calibration/{when}.csv": pd.DataFrame(columns=columns) for when in ("before", "after")}, {}


def figures(truth: NDArray[np.floating], models: Models, labels: Sequence[str]) -> dict[str, Figure]:
    """Name -> picture: the answers over the truth."""
    return {"scatter": drawn.scatter(truth, {name: checked(truth, a)[1] for name, a in models.items()}, labels[0])}


def mistakes(
    examples: pd.DataFrame, truth: NDArray[np.floating], answers: NDArray[np.floating], labels: Sequence[str]
) -> pd.DataFrame:
    """The `SHOWN` answers that are furthest off, the worst first; at a tie in order of the examples' ids.

    Args:
        examples: columns id and label; a row per row of `answers`.
        truth: float [n].
        answers: float [n, 1].
        labels: the one name of all scores.

    Returns:
        A table [row, id, truth, predicted, said]: the number of the row in `examples`, the scores as text, and whether
        the answer is too high.
    """
    known, given = checked(truth, answers)
    ids = examples["id"].to_numpy(dtype=str)
    off = np.abs(given - known)
    worst = np.lexsort((ids, -off))[:SHOWN]
    worst = worst[off[worst] > 0]
    return pd.DataFrame(
        {
            "row": worst, "id": ids[worst], "truth": [f"{known[at]:.6g}" for at in worst],
            "predicted": [f"{given[at]:.6g}" for at in worst], "said": given[worst] > known[worst],
        }
    )  # fmt: skip


def directions(table: pd.DataFrame, labels: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of each mistake, the score against nothing where it is too high, nothing against the score where too low."""
    said = table["said"].to_numpy(bool)
    return np.where(said, 0, -1), np.where(said, -1, 0)


def additive(answers: NDArray[np.floating]) -> NDArray[np.float64]:
    """The answers [b, 1], then a column of 0."""
    return np.pad(np.asarray(answers, np.float64), ((0, 0), (0, 1)))

"""Several classes an example, or none: each class is a yes or no of its own, and most figures are means over classes.

Truth is float [n, k] of 0 and 1, answers are probabilities [n, k], each of its own; yes is 0.5 or more.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from headstart.data.labels import BETWEEN, YES, members
from headstart.evaluation import calibration as scaling
from headstart.evaluation import curves, weighted
from headstart.evaluation import figures as drawn
from headstart.evaluation.declared import OF_LABELS
from headstart.evaluation.mistakes import SHOWN

FIGURES = OF_LABELS["multi"]
Models = Mapping[str, NDArray[np.floating]]  # model -> probabilities [n, k]


def checked(
    truth: NDArray[np.floating], probabilities: NDArray[np.floating]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Truth as bool [n, k] and probabilities as float64 [n, k].

    Raises:
        ValueError: the shapes do not fit, there is no example or no class, truth holds more than 0 and 1, or a
            probability is none.
    """
    known, given = np.asarray(truth), np.asarray(probabilities, dtype=np.float64)
    if known.ndim != 2 or known.shape != given.shape or 0 in known.shape:
        raise ValueError(f"truth is {known.shape}, probabilities are {given.shape}; both must be [n, k] of one or more")
    if not np.isin(known, (0, 1)).all():
        raise ValueError("truth holds more than 0 and 1")
    if not (np.isfinite(given).all() and given.min() >= 0 and given.max() <= 1):
        raise ValueError("a probability is below 0, above 1 or not a number")
    return known > 0, given


class _Counters:
    """One model's answers as sparse matrices; products with weights [n, b] hold all that figures need."""

    def __init__(self, truth: NDArray[np.bool_], probabilities: NDArray[np.float64]) -> None:
        n, self.k = truth.shape
        yes = probabilities >= YES
        # Rows 0..k-1 count the true classes, the next k the predicted ones, the last k those that are both.
        rows, columns = np.nonzero(np.hstack([truth, yes, truth & yes]).T)
        self.counts = weighted.indicator(rows, columns, (3 * self.k, n))
        self.exact = (truth == yes).all(axis=1).astype(np.float64)
        present = [c for c in range(self.k) if truth[:, c].any()]
        self.rankings = [weighted.ranking(truth[:, c], probabilities[:, c]) for c in present]
        pairs = np.repeat(np.arange(n), self.k)
        self.pooled = weighted.ranking(truth.ravel(), probabilities.ravel(), pairs)

    def figures(self, weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Each figure [b] under the weights [n, b]."""
        true, predicted, hits = np.split(self.counts @ weights, [self.k, 2 * self.k])
        precisions, areas = (np.full((max(1, len(self.rankings)), weights.shape[1]), np.nan) for _ in range(2))
        for row, (everyone, positives) in enumerate(self.rankings):
            ranked = everyone @ weights, positives @ weights
            precisions[row], areas[row] = weighted.average_precision(*ranked), weighted.area(*ranked)
        # The pooled ranking may have a segment for nearly every pair of an example and a class.
        everyone, positives = self.pooled
        parts = np.array_split(weights, max(1, everyone.shape[0] // len(weights)), axis=1)
        parts = [part for part in parts if part.shape[1]]
        pooled = weighted.divided(2 * hits.sum(axis=0), true.sum(axis=0) + predicted.sum(axis=0))
        return {
            "average_precision": weighted.mean(precisions),
            "roc_auc_macro": weighted.mean(areas),
            "roc_auc_micro": np.concatenate([weighted.area(everyone @ part, positives @ part) for part in parts]),
            "f1_macro": weighted.mean(weighted.divided(2 * hits, true + predicted)),
            "f1_micro": pooled,
            "exact_match": self.exact @ weights / weights.sum(axis=0),
        }


def counters(truth: NDArray[np.floating], probabilities: NDArray[np.floating]) -> _Counters:
    """What gives each figure under weights.

    Raises:
        ValueError: as `checked`.
    """
    return _Counters(*checked(truth, probabilities))


def scores(truth: NDArray[np.floating], probabilities: NDArray[np.floating]) -> dict[str, float | None]:
    """Each figure, by scikit-learn's definitions; None where it is undefined.

    `average_precision` is the mean over the classes that some example has, `roc_auc_macro` over those that some have
    and some have not, `f1_macro` over those that are true or predicted somewhere. The micro figures take every pair of
    an example and a class for one case. `exact_match` is the share of examples all of whose classes are right.

    Args:
        truth: float [n, k] of 0 and 1.
        probabilities: float [n, k].

    Raises:
        ValueError: as `checked`.
    """
    return weighted.unweighted(counters(truth, probabilities).figures, len(truth))


def predictions(examples: pd.DataFrame, labels: Sequence[str], probabilities: NDArray[np.floating]) -> pd.DataFrame:
    """A table [id, split, truth, predicted, p_CLASS …]; several classes with `|` between them.

    Args:
        examples: columns id, split, label; a row per row of `probabilities`.
        labels: class names, by column of `probabilities`.
        probabilities: float [n, k].
    """
    said = [BETWEEN.join(name for name, p in zip(labels, row, strict=True) if p >= YES) for row in probabilities]
    table = {"id": examples["id"], "split": examples["split"], "truth": examples["label"], "predicted": said}
    digits = np.char.mod("%.6g", probabilities).astype(float)
    table |= {f"p_{label}": digits[:, c] for c, label in enumerate(labels)}
    return pd.DataFrame({name: np.asarray(column) for name, column in table.items()})


def read_predictions(table: pd.DataFrame) -> tuple[list[str], NDArray[Any], NDArray[np.float64]]:
    """Class names, truth [n, k] and probabilities [n, k] out of a table of `predictions`, which may hold text."""
    columns = [name for name in map(str, table) if name.startswith("p_")]
    names = [name.removeprefix("p_") for name in columns]
    truth = np.array([[name in of for name in names] for of in map(members, table["truth"].fillna("").map(str))])
    return names, truth.reshape(len(table), len(names)).astype(float), table[columns].to_numpy(float)


def _ranked(truth: NDArray[np.floating], models: Models, of: Any) -> dict[str, dict[int, curves.Curve]]:
    """The curve of each class that some examples have and some have not, by model and class number."""
    known, _ = checked(truth, next(iter(models.values())))
    mixed = [c for c in range(known.shape[1]) if 0 < known[:, c].sum() < len(known)]
    return {model: {c: of(known[:, c].astype(int), _two(p[:, c]))[1] for c in mixed} for model, p in models.items()}


def _two(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Probabilities of a yes [m] as those of a no and a yes [m, 2]."""
    yes = np.asarray(probabilities, dtype=np.float64).ravel()
    return np.stack([1 - yes, yes], axis=1)


def tables(truth: NDArray[np.floating], models: Models, labels: Sequence[str]) -> dict[str, pd.DataFrame]:
    """As `classification.tables`: curves are means over classes, reliability is that of all pairs pooled.

    The confusion matrix is left empty: no class is predicted in the place of another.
    """
    first = next(iter(models.values()))
    roc = curves.side_by_side("false_positive_rate", _ranked(truth, models, curves.roc))
    found = {
        "roc": curves.from_corner(roc),
        "precision_recall": curves.side_by_side("recall", _ranked(truth, models, curves.precision_recall)),
        "classes": by_class(truth, first, labels),
        "confusion": pd.DataFrame({"actual": [], "predicted": []}),
    }
    flat = np.asarray(truth).ravel().astype(int)
    found |= curves.reliabilities(flat, {model: _two(p) for model, p in models.items()})
    return {f"{name}.csv": table.round(6) for name, table in found.items()}


def by_class(truth: NDArray[np.floating], probabilities: NDArray[np.floating], labels: Sequence[str]) -> pd.DataFrame:
    """A table [class, n, precision, recall, f1, roc_auc, average_precision], a row per class that some example has."""
    known, given = checked(truth, probabilities)
    rows = []
    for c, name in enumerate(labels):
        true, yes = known[:, c], given[:, c] >= YES
        if not true.any():
            continue
        hits, both = (true & yes).sum(), true.sum() + yes.sum()
        ranked = [matrix.sum(axis=1)[:, None] for matrix in weighted.ranking(true, given[:, c])]
        rows.append(
            {
                "class": name, "n": int(true.sum()), "precision": hits / yes.sum() if yes.any() else 0.0,
                "recall": hits / true.sum(), "f1": 2 * hits / both,
                "roc_auc": float(weighted.area(*ranked)[0]),
                "average_precision": float(weighted.average_precision(*ranked)[0]),
            }
        )  # fmt: skip
    columns = ["class", "n", "precision", "recall", "f1", "roc_auc", "average_precision"]
    return pd.DataFrame(rows, columns=columns)


def calibration(
    validation: tuple[NDArray[Any], NDArray[np.floating]], test: tuple[NDArray[Any], NDArray[np.floating]],
    labels: Sequence[str],
) -> tuple[dict[str, Any], dict[str, pd.DataFrame], dict[str, Figure]]:  # fmt: skip
    """As `classification.calibration`, of all pairs of an example and a class pooled: one temperature for all classes.

    A sigmoid is a softmax over yes and no, so dividing its logit by a temperature is the same thing.
    """
    (given, before), (truth, tested) = [(np.asarray(t).ravel().astype(int), _two(p)) for t, p in (validation, test)]
    said, after = scaling.report((given, before), (truth, tested))
    said["validation_examples"] = len(validation[0])
    reliability = {"before": tested, "after": after}
    picture = drawn.reliability(truth, reliability, ["no", "a class"])
    return said, scaling.plots(truth, reliability), {"calibration": picture}


def figures(truth: NDArray[np.floating], models: Models, labels: Sequence[str]) -> dict[str, Figure]:
    """Name -> picture: ROC, precision-recall, reliability of all pairs pooled."""
    known, _ = checked(truth, next(iter(models.values())))
    roc, recall = (_ranked(truth, models, of) for of in (curves.roc, curves.precision_recall))
    chance = float(known.mean(axis=0)[sorted(next(iter(recall.values())))].mean()) if next(iter(recall.values())) else 0
    flat = {name: _two(p) for name, p in models.items()}
    return {
        "roc": drawn.roc_curves(roc, labels, ", each class"),
        "precision_recall": drawn.recall_curves(recall, labels, ", each class", chance),
        "reliability": drawn.reliability(known.ravel().astype(int), flat, ["no", "a class"]),
    }


def mistakes(
    examples: pd.DataFrame, truth: NDArray[np.floating], probabilities: NDArray[np.floating], labels: Sequence[str]
) -> pd.DataFrame:
    """The `SHOWN` wrong answers to a class that the model was surest of; at a tie in order of the examples' ids.

    Args:
        examples: a column id; a row per row of `probabilities`.
        truth: float [n, k] of 0 and 1.
        probabilities: float [n, k].
        labels: class names, by column.

    Returns:
        As `mistakes.most_confident` of the class, or not of it, with the class's number.
    """
    known, given = checked(truth, probabilities)
    yes = given >= YES
    rows, columns = np.nonzero(known != yes)
    ids = examples["id"].to_numpy(dtype=str)
    p = given[rows, columns]
    sure = np.where(yes[rows, columns], p, 1 - p).round(6)
    first = np.lexsort((columns, ids[rows], -sure))[:SHOWN]
    rows, columns, sure = rows[first], columns[first], sure[first]
    names = np.asarray(labels, dtype=object)[columns]
    sides = {True: names, False: np.array([f"not {name}" for name in names], dtype=object)}
    said = yes[rows, columns]
    return pd.DataFrame(
        {
            "row": rows, "number": columns, "id": ids[rows], "truth": np.where(said, sides[False], sides[True]),
            "predicted": np.where(said, sides[True], sides[False]), "probability": sure,
            "of_truth": (1 - sure).round(6), "said": said,
        }
    )  # fmt: skip


def directions(table: pd.DataFrame, labels: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of each mistake, the class that was wrongly seen, against none; or none, against the class that was not seen."""
    number, said = table["number"].to_numpy(np.int64), table["said"].to_numpy(bool)
    return np.where(said, number, -1), np.where(said, -1, number)


def additive(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """The logits [b, k] of probabilities, then a column of 0, that of an even chance."""
    p = np.asarray(probabilities, np.float64).clip(1e-12, 1 - 1e-12)
    return np.pad(np.log(p) - np.log(1 - p), ((0, 0), (0, 1)))

"""One class an example: how its models are judged. The figures are those of `metrics`, the tables those of `curves`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from headstart.evaluation import calibration as scaling
from headstart.evaluation import curves
from headstart.evaluation import figures as drawn
from headstart.evaluation import mistakes as wrong
from headstart.evaluation.attribution import log as additive
from headstart.evaluation.declared import OF_LABELS
from headstart.evaluation.metrics import checked, scored_classes, scores
from headstart.evaluation.weighted import area, divided, indicator, mean, ranking

__all__ = [
    "FIGURES", "additive", "calibration", "counters", "directions", "figures", "mistakes", "predictions",
    "read_predictions", "scores", "tables",
]  # fmt: skip

FIGURES = OF_LABELS["class"]
Models = Mapping[str, NDArray[np.floating]]  # model -> probabilities [n, k]


def counters(truth: NDArray[np.integer], probabilities: NDArray[np.floating]) -> "_Counters":
    """What gives each figure under weights.

    Raises:
        ValueError: as `metrics.checked`.
    """
    return _Counters(*checked(truth, probabilities))


class _Counters:
    """One model's predictions as sparse matrices; products with weights [n, b] hold all that figures need."""

    def __init__(self, truth: NDArray[np.intp], probabilities: NDArray[np.float64]) -> None:
        n, k = probabilities.shape
        every = np.arange(n)
        predicted = probabilities.argmax(axis=1)
        hit = np.flatnonzero(predicted == truth)
        self.k = k
        # Rows 0..k-1 count the true classes, the next k the predicted ones, the last k those that are both.
        self.counts = indicator(
            np.concatenate([truth, k + predicted, 2 * k + truth[hit]]),
            np.concatenate([every, every, hit]),
            (3 * k, n),
        )
        # As in scikit-learn, a probability of zero costs as much as the smallest step of float64.
        self.loss = -np.log(np.clip(probabilities[every, truth], np.finfo(np.float64).eps, 1.0))
        self.rankings = [ranking(truth == c, probabilities[:, c]) for c in scored_classes(truth, k)]

    def figures(self, weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Each figure [b] under the weights [n, b]."""
        true, predicted, hits = np.split(self.counts @ weights, [self.k, 2 * self.k])
        total = true.sum(axis=0)
        areas = [area(segments @ weights, positives @ weights) for segments, positives in self.rankings]
        return {
            "accuracy": hits.sum(axis=0) / total,
            "balanced_accuracy": mean(divided(hits, true)),
            "f1_macro": mean(divided(2 * hits, true + predicted)),
            "roc_auc": mean(np.array(areas)) if areas else np.full(weights.shape[1], np.nan),
            "log_loss": self.loss @ weights / total,
        }


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


def read_predictions(table: pd.DataFrame) -> tuple[list[str], NDArray[Any], NDArray[np.float64]]:
    """Class names, truth int [n] and probabilities [n, k] out of a table of `predictions`, which may hold text."""
    columns = [name for name in map(str, table) if name.startswith("p_")]
    names = [name.removeprefix("p_") for name in columns]
    number = {name: at for at, name in enumerate(names)}
    truth = np.array([number[name] for name in table["truth"]], np.int64)
    probabilities = table[columns].to_numpy(float)
    # Six digits are kept of each probability.
    return names, truth, probabilities / probabilities.sum(axis=1, keepdims=True)


def tables(truth: NDArray[np.integer], models: Models, labels: Sequence[str]) -> dict[str, pd.DataFrame]:
    """File name -> table, for `dvc plots`: see the `plots` of dvc.yaml for the axes.

    The curves of `roc.csv` and `precision_recall.csv` are means over the classes, a column per model; so
    revisions compare whatever their number of classes. `classes.csv` has the first model's classes one by
    one.
    """
    truth = np.asarray(truth)
    first = next(iter(models.values()))
    roc = curves.side_by_side("false_positive_rate", {m: curves.roc(truth, p) for m, p in models.items()})
    recall = curves.side_by_side("recall", {m: curves.precision_recall(truth, p) for m, p in models.items()})
    found = {
        "roc": curves.from_corner(roc),
        "precision_recall": recall,
        "classes": curves.by_class(truth, first, labels),
        "confusion": curves.confusion(truth, first, labels),
    }
    found |= curves.reliabilities(truth, models)
    return {f"{name}.csv": table.round(6) for name, table in found.items()}


def calibration(
    validation: tuple[NDArray[Any], NDArray[np.floating]], test: tuple[NDArray[Any], NDArray[np.floating]],
    labels: Sequence[str],
) -> tuple[dict[str, Any], dict[str, pd.DataFrame], dict[str, Figure]]:  # fmt: skip
    """What `calibration.report` finds; the reliability before and after it as tables by file name, and as pictures."""
    said, after = scaling.report(validation, test)
    truth, reliability = test[0], {"before": test[1], "after": after}
    return said, scaling.plots(truth, reliability), {"calibration": drawn.reliability(truth, reliability, labels)}


def figures(truth: NDArray[np.integer], models: Models, labels: Sequence[str]) -> dict[str, Figure]:
    """Name -> picture."""
    return drawn.figures(truth, models, labels)


def mistakes(
    examples: pd.DataFrame, truth: NDArray[np.integer], probabilities: NDArray[np.floating], labels: Sequence[str]
) -> pd.DataFrame:
    """As `mistakes.most_confident`."""
    return wrong.most_confident(examples, truth, probabilities, labels)


def directions(table: pd.DataFrame, labels: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of each mistake, the numbers of the predicted class and of the true one."""
    number = {name: i for i, name in enumerate(labels)}
    found = [np.array([number[name] for name in table[column]], np.int64) for column in ("predicted", "truth")]
    return found[0], found[1]

"""The figures that a model is judged by, from true classes and predicted class probabilities.

Refuses to know where the probabilities come from, or how certain a figure is: that is `intervals`.
"""

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score, log_loss, recall_score, roc_auc_score

from headstart.evaluation.declared import OF_LABELS

FIGURES = tuple(OF_LABELS["class"].names)


def checked(
    truth: NDArray[np.integer], probabilities: NDArray[np.floating]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Truth as indices [n], and probabilities [n, k] as float64 whose rows add up to 1.

    A softmax in float32 misses 1 by about 1e-7; scikit-learn's log loss would warn of it.

    Raises:
        ValueError: the shapes do not fit, there is no example, there are fewer than two classes, a true class
            has no column, a probability is negative or not a number, or a row is empty.
    """
    classes: NDArray[np.intp] = np.asarray(truth, dtype=np.intp)
    given: NDArray[np.float64] = np.asarray(probabilities, dtype=np.float64)
    if given.ndim != 2 or classes.shape != given.shape[:1]:
        raise ValueError(f"truth is {classes.shape}, probabilities are {given.shape}; [n] and [n, k] are needed")
    n, k = given.shape
    if n == 0 or k < 2:
        raise ValueError(f"{n} examples of {k} classes; at least one example and two classes are needed")
    if classes.min() < 0 or classes.max() >= k:
        raise ValueError(f"true classes are {classes.min()} to {classes.max()}, the columns 0 to {k - 1}")
    total = given.sum(axis=1, keepdims=True)
    if not np.isfinite(given).all() or given.min() < 0 or total.min() <= 0:
        raise ValueError("a probability is negative or not a number, or a row of them is empty")
    return classes, given / total


def scored_classes(truth: NDArray[np.integer], k: int) -> list[int]:
    """The classes that have a one-vs-rest curve: with two classes the second, else each that is in `truth`.

    Empty if `truth` holds one class only, for then there is nothing to rank against.
    """
    present = np.unique(truth)
    if len(present) < 2:
        return []
    return [1] if k == 2 else [int(c) for c in present]


def scores(truth: NDArray[np.integer], probabilities: NDArray[np.floating]) -> dict[str, float | None]:
    """Each of `FIGURES`.

    The predicted class is the one of highest probability, the first of them at a tie. `balanced_accuracy` is
    the mean recall of the classes in `truth` (Brodersen et al. 2010); `f1_macro` the mean F1 of the classes
    that are true or predicted somewhere; `roc_auc`, with two classes, that of the second label, else the
    unweighted mean of the one-vs-rest areas of the classes in `truth`; `log_loss` is in nats.

    Args:
        truth: int [n], a column of `probabilities` each.
        probabilities: float [n, k]; rows are scaled to add up to 1.

    Returns:
        figure -> value; `roc_auc` is None where `truth` holds one class only.

    Raises:
        ValueError: as `checked`.
    """
    truth, probabilities = checked(truth, probabilities)
    k = probabilities.shape[1]
    predicted = probabilities.argmax(axis=1)
    areas = [roc_auc_score(truth == c, probabilities[:, c]) for c in scored_classes(truth, k)]
    return {
        "accuracy": float(accuracy_score(truth, predicted)),
        # Recall over the classes present is the balanced accuracy; balanced_accuracy_score warns of the
        # absent ones.
        "balanced_accuracy": float(recall_score(truth, predicted, labels=np.unique(truth), average="macro")),
        "f1_macro": float(f1_score(truth, predicted, average="macro", zero_division=0.0)),
        "roc_auc": float(np.mean(areas)) if areas else None,
        "log_loss": float(log_loss(truth, probabilities, labels=np.arange(k))),
    }

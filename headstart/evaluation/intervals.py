"""How certain a figure is: the bootstrap over test examples, paired over models.

Refuses to know the uncertainty of training: an interval says what another test set of this size could show of
*this* model, not what another seed could.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from headstart.evaluation.metrics import FIGURES, checked, scored_classes

# Resamples are drawn in blocks of about this many weights: 32 MB as float64, and a handful such arrays exist.
_BLOCK = 4_000_000


def interval(values: NDArray[np.floating], level: float = 0.95) -> tuple[float, float] | None:
    """Percentile interval of the bootstrapped values [resamples]; None if none of them is defined.

    The percentile method (Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapter 13) keeps
    within the figure's range and does not mind a change of scale. Like every bootstrap it sees no uncertainty
    where the examples show none: of a model without any error on the test split, the accuracy's interval is
    [1, 1].
    """
    values = values[~np.isnan(values)]
    if len(values) == 0:
        return None
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def bootstrap(
    truth: NDArray[np.integer],
    probabilities: Mapping[str, NDArray[np.floating]],
    *,
    groups: Sequence[object] | NDArray[np.generic] | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, dict[str, NDArray[np.float64]]]:
    """The models' figures in bootstrap resamples of the test examples, the same resamples for each model.

    Whole groups are drawn with replacement (Davison & Hinkley 1997, Bootstrap Methods and their Application,
    section 3.8, where this does better than drawing within groups as well; Field & Welsh 2007): ten pictures
    of one patient are not ten independent examples. Without groups this is the plain bootstrap. It is not
    stratified by class, so an interval includes that another test set would hold more or fewer of a rare
    class; a resample without a class leaves this class out of its means, and one with a single class has no
    `roc_auc`. Because all models meet the same resamples, the difference of two models' values is the paired
    bootstrap of their difference.

    A resample is a vector of weights, so that every figure is a few sparse products with a block of weights:
    the time grows with n * resamples * (2 + classes, for roc_auc), the memory does not grow.

    Args:
        truth: int [n].
        probabilities: model -> float [n, k].
        groups: [n], equal for examples of one group; None: each example for itself.
        resamples: how many to draw.
        seed: of the draws.

    Returns:
        model -> figure (`FIGURES`) -> float64 [resamples], NaN where it is undefined.

    Raises:
        ValueError: as `metrics.checked`, or `groups` is of another length.
    """
    models = {name: checked(truth, p) for name, p in probabilities.items()}
    if groups is None:
        member = np.arange(len(truth))
    else:
        member = np.unique(np.asarray(groups, dtype=str), return_inverse=True)[1]
    if len(member) != len(truth):
        raise ValueError(f"{len(member)} groups are given for {len(truth)} examples")
    counters = {name: _Counters(t, p) for name, (t, p) in models.items()}
    values: dict[str, dict[str, list[NDArray[np.float64]]]] = {
        name: {figure: [] for figure in FIGURES} for name in models
    }
    for weights in _weights(member, resamples, np.random.default_rng(seed)):
        for name, counter in counters.items():
            for figure, block in counter.figures(weights).items():
                values[name][figure].append(block)
    return {name: {figure: np.concatenate(v) for figure, v in of.items()} for name, of in values.items()}


def _weights(member: NDArray[np.intp], resamples: int, rng: np.random.Generator) -> Iterator[NDArray[np.float64]]:
    """Blocks [n, b] of how often each example is in each of b resamples; the b add up to `resamples`."""
    units = int(member.max()) + 1
    step = max(1, _BLOCK // len(member))
    for first in range(0, resamples, step):
        b = min(step, resamples - first)
        drawn = rng.integers(0, units, size=(b, units)) + np.arange(b)[:, None] * units
        counts = np.bincount(drawn.ravel(), minlength=b * units).reshape(b, units)
        yield counts.T.astype(np.float64)[member]


def _divided(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quotient, NaN where b is 0."""
    return np.divide(a, b, out=np.full(np.broadcast_shapes(a.shape, b.shape), np.nan), where=b > 0)


def _mean(a: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean [b] over the defined rows of a [c, b]; NaN where none is."""
    defined = ~np.isnan(a)
    return _divided(np.where(defined, a, 0.0).sum(axis=0), defined.sum(axis=0).astype(np.float64))


class _Counters:
    """One model's predictions as sparse matrices; products with weights [n, b] hold all that figures need."""

    def __init__(self, truth: NDArray[np.intp], probabilities: NDArray[np.float64]) -> None:
        n, k = probabilities.shape
        every = np.arange(n)
        predicted = probabilities.argmax(axis=1)
        hit = np.flatnonzero(predicted == truth)
        self.k = k
        # Rows 0..k-1 count the true classes, the next k the predicted ones, the last k those that are both.
        self.counts = _indicator(
            np.concatenate([truth, k + predicted, 2 * k + truth[hit]]),
            np.concatenate([every, every, hit]),
            (3 * k, n),
        )
        # As in scikit-learn, a probability of zero costs as much as the smallest step of float64.
        self.loss = -np.log(np.clip(probabilities[every, truth], np.finfo(np.float64).eps, 1.0))
        self.rankings = [_ranking(truth == c, probabilities[:, c]) for c in scored_classes(truth, k)]

    def figures(self, weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Each figure [b] under the weights [n, b]."""
        true, predicted, hits = np.split(self.counts @ weights, [self.k, 2 * self.k])
        total = true.sum(axis=0)
        areas = [_area(segments @ weights, positives @ weights) for segments, positives in self.rankings]
        return {
            "accuracy": hits.sum(axis=0) / total,
            "balanced_accuracy": _mean(_divided(hits, true)),
            "f1_macro": _mean(_divided(2 * hits, true + predicted)),
            "roc_auc": _mean(np.array(areas)) if areas else np.full(weights.shape[1], np.nan),
            "log_loss": self.loss @ weights / total,
        }


def _indicator(rows: NDArray[np.intp], columns: NDArray[np.intp], shape: tuple[int, int]) -> sparse.csr_array:
    return sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=shape)


def _ranking(positive: NDArray[np.bool_], score: NDArray[np.float64]) -> tuple[sparse.csr_array, sparse.csr_array]:
    """Two matrices [segments, n]: who is in which stretch of the ranking, and the positives of that.

    Examples of equal score share a segment, and so do neighbours without a positive between them, for their
    order does not matter. That leaves a rare class with few segments, however many examples there are.
    """
    n = len(score)
    values, tie = np.unique(score, return_inverse=True)
    holds = np.bincount(tie, weights=positive, minlength=len(values)) > 0
    starts = np.concatenate([[True], holds[1:] | holds[:-1]])
    segment = (np.cumsum(starts) - 1)[tie]
    shape = (int(starts.sum()), n)
    where = np.flatnonzero(positive)
    return _indicator(segment, np.arange(n), shape), _indicator(segment[where], where, shape)


def _area(everyone: NDArray[np.float64], positives: NDArray[np.float64]) -> NDArray[np.float64]:
    """Area under the ROC curve [b] from weights by ascending segment [s, b]; ties count half."""
    negatives = everyone - positives
    below = np.cumsum(negatives, axis=0) - negatives / 2
    return _divided((positives * below).sum(axis=0), positives.sum(axis=0) * negatives.sum(axis=0))

"""Pieces of figures under weights: everything a bootstrap needs of a model as products with blocks of weights.

Refuses to know where weights come from; `intervals` draws them.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

# Weights [n, b] -> each figure [b], NaN where it is undefined.
Figured = Callable[[NDArray[np.float64]], dict[str, NDArray[np.float64]]]


def divided(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quotient, NaN where b is 0."""
    return np.divide(a, b, out=np.full(np.broadcast_shapes(a.shape, b.shape), np.nan), where=b > 0)


def mean(a: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean [b] over the defined rows of a [c, b]; NaN where none is."""
    defined = ~np.isnan(a)
    return divided(np.where(defined, a, 0.0).sum(axis=0), defined.sum(axis=0).astype(np.float64))


def unweighted(figures: Figured, n: int) -> dict[str, float | None]:
    """Figures with each of n examples counted once; None where one is undefined."""
    found = figures(np.ones((n, 1)))
    return {name: None if np.isnan(value[0]) else float(value[0]) for name, value in found.items()}


def indicator(rows: NDArray[np.intp], columns: NDArray[np.intp], shape: tuple[int, int]) -> sparse.csr_array:
    """How often each (row, column) is given."""
    return sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=shape)


def ranking(
    positive: NDArray[np.bool_], score: NDArray[np.float64], example: NDArray[np.intp] | None = None
) -> tuple[sparse.csr_array, sparse.csr_array]:
    """Two matrices [segments, n]: who is in which stretch of the ranking, and the positives of that.

    Examples of equal score share a segment, and so do neighbours without a positive between them, for their
    order does not matter. That leaves a rare class with few segments, however many examples there are.

    Args:
        positive, score: [m], of what is ranked.
        example: int [m], the example of each, whose weight it has; None: each is an example of its own.
    """
    at = np.arange(len(score)) if example is None else example
    n = int(at.max()) + 1
    values, tie = np.unique(score, return_inverse=True)
    holds = np.bincount(tie, weights=positive, minlength=len(values)) > 0
    starts = np.concatenate([[True], holds[1:] | holds[:-1]])
    segment = (np.cumsum(starts) - 1)[tie]
    shape = (int(starts.sum()), n)
    where = np.flatnonzero(positive)
    return indicator(segment, at, shape), indicator(segment[where], at[where], shape)


def area(everyone: NDArray[np.float64], positives: NDArray[np.float64]) -> NDArray[np.float64]:
    """Area under the ROC curve [b] from weights by ascending segment [s, b]; ties count half."""
    negatives = everyone - positives
    below = np.cumsum(negatives, axis=0) - negatives / 2
    return divided((positives * below).sum(axis=0), positives.sum(axis=0) * negatives.sum(axis=0))


def average_precision(everyone: NDArray[np.float64], positives: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average precision [b] from weights by ascending segment [s, b], each a threshold; NaN without a positive.

    The mean over the positives of the precision down to their segment, as scikit-learn defines it.
    """
    above, hits = (np.cumsum(of[::-1], axis=0)[::-1] for of in (everyone, positives))
    precision = np.nan_to_num(divided(hits, above))
    return divided((positives * precision).sum(axis=0), positives.sum(axis=0))

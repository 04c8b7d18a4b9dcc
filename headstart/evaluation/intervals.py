"""How certain a figure is: the bootstrap over test examples, paired over models.

Refuses to know the uncertainty of training: an interval says what another test set of this size could show of
*this* model, not what another seed could.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.evaluation import classification
from headstart.evaluation.kinds import Kind

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
    truth: NDArray[Any],
    probabilities: Mapping[str, NDArray[np.floating]],
    *,
    groups: Sequence[object] | NDArray[np.generic] | None = None,
    resamples: int = 2000,
    seed: int = 0,
    kind: Kind = classification,
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
        truth: int [n], or what the label kind has instead.
        probabilities: model -> float [n, k], likewise.
        groups: [n], equal for examples of one group; None: each example for itself.
        resamples: how many to draw.
        seed: of the draws.
        kind: of the labels.

    Returns:
        model -> figure -> float64 [resamples], NaN where it is undefined.

    Raises:
        ValueError: as the kind's `counters`, or `groups` is of another length.
    """
    counters = {name: kind.counters(truth, p) for name, p in probabilities.items()}
    if groups is None:
        member = np.arange(len(truth))
    else:
        member = np.unique(np.asarray(groups, dtype=str), return_inverse=True)[1]
    if len(member) != len(truth):
        raise ValueError(f"{len(member)} groups are given for {len(truth)} examples")
    values: dict[str, dict[str, list[NDArray[np.float64]]]] = {
        name: {figure: [] for figure in kind.FIGURES.names} for name in counters
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

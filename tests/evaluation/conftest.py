"""Simulated predictions: a softmax of noise, with a bump on the true class."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

Simulated = tuple[NDArray[np.intp], NDArray[np.float32]]


def simulated(n: int, k: int, *, skill: float = 1.5, seed: int = 0, decimals: int | None = None) -> Simulated:
    """True classes [n] of unequal frequency and float32 probabilities [n, k]; rounding makes ties."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(k, n, p=rng.dirichlet(np.full(k, 3.0)))
    logits = rng.normal(size=(n, k))
    logits[np.arange(n), truth] += skill
    if decimals is not None:
        logits = logits.round(decimals)
    odds = np.exp(logits)
    return truth, (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def simulate() -> Callable[..., Simulated]:
    return simulated

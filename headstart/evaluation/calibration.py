"""Whether a probability means what it says, and temperature scaling, which mends it with a single number.

Refuses to know networks: works on probabilities, from which a softmax's logits follow but for a constant that it
ignores anyway.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from headstart.evaluation import curves
from headstart.evaluation.metrics import checked

# A model that makes no mistake on the validation split would like a temperature of 0, one that knows nothing an
# infinite one: neither can be told from so few examples.
LOWEST, HIGHEST = 0.05, 20.0
_TINY = np.finfo(np.float64).tiny  # the softmax of a very sure network in float32 holds zeros


def scaled(probabilities: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """The softmax of the logits over a temperature; above 1 the model becomes less sure, below it surer.

    The order of an example's classes stays, so no predicted class changes.

    Args:
        probabilities: float [n, k], each row adds up to 1.
        temperature: above 0.

    Returns:
        float64 [n, k].
    """
    logits = np.log(np.maximum(np.asarray(probabilities, dtype=np.float64), _TINY)) / temperature
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def temperature(truth: NDArray[np.integer], probabilities: NDArray[np.floating]) -> float:
    """The temperature of the least log loss on a validation split, to six digits; 1 where none is better.

    Guo et al. 2017, On Calibration of Modern Neural Networks, section 4.2. The loss is convex in the inverse
    temperature, so that its one minimum is found.

    Args:
        truth: int [n], of examples that no weight was fitted to.
        probabilities: float [n, k].

    Raises:
        ValueError: as `metrics.checked`.
    """
    truth, probabilities = checked(truth, probabilities)

    def loss(inverse: float) -> float:
        return _nll(truth, scaled(probabilities, 1 / inverse))

    found = minimize_scalar(loss, bounds=(1 / HIGHEST, 1 / LOWEST), method="bounded", options={"xatol": 1e-9})
    best = round(1 / float(found.x), 6)
    return best if loss(1 / best) < loss(1.0) else 1.0


def error(truth: NDArray[np.integer], probabilities: NDArray[np.floating]) -> float:
    """Expected calibration error: how far observed shares are from predicted probabilities, on average.

    Over the bins of `curves.reliability`, which hold about equally many examples (Nixon et al. 2019), weighed by them:
    the mean distance from the diagonal in the picture that the page shows.
    """
    table = curves.reliability(truth, probabilities)
    return float(np.average((table["observed"] - table["predicted"]).abs(), weights=table["n"]))


def report(
    validation: tuple[NDArray[np.integer], NDArray[np.floating]], test: tuple[NDArray[np.integer], NDArray[np.floating]]
) -> tuple[dict[str, Any], NDArray[np.float64]]:
    """Fit the temperature on the validation split and see what it does on the test split.

    Args:
        validation, test: true classes int [n] and probabilities [n, k], of one look at each example.

    Returns:
        temperature, how many validation examples it was fitted on, the test split's log loss (nll) and calibration
        error (ece) before and after, to six digits; and the test split's probabilities float64 [n, k] after it.

    Raises:
        ValueError: as `metrics.checked`.
    """
    found = temperature(*validation)
    truth, before = checked(*test)
    after = scaled(before, found)
    return {
        "temperature": found,
        "validation_examples": len(validation[0]),
        "nll": {"before": round(_nll(truth, before), 6), "after": round(_nll(truth, after), 6)},
        "ece": {"before": round(error(truth, before), 6), "after": round(error(truth, after), 6)},
    }, after


def plots(truth: NDArray[np.integer], models: Mapping[str, NDArray[np.floating]]) -> dict[str, pd.DataFrame]:
    """File name -> table: the reliability of each of `models`, usually before and after temperature scaling."""
    return {f"calibration/{name}.csv": curves.reliability(truth, p).round(6) for name, p in models.items()}


def _nll(truth: NDArray[np.integer], probabilities: NDArray[np.floating]) -> float:
    given = probabilities[np.arange(len(truth)), truth]
    # As in `metrics.scores`, a probability of zero costs as much as the smallest step of float64.
    return float(-np.log(np.clip(given, np.finfo(np.float64).eps, 1.0)).mean())

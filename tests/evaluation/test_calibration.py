import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from headstart.evaluation import calibration


@st.composite
def predictions(draw):
    """True classes [n] and float32 probabilities [n, k] of a softmax, from timid to very sure."""
    n, k = draw(st.integers(1, 40)), draw(st.integers(2, 6))
    logits = draw(arrays(np.float32, (n, k), elements=st.floats(-8, 8, width=32)))
    logits *= np.float32(draw(st.sampled_from([0.1, 1, 20])))
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return draw(arrays(np.int64, n, elements=st.integers(0, k - 1))), odds / odds.sum(axis=1, keepdims=True)


def nll(truth, probabilities):
    given = probabilities[np.arange(len(truth)), truth]
    return -np.log(np.clip(given, np.finfo(np.float64).eps, 1)).mean()


@given(predictions())
@settings(deadline=None, max_examples=60)
def test_the_loss_on_the_fitting_split_never_rises(drawn):
    truth, probabilities = drawn
    found = calibration.temperature(truth, probabilities)
    assert calibration.LOWEST <= found <= calibration.HIGHEST
    exact = calibration.scaled(probabilities, 1.0)
    assert nll(truth, calibration.scaled(probabilities, found)) <= nll(truth, exact) + 1e-9


@given(predictions(), st.floats(calibration.LOWEST, calibration.HIGHEST))
@settings(deadline=None)
def test_the_predicted_class_stays_and_rows_are_distributions(drawn, temperature):
    _, probabilities = drawn
    after = calibration.scaled(probabilities, temperature)
    np.testing.assert_allclose(after.sum(axis=1), 1)
    # As probable as any other: two that float64 can't tell apart may be in either order.
    best = after[np.arange(len(after)), probabilities.argmax(axis=1)]
    np.testing.assert_allclose(best, after.max(axis=1), rtol=1e-12)


def test_a_model_that_is_twice_too_sure_gets_a_temperature_of_two():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20_000, 4)) * 2
    odds = np.exp(logits)
    right = odds / odds.sum(axis=1, keepdims=True)
    truth = (right.cumsum(axis=1) < rng.random((len(right), 1))).sum(axis=1)
    sure = np.exp(2 * logits) / np.exp(2 * logits).sum(axis=1, keepdims=True)
    assert calibration.temperature(truth, sure) == pytest.approx(2, rel=0.05)
    said, after = calibration.report((truth[:10_000], sure[:10_000]), (truth[10_000:], sure[10_000:]))
    assert said["validation_examples"] == 10_000
    assert said["ece"]["after"] < 0.03 < 0.1 < said["ece"]["before"]
    assert said["nll"]["after"] < said["nll"]["before"]
    np.testing.assert_allclose(after, right[10_000:], atol=0.02)


def test_a_model_without_mistakes_has_a_temperature_at_the_end_of_its_range_not_zero():
    truth = np.array([0, 1, 0, 1])
    sure = np.eye(2)[truth] * 0.8 + 0.1
    found = calibration.temperature(truth, sure)
    assert calibration.LOWEST <= found < 0.1
    assert np.isfinite(calibration.scaled(np.eye(2), found)).all()


def test_a_calibrated_model_has_no_calibration_error():
    truth = np.tile([0, 0, 0, 1], 50)
    assert calibration.error(truth, np.tile([0.75, 0.25], (200, 1))) == pytest.approx(0, abs=1e-9)
    assert calibration.error(truth, np.tile([0.25, 0.75], (200, 1))) == pytest.approx(0.5)

import numpy as np
import pytest

from headstart.evaluation.metrics import scores


def test_figures_of_a_small_case_are_those_counted_by_hand():
    # Scores of class 1: true ones 0.9, 0.4, 0.6; others 0.2, 0.6.
    truth = np.array([1, 1, 1, 0, 0])
    positive = np.array([0.9, 0.4, 0.6, 0.2, 0.6])
    found = scores(truth, np.stack([1 - positive, positive], axis=1))
    assert found["accuracy"] == pytest.approx(3 / 5)
    assert found["balanced_accuracy"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert found["f1_macro"] == pytest.approx((2 / 3 + 1 / 2) / 2)  # 2·2 / (3 + 3) and 2·1 / (2 + 2)
    assert found["roc_auc"] == pytest.approx((2 + 1 + 1.5) / 6)  # pairs won, a tie counting half
    assert found["log_loss"] == pytest.approx(-np.log([0.9, 0.4, 0.6, 0.8, 0.4]).mean())


def test_multi_class_area_is_the_mean_of_pairwise_comparisons_of_each_class_with_the_rest(simulate):
    truth, p = simulate(150, 4, decimals=1)
    areas = []
    for c in range(4):
        pairs = p[truth == c, c].astype(float)[:, None] - p[truth != c, c].astype(float)[None, :]
        areas.append(((pairs > 0) + 0.5 * (pairs == 0)).mean())
    # The rows are scaled to 1, which may part two scores that float32 holds equal.
    assert scores(truth, p)["roc_auc"] == pytest.approx(np.mean(areas), abs=1e-4)


@pytest.mark.parametrize("k", [2, 3, 20, 100])
def test_any_number_of_classes_is_scored_without_a_warning_though_some_are_absent(simulate, k):
    truth, p = simulate(60, k)
    found = scores(truth, p)
    assert all(value is not None and np.isfinite(value) for value in found.values())


def test_a_test_split_of_one_class_has_no_area_but_all_the_rest():
    found = scores(np.array([1, 1]), np.array([[0.2, 0.8], [0.7, 0.3]]))
    assert found["roc_auc"] is None
    assert found["accuracy"] == found["balanced_accuracy"] == 0.5


def test_a_tie_between_classes_goes_to_the_first():
    assert scores(np.array([0, 1]), np.full((2, 2), 0.5))["accuracy"] == 0.5


def test_a_model_that_is_sure_and_wrong_has_a_large_but_finite_loss():
    loss = scores(np.array([0, 1]), np.array([[0.0, 1.0], [0.0, 1.0]]))["log_loss"]
    assert loss is not None
    assert 10 < loss < 100


@pytest.mark.parametrize(
    ("truth", "probabilities", "said"),
    [
        ([0, 1], [[0.5, 0.5]], r"\[n, k\]"),
        ([], np.empty((0, 2)), "0 examples"),
        ([0], [[1.0]], "1 classes"),
        ([2], [[0.5, 0.5]], "columns 0 to 1"),
        ([0], [[np.nan, 0.5]], "not a number"),
        ([0], [[0.0, 0.0]], "empty"),
    ],
)
def test_what_cannot_be_scored_is_refused_in_words(truth, probabilities, said):
    with pytest.raises(ValueError, match=said):
        scores(np.array(truth, dtype=int), np.array(probabilities))

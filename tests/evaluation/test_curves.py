import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from headstart.evaluation import curves


@pytest.mark.parametrize("decimals", [None, 0])
def test_the_drawn_curves_have_the_area_that_scikit_learn_computes(simulate, decimals):
    truth, p = simulate(3000, 3, decimals=decimals)
    p = p.astype(float) / p.astype(float).sum(axis=1, keepdims=True)
    for c, curve in curves.roc(truth, p).items():
        assert curve.area == pytest.approx(roc_auc_score(truth == c, p[:, c]))
        assert np.trapezoid(curve.rates, curves.GRID) == pytest.approx(curve.area, abs=0.004)
    for c, curve in curves.precision_recall(truth, p).items():
        assert curve.area == pytest.approx(average_precision_score(truth == c, p[:, c]))
        assert curve.rates.mean() == pytest.approx(curve.area, abs=0.01)


def test_a_perfect_model_reaches_the_corner():
    truth = np.array([0, 0, 1, 1])
    p = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.1, 0.9]])
    assert (curves.roc(truth, p)[1].rates == 1).all()
    assert (curves.precision_recall(truth, p)[1].rates == 1).all()


def test_a_model_that_cannot_tell_lies_on_the_diagonal():
    truth = np.array([0, 1, 0, 1])
    np.testing.assert_allclose(curves.roc(truth, np.full((4, 2), 0.5))[1].rates, curves.GRID)


def test_a_model_that_ranks_backwards_rises_only_at_the_end():
    rates = curves.roc(np.array([1, 0]), np.array([[0.9, 0.1], [0.1, 0.9]]))[1].rates
    assert (rates[:-1] == 0).all()
    assert rates[-1] == 1


def test_a_mistake_at_the_top_of_the_ranking_does_not_pull_the_first_precision_to_zero():
    truth = np.array([0, 1, 1])
    p = np.array([0.9, 0.8, 0.7])
    rates = curves.precision_recall(truth, np.stack([1 - p, p], axis=1))[1].rates
    assert rates[0] == 0.5
    assert rates[-1] == pytest.approx(2 / 3)


@pytest.mark.parametrize("k", [2, 5])
def test_a_model_whose_probabilities_are_true_is_reliable(k):
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(k), size=20_000)
    truth = (p.cumsum(axis=1) < rng.random((20_000, 1))).sum(axis=1)
    table = curves.reliability(truth, p)
    assert len(table) == 10
    assert table["n"].sum() == 20_000
    np.testing.assert_allclose(table["observed"], table["predicted"], atol=0.04)
    assert (table["low"] <= table["observed"]).all()
    assert (table["observed"] <= table["high"]).all()


def test_a_sure_and_often_wrong_model_is_shown_below_the_diagonal():
    truth = np.array([0, 1] * 50)
    table = curves.reliability(truth, np.tile([0.02, 0.98], (100, 1)))
    assert len(table) == 1  # equal probabilities stay together
    assert table.loc[0, "predicted"] == pytest.approx(0.98)
    assert table.loc[0, "observed"] == 0.5


def test_the_order_of_the_examples_does_not_show_in_the_reliability(simulate):
    truth, p = simulate(300, 2, decimals=0)
    order = np.argsort(truth)
    first, second = curves.reliability(truth, p), curves.reliability(truth[order], p[order])
    np.testing.assert_allclose(first, second)


def test_each_class_of_the_test_split_has_its_line(simulate):
    truth, p = simulate(400, 4)
    table = curves.by_class(truth, p, ["a", "b", "c", "d"]).set_index("class")
    assert list(table.index) == ["a", "b", "c", "d"]
    assert table["n"].sum() == 400
    for c, name in enumerate("abcd"):
        assert table.loc[name, "recall"] == (p.argmax(axis=1)[truth == c] == c).mean()


def test_the_confusion_table_names_what_was_and_what_was_said():
    table = curves.confusion(np.array([0, 1]), np.array([[0.2, 0.8], [0.1, 0.9]]), ["no", "yes"])
    assert table.to_numpy().tolist() == [["no", "yes"], ["yes", "yes"]]

import time

import numpy as np
import pytest

from headstart.evaluation import classification, intervals
from headstart.evaluation.intervals import bootstrap, interval
from headstart.evaluation.metrics import FIGURES, scores


@pytest.mark.parametrize(("k", "decimals"), [(2, None), (2, 0), (5, None), (5, 0)])
def test_a_resample_scores_as_if_its_examples_had_been_copied_out(simulate, k, decimals):
    truth, p = simulate(80, k, decimals=decimals)
    counters = classification.counters(truth, p)
    drawn = np.random.default_rng(1).integers(0, 80, size=(20, 80))
    weights = np.stack([np.bincount(row, minlength=80) for row in drawn], axis=1).astype(float)
    found = counters.figures(weights)
    for i, row in enumerate(drawn):
        copied = scores(truth[row], p[row])
        for figure in FIGURES:
            assert found[figure][i] == pytest.approx(copied[figure], abs=1e-12), figure


def test_the_interval_holds_the_figure_and_narrows_with_more_examples(simulate):
    widths = []
    for n in (100, 1600):
        truth, p = simulate(n, 2)
        low, high = interval(bootstrap(truth, {"m": p})["m"]["accuracy"])
        assert low < scores(truth, p)["accuracy"] < high
        widths.append(high - low)
    assert widths[0] / widths[1] == pytest.approx(4, rel=0.3)


def test_accuracy_of_many_examples_has_the_interval_of_the_binomial_distribution(simulate):
    truth, p = simulate(2000, 3)
    share = scores(truth, p)["accuracy"]
    half = 1.96 * np.sqrt(share * (1 - share) / 2000)
    assert interval(bootstrap(truth, {"m": p})["m"]["accuracy"]) == pytest.approx(
        (share - half, share + half), abs=0.002
    )


def test_nineteen_of_twenty_intervals_hold_the_value_of_the_whole_population(simulate):
    truth, p = simulate(200_000, 3)
    value = scores(truth, p)
    held = []
    for i in range(150):
        rows = slice(i * 200, (i + 1) * 200)
        drawn = bootstrap(truth[rows], {"m": p[rows]}, resamples=300, seed=i)["m"]
        bounds = {figure: interval(drawn[figure]) for figure in FIGURES}
        held.append([low <= value[figure] <= high for figure, (low, high) in bounds.items()])
    for figure, share in zip(FIGURES, np.mean(held, axis=0), strict=True):
        assert 0.88 <= share <= 0.99, figure  # 0.95 within three standard errors of 150, and some for the small n


def test_pictures_of_one_patient_do_not_count_as_independent(simulate):
    truth, p = simulate(60, 2)
    copies = np.repeat(np.arange(60), 10)
    alone = interval(bootstrap(truth, {"m": p})["m"]["accuracy"])
    grouped = interval(bootstrap(truth[copies], {"m": p[copies]}, groups=copies)["m"]["accuracy"])
    believed = interval(bootstrap(truth[copies], {"m": p[copies]})["m"]["accuracy"])
    assert grouped == pytest.approx(alone, abs=1e-9)  # ten copies of each say no more than one
    assert believed[1] - believed[0] < 0.5 * (alone[1] - alone[0])


def test_all_models_meet_the_same_resamples(simulate):
    truth, p = simulate(100, 2)
    drawn = bootstrap(truth, {"final": p, "head_only": p.copy()})
    for figure in FIGURES:
        np.testing.assert_array_equal(drawn["final"][figure], drawn["head_only"][figure])


def test_the_same_seed_gives_the_same_interval_and_another_seed_nearly_the_same(simulate):
    truth, p = simulate(400, 2)
    first, again, other = (bootstrap(truth, {"m": p}, seed=s)["m"]["roc_auc"] for s in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert interval(first) == pytest.approx(interval(other), abs=0.005)


def test_how_many_resamples_fit_in_memory_does_not_change_the_result(simulate, monkeypatch):
    truth, p = simulate(50, 3)
    whole = bootstrap(truth, {"m": p}, resamples=200)["m"]
    monkeypatch.setattr(intervals, "_BLOCK", 50 * 7)
    in_blocks = bootstrap(truth, {"m": p}, resamples=200)["m"]
    for figure in FIGURES:
        np.testing.assert_allclose(in_blocks[figure], whole[figure], rtol=1e-12)


def test_a_resample_without_the_only_positive_example_has_no_area_and_the_rest_of_them_do():
    truth = np.array([1] + [0] * 9)
    p = np.linspace(0.9, 0.1, 10)
    areas = bootstrap(truth, {"m": np.stack([1 - p, p], axis=1)})["m"]["roc_auc"]
    assert np.isnan(areas).mean() == pytest.approx(0.9**10, abs=0.05)
    assert interval(areas) == (1.0, 1.0)


def test_a_test_split_of_one_class_has_no_interval_of_the_area():
    areas = bootstrap(np.array([1, 1]), {"m": np.array([[0.2, 0.8], [0.7, 0.3]])})["m"]["roc_auc"]
    assert interval(areas) is None


def test_groups_of_another_length_are_refused(simulate):
    truth, p = simulate(10, 2)
    with pytest.raises(ValueError, match="3 groups are given for 10 examples"):
        bootstrap(truth, {"m": p}, groups=["a", "b", "c"])


def test_two_thousand_resamples_of_ten_thousand_examples_take_seconds(simulate):
    truth, p = simulate(10_000, 2)
    start = time.process_time()
    bootstrap(truth, {"m": p}, resamples=2000)
    assert time.process_time() - start < 20  # measured: 1 to 2

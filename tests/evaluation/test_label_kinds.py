"""Several classes and scores, held against scikit-learn and SciPy; resamples against copies of examples."""

from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import stats
from sklearn import metrics as sk

from headstart import compare
from headstart.evaluation import card, kinds, multi_label, report, score
from headstart.evaluation.attribution import Dense, slope
from headstart.evaluation.declared import OF_LABELS
from headstart.stage import UserError

NAMES = ["a", "b$", "_c"]


def several(n: int = 120, *, skill: float = 1.5, seed: int = 0, decimals: int = 9) -> tuple[NDArray, NDArray]:
    """Truth [n, 3] and probabilities; few decimals make ties."""
    rng = np.random.default_rng(seed)
    truth = (rng.random((n, 3)) < [0.5, 0.2, 0.1]).astype(np.float32)
    p = 1 / (1 + np.exp(-(rng.normal(size=(n, 3)) + skill * (2 * truth - 1))))
    return truth, p.round(decimals)


def scored(n: int = 120, *, noise: float = 0.5, seed: int = 0, decimals: int = 9) -> tuple[NDArray, NDArray]:
    """Truth [n] far from 0, and answers [n, 1]."""
    rng = np.random.default_rng(seed)
    truth = (1000 + 20 * rng.normal(size=n)).round(decimals)
    return truth, (truth + 20 * noise * rng.normal(size=n)).round(decimals)[:, None]


@pytest.mark.parametrize("decimals", [9, 1])
def test_figures_of_several_classes_are_those_of_scikit_learn(decimals: int) -> None:
    truth, p = several(decimals=decimals)
    yes = p >= 0.5
    expected = {
        "average_precision": sk.average_precision_score(truth, p, average="macro"),
        "roc_auc_macro": sk.roc_auc_score(truth, p, average="macro"),
        "roc_auc_micro": sk.roc_auc_score(truth, p, average="micro"),
        "f1_macro": sk.f1_score(truth, yes, average="macro", zero_division=0.0),
        "f1_micro": sk.f1_score(truth, yes, average="micro", zero_division=0.0),
        "exact_match": sk.accuracy_score(truth, yes),
    }
    assert multi_label.scores(truth, p) == pytest.approx(expected)
    table = multi_label.by_class(truth, p, NAMES).set_index("class")
    assert table["average_precision"].tolist() == pytest.approx(sk.average_precision_score(truth, p, average=None))
    assert table["roc_auc"].tolist() == pytest.approx(sk.roc_auc_score(truth, p, average=None))
    assert table["recall"].tolist() == pytest.approx(sk.recall_score(truth, yes, average=None, zero_division=0.0))


@pytest.mark.parametrize("decimals", [9, -1])
def test_figures_of_scores_are_those_of_scikit_learn_and_scipy(decimals: int) -> None:
    truth, answers = scored(decimals=decimals)
    expected = {
        "r2": sk.r2_score(truth, answers), "mae": sk.mean_absolute_error(truth, answers),
        "rmse": sk.root_mean_squared_error(truth, answers),
        "pearson": stats.pearsonr(truth, answers[:, 0]).statistic,
        "spearman": stats.spearmanr(truth, answers[:, 0]).statistic,
    }  # fmt: skip
    assert score.scores(truth, answers) == pytest.approx(expected)


@pytest.mark.parametrize(("kind", "given"), [(multi_label, several(40, decimals=1)), (score, scored(40, decimals=-1))])
def test_a_resample_scores_as_if_its_examples_had_been_copied_out(kind: ModuleType, given: tuple) -> None:
    truth, answers = given
    rng = np.random.default_rng(0)
    weights = np.stack([np.bincount(rng.integers(0, 40, 40), minlength=40) for _ in range(20)], axis=1).astype(float)
    found = kind.counters(truth, answers).figures(weights)
    for at in range(20):
        rows = np.repeat(np.arange(40), weights[:, at].astype(int))
        copied = kind.scores(truth[rows], answers[rows])
        assert {name: of[at] for name, of in found.items()} == pytest.approx(copied, abs=1e-9)


def test_what_a_test_split_leaves_undefined_is_none() -> None:
    truth, answers = np.full(5, 3.0), np.arange(5.0)[:, None]
    found = score.scores(truth, answers)
    assert (found["r2"], found["pearson"], found["spearman"]) == (None, None, None)
    assert found["mae"] == pytest.approx(1.4)
    said = report.report(truth, answers, answers, groups=None, resamples=20, seed=0, kind=score)
    assert said["gain"] == {"r2": None, "interval": [None, None]}
    none = multi_label.scores(np.zeros((4, 2)), np.full((4, 2), 0.1))
    assert none["average_precision"] is None
    assert none["exact_match"] == 1.0


@pytest.mark.parametrize("kind", ["multi", "score"])
def test_a_better_model_gains_in_the_primary_figure_by_more_than_chance(kind: str) -> None:
    judge = kinds.of(kind)
    truth, good = several(300, skill=2.0) if kind == "multi" else scored(300, noise=0.2)
    bad = several(300, skill=0.3)[1] if kind == "multi" else scored(300, noise=1.5)[1]
    said = report.report(truth, good, bad, groups=None, resamples=200, seed=0, kind=judge)
    first = OF_LABELS[kind].primary
    low, high = said["gain"]["interval"]
    assert 0 < low < said["gain"][first] < high
    assert f"gain in {first}" in report.summary(said, judge.FIGURES)


@pytest.mark.parametrize("kind", ["multi", "score"])
def test_predictions_are_read_as_they_were_written_and_compared(kind: str) -> None:
    judge = kinds.of(kind)
    truth, good = several(200, skill=2.0) if kind == "multi" else scored(200, noise=0.2, decimals=2)
    _, bad = several(200, skill=0.3) if kind == "multi" else scored(200, noise=1.5)
    if kind == "multi":
        label = ["|".join(name for name, one in zip(NAMES, row, strict=True) if one) for row in truth]
    else:
        label = [repr(float(value)) for value in truth]
    examples = pd.DataFrame({"id": [f"{at:03d}" for at in range(200)], "split": "test", "label": label})
    tables = {name: judge.predictions(examples, NAMES, p) for name, p in (("bad", bad), ("good", good))}
    names, known, answers = judge.read_predictions(tables["good"].astype(str))
    assert names == (NAMES if kind == "multi" else [])
    assert np.allclose(known, truth)
    assert np.allclose(answers, good, rtol=1e-5)
    found, n = compare.compare(tables, {}, resamples=200, seed=0, labels=kind)
    assert n == 200
    assert found.set_index("figure").loc[OF_LABELS[kind].primary, "low"] > 0
    with pytest.raises(UserError, match="the same classes"):
        compare.compare(
            {"one": tables["good"], "two": tables["bad"].assign(p_other=0.5)}, {}, resamples=9, seed=0, labels=kind
        )


@pytest.mark.parametrize("kind", ["multi", "score"])
def test_the_tables_and_pictures_of_every_kind_are_there(kind: str) -> None:
    judge = kinds.of(kind)
    truth, p = several() if kind == "multi" else scored()
    names = NAMES if kind == "multi" else ["price"]
    models = {"final": p, "head_only": p}
    said, tables, pictures = judge.calibration((truth, p), (truth, p), names)
    tables = judge.tables(truth, models, names) | tables
    files = ["roc", "precision_recall", "classes", "confusion", "reliability/final", "calibration/before"]
    assert {f"{name}.csv" for name in files} <= set(tables)
    assert bool(said) == (kind == "multi")
    drawn = judge.figures(truth, models, names) | dict(pictures)
    assert set(drawn) == ({"roc", "precision_recall", "reliability", "calibration"} if said else {"scatter"})
    if kind == "multi":
        assert said["validation_examples"] == len(truth)
        assert said["nll"]["after"] <= said["nll"]["before"]


def test_the_mistakes_of_several_classes_are_the_surest_wrong_answers() -> None:
    truth = np.array([[1, 0], [0, 1], [0, 0]])
    p = np.array([[0.1, 0.2], [0.6, 0.95], [0.0, 0.99]])
    table = multi_label.mistakes(pd.DataFrame({"id": ["x", "y", "z"]}), truth, p, ["a", "b"])
    assert table[["id", "truth", "predicted", "probability"]].to_numpy().tolist() == [
        ["z", "not b", "b", 0.99], ["x", "a", "not a", 0.9], ["y", "not a", "a", 0.6],
    ]  # fmt: skip
    towards, against = multi_label.directions(table, ["a", "b"])
    assert (towards.tolist(), against.tolist()) == ([1, -1, 0], [-1, 0, -1])
    assert multi_label.additive(p)[:, -1].tolist() == [0, 0, 0]


def test_the_mistakes_of_scores_are_the_largest_errors() -> None:
    table = score.mistakes(
        pd.DataFrame({"id": list("xyz")}), np.array([1.0, 2, 3]), np.array([[1.0], [5], [2.5]]), ["y"]
    )
    assert table[["id", "truth", "predicted", "said"]].to_numpy().tolist() == [
        ["y", "2", "5", True], ["z", "3", "2.5", False],
    ]  # fmt: skip
    towards, against = score.directions(table, ["y"])
    assert (towards.tolist(), against.tolist()) == ([0, -1], [-1, 0])


def test_what_spoke_for_one_output_alone_is_its_own_slope() -> None:
    weights = np.arange(6.0).reshape(3, 2)
    found = slope(np.zeros((2, 3)), [Dense(weights, np.zeros(2))], np.array([1, -1]), np.array([-1, 0]))
    assert found.tolist() == [weights[:, 1].tolist(), (-weights[:, 0]).tolist()]


@pytest.mark.parametrize(
    ("kind", "truth", "answers", "said"),
    [
        (multi_label, [[0, 2]], [[0.1, 0.2]], "more than 0 and 1"),
        (multi_label, [[0, 1]], [[0.1, 1.2]], "above 1"),
        (multi_label, [0, 1], [[0.1], [0.2]], r"both must be \[n, k\]"),
        (score, [1.0], [[np.nan]], "not a number"),
        (score, [1.0], [1.0], r"\[n, 1\] are needed"),
    ],
)
def test_what_can_not_be_judged_is_refused(kind: ModuleType, truth: list, answers: list, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        kind.scores(np.array(truth), np.array(answers))


@pytest.mark.parametrize(("kind", "sentence"), [("multi", "a sigmoid for each class"), ("score", "data's own unit")])
def test_the_card_speaks_of_the_kind(kind: str, sentence: str) -> None:
    judge = kinds.of(kind)
    truth, p = several() if kind == "multi" else scored()
    names = NAMES if kind == "multi" else ["price"]
    said = report.report(truth, p, p, groups=None, resamples=50, seed=0, kind=judge)
    calibration, tables, _ = judge.calibration((truth, p), (truth, p), names)
    if calibration:
        said["calibration"] = calibration
    tables |= judge.tables(truth, {"final": p}, names)
    counts = {"classes": dict.fromkeys(NAMES, 30)} if kind == "multi" else {"classes": {}, "scores": {"0 to 1": 120}}
    facts = card.Facts(
        knobs={"task": "text-classification", "backbone": "B", "lr": 0.1, "trainable_layers": 0}, views=1, metrics=said,
        classes=tables["classes.csv"], source={}, labels=kind,
        backbone={"name": "B", "embedding": 4, "source": "x", "licence": "MIT", "remark": ""},
        prepared={
            "examples": 360, "quarantined": 0, "conflicting_labels": 0,
            "splits": {split: {"examples": 120, **counts} for split in ("train", "validation", "test")},
        },
    )  # fmt: skip
    text = card.card(facts)
    assert sentence in text
    assert "softmax" not in text
    assert all(f"| {name} | " in text for name in OF_LABELS[kind].names)
    assert ("temperature" in text) == (kind == "multi")

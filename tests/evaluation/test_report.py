import json

import numpy as np
import pandas as pd
import pytest

from headstart import tracking
from headstart.evaluation import classification, report
from headstart.evaluation.metrics import FIGURES, scores


@pytest.fixture
def said(simulate):
    truth, final = simulate(300, 3, skill=2.0)
    _, head = simulate(300, 3, skill=1.0)
    return report.report(truth, final, head, groups=None, resamples=300, seed=0)


def test_the_final_model_is_at_the_top_and_the_head_alone_beneath_it(simulate, said):
    truth, final = simulate(300, 3, skill=2.0)
    _, head = simulate(300, 3, skill=1.0)
    assert said["n"] == 300
    for of, p in ((said, final), (said["head_only"], head)):
        for figure in FIGURES:
            assert of[figure] == pytest.approx(scores(truth, p)[figure], abs=1e-6)
            low, high = of["interval"][figure]
            assert low <= of[figure] <= high


def test_a_gain_from_fine_tuning_that_is_there_is_shown(said):
    assert said["gain"]["accuracy"] == pytest.approx(said["accuracy"] - said["head_only"]["accuracy"])
    assert 0 < said["gain"]["interval"][0] < said["gain"]["accuracy"] < said["gain"]["interval"][1]


def test_the_paired_interval_of_the_gain_is_narrower_than_the_two_models_apart_would_allow(said):
    def width(pair):
        return pair[1] - pair[0]

    apart = np.hypot(width(said["interval"]["accuracy"]), width(said["head_only"]["interval"]["accuracy"]))
    assert width(said["gain"]["interval"]) < apart


def test_a_head_that_is_the_final_model_gains_exactly_nothing(simulate):
    truth, p = simulate(100, 2)
    said = report.report(truth, p, p, groups=None, resamples=200, seed=0)
    assert said["gain"] == {"accuracy": 0.0, "interval": [0.0, 0.0]}


def test_the_metrics_file_is_the_same_to_the_byte_on_a_second_run(simulate):
    def run():
        truth, p = simulate(200, 3)
        return json.dumps(report.report(truth, p, p[:, [1, 0, 2]], groups=None, resamples=200, seed=5))

    assert run() == run()


def test_a_test_split_of_one_class_is_reported_as_strict_json_and_printed():
    p = np.array([[0.2, 0.8], [0.7, 0.3], [0.4, 0.6]])
    said = report.report(np.array([1, 1, 1]), p, p, groups=None, resamples=200, seed=0)
    assert json.loads(json.dumps(said, allow_nan=False)) == said
    assert said["roc_auc"] is None
    assert "undefined" in report.summary(said)
    assert "roc_auc" not in tracking.numbers(said)
    assert all(isinstance(number, int | float) for number in tracking.numbers(said).values())


def test_the_summary_has_both_models_on_one_line_of_at_most_a_hundred_characters(said):
    lines = report.summary(said).splitlines()
    accuracy = next(line for line in lines if line.startswith("accuracy"))
    assert f"{said['accuracy']:.4f}" in accuracy
    assert f"{said['head_only']['accuracy']:.4f}" in accuracy
    assert max(map(len, lines)) <= 100


def test_predictions_keep_names_order_and_small_probabilities(tmp_path):
    examples = pd.DataFrame({"id": ["007", "008"], "split": "test", "label": ["NA", "truth"], "path": "x"})
    p = np.array([[1.0 - 1e-9, 1.23456789e-9], [0.25, 0.75]])
    classification.predictions(examples, ["NA", "truth"], p).to_csv(tmp_path / "p.csv", index=False)
    assert (tmp_path / "p.csv").read_text().splitlines() == [
        "id,split,truth,predicted,p_NA,p_truth",
        "007,test,NA,NA,1.0,1.23457e-09",
        "008,test,truth,truth,0.25,0.75",
    ]


@pytest.mark.parametrize("k", [2, 5, 100])
def test_plot_tables_have_the_columns_that_dvc_yaml_names_and_no_empty_cell(simulate, k):
    truth, p = simulate(300, k)
    labels = [f"class {i}" for i in range(k)]
    tables = classification.tables(truth, {"final": p, "head_only": p}, labels)
    assert {name: list(table.columns) for name, table in tables.items()} == {
        "roc.csv": ["false_positive_rate", "final", "head_only", "random"],
        "precision_recall.csv": ["recall", "final", "head_only"],
        "classes.csv": ["class", "n", "precision", "recall", "f1", "roc_auc"],
        "confusion.csv": ["actual", "predicted"],
        "reliability/final.csv": ["predicted", "observed", "low", "high", "n"],
        "reliability/head_only.csv": ["predicted", "observed", "low", "high", "n"],
        "reliability/ideal.csv": ["predicted", "observed"],
    }
    assert not any(table.isna().any(axis=None) for table in tables.values())
    assert len(tables["roc.csv"]) == 202


def test_plots_of_a_test_split_of_one_class_leave_the_ranking_out():
    p = np.array([[0.2, 0.8], [0.7, 0.3]])
    tables = classification.tables(np.array([1, 1]), {"final": p, "head_only": p}, ["no", "yes"])
    assert list(tables["roc.csv"].columns)[:2] == ["false_positive_rate", "final"]
    assert len(tables["roc.csv"]) == 0
    assert len(tables["confusion.csv"]) == 2

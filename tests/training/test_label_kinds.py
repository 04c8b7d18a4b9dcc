"""Trainings on several classes an example and on scores: what the head answers, and which epoch is kept."""

import keras
import numpy as np
import pytest

from headstart import device
from headstart.backbones.saving import load_model, save_model
from headstart.features.inputs import Cached
from headstart.tasks import multi_label
from headstart.tasks.score import Score
from headstart.training import loop, networks, optimization
from headstart.training.batches import Batches

RNG = np.random.default_rng(0)
EMBEDDINGS = RNG.normal(size=(240, 1, 5)).astype(np.float32)
FLAGS = (EMBEDDINGS[:, 0, :3] + RNG.normal(size=(240, 3)) * 0.3 > 0.5).astype(np.float32)
SCORES = (1e4 + 300 * (EMBEDDINGS[:, 0, 0] + RNG.normal(size=240) * 0.1)).astype(np.float32)


def trained(task, labels, k, *, lr=0.05, epochs=8):
    keras.utils.set_random_seed(0)
    head = networks.head(5, k, [], 0.0, task)
    halves = [
        Batches(Cached(EMBEDDINGS[rows]), task.targets(labels[rows], k), batch_size=16, seed=0, shuffle=shuffle)
        for rows, shuffle in ((slice(0, 160), True), (slice(160, 240), False))
    ]
    history = loop.fit(
        head, task, *halves, optimization.optimizer("adamw", lr), epochs=epochs, patience=5, on_epoch=lambda *_: None
    )
    return head, history


def test_several_classes_are_learnt_each_by_itself():
    head, history = trained(multi_label, FLAGS, 3)
    p = head.predict_on_batch(EMBEDDINGS[160:, 0])
    assert ((p >= 0.5) == FLAGS[160:]).mean() > 0.85
    assert (p.sum(axis=1) > 1.2).any()
    assert list(history)[3:] == ["average_precision", "val_loss", "val_average_precision"]
    best = history.loc[loop.best_epoch(history, multi_label.FOLLOWED)]
    assert best["val_average_precision"] == history["val_average_precision"].max() > 0.9


def test_smoothing_takes_a_yes_and_a_no_towards_the_middle():
    np.testing.assert_allclose(multi_label.targets(np.array([[1.0, 0.0]]), 2, 0.2), [[0.9, 0.1]], rtol=1e-6)


def test_smoothed_targets_are_ranked_as_plain_ones():
    labels = np.float32([[0, 1], [1, 0], [0, 0], [1, 1]] * 8)
    answers = np.random.default_rng(0).uniform(size=labels.shape).astype(np.float32)
    found = []
    for smoothing in (0.0, 0.2):
        (metric,) = multi_label.metrics()
        metric.update_state(multi_label.targets(labels, 2, smoothing), answers)
        found.append(float(metric.result()))
    assert found[0] == found[1] < 0.9


@pytest.mark.parametrize("unit", [1.0, 1e-6, 1e5])
def test_a_learning_rate_means_the_same_in_any_unit(unit):
    scores = SCORES * np.float32(unit)
    task = Score.of(scores[:160])
    _, history = trained(task, scores, 1, epochs=3)
    _, same = trained(Score.of(SCORES[:160]), SCORES, 1, epochs=3)
    np.testing.assert_allclose(history["val_loss"], same["val_loss"], rtol=2e-3)
    np.testing.assert_allclose(history["val_absolute_error"], same["val_absolute_error"] * unit, rtol=2e-3)


def test_scores_are_answered_in_the_datas_own_unit_and_the_lowest_loss_is_kept(tmp_path):
    task = Score.of(SCORES[:160])
    head, history = trained(task, SCORES, 1)
    answers = head.predict_on_batch(EMBEDDINGS[160:, 0])[:, 0]
    assert np.corrcoef(answers, SCORES[160:])[0, 1] > 0.95
    assert abs(answers.mean() - SCORES[160:].mean()) < 60
    best = loop.best_epoch(history, task.FOLLOWED)
    assert history.loc[best, "val_loss"] == history["val_loss"].min()
    summary = loop.summary(history, task.FOLLOWED)
    assert list(summary) == ["epochs", "best_epoch", "best_val_loss", "best_val_absolute_error"]
    error = np.square((answers - SCORES[160:]) / task.deviation).mean()
    assert summary["best_val_loss"] == pytest.approx(error, rel=1e-3)
    save_model(head, tmp_path / "head.keras")
    again = load_model(tmp_path / "head.keras").predict_on_batch(EMBEDDINGS[160:, 0])[:, 0]
    np.testing.assert_allclose(again, answers, rtol=1e-6)


@pytest.mark.parametrize("task", [multi_label, Score(1e4, 300.0)])
def test_what_answers_stays_exact_whatever_the_precision_below(task):
    head = networks.head(5, 1, [4], 0.0, task)
    device.compute_in(head, "bfloat16")
    exact = {layer.name: layer.compute_dtype for layer in head.layers[2:]}
    assert head.get_layer("hidden1").compute_dtype == "bfloat16"
    assert set(exact.values()) == {"float32"}, exact


def test_scores_that_are_all_equal_have_a_unit_all_the_same():
    assert Score.of(np.full(4, 7.0)).deviation == 1.0

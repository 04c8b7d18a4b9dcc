"""A training keeps its best, says when it has gone wrong, and writes down each epoch."""

from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from headstart.features.inputs import Cached, OnTheFly
from headstart.features.views import as_rgb
from headstart.stage import UserError
from headstart.tasks import classification as task
from headstart.training import loop, networks, optimization
from headstart.training.batches import Batches

COLUMNS = ["epoch", "learning_rate", "loss", "accuracy", "val_loss", "val_accuracy"]
RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 3, 96)
# Three clouds that overlap a little: embeddings [96, 1, 5].
CLOUDS = (np.eye(3, 5)[LABELS] * 2 + RNG.normal(size=(96, 5))).astype(np.float32)[:, None]


def batches(cache: np.ndarray = CLOUDS, labels: np.ndarray = LABELS, **given: object) -> Batches:
    settings = {"batch_size": 16, "seed": 0} | given
    return Batches(Cached(cache), task.targets(labels, 3), **settings)


def fit(model: keras.Model, train: Batches | None = None, **given: object) -> pd.DataFrame:
    """Train with sgd on the first two thirds, unless told otherwise."""
    optimizer = given.pop("optimizer", None) or optimization.optimizer("sgd", given.pop("lr", 0.05))
    settings = {"epochs": 4, "patience": 10, "on_epoch": lambda epoch, numbers: None} | given
    train = train or batches(CLOUDS[:64], LABELS[:64])
    return loop.fit(model, task, train, validation(), optimizer, **settings)


def validation() -> Batches:
    return batches(CLOUDS[64:], LABELS[64:], shuffle=False)


@pytest.fixture
def head() -> keras.Model:
    keras.utils.set_random_seed(0)
    return networks.head(5, 3, [], 0.0, task)


def test_the_best_epochs_weights_are_kept(head: keras.Model) -> None:
    told = []
    # A rate that is too high for the end but not for the start: the best epoch is neither the first nor the last.
    rng = np.random.default_rng(1)
    noise = batches(CLOUDS[:64], rng.permutation(LABELS[:64]))
    first = fit(head, epochs=3)
    assert loop.best_epoch(first, task.FOLLOWED) == 3
    history = fit(head, noise, lr=0.5, epochs=4, on_epoch=lambda epoch, numbers: told.append((epoch, numbers)))
    assert loop.best_epoch(history, task.FOLLOWED) == 0
    assert loop.validate(head, task, validation())["val_loss"] == pytest.approx(first["val_loss"][3], rel=1e-5)
    assert [epoch for epoch, _ in told] == [0, 1, 2, 3, 4]
    assert [numbers["val_loss"] for _, numbers in told] == history["val_loss"].tolist()


def test_the_best_epoch_in_the_middle_is_gone_back_to(head: keras.Model) -> None:
    # Few examples with some labels wrong: learned by heart in the end.
    wrong = LABELS[:12].copy()
    wrong[:5] = (wrong[:5] + 1) % 3
    history = fit(head, batches(CLOUDS[:12], wrong, batch_size=4), lr=0.05, epochs=25, patience=25)
    assert 0 < loop.best_epoch(history, task.FOLLOWED) < 25
    best = history.iloc[loop.best_epoch(history, task.FOLLOWED)]
    found = loop.validate(head, task, validation())
    assert found["val_loss"] == pytest.approx(best["val_loss"], rel=1e-5)
    assert found["val_accuracy"] == history["val_accuracy"].max()


def test_the_best_epoch_is_the_most_accurate_and_of_equals_the_one_of_lower_loss() -> None:
    rows = [(0, 0.8, 0.3), (1, 0.9, 0.9), (2, 0.9, 0.7), (3, 0.9, 0.7), (4, 0.85, 0.1)]
    history = pd.DataFrame(rows, columns=["epoch", "val_accuracy", "val_loss"])
    assert loop.best_epoch(history, task.FOLLOWED) == 2


def test_a_training_that_hurts_changes_nothing(head: keras.Model) -> None:
    fit(head, epochs=5)
    before = head.get_weights()
    wrong = (LABELS[:64] + 1) % 3
    history = fit(head, batches(CLOUDS[:64], wrong), epochs=3)
    assert loop.best_epoch(history, task.FOLLOWED) == 0
    assert all(np.array_equal(a, b) for a, b in zip(before, head.get_weights(), strict=True))
    assert loop.summary(history, task.FOLLOWED)["best_epoch"] == 0
    assert loop.summary(history, task.FOLLOWED)["epochs"] == 3


def test_it_stops_after_so_many_epochs_without_a_better_one(head: keras.Model) -> None:
    history = fit(head, lr=1e-12, epochs=50, patience=3)
    assert len(history) - 1 <= loop.best_epoch(history, task.FOLLOWED) + 3 + 1 < 50


def test_a_start_that_is_worse_than_what_it_came_with_does_not_count_for_stopping() -> None:
    class Model:
        stop_training = False

        def get_weights(self) -> list[int]:
            return [0]

    keep = loop.KeepBest({"val_accuracy": 0.9, "val_loss": 0.3}, 2, task.FOLLOWED)
    keep.set_model(Model())
    keep.on_train_begin()
    stopped = []
    for epoch, accuracy in enumerate((0.5, 0.6, 0.7, 0.8, 0.91, 0.9, 0.9)):
        keep.on_epoch_end(epoch, {"val_accuracy": accuracy, "val_loss": 0.5})
        stopped.append(keep.model.stop_training)
    assert stopped == [False] * 6 + [True]
    assert keep.best == (0.91, -0.5)


def test_a_loss_that_is_not_finite_names_epoch_and_rate(head: keras.Model) -> None:
    bad = CLOUDS[:64].copy()
    bad[5] = np.nan
    with pytest.raises(
        UserError, match=r"^the loss is nan in epoch 1, batch [1-4], at a learning rate of 0\.05; lower lr$"
    ):
        fit(head, batches(bad, LABELS[:64]))


def test_the_history_holds_every_epoch_from_the_weights_it_came_with(head: keras.Model) -> None:
    untrained = loop.validate(head, task, validation())
    history = fit(head, epochs=3)
    assert list(history) == COLUMNS
    assert history["epoch"].tolist() == [0, 1, 2, 3]
    assert history.loc[0, ["learning_rate", "loss", "accuracy"]].isna().all()
    assert history.loc[0, "val_loss"] == pytest.approx(untrained["val_loss"])
    assert np.allclose(history.loc[1:, "learning_rate"], 0.05)
    assert history["val_accuracy"].between(0, 1).all()
    assert history["loss"].iloc[-1] < history["loss"].iloc[1]
    shown = loop.table("head", history, task.FOLLOWED).splitlines()
    assert shown[0] == "head"
    assert [line.endswith("best") for line in shown[2:]] == [
        row == loop.best_epoch(history, task.FOLLOWED) for row in range(4)
    ]


def test_the_plotted_curves_have_no_empty_cell(head: keras.Model) -> None:
    lines = loop.curves(fit(head)).splitlines()
    assert lines[0] == ",".join(COLUMNS)
    assert [line.split(",")[0] for line in lines[1:]] == ["1", "2", "3", "4"]
    assert not any(cell == "" for line in lines for cell in line.split(","))


def test_no_epochs_leave_the_model_and_one_row(head: keras.Model) -> None:
    before = head.get_weights()
    history = fit(head, epochs=0)
    assert loop.summary(history, task.FOLLOWED) == {
        "epochs": 0,
        "best_epoch": 0,
        "best_val_loss": round(history["val_loss"][0], 6),
        "best_val_accuracy": round(history["val_accuracy"][0], 6),
    }
    assert list(history) == COLUMNS
    assert all(np.array_equal(a, b) for a, b in zip(before, head.get_weights(), strict=True))


def test_the_same_seed_gives_the_same_training() -> None:
    found = []
    for _ in range(2):
        keras.utils.set_random_seed(3)
        found.append(fit(networks.head(5, 3, [4], 0.3, task), epochs=3))
    pd.testing.assert_frame_equal(*found)


def test_class_weights_make_up_for_frequency() -> None:
    labels = np.array([0] * 6 + [1] * 3 + [2] * 1)
    weights = task.class_weights(labels, 3)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights[labels].sum(), len(labels), rtol=1e-6)
    np.testing.assert_allclose([weights[labels][labels == k].sum() for k in range(3)], 10 / 3, rtol=1e-6)


def test_a_rare_class_is_found_with_class_weights_and_hardly_without() -> None:
    rng = np.random.default_rng(0)
    labels = np.array([0] * 190 + [1] * 10)
    cache = (rng.normal(size=(200, 1, 5)) + 1.2 * np.eye(5)[labels][:, None]).astype(np.float32)
    recall = {}
    for weighted in (False, True):
        keras.utils.set_random_seed(0)
        model = networks.head(5, 3, [], 0.0, task)
        weights = task.class_weights(labels[labels < 2], 2)[labels] if weighted else None
        train = batches(cache, labels, weights=weights)
        model.compile(optimization.optimizer("sgd", 0.05), task.loss(), jit_compile=False)
        model.fit(train, epochs=8, verbose=0, shuffle=False)
        recall[weighted] = (model.predict_on_batch(cache[:, 0])[labels == 1].argmax(axis=1) == 1).mean()
    assert recall[True] > recall[False] + 0.3


def test_smoothed_targets_are_distributions() -> None:
    np.testing.assert_allclose(task.targets(np.array([1]), 4, 0.2), [[0.05, 0.85, 0.05, 0.05]], rtol=1e-6)
    np.testing.assert_array_equal(task.targets(np.array([0, 2]), 3), [[1, 0, 0], [0, 0, 1]])


@pytest.mark.parametrize("clip_norm", [None, 1.0])
@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "rmsprop"])
def test_every_optimizer_lowers_the_loss(head: keras.Model, name: str, clip_norm: float | None) -> None:
    made = optimization.optimizer(name, 0.01, weight_decay=1e-4, clip_norm=clip_norm)
    history = fit(head, optimizer=made, epochs=3)
    assert history["val_loss"].iloc[-1] < history["val_loss"].iloc[0] * 0.95


def test_weight_decay_leaves_biases_alone() -> None:
    made = optimization.optimizer("adamw", 0.1, weight_decay=0.5)
    layer = keras.layers.Dense(2, bias_initializer="ones")
    layer.build((None, 2))
    kernel = np.asarray(layer.kernel)
    made.apply([keras.ops.zeros_like(w) for w in layer.trainable_weights], layer.trainable_weights)
    np.testing.assert_allclose(np.asarray(layer.bias), 1)
    np.testing.assert_allclose(np.asarray(layer.kernel), kernel * (1 - 0.1 * 0.5), rtol=1e-5)


def test_the_rate_rises_then_follows_a_cosine_to_zero() -> None:
    rate = optimization.schedule(0.2, 100, 0.1)
    found = [float(rate(step)) for step in range(101)]
    np.testing.assert_allclose(found[:11], np.linspace(0, 0.2, 11), atol=1e-6)
    np.testing.assert_allclose(found[10:], 0.1 * (1 + np.cos(np.pi * np.arange(91) / 90)), atol=1e-6)


def test_without_warm_up_it_starts_at_the_top() -> None:
    rate = optimization.schedule(0.2, 10, 0.0)
    np.testing.assert_allclose([float(rate(s)) for s in (0, 5, 10)], [0.2, 0.1, 0], atol=1e-6)


def test_a_training_of_one_step_has_a_rate() -> None:
    assert np.isfinite(float(optimization.schedule(0.1, 1, 0.1)(0)))


def test_training_from_the_cache_is_training_on_the_fly(tmp_path: Path) -> None:
    """The frozen part's cached outputs give the losses that the whole network gives, step by step."""
    images = RNG.integers(0, 256, (24, 8, 8, 1), dtype=np.uint8)
    labels = RNG.integers(0, 3, 24)
    table = pd.DataFrame({"hash": [f"{i:064x}" for i in range(24)]})
    keras.utils.set_random_seed(0)
    picture = keras.Input((8, 8, 3))
    frozen = keras.Model(
        picture,
        keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3)(keras.layers.Rescaling(1 / 255)(picture))),
    )
    np.save(tmp_path / "cache.npy", np.asarray(frozen(as_rgb(images).astype(np.float32)))[:, None])
    frozen.trainable = False
    between = keras.Input(frozen.output_shape[1:])
    x = keras.layers.Flatten()(keras.layers.Conv2D(4, 3, activation="relu")(between))
    tail = keras.Model(between, task.output_layer(3)(x))
    start = tail.get_weights()

    losses = []
    cached = Cached(np.load(tmp_path / "cache.npy", mmap_mode="r"))
    for fetch, model in ((cached, tail), (OnTheFly(images, table, "none", 0), networks.on_top(frozen, tail, "whole"))):
        tail.set_weights(start)
        model.compile(optimization.optimizer("sgd", 0.1), task.loss(), jit_compile=False)
        data = Batches(fetch, task.targets(labels, 3), batch_size=5, seed=0)
        steps: list[float] = []
        for _ in range(3):
            for i in range(len(data)):
                inputs, targets, weights = data[i]
                steps.append(float(model.train_on_batch(inputs, targets, sample_weight=weights)))
            data.on_epoch_end()
        losses.append(steps)
    assert len(losses[0]) == 15
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


def test_the_heads_layers_are_those_asked_for() -> None:
    found = networks.head(7, 3, [16, 4], 0.5, task)
    assert [layer.name for layer in found.layers] == ["embedding", "hidden1", "hidden2", "dropout", "probabilities"]
    assert found.output_shape == (None, 3)
    np.testing.assert_allclose(np.asarray(found(np.ones((2, 7)))).sum(axis=1), 1, rtol=1e-5)

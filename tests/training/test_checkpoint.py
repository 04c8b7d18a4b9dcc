"""A training that is cut off goes on to the same bits; another one never finds its state."""

from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from headstart.features.inputs import Cached
from headstart.stage import UserError
from headstart.tasks import classification as task
from headstart.training import loop, networks, optimization
from headstart.training.batches import Batches
from headstart.training.checkpoint import MOST, Checkpoint

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 3, 96)
# Two views of each example, so that an epoch's number matters.
CLOUDS = (np.eye(3, 5)[LABELS][:, None] * 2 + RNG.normal(size=(96, 2, 5))).astype(np.float32)


class KilledError(Exception):
    """Stands for the end of the process: nothing after it runs."""


def train(
    checkpoint: Checkpoint | None, until: int | None = None, optimizer: str = "adamw", **given: object
) -> tuple[pd.DataFrame, list[np.ndarray]]:
    """Train a head with dropout in a state as a new process has it; be killed in the epoch after `until`."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    model = networks.head(5, 3, [8], 0.3, task)
    settings = {"epochs": 5, "patience": 10} | given
    told: list[int] = []

    def on_epoch(epoch: int, numbers: dict[str, float]) -> None:
        told.append(epoch)
        if until is not None and epoch > until:
            raise KilledError

    history = loop.fit(
        model,
        task,
        Batches(Cached(CLOUDS[:64]), task.targets(LABELS[:64], 3), batch_size=16, seed=0, views=2),
        Batches(Cached(CLOUDS[64:]), task.targets(LABELS[64:], 3), batch_size=32, seed=0, shuffle=False),
        optimization.optimizer(optimizer, optimization.schedule(0.05, 20, 0.1), weight_decay=1e-4, clip_norm=1.0),
        on_epoch=on_epoch,
        checkpoint=checkpoint,
        **settings,
    )
    assert told == list(range(len(history)))
    return history, model.get_weights()


def same(one: tuple, other: tuple) -> bool:
    pd.testing.assert_frame_equal(one[0], other[0], check_exact=True)
    return all(np.array_equal(a, b) for a, b in zip(one[1], other[1], strict=True))


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "rmsprop"])
def test_a_killed_training_goes_on_to_the_same_bits(tmp_path: Path, optimizer: str) -> None:
    undisturbed = train(None, optimizer=optimizer)
    checkpoint = Checkpoint("head", "key", tmp_path)
    for until in (0, 2, 3):  # before the first state, then twice on the way
        with pytest.raises(KilledError):
            train(checkpoint, until, optimizer)
    assert same(train(checkpoint, optimizer=optimizer), undisturbed)


def test_one_killed_after_its_last_epoch_only_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = Checkpoint("head", "key", tmp_path)
    whole = train(checkpoint)
    assert same(train(checkpoint), whole)
    assert "going on after epoch 5" in capsys.readouterr().out


def test_one_that_had_stopped_early_does_not_train_on(tmp_path: Path) -> None:
    checkpoint = Checkpoint("head", "key", tmp_path)
    whole = train(checkpoint, epochs=50, patience=2)
    assert len(whole[0]) < 40
    assert same(train(checkpoint, epochs=50, patience=2), whole)


def test_what_early_stopping_counted_is_not_forgotten(tmp_path: Path) -> None:
    undisturbed = train(None, epochs=50, patience=2)
    checkpoint = Checkpoint("head", "key", tmp_path)
    for until in range(1, len(undisturbed[0]) - 1):
        with pytest.raises(KilledError):
            train(checkpoint, until, epochs=50, patience=2)
    assert same(train(checkpoint, epochs=50, patience=2), undisturbed)


def test_a_damaged_state_counts_for_nothing(tmp_path: Path) -> None:
    undisturbed = train(None)
    checkpoint = Checkpoint("head", "key", tmp_path)
    with pytest.raises(KilledError):
        train(checkpoint, 2)
    content = checkpoint.path.read_bytes()
    for at in (4, len(content) // 2, len(content) - 3):
        flipped = bytearray(content)
        flipped[at] ^= 1
        checkpoint.path.write_bytes(flipped)
        assert checkpoint.load() is None
    for length in (0, 7, 100, len(content) - 1):
        checkpoint.path.write_bytes(content[:length])
        assert checkpoint.load() is None
    assert same(train(checkpoint), undisturbed)


def test_another_key_or_backend_is_another_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Checkpoint("head", "key", tmp_path)
    others = [Checkpoint("head", "another", tmp_path), Checkpoint("tail", "key", tmp_path)]
    monkeypatch.setattr(keras.backend, "backend", lambda: "another")
    others.append(Checkpoint("head", "key", tmp_path))
    assert len({checkpoint.path for checkpoint in (first, *others)}) == 4


def test_a_finished_training_leaves_nothing_and_old_ones_go(tmp_path: Path) -> None:
    states = [Checkpoint("head", str(at), tmp_path) for at in range(MOST + 3)]
    for state in states:
        state.save({}, {"model": [np.zeros(2)]})
    states[-1].remove()
    assert [state.path.exists() for state in states] == [False, False, *[True] * MOST, False]
    states[-1].remove()


def test_the_last_good_weights_are_kept_when_the_loss_runs_away(tmp_path: Path) -> None:
    checkpoint = Checkpoint("head", "key", tmp_path)

    class Late(Batches):
        def __getitem__(self, index: int) -> tuple:
            x, y, weights = super().__getitem__(index)
            return (x * np.float32(np.nan) if self.epoch > 2 else x), y, weights

    keras.utils.set_random_seed(0)
    model = networks.head(5, 3, [], 0.0, task)
    data = Late(Cached(CLOUDS[:64]), task.targets(LABELS[:64], 3), batch_size=16, seed=0, views=2)
    validation = Batches(Cached(CLOUDS[64:]), task.targets(LABELS[64:], 3), batch_size=32, seed=0, shuffle=False)
    with pytest.raises(UserError, match=r"the loss is nan in epoch 3, batch 1, at .*after epoch 2, its last good ones"):
        loop.fit(
            model, task, data, validation, optimization.optimizer("sgd", 0.05),
            epochs=5, patience=5, on_epoch=lambda epoch, numbers: None, checkpoint=checkpoint,
        )  # fmt: skip
    state = checkpoint.load()
    assert state is not None
    assert [row["epoch"] for row in state.record["rows"]] == [0, 1, 2]
    assert all(np.isfinite(array).all() for array in state.groups["model"])

"""One training: fit, watch the validation loss, keep the best epoch. Both training stages use it."""

import math
from collections.abc import Callable, Mapping

import keras
import numpy as np
import pandas as pd
from tqdm.keras import TqdmCallback

from headstart.stage import UserError
from headstart.tasks import Task
from headstart.training.batches import Batches
from headstart.training.checkpoint import Checkpoint, State
from headstart.training.followed import Followed
from headstart.training.networks import compile_for_device

# One epoch's numbers, as they are logged: learning_rate, loss, val_loss, and the task's figure as NAME and val_NAME.
OnEpoch = Callable[[int, dict[str, float]], None]
# `fit`, or what takes its place.
Fit = Callable[..., pd.DataFrame]


def validate(model: keras.Model, task: Task, validation: Batches) -> dict[str, float]:
    """val_loss and the task's metrics of a model on the validation split."""
    compile_for_device(model, loss=task.loss(), weighted_metrics=task.metrics())
    found = model.evaluate(validation, verbose=0, return_dict=True)
    return {f"val_{name}": float(value) for name, value in found.items()}


def fit(
    model: keras.Model,
    task: Task,
    train: Batches,
    validation: Batches,
    optimizer: keras.optimizers.Optimizer,
    *,
    epochs: int,
    patience: int,
    on_epoch: OnEpoch,
    checkpoint: Checkpoint | None = None,
) -> pd.DataFrame:
    """Train in place; the model ends up with the weights of its best epoch, see `Followed.rank`.

    That includes epoch 0, the weights it came with: a training that helps nothing changes nothing. One that was killed
    goes on after the last epoch that it finished, to the same bits.

    Args:
        model: inputs -> the task's output; its trainable layers are set.
        task: gives loss and metrics.
        train, validation: the validation batches are clean, unweighted and not smoothed.
        optimizer: new for this training.
        epochs: at most so many.
        patience: stop after so many epochs that are no better than the best.
        on_epoch: told each epoch's numbers as they come; those of finished epochs at once when it goes on.
        checkpoint: where the state is kept after each epoch. It stays there for the caller to remove when what came of
            the training is safe.

    Returns:
        A row an epoch from 0, with the columns of `Followed`: epoch, learning_rate, loss, accuracy, val_loss,
        val_accuracy, where a label is one class; those of the training itself are empty for epoch 0.

    Raises:
        UserError: the loss is no longer finite.
    """
    state = checkpoint.load() if checkpoint else None
    rows: list[dict[str, float]]
    if state is None:
        rows = [{"epoch": 0, **validate(model, task, validation)}]
    else:
        rows = state.record["rows"]
        print(f"going on after epoch {rows[-1]['epoch']}, which an earlier run finished")
    for row in rows:
        on_epoch(int(row["epoch"]), {name: value for name, value in row.items() if name != "epoch"})

    compile_for_device(model, optimizer=optimizer, loss=task.loss(), weighted_metrics=task.metrics())
    optimizer.build(model.trainable_variables)
    watch = Watch(rows, on_epoch, checkpoint)
    keep = KeepBest(rows[0], patience, task.FOLLOWED)
    callbacks = [watch, keep, TqdmCallback(verbose=0, desc="epochs", disable=None)]
    first = 0
    if checkpoint:
        keeping = KeepState(checkpoint, keep, rows)
        callbacks.append(keeping)
        if state:
            keeping.restore(state, model, optimizer)
            first = epochs if state.record["stopped"] else int(rows[-1]["epoch"])
            train.start(first)
    model.fit(
        train,
        validation_data=validation,
        initial_epoch=first,
        epochs=epochs,
        shuffle=False,  # Batches shuffles, by seed and epoch alone
        verbose=0,
        callbacks=callbacks,
    )
    return pd.DataFrame(rows).reindex(columns=task.FOLLOWED.columns())


class Watch(keras.callbacks.Callback):
    """Writes down each epoch's numbers; stops a training whose loss is no longer finite at that very batch."""

    def __init__(self, rows: list[dict[str, float]], on_epoch: OnEpoch, checkpoint: Checkpoint | None) -> None:
        """Append to `rows`, and tell `on_epoch`."""
        super().__init__()
        self.rows, self.on_epoch, self.checkpoint = rows, on_epoch, checkpoint

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float]) -> None:
        """Look at the epoch's mean loss so far, which one batch makes infinite for good."""
        if np.isfinite(loss := float(logs["loss"])):
            return
        epoch, rate = len(self.rows), float(self.model.optimizer.learning_rate)
        kept = ""
        if self.checkpoint and epoch > 1:
            kept = f"; the weights after epoch {epoch - 1}, its last good ones, are kept in {self.checkpoint.path}"
        raise UserError(
            f"the loss is {loss} in epoch {epoch}, batch {batch + 1}, at a learning rate of {rate:.3g}; lower lr{kept}"
        )

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        """Write down and tell."""
        rate = float(self.model.optimizer.learning_rate)
        numbers = {"learning_rate": rate, **{name: float(value) for name, value in logs.items()}}
        self.rows.append({"epoch": epoch + 1, **numbers})
        self.on_epoch(epoch + 1, numbers)


class KeepBest(keras.callbacks.Callback):
    """Stops after `patience` epochs that are no better, and goes back to the best one's weights, epoch 0 included.

    Epoch 0 does not count for stopping: fine-tuning sets out by doing worse than the head, and ends by doing better.
    """

    def __init__(self, before: Mapping[str, float], patience: int, followed: Followed) -> None:
        """Take the validation results of the weights to begin with."""
        super().__init__()
        self.rank = followed.rank
        self.best, self.patience, self.waited = self.rank(before), patience, 0
        self.best_trained = (-math.inf, -math.inf)
        self.weights: list[np.ndarray] | None = None

    def on_train_begin(self, logs: object = None) -> None:
        """Remember the weights to begin with, unless better ones are known."""
        if self.weights is None:
            self.weights = self.model.get_weights()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        """Remember these weights if they are the best; stop if the last better ones are too long ago."""
        rank = self.rank(logs)
        if rank > self.best:
            self.best, self.weights = rank, self.model.get_weights()
        self.waited = 0 if rank > self.best_trained else self.waited + 1
        self.best_trained = max(self.best_trained, rank)
        self.model.stop_training = self.waited >= self.patience

    def on_train_end(self, logs: object = None) -> None:
        """Go back to the best weights."""
        self.model.set_weights(self.weights)


class KeepState(keras.callbacks.Callback):
    """Keeps everything that a training is after each epoch; stands behind the callbacks whose state it keeps."""

    def __init__(self, checkpoint: Checkpoint, keep: KeepBest, rows: list[dict[str, float]]) -> None:
        """Take what there is to keep besides the model and its optimizer."""
        super().__init__()
        self.checkpoint, self.keep, self.rows = checkpoint, keep, rows

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        """Keep the state."""
        keep = self.keep
        self.checkpoint.save(
            {
                "rows": self.rows,
                "best": keep.best,
                "best_trained": keep.best_trained,
                "waited": keep.waited,
                "stopped": self.model.stop_training,
            },
            {
                "model": [keras.ops.convert_to_numpy(variable) for variable in self.model.variables],
                "optimizer": [keras.ops.convert_to_numpy(variable) for variable in self.model.optimizer.variables],
                "best": keep.weights or [],
            },
        )

    def restore(self, state: State, model: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
        """Make model, optimizer and callbacks what they were."""
        for name, variables in (("model", model.variables), ("optimizer", optimizer.variables)):
            for variable, value in zip(variables, state.groups[name], strict=True):
                variable.assign(value)
        keep, record = self.keep, state.record
        keep.weights = state.groups["best"]
        keep.best, keep.best_trained = tuple(record["best"]), tuple(record["best_trained"])
        keep.waited = record["waited"]


def best_epoch(history: pd.DataFrame, followed: Followed) -> int:
    """Number of the best epoch; the earliest of several."""
    ranks = [followed.rank({str(name): value for name, value in row.items()}) for row in history.to_dict("records")]
    return int(max(zip(ranks, -history["epoch"], history["epoch"], strict=True))[2])


def summary(history: pd.DataFrame, followed: Followed) -> dict[str, float]:
    """How many epochs were run, and the best one: its number and validation results."""
    number = best_epoch(history, followed)
    best = history[history["epoch"] == number].iloc[0]
    return {
        "epochs": int(history["epoch"].max()),
        "best_epoch": number,
        "best_val_loss": round(float(best["val_loss"]), 6),
        f"best_val_{followed.metric}": round(float(best[f"val_{followed.metric}"]), 6),
    }


def curves(history: pd.DataFrame) -> str:
    """The epochs after epoch 0 as CSV for `dvc plots`, which would draw an absent training loss as 0."""
    return history[history["epoch"] > 0].to_csv(index=False)


def table(title: str, history: pd.DataFrame, followed: Followed) -> str:
    """A training's epochs as text, the best one marked."""
    shown = history.copy()
    shown[""] = np.where(shown["epoch"] == best_epoch(history, followed), "best", "")
    numbers = dict.fromkeys(followed.columns()[1:], "{:.4g}".format)
    return f"{title}\n{shown.to_string(index=False, na_rep='', formatters=numbers)}"

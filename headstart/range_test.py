"""The learning-rate range test: a short training whose rate rises step by step, and what its losses say.

After Smith 2017 ("Cyclical Learning Rates for Training Neural Networks", section 3.3), with fastai's rules: stop when
the loss has diverged, take the rate at which it falls most steeply. Runs on the caches that the trainings use and with
their own set-up; what it trains is thrown away.
"""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from headstart.data.prepared import Prepared
from headstart.params import Params
from headstart.stage import UserError
from headstart.tasks import Task
from headstart.training.batches import Batches
from headstart.training.networks import compile_for_device

# The loss of single batches is smoothed over so large a share of the steps.
WIDTH = 0.1
# How many times the lowest loss ends the test (fastai).
DIVERGED = 4.0
# Fewer points have no slope to speak of.
LEAST = 10


def test(settings: Params, prepared: Prepared, of: str, *, low: float, high: float, steps: int) -> pd.DataFrame:
    """Run the test for one of the two trainings.

    Args:
        settings: all parameters.
        prepared: the data; the other inputs are where the stages put them.
        of: head or fine_tune.
        low, high: first and last value of the parameter `lr`.
        steps: batches from the one to the other, 10 at least.

    Returns:
        A row a step: lr, as params.yaml has it; rate, which the optimizer had (fine-tuning scales lr); loss.

    Raises:
        UserError: an earlier stage has not run, there is nothing to fine-tune, or the loss was infinite from the start.
    """
    needed = {"head": ("data/features", "train_head"), "fine_tune": ("models/head", "fine_tune")}[of]
    if not Path(needed[0]).exists():
        raise UserError(f"{needed[0]} is not there; `dvc repro {needed[1]}` makes it")
    if of == "fine_tune" and settings.trainable_layers == 0:
        raise UserError("trainable_layers is 0: there is nothing to fine-tune; --of head tests the head's rate")
    scale = settings.fine_tune.lr_scale if of == "fine_tune" else 1.0
    rows: list[dict[str, float]] = []

    def rise(
        model: keras.Model,
        task: Task,
        train: Batches,
        _: Batches,
        optimizer: keras.optimizers.Optimizer,
        **__: Any,
    ) -> pd.DataFrame:
        rates = np.geomspace(low * scale, high * scale, steps)
        compile_for_device(model, optimizer=rising(optimizer, rates), loss=task.loss())
        lowest = np.inf
        for step, rate in enumerate(rates):
            if step and step % len(train) == 0:
                train.on_epoch_end()
            inputs, targets, weights = train[step % len(train)]
            model.reset_metrics()
            loss = float(model.train_on_batch(inputs, targets, weights, return_dict=True)["loss"])
            if not np.isfinite(loss):
                break
            rows.append({"lr": rate / scale, "rate": rate, "loss": loss})
            recent = float(np.mean([row["loss"] for row in rows[-max(1, round(steps * WIDTH)) :]]))
            lowest = min(lowest, recent)
            if len(rows) >= LEAST and recent > DIVERGED * lowest:
                break
        return pd.DataFrame(rows)

    train(settings, prepared, of, rise)
    if len(rows) < LEAST:
        raise UserError(
            f"the loss is infinite after {len(rows)} steps, at lr={low:.3g} already; begin with a lower one"
        )
    return pd.DataFrame(rows)


def train(settings: Params, prepared: Prepared, of: str, fit: Any) -> None:
    """Set a training up as its stage does, and hand it to `fit`."""
    from headstart.training import fine_tuning
    from headstart.training.checkpoint import Checkpoint
    from stages import train_head

    run = train_head.train_head if of == "head" else fine_tuning.fine_tune
    run(settings, prepared, lambda *_: None, Checkpoint("find_lr", of), fit)


def rising(optimizer: keras.optimizers.Optimizer, rates: np.ndarray) -> keras.optimizers.Optimizer:
    """The same optimizer, with these rates one after the other; they rise by the same factor."""
    config = optimizer.get_config()
    config["learning_rate"] = keras.optimizers.schedules.ExponentialDecay(
        float(rates[0]), decay_steps=len(rates) - 1, decay_rate=float(rates[-1] / rates[0])
    )
    return type(optimizer).from_config(config)


def smooth(losses: np.ndarray, steps: int) -> np.ndarray:
    """The mean of the losses around each one, float [n] -> float [n]; centred, so that the curve does not lag behind.

    Args:
        losses: of single batches.
        steps: that the whole test has; the window is a tenth of them, and narrower at both ends.
    """
    half = max(1, round(steps * WIDTH / 2))
    total = np.concatenate([[0.0], np.cumsum(losses)])
    at = np.arange(len(losses))
    reach = np.minimum(half, np.minimum(at, len(losses) - 1 - at))
    return (total[at + reach + 1] - total[at - reach]) / (2 * reach + 1)


def suggest(curve: pd.DataFrame, steps: int) -> float:
    """The `lr` at which the smoothed loss falls most steeply over the logarithm of the rate, before its lowest point.

    Raises:
        UserError: the loss falls nowhere.
    """
    loss = smooth(curve["loss"].to_numpy(float), steps)
    slope = np.gradient(loss, np.log(curve["lr"].to_numpy(float)))
    # Both ends of the curve are hardly smoothed.
    margin = max(1, round(steps * WIDTH / 4))
    within = slice(margin, max(margin + 1, int(loss.argmin()) + 1))
    if not (slope[within] < 0).any():
        raise UserError("the loss falls at no rate; give another range with --low and --high")
    return float(f"{curve['lr'].iloc[margin + int(slope[within].argmin())]:.2g}")


def figure(curve: pd.DataFrame, steps: int, suggested: float, title: str) -> Figure:
    """The losses, their smoothed curve, the suggested rate."""
    drawn = Figure(figsize=(7, 4.2), layout="constrained", dpi=120)
    axes = drawn.add_subplot()
    loss = curve["loss"].to_numpy(float)
    smoothed = smooth(loss, steps)
    axes.plot(curve["lr"], loss, ".", color="#56B4E9", markersize=4, label="a batch's loss")
    axes.plot(curve["lr"], smoothed, color="#0072B2", label="smoothed")
    axes.axvline(suggested, color="#D55E00", linestyle="--", label=f"suggested: lr {suggested:g}")
    axes.set_xscale("log")
    axes.set_ylim(
        max(0.0, smoothed.min() - 0.1 * np.ptp(smoothed)), min(smoothed.max(), DIVERGED * smoothed.min()) * 1.1
    )
    axes.set(xlabel="lr", ylabel="loss", title=title)
    axes.grid(alpha=0.3)
    axes.legend()
    return drawn

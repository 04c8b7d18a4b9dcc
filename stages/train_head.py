"""Train the head on the cached embeddings: models/head/."""

from pathlib import Path

import keras
import numpy as np
import pandas as pd

from headstart import device, identity, params, stage, tasks, tracking
from headstart.backbones.saving import load_model
from headstart.data.prepared import Prepared, load
from headstart.features.inputs import Cached
from headstart.training import followed, loop, networks, optimization, outputs
from headstart.training.batches import Batches
from headstart.training.checkpoint import Checkpoint


def main() -> None:
    settings, prepared = params.load(), load("data/prepared")
    checkpoint = Checkpoint("train_head", identity.of_stage("train_head"))
    with tracking.run("train_head", settings) as run:
        head, history = train_head(settings, prepared, run.epoch, checkpoint)
        whole = networks.on_top(load_model(Path("models/backbone/backbone.keras")), head, "head_only")
        trained = {"head.keras": head, "model.keras": whole}
        outputs.write("train_head", "models/head", trained, settings, prepared, history)
        checkpoint.remove()
    print(loop.table("head", history, followed.OF_LABELS[prepared.labels]))


def train_head(
    settings: params.Params,
    prepared: Prepared,
    on_epoch: loop.OnEpoch,
    checkpoint: Checkpoint,
    fit: loop.Fit = loop.fit,
) -> tuple[keras.Model, pd.DataFrame]:
    """The head, with the weights of its best epoch, and its history."""
    devices = device.share_work()
    keras.utils.set_random_seed(settings.seed)
    task, given = tasks.of(prepared), settings.head
    k = len(prepared.classes)
    views = {split: np.load(f"data/features/{split}.npy", mmap_mode="r") for split in ("train", "validation")}
    labels = {split: prepared.targets(split) for split in views}
    weights = task.class_weights(labels["train"], k)[labels["train"]] if given.class_weights else None
    train = Batches(
        Cached(views["train"]),
        task.targets(labels["train"], k),
        batch_size=settings.batch_size,
        seed=settings.seed,
        views=views["train"].shape[1],
        every_view=True,
        weights=weights,
        devices=devices,
        threads=1,
    )
    validation = Batches(
        Cached(views["validation"]),
        task.targets(labels["validation"], k),
        batch_size=256,
        seed=0,
        shuffle=False,
        devices=devices,
        threads=1,
    )
    head = networks.head(views["train"].shape[-1], k, given.hidden, given.dropout, task)
    optimizer = optimization.optimizer(settings.optimizer, settings.lr)
    history = fit(
        head, task, train, validation, optimizer,
        epochs=settings.epochs, patience=given.patience, on_epoch=on_epoch, checkpoint=checkpoint,
    )  # fmt: skip
    return head, history


if __name__ == "__main__":
    stage.run(main)

"""Unfreeze the upper layers and train them with the head: models/final/."""

import json
from pathlib import Path

import keras
import numpy as np

from headstart import params, stage, tracking
from headstart.backbones import cut
from headstart.backbones.graph import unfrozen
from headstart.backbones.saving import load_model, save_model
from headstart.data.prepared import load
from headstart.tasks import TASKS
from headstart.training import loop, networks, optimization
from headstart.training.batches import Batches, Cached, OnTheFly


def main() -> None:
    settings = params.load()
    keras.utils.set_random_seed(settings.seed)
    task, prepared, given = TASKS[settings.task], load("data/prepared"), settings.fine_tune
    k, seed = len(prepared.classes), settings.seed
    network = load_model(Path("models/backbone/backbone.keras"))
    head = load_model(Path("models/head/head.keras"))
    cut.unfreeze(network, unfrozen(cut.graph(network), settings.trainable_layers), given.batch_norm == "trained")

    splits = ("train", "validation")
    if settings.trainable_layers == 0:
        model, cache = head, Path("data/features")
    elif (at := (Path("data/activations") / "cut.txt").read_text().strip()) != "none":
        model, cache = networks.on_top(cut.tail(network, at), head, "tail"), Path("data/activations")
    else:
        model, cache = networks.on_top(network, head, "whole"), None
    fetch = {
        split: Cached(np.load(cache / f"{split}.npy", mmap_mode="r"))
        if cache
        else OnTheFly(prepared.images, prepared.of(split), settings.features.augment, seed)
        for split in splits
    }
    labels = {split: prepared.targets(split) for split in fetch}
    weights = task.class_weights(labels["train"], k)[labels["train"]] if given.class_weights else None
    train = Batches(
        fetch["train"],
        task.targets(labels["train"], k, given.label_smoothing),
        batch_size=settings.batch_size,
        seed=seed,
        views=settings.features.views,
        weights=weights,
    )
    validation = Batches(
        fetch["validation"], task.targets(labels["validation"], k), batch_size=32, seed=0, shuffle=False
    )
    # Without unfrozen layers there is nothing left to train: the head has had its training.
    epochs = 0 if settings.trainable_layers == 0 else settings.epochs
    rate = optimization.schedule(settings.lr * given.lr_scale, len(train) * max(epochs, 1), given.warmup)
    optimizer = optimization.optimizer(
        settings.optimizer, rate, weight_decay=given.weight_decay, clip_norm=given.clip_norm
    )

    with tracking.run("fine_tune", settings) as run:
        history = loop.fit(
            model, task, train, validation, optimizer,
            epochs=epochs, patience=given.patience, on_epoch=run.epoch,
        )  # fmt: skip
        summary = loop.summary(history)
        whole = networks.on_top(network, head, "final")
        with stage.whole("models/final") as folder:
            save_model(whole, folder / "model.keras")
            (folder / "labels.json").write_text(json.dumps(prepared.classes, indent=1) + "\n")
        stage.write("metrics/fine_tune.json", json.dumps(summary, indent=1) + "\n")
        stage.write("plots/fine_tune.csv", loop.curves(history))
        run.metrics(summary)
        run.model(whole, prepared.example_input(), prepared.classes)
    print(loop.table("fine-tuning", history))
    if settings.trainable_layers == 0:
        print("trainable_layers is 0: the head's model goes on")
    elif summary["best_epoch"] == 0:
        print("fine-tuning did not lower the validation loss: the head's model goes on")


if __name__ == "__main__":
    stage.run(main)

"""Unfreeze the upper layers and train them with the head: models/final/."""

import json
from pathlib import Path

import keras
import numpy as np

from headstart import device, params, stage, tracking
from headstart.backbones import cut
from headstart.backbones.graph import unfrozen
from headstart.backbones.saving import load_model, save_model
from headstart.data.prepared import Prepared, load
from headstart.features import engine
from headstart.features.inputs import Cached, OnTheFly, Source, ThroughFrozen
from headstart.tasks import TASKS
from headstart.training import loop, networks, optimization
from headstart.training.batches import Batches


def main() -> None:
    settings = params.load()
    devices = device.share_work()
    keras.utils.set_random_seed(settings.seed)
    task, prepared, given = TASKS[settings.task], load("data/prepared"), settings.fine_tune
    k = len(prepared.classes)
    network = load_model(Path("models/backbone/backbone.keras"))
    head = load_model(Path("models/head/head.keras"))
    cut.unfreeze(network, unfrozen(cut.graph(network), settings.trainable_layers), given.batch_norm == "trained")
    activations = json.loads(Path("data/activations/activations.json").read_text())
    at = activations["cut"]
    model = networks.on_top(cut.tail(network, at), head, "tail") if settings.trainable_layers else head
    device.compute_in(model, device.precision(given.precision))

    source = {split: inputs(settings, prepared, split, at, activations["cached"]) for split in ("train", "validation")}
    labels = {split: prepared.targets(split) for split in source}
    weights = task.class_weights(labels["train"], k)[labels["train"]] if given.class_weights else None
    train = Batches(
        source["train"],
        task.targets(labels["train"], k, given.label_smoothing),
        batch_size=settings.batch_size,
        seed=settings.seed,
        views=settings.features.views,
        weights=weights,
        devices=devices,
    )
    validation = Batches(
        source["validation"],
        task.targets(labels["validation"], k),
        batch_size=32,
        seed=0,
        shuffle=False,
        devices=devices,
    )
    # Without unfrozen layers there is nothing left to train: the head has had its training.
    epochs = settings.epochs if settings.trainable_layers else 0
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
        device.compute_in(whole, "float32")
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
        print("fine-tuning did no better on the validation split: the head's model goes on")


def inputs(settings: params.Params, prepared: Prepared, split: str, at: str, cached: bool) -> Source:
    """Where the trained part's inputs come from: a cache, or pictures, through the frozen layers if there are any."""
    if settings.trainable_layers == 0:
        return Cached(np.load(f"data/features/{split}.npy", mmap_mode="r"))
    if cached:
        return Cached(np.load(f"data/activations/{split}.npy", mmap_mode="r"))
    features, backbone = settings.features, Path("models/backbone")
    pictures = OnTheFly(prepared.images, prepared.of(split), features.augment, settings.seed)
    if at == next(iter(engine.read_graph(backbone).reads)):
        return pictures
    return ThroughFrozen(pictures, engine.load(backbone, at, features.engine, features.precision).run)


if __name__ == "__main__":
    stage.run(main)

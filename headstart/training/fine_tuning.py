"""Training the unfrozen layers together with the head, on what enters the lowest of them."""

import json
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from headstart import device, tasks
from headstart.backbones import cut
from headstart.backbones.graph import unfrozen
from headstart.backbones.saving import load_model, plain
from headstart.data.prepared import Prepared
from headstart.features import engine
from headstart.features.inputs import Cached, CachedByBucket, Source, ThroughFrozen, caches, fresh, vocabulary_of
from headstart.params import Params
from headstart.training import loop, lora, networks, optimization
from headstart.training.batches import Batches
from headstart.training.checkpoint import Checkpoint


def fine_tune(
    settings: Params,
    prepared: Prepared,
    on_epoch: loop.OnEpoch,
    checkpoint: Checkpoint,
    fit: loop.Fit = loop.fit,
) -> tuple[keras.Model, pd.DataFrame]:
    """Train the layers that `trainable_layers` unfreezes.

    Args:
        settings: all parameters.
        prepared: the data; the other inputs are where the earlier stages put them.
        on_epoch: told each epoch's numbers as they come.
        checkpoint: where the state is kept after each epoch.
        fit: what trains; a range test of the learning rate takes its place.

    Returns:
        The whole network, what the backbone takes -> the task's output, with the weights of the best epoch;
        and the history as `loop.fit` gives it.

    Raises:
        UserError: the loss is no longer finite.
    """
    devices = device.share_work()
    keras.utils.set_random_seed(settings.seed)
    task, given = tasks.of(prepared), settings.fine_tune
    k = len(prepared.classes)
    network = load_model(Path("models/backbone/backbone.keras"))
    head = load_model(Path("models/head/head.keras"))
    names = unfrozen(cut.graph(network), settings.trainable_layers)
    cut.unfreeze(network, names, given.batch_norm == "trained")
    if given.lora_rank:
        lora.enable(network, names, given.lora_rank)
    activations = json.loads(Path("data/activations/activations.json").read_text())
    at = activations["cut"]
    model = networks.on_top(cut.tail(network, at), head, "tail")
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
    rate = optimization.schedule(settings.lr * given.lr_scale, len(train) * settings.epochs, given.warmup)
    scales = None
    if given.layer_decay < 1:
        scales = optimization.layer_scales(network, names, given.layer_decay, model.trainable_variables)
    optimizer = optimization.optimizer(
        settings.optimizer, rate, weight_decay=given.weight_decay, clip_norm=given.clip_norm, scales=scales
    )

    history = fit(
        model, task, train, validation, optimizer,
        epochs=settings.epochs, patience=given.patience, on_epoch=on_epoch, checkpoint=checkpoint,
    )  # fmt: skip
    whole = networks.on_top(network, head, "final")
    device.compute_in(whole, "float32")
    return plain(whole) if given.lora_rank else whole, history


def inputs(settings: Params, prepared: Prepared, split: str, at: str, cached: bool) -> Source:
    """The trained part's inputs: from a cache, or of the examples, through the frozen layers if there are any."""
    if cached:
        file = Path(f"data/activations/{split}.npy")
        if file.exists():
            return Cached(np.load(file, mmap_mode="r"))
        buckets = np.load(file.with_stem(f"{split}-buckets"), allow_pickle=False)
        files = caches(file, buckets)
        return CachedByBucket({b: Cached(np.load(path, mmap_mode="r")) for b, path in files.items()}, buckets)
    features, backbone = settings.features, Path("models/backbone")
    vocabulary = vocabulary_of(prepared, backbone, settings.data.max_tokens)
    made = fresh(prepared, split, features.augment, settings.seed, vocabulary)
    if at == next(iter(engine.read_graph(backbone).reads)):
        return made
    return ThroughFrozen(made, engine.load(backbone, at, features.engine, features.precision).run)

"""Training the tail on a cache is training the whole network with its lower layers frozen, step by step."""

import keras
import numpy as np
import pandas as pd
import pytest

from headstart.backbones import cut
from headstart.backbones.graph import cut as cut_at
from headstart.backbones.graph import unfrozen
from headstart.features.inputs import Cached, OnTheFly, ThroughFrozen
from headstart.features.views import half
from headstart.tasks import classification as task
from headstart.training import networks
from headstart.training.batches import Batches

N, SIZE, CLASSES = 40, 16, 3
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (N, SIZE, SIZE, 3), dtype=np.uint8)
LABELS = RNG.integers(0, CLASSES, N)


def network() -> keras.Model:
    """Convolutions with normalisation and a shortcut; random weights."""
    keras.utils.set_random_seed(0)
    image = keras.Input((SIZE, SIZE, 3), name="image")
    x = keras.layers.Rescaling(1 / 128, -1, name="preprocessing")(image)
    for number in range(4):
        before = x
        x = keras.layers.Conv2D(8, 3, padding="same", name=f"conv{number}")(x)
        x = keras.layers.BatchNormalization(name=f"norm{number}")(x)
        x = keras.layers.ReLU(name=f"relu{number}")(x)
        if number == 2:
            x = keras.layers.Add(name="shortcut")([x, before])
    return keras.Model(image, keras.layers.GlobalAveragePooling2D(name="embedding")(x), name="small")


class Losses(keras.callbacks.Callback):
    def __init__(self) -> None:
        super().__init__()
        self.steps: list[float] = []

    def on_train_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        self.steps.append(logs["loss"])


def train(way: str) -> tuple[list[float], keras.Model]:
    """Six epochs of two steps; the running loss after each step, and the trained network."""
    backbone = network()
    cut.unfreeze(backbone, unfrozen(cut.graph(backbone), 3))
    at = cut_at(cut.graph(backbone), 3)
    assert at == "relu1", "the shortcut passes by the frozen conv2, which stays in the tail"
    head = networks.head(8, CLASSES, [], 0.0, task)
    examples = pd.DataFrame({"hash": [f"{row:064x}" for row in range(N)]})
    pictures = OnTheFly(IMAGES, examples, "none", 0)
    lower = cut.lower(backbone, at)
    whole = way == "usual"
    model = networks.on_top(backbone if whole else cut.tail(backbone, at), head, way)
    fetch = {
        "usual": pictures,
        "cached": Cached(half(np.asarray(lower(IMAGES.astype(np.float32))))[:, None]),
        "uncached": ThroughFrozen(pictures, lambda batch: np.asarray(lower(batch))),
    }[way]
    losses = Losses()
    networks.compile_for_device(model, optimizer=keras.optimizers.Adam(0.01), loss=task.loss())
    batches = Batches(fetch, task.targets(LABELS, CLASSES), batch_size=20, seed=0)
    model.fit(batches, epochs=6, verbose=0, shuffle=False, callbacks=[losses])
    return losses.steps, backbone


def test_cached_and_uncached_fine_tuning_have_the_same_losses_step_by_step() -> None:
    (cached, one), (uncached, other) = train("cached"), train("uncached")
    assert len(cached) == 12
    assert cached[-1] < cached[0]
    assert cached == uncached
    assert all(np.array_equal(a, b) for a, b in zip(one.get_weights(), other.get_weights(), strict=True))


def test_both_are_keras_usual_way_but_for_rounding_to_half_precision() -> None:
    (cached, one), (usual, other) = train("cached"), train("usual")
    assert cached == pytest.approx(usual, rel=2e-3)
    fresh = network()
    names = unfrozen(cut.graph(fresh), 3)
    for layer in fresh.layers:
        before, ours, theirs = (net.get_layer(layer.name).get_weights() for net in (fresh, one, other))
        if layer.name not in names or "norm" in layer.name:
            assert all(np.array_equal(a, b) for a, b in zip(before, ours, strict=True)), f"{layer.name} is frozen"
            assert all(np.array_equal(a, b) for a, b in zip(before, theirs, strict=True)), f"{layer.name} is frozen"
        else:
            assert all((a != b).any() for a, b in zip(before, ours, strict=True))

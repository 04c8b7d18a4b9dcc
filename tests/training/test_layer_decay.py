"""Lower layers take shorter steps, and nothing else about a training changes."""

import keras
import numpy as np
import pytest

from headstart.tasks import classification as task
from headstart.training import networks, optimization


def network() -> tuple[keras.Model, keras.Model]:
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((4,))
    for number in range(3):
        x = keras.layers.Dense(4, name=f"block{number}")(x)
    backbone = keras.Model(inputs, x)
    return backbone, networks.on_top(backbone, networks.head(4, 2, [], 0.0, task), "whole")


def steps(name: str, decay: float) -> dict[str, float]:
    """How far the first step moves each layer's kernel, relative to the same step without decay."""
    moved = []
    for scaled in (True, False):
        backbone, model = network()
        names = ["block1", "block2"]
        backbone.get_layer("block0").trainable = False
        scales = optimization.layer_scales(backbone, names, decay, model.trainable_variables) if scaled else None
        optimizer = optimization.optimizer(name, 0.01, scales=scales)
        model.compile(optimizer, loss=task.loss(), jit_compile=False)
        before = [value.numpy() for value in model.variables]
        rng = np.random.default_rng(0)
        model.fit(rng.normal(size=(8, 4)), task.targets(rng.integers(0, 2, 8), 2), verbose=0)
        moved.append([np.abs(v.numpy() - b).mean() for v, b in zip(model.variables, before, strict=True)])
        paths = [variable.path for variable in model.variables]
    return {path: a / b if b else 0.0 for path, a, b in zip(paths, *moved, strict=True) if path.endswith("kernel")}


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "rmsprop"])
def test_each_layer_steps_by_its_share(name: str) -> None:
    found = steps(name, 0.5)
    assert found["block0/kernel"] == 0.0, "it is frozen"
    assert found["block1/kernel"] == pytest.approx(0.5, rel=1e-3)
    assert found["block2/kernel"] == pytest.approx(1.0, rel=1e-3)
    assert found["probabilities/kernel"] == pytest.approx(1.0, rel=1e-3)

import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.evaluation import attribution
from headstart.evaluation.attribution import Dense

ROOT = Path(__file__).parents[2]


def logits(embeddings, head):
    x = embeddings
    for layer in head[:-1]:
        x = np.maximum(x @ layer.weights + layer.bias, 0)
    return x @ head[-1].weights + head[-1].bias


def drawn(seed, hidden, classes):
    rng = np.random.default_rng(seed)
    sizes = [5, *hidden, classes]
    head = [Dense(rng.normal(size=(a, b)), rng.normal(size=b)) for a, b in itertools.pairwise(sizes)]
    return rng, head


@given(st.integers(0, 1000), st.integers(2, 5))
@settings(deadline=None, max_examples=30)
def test_a_map_adds_up_to_the_difference_of_the_logits_but_for_the_biases(seed, classes):
    rng, head = drawn(seed, [], classes)
    features = rng.normal(size=(4, 3, 2, 5))
    towards, against = rng.integers(0, classes, (2, 4))
    embeddings = features.mean(axis=(1, 2))
    maps = attribution.evidence(features, attribution.slope(embeddings, head, towards, against))
    found = logits(embeddings, head)
    rows = np.arange(4)
    bias = head[0].bias[towards] - head[0].bias[against]
    np.testing.assert_allclose(
        maps.mean(axis=(1, 2)) + bias, found[rows, towards] - found[rows, against], atol=1e-9
    )  # fmt: skip


@given(st.integers(0, 1000))
@settings(deadline=None, max_examples=30)
def test_with_hidden_layers_the_slope_is_the_gradient(seed):
    rng, head = drawn(seed, [7, 4], 3)
    x, towards, against, step = rng.normal(size=(1, 5)), np.array([2]), np.array([0]), 1e-6

    def score(at):
        return logits(at, head)[0, 2] - logits(at, head)[0, 0]

    numeric = [(score(x + step * unit) - score(x - step * unit)) / (2 * step) for unit in np.eye(5)]
    # A step across a ReLU's corner would see both of its slopes.
    closest = min(np.abs(x @ head[0].weights + head[0].bias).min(), 1)
    if closest > 1e-4:
        np.testing.assert_allclose(attribution.slope(x, head, towards, against)[0], numeric, atol=1e-4)


def check(hidden):
    """A network as the pipeline saves it, a flat backbone and a head that is a model itself, and its own odds."""
    import keras

    from headstart.tasks import classification
    from headstart.training import networks

    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3))
    x = keras.layers.Rescaling(1 / 255)(image)
    x = keras.layers.Conv2D(4, 3, strides=2, activation="relu")(x)
    x = keras.layers.Conv2D(6, 3, activation="relu")(x)
    backbone = keras.Model(image, keras.layers.GlobalAveragePooling2D(name="embedding")(x))
    network = networks.on_top(backbone, networks.head(6, 3, hidden, 0.3, classification), "final")
    pictures = np.random.default_rng(0).integers(0, 256, (10, 16, 16, 1)).astype(np.uint8)
    rows, towards, against = np.arange(10), np.arange(10) % 3, (np.arange(10) + 1) % 3
    found = attribution.pictures(network, pictures, towards, against)
    assert len(found.rows) == 10
    assert (found.arrays["pictures"] == pictures).all()
    assert found.arrays["evidence"].shape == (10, 5, 5)
    p = network.predict(np.repeat(pictures, 3, axis=-1).astype(np.float32), verbose=0).astype(np.float64)
    shares = found.arrays["evidence"].astype(np.float64).mean(axis=(1, 2))
    # The biases of a new head are zero, and a ReLU without a bias is as linear as its gradient.
    np.testing.assert_allclose(shares, np.log(p[rows, towards] / p[rows, against]), rtol=0.01, atol=0.01)
    return keras.backend.backend()


@pytest.mark.parametrize("hidden", [[], [5]])
def test_a_network_as_it_is_saved_explains_its_own_odds(hidden):
    check(hidden)


def test_the_maps_are_the_same_on_jax():
    code = "from tests.evaluation.test_attribution import check; print(check([]))"
    env = os.environ | {"KERAS_BACKEND": "jax"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "jax"


def test_a_large_picture_is_shown_small_and_a_small_one_as_it_is():
    assert attribution._smaller(np.zeros((300, 300, 3), np.uint8)).shape == (160, 160, 3)
    assert attribution._smaller(np.zeros((96, 96, 1), np.uint8)).shape == (96, 96, 1)

"""LoRA on a part of a text network: what trains, and that what is saved needs none of it."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from headstart.backbones import cut, text
from headstart.backbones.graph import unfrozen
from headstart.backbones.saving import load_model, save_model
from headstart.backbones.table import TABLE
from headstart.stage import UserError
from headstart.training import lora

ROOT = Path(__file__).parents[2]
IDS = np.int32([[7, 8, 9, 10], [11, 12, 0, 0]])


@pytest.fixture
def network() -> keras.Model:
    options = dict(TABLE["BertTiny"].options) | {"vocabulary_size": 50, "hidden_dim": 16, "intermediate_dim": 32}
    keras.utils.set_random_seed(0)
    bare = text.bare(TABLE["BertTiny"]._replace(options=tuple(options.items())))
    return text.embedding_network(bare, text.Ids(0, None), "mean", "net")


def trained(network: keras.Model) -> keras.Model:
    """The network after a few steps with a head, as fine-tuning puts it there."""
    model = keras.Model(network.input, keras.layers.Dense(2, name="output")(network.output))
    model.compile("sgd", "mse")
    model.optimizer.learning_rate = 0.5
    model.fit(IDS, np.float32([[1, 0], [0, 1]]), epochs=3, verbose=0)
    return model


def test_it_changes_nothing_until_it_is_trained_and_trains_nothing_else(network: keras.Model) -> None:
    before, held = np.asarray(network(IDS)), {weight.path: np.asarray(weight) for weight in network.weights}
    names = unfrozen(cut.graph(network), 1)
    cut.unfreeze(network, names)
    lora.enable(network, names, 2)
    np.testing.assert_array_equal(np.asarray(network(IDS)), before)
    assert {weight.name for weight in network.trainable_weights} == {"lora_kernel_a", "lora_kernel_b"}
    block = network.get_layer(names[0])
    assert len(network.trainable_weights) == 2 * 6  # query, key, value, output; the two of the feed-forward part
    assert all(weight.path.startswith(block.name) for weight in network.trainable_weights)
    trained(network)
    for weight in network.weights:
        if weight.path in held:
            np.testing.assert_array_equal(np.asarray(weight), held[weight.path])
    assert np.abs(np.asarray(network(IDS)) - before).max() > 1e-3


def test_layers_that_take_no_factors_are_refused() -> None:
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(2, 3, name="conv")(inputs)
    small = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))
    with pytest.raises(UserError, match=r"^fine_tune\.lora_rank: 2 is given, but nothing in .*\(conv\)"):
        lora.enable(small, ["conv"], 2)


@pytest.mark.parametrize("layers", [1, "all"])
def test_what_is_saved_holds_plain_weights_and_computes_the_same_elsewhere(
    network: keras.Model, tmp_path: Path, layers: int | str
) -> None:
    count = len(network.weights)
    names = unfrozen(cut.graph(network), layers)
    cut.unfreeze(network, names)
    lora.enable(network, names, 2)
    model = trained(network)
    save_model(model, tmp_path / "model.keras")
    code = f"""
import pathlib, numpy as np
from headstart.backbones.saving import load_model
model = load_model(pathlib.Path({str(tmp_path / "model.keras")!r}))
np.save({str(tmp_path / "found.npy")!r}, np.asarray(model(np.array({IDS.tolist()}, np.int32))))
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), np.asarray(model(IDS)), rtol=0, atol=1e-6)
    loaded = load_model(tmp_path / "model.keras")
    assert len(loaded.weights) == count + 2
    assert not [weight.path for weight in loaded.weights if "lora" in weight.path]


def test_the_same_model_is_saved_as_the_same_bytes(network: keras.Model, tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_model(network, tmp_path / f"{name}.keras")
    assert (tmp_path / "a.keras").read_bytes() == (tmp_path / "b.keras").read_bytes()

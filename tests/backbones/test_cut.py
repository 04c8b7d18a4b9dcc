"""Parting and freezing real architectures, at a size that keeps this to seconds; random weights do for it."""

from pathlib import Path

import keras
import numpy as np
import pytest

from headstart.backbones import build, cut, table
from headstart.backbones.graph import cut as cut_at
from headstart.backbones.graph import separators, unfrozen
from headstart.backbones.saving import load_model, save_model

SIZE = 64


def network(name: str) -> keras.Model:
    """A network of the table whose normalisation layers have statistics that leave no layer without effect."""
    keras.utils.set_random_seed(0)
    entry = table.find(name)
    made = build.embedding_network(build.bare(entry, SIZE), entry, name)
    rng = np.random.default_rng(0)
    for layer in made.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            offset = rng.normal(0, 0.1, mean.shape).astype(np.float32)
            layer.set_weights([gamma, beta + offset, mean - offset, variance])
    return made


@pytest.fixture(scope="module", params=["EfficientNetLite0", "ResNet50", "MobileNet"])
def backbone(request: pytest.FixtureRequest) -> keras.Model:
    return network(request.param)


@pytest.fixture
def pictures() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3)).astype(np.float32)


def test_both_parts_together_compute_what_the_whole_does(backbone: keras.Model, pictures: np.ndarray) -> None:
    whole = np.asarray(backbone(pictures))
    assert whole.std() > 1e-4
    graph = cut.graph(backbone)
    cuts = separators(graph)
    for at in {cuts[1], cuts[len(cuts) // 2], cut_at(graph, 20), cut_at(graph, 1)}:
        lower, tail = cut.lower(backbone, at), cut.tail(backbone, at)
        parted = np.asarray(tail(np.asarray(lower(pictures))))
        np.testing.assert_allclose(parted, whole, rtol=0, atol=1e-5 * np.abs(whole).max(), err_msg=at)


def test_nothing_unfrozen_is_cut_at_the_embedding_and_everything_at_the_picture(backbone: keras.Model) -> None:
    graph = cut.graph(backbone)
    assert cut_at(graph, 0) == "embedding"
    assert cut_at(graph, "all") == "image"


@pytest.mark.parametrize("trainable_layers", [0, 1, 7, 20, "all"])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_just_the_weights_asked_for_can_be_trained(
    backbone: keras.Model, trainable_layers: int | str, batch_norm: bool
) -> None:
    names = unfrozen(cut.graph(backbone), trainable_layers)
    cut.unfreeze(backbone, names, batch_norm)
    expected = []
    for layer in backbone.layers:
        if layer.name in names:
            norm = isinstance(layer, keras.layers.BatchNormalization)
            # Of a normalisation layer gamma and beta are trained, its statistics are not.
            expected += (layer.weights[:2] if batch_norm else []) if norm else layer.weights
    assert [w.path for w in backbone.trainable_weights] == [w.path for w in expected]
    assert len(backbone.trainable_weights) == len(expected)


def weights_of(model: keras.Model) -> dict[str, list[np.ndarray]]:
    return {layer.name: layer.get_weights() for layer in model.layers if layer.weights}


def test_training_moves_what_is_unfrozen_and_nothing_else_also_after_save_and_load(
    tmp_path: Path, pictures: np.ndarray
) -> None:
    backbone = network("EfficientNetLite0")
    names = unfrozen(cut.graph(backbone), 12)
    cut.unfreeze(backbone, names)
    norms = {n for n in names if isinstance(backbone.get_layer(n), keras.layers.BatchNormalization)}
    assert norms
    save_model(backbone, tmp_path / "backbone.keras")
    backbone = load_model(tmp_path / "backbone.keras")
    before = weights_of(backbone)
    model = keras.Sequential([cut.tail(backbone, cut_at(cut.graph(backbone), 12)), keras.layers.Dense(2)])
    activations = np.asarray(cut.lower(backbone, cut_at(cut.graph(backbone), 12))(pictures))
    model.compile("sgd", "mse", jit_compile=False)
    model.fit(activations, np.eye(3, 2), epochs=2, batch_size=2, verbose=0)
    after = weights_of(backbone)
    moved = {name for name in before if any((a != b).any() for a, b in zip(before[name], after[name], strict=True))}
    assert moved == set(names) - norms


def test_normalisation_moves_only_if_asked_to(pictures: np.ndarray) -> None:
    inputs = keras.Input((SIZE, SIZE, 3), name="image")
    x = keras.layers.Conv2D(4, 3, strides=8, name="conv")(inputs)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.GlobalAveragePooling2D(name="embedding")(x)
    small = keras.Model(inputs, x, name="small")
    for batch_norm in (False, True):
        cut.unfreeze(small, ["conv", "norm"], batch_norm)
        before = small.get_layer("norm").get_weights()
        small.compile("sgd", "mse", jit_compile=False)
        small.fit(pictures / 255, np.zeros((3, 4)), verbose=0)
        after = small.get_layer("norm").get_weights()
        still = [np.array_equal(a, b) for a, b in zip(before, after, strict=True)]
        assert still == [not batch_norm] * 4

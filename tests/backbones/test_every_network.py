"""Every network of the table: one flat graph, parted rightly at any number of layers, the same after save and load."""

from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest

from headstart.backbones import build, cut
from headstart.backbones.graph import Graph, separators, unfrozen
from headstart.backbones.graph import cut as cut_at
from headstart.backbones.saving import load_model, save_model
from headstart.backbones.table import TABLE

# Pixels: small, but over the least that the library takes.
SIZES = dict.fromkeys(TABLE, 64) | dict.fromkeys(["InceptionV3", "InceptionResNetV2", "Xception"], 80)
# Larger members of a family that is computed with by a smaller one: 10 s to 2 min each. Their graphs are tested all
# the same.
GIANTS = [
    *("EfficientNetLite1", "EfficientNetLite2", "VGG19", "ResNet101", "ResNet152", "ResNet101V2", "ResNet152V2"),
    *("InceptionResNetV2", "DenseNet169", "DenseNet201", "NASNetLarge"),
    *(f"EfficientNetB{i}" for i in range(1, 8)),
    *(f"EfficientNetV2{size}" for size in ("B1", "B2", "B3", "M", "L")),
    *(f"ConvNeXt{size}" for size in ("Small", "Base", "Large", "XLarge")),
]


@pytest.fixture(scope="module", params=TABLE)
def outline(request: pytest.FixtureRequest) -> keras.Model:
    """A network without memory for its weights."""
    with keras.StatelessScope(initialize_variables=False):
        return build.flat(TABLE[request.param], SIZES[request.param], {})


def below(reads: dict[str, list[str]], name: str) -> set[str]:
    """All operations that an operation's output depends on, itself included."""
    found, waiting = set(), [name]
    while waiting:
        if (name := waiting.pop()) not in found:
            found.add(name)
            waiting += reads[name]
    return found


def brute_separators(graph: Graph) -> list[str]:
    """Operations without which the output can't be reached from the input."""
    first, *_, last = graph.reads
    return [name for name in graph.reads if name in (first, last) or not reaches(graph.reads, first, last, name)]


def reaches(reads: dict[str, list[str]], first: str, last: str, without: str) -> bool:
    found, waiting = {without}, [last]
    while waiting:
        if (name := waiting.pop()) not in found:
            found.add(name)
            waiting += reads[name]
    return first in found


def test_it_is_one_flat_graph_whose_cut_points_no_path_avoids(outline: keras.Model) -> None:
    assert not [layer.name for layer in outline.layers if isinstance(layer, keras.Model)]
    assert outline.output_shape == (None, outline.output_shape[1])
    graph = cut.graph(outline)
    seen: set[str] = set()
    for operation, parents in graph.reads.items():
        assert seen.issuperset(parents)
        seen.add(operation)
    assert seen == {operation.name for operation in outline.operations}
    assert next(iter(graph.reads)) == "image"
    assert list(graph.reads)[-1] == "embedding"
    assert separators(graph) == brute_separators(graph)
    rng = np.random.default_rng(len(seen))
    cuts = separators(graph)
    for n in {0, 1, *rng.integers(0, len(graph.weighted) + 1, 6).tolist()}:
        at, names = cut_at(graph, n), set(unfrozen(graph, n))
        assert len(names) == n
        assert not below(graph.reads, at) & names
        deeper = cuts[cuts.index(at) + 1 :] if n < len(graph.weighted) else []
        assert all(below(graph.reads, name) & names for name in deeper)


def lively(network: keras.Model) -> keras.Model:
    """The network, with normalisations and scales that leave no layer without effect."""
    rng = np.random.default_rng(0)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization | keras.layers.LayerNormalization):
            for weight in layer.weights:
                shift = rng.normal(0, 0.1, weight.shape)
                weight.assign(weight + (abs(shift) if "variance" in weight.name else shift))
        elif type(layer).__name__ == "LayerScale":  # ConvNeXt: 1e-6 at first, which hides its blocks
            layer.set_weights([rng.uniform(0.2, 0.5, weight.shape) for weight in layer.weights])
    return network


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=[pytest.mark.soak] if name in GIANTS else []) for name in TABLE],
)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple]:
    """A network and the same after save and load."""
    name = request.param
    keras.utils.set_random_seed(0)
    network = lively(build.embedding_network(build.bare(TABLE[name], SIZES[name]), TABLE[name], name))
    file: Path = tmp_path_factory.mktemp(name) / "backbone.keras"
    save_model(network, file)
    yield network, load_model(file)
    file.unlink()


def test_its_parts_after_save_and_load_compute_what_the_whole_did(pair: tuple[keras.Model, keras.Model]) -> None:
    built, network = pair
    size = built.input_shape[1]
    pictures = np.random.default_rng(0).integers(0, 256, (2, size, size, 3)).astype(np.float32)
    whole = np.asarray(built(pictures))
    assert np.isfinite(whole).all()
    assert np.abs(whole[0] - whole[1]).max() > 1e-3 * np.abs(whole).max()  # the picture reaches the embedding
    graph = cut.graph(network)
    assert graph.reads == cut.graph(built).reads
    rng = np.random.default_rng(len(graph.reads))
    number, layer = int(rng.integers(1, len(graph.weighted))), str(rng.choice(graph.weighted[1:]))
    for trainable_layers in (number, layer, "all"):
        at = cut_at(graph, trainable_layers)
        middle = np.asarray(cut.lower(network, at)(pictures))
        parted = np.asarray(cut.tail(network, at)(middle))
        np.testing.assert_allclose(
            parted, whole, rtol=0, atol=1e-5 * np.abs(whole).max(), err_msg=f"{trainable_layers}, cut at {at}"
        )


@pytest.mark.parametrize("batch_norm", [False, True])
def test_just_the_layers_asked_for_can_be_trained(pair: tuple[keras.Model, keras.Model], batch_norm: bool) -> None:
    _, network = pair
    graph = cut.graph(network)
    rng = np.random.default_rng(len(graph.reads))
    number, layer = int(rng.integers(1, len(graph.weighted))), str(rng.choice(graph.weighted[1:]))
    order = list(graph.reads)
    for trainable_layers in (0, number, layer, "all"):
        cut.unfreeze(network, unfrozen(graph, trainable_layers), batch_norm)
        if isinstance(trainable_layers, int):
            asked = graph.weighted[len(graph.weighted) - trainable_layers :]
        else:
            lowest = 0 if trainable_layers == "all" else order.index(trainable_layers)
            asked = [name for name in graph.weighted if order.index(name) >= lowest]
        expected = set()
        for name in asked:
            weights = {w.path for w in network.get_layer(name).weights if not w.name.startswith("moving_")}
            norm = isinstance(network.get_layer(name), keras.layers.BatchNormalization)
            expected |= weights if batch_norm or not norm else set()
        assert {weight.path for weight in network.trainable_weights} == expected


@pytest.mark.parametrize(
    ("name", "highest"),
    [("InceptionV3", "conv2d_93"), ("MobileNetV3Small", "multiply_8"), ("ConvNeXtTiny", "add_17")],
)
def test_its_names_do_not_depend_on_what_was_built_before(name: str, highest: str) -> None:
    with keras.StatelessScope(initialize_variables=False):
        first, second = (build.flat(TABLE[name], SIZES[name], {}) for _ in range(2))
        assert list(build.variables(first)) == list(build.variables(second))
    assert cut.graph(first).reads == cut.graph(second).reads
    assert highest in cut.graph(first).reads


def test_a_network_that_names_do_not_describe_is_refused() -> None:
    image = keras.Input((8,), name="image")
    twice = keras.layers.Dense(8, name="twice")
    with pytest.raises(ValueError, match="net calls twice 2 times"):
        cut.graph(keras.Model(image, twice(twice(image)), name="net"))
    inner = keras.Sequential([keras.layers.Dense(8)], name="inner")
    with pytest.raises(ValueError, match="net holds the network inner"):
        cut.graph(keras.Model(image, inner(image), name="net"))

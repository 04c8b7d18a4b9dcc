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
from headstart.backbones.table import TABLE as EVERY

TABLE = {name: entry for name, entry in EVERY.items() if entry.kind == "picture"}
# Pixels: small, but over the least that the library takes.
SIZES = dict.fromkeys(TABLE, 64) | dict.fromkeys(["InceptionV3", "InceptionResNetV2", "Xception"], 80)
# Larger members of a family that a smaller one stands for, and ConvNeXt, whose grouped convolutions Keras compiles one
# by one: 10 s to 2 min each. Their graphs are tested all the same.
GIANTS = [
    *("EfficientNetLite1", "EfficientNetLite2", "VGG19", "ResNet101", "ResNet152", "ResNet101V2", "ResNet152V2"),
    *("InceptionResNetV2", "DenseNet169", "DenseNet201", "NASNetLarge"),
    *(f"EfficientNetB{i}" for i in range(1, 8)),
    *(f"EfficientNetV2{size}" for size in ("B1", "B2", "B3", "M", "L")),
    *(f"ConvNeXt{size}" for size in ("Tiny", "Small", "Base", "Large", "XLarge")),
]


@pytest.fixture(scope="module", params=TABLE)
def outline(request: pytest.FixtureRequest) -> Iterator[keras.Model]:
    """A network without memory for its weights."""
    with keras.StatelessScope(initialize_variables=False):
        network = build.flat(TABLE[request.param], SIZES[request.param], {})
    yield network
    keras.utils.clear_session(free_memory=False)  # else Keras makes up for the variables in the next scope


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


def lively(network: keras.Model, pictures: np.ndarray) -> keras.Model:
    """The network, with normalisations and scales as after training: without, pictures no longer differ at the top.

    Args:
        network: bare, with random weights.
        pictures: prepared ones, whose statistics the batch normalisations take over.
    """
    rng = np.random.default_rng(0)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization | keras.layers.LayerNormalization):
            for weight in layer.trainable_weights:
                weight.assign(weight + rng.normal(0, 0.1, weight.shape))
        elif type(layer).__name__ == "LayerScale":  # ConvNeXt: 1e-6 at first, which hides its blocks
            layer.set_weights([rng.uniform(0.2, 0.5, weight.shape) for weight in layer.weights])
        elif isinstance(layer, keras.layers.Normalization) and layer.weights:  # EfficientNet, from its weights file
            layer.set_weights([np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225]), np.int64(0)])
            layer.finalize_state()
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
        elif isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    network(pictures, training=True)
    return network


def pictures(name: str) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, SIZES[name], SIZES[name], 3)).astype(np.float32)


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=[pytest.mark.soak] if name in GIANTS else []) for name in TABLE],
)
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple:
    """A network after save and load, and what its library's own computes: pooled, of pictures prepared for it."""
    name, entry = request.param, TABLE[request.param]
    keras.utils.set_random_seed(0)
    prepared = build.preprocess(pictures(name), entry.preprocessing)
    bare = lively(build.bare(entry, SIZES[name]), prepared)
    network = build.embedding_network(bare, entry, name)
    file: Path = tmp_path_factory.mktemp(name) / "backbone.keras"
    save_model(network, file)
    graph, network = cut.graph(network), load_model(file)
    file.unlink()
    assert cut.graph(network) == graph
    return network, np.asarray(bare(prepared)).mean((1, 2))


def test_it_computes_what_its_library_does_also_in_parts(loaded: tuple[keras.Model, np.ndarray]) -> None:
    network, expected = loaded
    largest = np.abs(expected).max()
    assert np.isfinite(expected).all()
    assert np.abs(expected[0] - expected[1]).max() > 1e-3 * largest  # the picture reaches the embedding
    whole = np.asarray(network(pictures(network.name)))
    # A Normalization turned into constants rounds otherwise, which random networks of this depth amplify.
    np.testing.assert_allclose(whole, expected, rtol=0, atol=1e-3 * largest)
    graph = cut.graph(network)
    rng = np.random.default_rng(len(graph.reads))
    number, layer = int(rng.integers(1, len(graph.weighted))), str(rng.choice(graph.weighted[1:]))
    for trainable_layers in (number, layer, "all"):
        at = cut_at(graph, trainable_layers)
        middle = np.asarray(cut.lower(network, at)(pictures(network.name)))
        parted = np.asarray(cut.tail(network, at)(middle))
        np.testing.assert_allclose(
            parted, whole, rtol=0, atol=1e-5 * largest, err_msg=f"{trainable_layers}, cut at {at}"
        )


@pytest.mark.parametrize("batch_norm", [False, True])
def test_just_the_layers_asked_for_can_be_trained(loaded: tuple[keras.Model, np.ndarray], batch_norm: bool) -> None:
    network, _ = loaded
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


def test_between_two_calls_of_a_layer_a_network_can_be_cut() -> None:
    image = keras.Input((8,), name="image")
    twice, last = keras.layers.Dense(8, name="twice"), keras.layers.Dense(3, name="last")
    between = [keras.layers.ReLU(name=name) for name in ("between", "above")]
    network = keras.Model(image, last(between[1](twice(between[0](twice(image))))), name="net")
    graph = cut.graph(network)
    reads = {"twice": ["image"], "between": ["twice"], "twice:2": ["between"], "above": ["twice:2"], "last": ["above"]}
    assert graph.reads == {"image": []} | reads
    assert graph.weighted == ["twice", "last"]
    assert [cut_at(graph, n) for n in (0, 1, 2, "twice")] == ["last", "above", "image", "image"]
    x = np.random.default_rng(0).normal(size=(2, 8)).astype(np.float32)
    for at in ("between", "twice:2", "above"):
        np.testing.assert_array_equal(cut.tail(network, at)(cut.lower(network, at)(x)), network(x))


def test_a_network_that_names_do_not_describe_is_refused() -> None:
    image = keras.Input((8,), name="image")
    inner = keras.Sequential([keras.layers.Dense(8)], name="inner")
    with pytest.raises(ValueError, match="net holds the network inner"):
        cut.graph(keras.Model(image, inner(image), name="net"))

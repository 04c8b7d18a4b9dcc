"""The table of networks, held against the library that the weights come from."""

import hashlib
from pathlib import Path

import keras
import numpy as np
import pytest

from headstart.backbones import build, table, weights
from headstart.stage import UserError

PICTURES = np.random.default_rng(0).uniform(0, 255, (4, 16, 16, 3)).astype(np.float32)
ENTRIES = {name: entry for name, entry in table.TABLE.items() if entry.kind == "picture"}
# keras.applications' module for each network of its own that the table has, found by where it defines the builder.
MODULES = {
    name: getattr(keras.applications, getattr(keras.applications, name).__module__.rpartition(".")[2])
    for name, entry in ENTRIES.items()
    if entry.builder.startswith("keras.applications:")
}
# What the publishers of the others' weights do.
OTHERS = {
    "EfficientNetLite0": lambda x: (x - 127) / 128,
    "EfficientNetLite1": lambda x: (x - 127) / 128,
    "EfficientNetLite2": lambda x: (x - 127) / 128,
    "MobileNetV2Torch": lambda x: (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225],
    "VGG16Edges": lambda x: x[..., ::-1] - [104.00699, 116.66877, 122.67892],
    "VGG16BrainMRI": lambda x: x / 255,
}


def test_every_network_of_the_library_is_there() -> None:
    offered = {name for name in dir(keras.applications) if name[0].isupper()}
    assert len(offered) >= 40
    assert offered == set(MODULES)
    assert {table.TABLE[name].builder for name in offered} == {f"keras.applications:{name}" for name in offered}
    assert set(ENTRIES) == set(MODULES) | set(OTHERS)


def test_every_line_is_complete() -> None:
    for name, entry in ENTRIES.items():
        assert entry.licence, name
        assert entry.file, name
        assert (entry.sha256 is not None) == entry.weights.startswith("package:"), name
        assert len(entry.sha256 or "0" * 64) == 64, name


@pytest.mark.parametrize("name", ENTRIES)
def test_pictures_are_prepared_as_the_publishers_do(name: str) -> None:
    how = table.TABLE[name].preprocessing
    theirs = (OTHERS.get(name) or MODULES[name].preprocess_input)(PICTURES.copy())
    if how == "efficientnet":
        np.testing.assert_array_equal(theirs, PICTURES)  # and see the test of what it computes
        return
    np.testing.assert_allclose(np.asarray(build.preprocess(PICTURES, how)), theirs, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", [name for name, entry in ENTRIES.items() if entry.preprocessing == "none"])
def test_a_network_that_gets_raw_pictures_scales_them_itself(name: str) -> None:
    with keras.StatelessScope(initialize_variables=False):
        first, second = build.bare(table.TABLE[name], 32).layers[1:3]
    assert isinstance(first, keras.layers.Rescaling | keras.layers.Normalization)
    prepared = np.asarray(
        second(first(PICTURES)) if isinstance(second, keras.layers.Normalization) else first(PICTURES)
    )
    assert np.abs(prepared).max() < 3


def downloads(monkeypatch: pytest.MonkeyPatch, file: Path) -> list[tuple[str, str | None]]:
    """Let this file stand in for all that Keras downloads; the names and hashes that it asks for."""
    asked = []

    def get_file(name: str, *_: object, cache_subdir: str, file_hash: str | None = None, **__: object) -> str:
        assert cache_subdir == "models"
        asked.append((name, file_hash))
        return str(file)

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", get_file)
    monkeypatch.setattr("keras.utils.get_file", get_file)
    return asked


@pytest.mark.parametrize("given", ["imagenet", "a file"])
def test_efficientnet_computes_what_the_library_does_with_its_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    """The library puts a scaling into the network only if asked for its weights; these stand in for the download."""
    entry = table.find("EfficientNetB0")
    keras.utils.set_random_seed(0)
    published = build.bare(entry, 64)
    norm = next(layer for layer in published.layers if isinstance(layer, keras.layers.Normalization))
    # What the published file holds there: mean, and the deviation where the variance belongs.
    norm.set_weights([np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225]), np.int64(0)])
    file = tmp_path / "b0.weights.h5"
    published.save_weights(file)
    downloads(monkeypatch, file)
    library = keras.applications.EfficientNetB0(include_top=False, input_shape=(64, 64, 3), pooling="avg")

    bare, provenance = weights.load(entry, 64, "imagenet" if given == "imagenet" else str(file), None)
    assert provenance.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    ours = build.embedding_network(bare, entry, "EfficientNetB0")
    pictures = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype(np.float32)
    expected = np.asarray(library(pictures))
    assert expected.std() > 1e-6
    np.testing.assert_allclose(np.asarray(ours(pictures)), expected, rtol=0, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("given", "near"),
    [
        ("resnet50", "ResNet50"),
        ("efficientnet-lite0", "EfficientNetLite0"),
        ("VGG_16", "VGG16"),
        ("MobilNet", "MobileNet"),
    ],
)
def test_a_name_that_is_nearly_right_is_put_right(given: str, near: str) -> None:
    with pytest.raises(
        UserError, match=f"^backbone: there is no '{given}'; did you mean {near}\\? There are Eff.*, VGG16"
    ):
        table.find(given)


def test_a_name_like_no_other_is_answered_with_all_there_are() -> None:
    with pytest.raises(UserError) as caught:
        table.find("qwertyuiop")
    assert str(caught.value) == f"backbone: there is no 'qwertyuiop'. There are {', '.join(table.TABLE)}"


def test_a_picture_too_small_for_the_network_is_a_sentence() -> None:
    with pytest.raises(
        UserError, match=r"^prepare\.image_size: 16 does not suit the backbone, whose own size is 299: "
    ):
        build.bare(table.find("InceptionV3"), 16)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            "nowhere.weights.h5",
            r"'nowhere\.weights\.h5' is not a file ending in \.keras, .* or \.onnx; allowed are null",
        ),
        ("package:other==1", r"'package:other==1' is given, but this backbone's weights are imagenet; give null"),
    ],
)
def test_weights_that_can_not_be_had_are_a_sentence(given: str, sentence: str) -> None:
    with pytest.raises(UserError, match=f"^features\\.weights: {sentence}"):
        weights.load(table.find("MobileNet"), 64, given, None)


def test_a_backbone_that_takes_something_else_is_refused_with_some_that_fit():
    said = r"backbone: VGG16 takes pictures, but task is text-classification; .* AllMiniLML6"
    with pytest.raises(UserError, match=said):
        table.find_for("text-classification", "VGG16")
    assert table.find_for("image-classification", "VGG16") is table.TABLE["VGG16"]

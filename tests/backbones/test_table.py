"""The table of networks, held against the library that the weights come from."""

from pathlib import Path

import keras
import numpy as np
import pytest

from headstart.backbones import build, table, weights
from headstart.stage import UserError

PICTURES = np.random.default_rng(0).uniform(0, 255, (4, 16, 16, 3)).astype(np.float32)
# keras.applications' module for each function of the table.
MODULES = {
    "VGG16": keras.applications.vgg16,
    "VGG19": keras.applications.vgg19,
    "ResNet50": keras.applications.resnet50,
    "InceptionV3": keras.applications.inception_v3,
    "MobileNet": keras.applications.mobilenet,
    "MobileNetV2": keras.applications.mobilenet_v2,
}
# Held against the library otherwise: see below and test_efficientnet_lite.py.
OTHERS = {"EfficientNetB0", "EfficientNetLite0"}


def test_every_network_has_a_test_of_its_preprocessing() -> None:
    assert set(table.TABLE) == set(MODULES) | OTHERS


@pytest.mark.parametrize("name", MODULES)
def test_pictures_are_prepared_as_the_library_does(name: str) -> None:
    ours = np.asarray(build.preprocess(PICTURES, table.TABLE[name].preprocessing))
    theirs = MODULES[name].preprocess_input(PICTURES.copy())
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)


def test_the_torch_and_lite_ways_are_those_of_their_publishers() -> None:
    theirs = keras.applications.imagenet_utils.preprocess_input(PICTURES.copy(), mode="torch")
    np.testing.assert_allclose(np.asarray(build.preprocess(PICTURES, "torch")), theirs, rtol=0, atol=1e-5)
    np.testing.assert_allclose(
        np.asarray(build.preprocess(PICTURES, "lite")), (PICTURES - 127) / 128, rtol=0, atol=1e-5
    )


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
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", lambda *_, **__: str(file))
    library = keras.applications.EfficientNetB0(include_top=False, input_shape=(64, 64, 3), pooling="avg")

    bare, _ = weights.load(entry, 64, "imagenet" if given == "imagenet" else str(file), None)
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
            r"'nowhere\.weights\.h5' is not a file ending in \.keras or \.weights\.h5; allowed are null",
        ),
        ("package:other==1", r"'package:other==1' is given, but this backbone's weights are imagenet; give null"),
    ],
)
def test_weights_that_can_not_be_had_are_a_sentence(given: str, sentence: str) -> None:
    with pytest.raises(UserError, match=f"^features\\.weights: {sentence}"):
        weights.load(table.find("MobileNet"), 64, given, None)


def test_a_weights_file_is_checked_and_must_fit(tmp_path: Path) -> None:
    file = tmp_path / "mine.weights.h5"
    inputs = keras.Input((4,))
    keras.Model(inputs, keras.layers.Dense(3)(inputs)).save_weights(file)
    entry = table.find("MobileNet")
    with pytest.raises(
        UserError, match=r"^features\.sha256: .*mine\.weights\.h5 has the SHA-256 [0-9a-f]{64}, expected was 0"
    ):
        weights.load(entry, 64, str(file), "0" * 64)
    with pytest.raises(UserError, match=r"^features\.weights: .*mine\.weights\.h5 does not fit the backbone: "):
        weights.load(entry, 64, str(file), None)


def test_weights_of_ones_own_reach_the_network(tmp_path: Path) -> None:
    entry = table.find("MobileNet")
    trained = build.bare(entry, 64)
    trained.save(tmp_path / "mine.keras")
    trained.save_weights(tmp_path / "mine.weights.h5")
    for file in ("mine.keras", "mine.weights.h5"):
        found, provenance = weights.load(entry, 64, str(tmp_path / file), None)
        assert all(np.array_equal(a, b) for a, b in zip(found.get_weights(), trained.get_weights(), strict=True))
        assert provenance.source == file


def test_random_weights_say_that_they_are() -> None:
    _, provenance = weights.load(table.find("MobileNet"), 64, "random", None)
    assert provenance.source == "random, not pretrained"

"""The published weights in our layers: a real photograph gets the class that it shows."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
from sklearn.datasets import load_sample_image

from headstart.backbones import build, checkpoints, efficientnet_lite, table, weights
from headstart.data import sources
from headstart.stage import UserError

ENTRY = table.find("EfficientNetLite0")
DAISY, PALACE = 985, 698  # among ImageNet's classes in the usual order


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published package, unpacked."""
    folder = tmp_path_factory.mktemp("package")
    try:
        sources.fetch(ENTRY.weights, ENTRY.sha256, folder)
    except UserError as error:
        if re.search("no package server|No matching distribution", str(error)):
            pytest.skip(str(error))
        raise
    return folder


def test_a_daisy_is_seen_as_a_daisy(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # It was fetched just now; not twice.
    monkeypatch.setattr(sources, "fetch", lambda source, sha256, into: (into / "there").symlink_to(package))
    bare, provenance = weights.load(ENTRY._replace(file=f"there/{ENTRY.file}"), 224, None, None)
    assert provenance == (ENTRY.weights, ENTRY.sha256, "Apache-2.0")
    network = build.embedding_network(bare, ENTRY, "EfficientNetLite0")
    flower = load_sample_image("flower.jpg")[:, 107:534]  # its middle, 427 x 427
    picture = keras.ops.image.resize(flower[None].astype(np.float32), (224, 224), antialias=True)
    head = checkpoints.read_state_dict(package / ENTRY.file)
    scores = np.asarray(network(picture))[0] @ head["_fc.weight"].T + head["_fc.bias"]
    assert scores.argmax() == DAISY


@pytest.mark.soak
@pytest.mark.parametrize("name", ["EfficientNetLite1", "EfficientNetLite2"])
def test_its_larger_siblings_see_a_palace_as_a_palace(name: str, tmp_path: Path) -> None:
    entry = table.find(name)
    bare, _ = weights.load(entry, entry.size, None, None)
    sources.fetch(entry.weights, entry.sha256, tmp_path)
    head = checkpoints.read_state_dict(tmp_path / str(entry.file))
    # Not the daisy: Lite2 finds a honeycomb in it at any size and crop.
    china = load_sample_image("china.jpg")[:, 107:534]
    picture = keras.ops.image.resize(china[None].astype(np.float32), (entry.size, entry.size), antialias=True)
    embedding = np.asarray(build.embedding_network(bare, entry, name)(picture))[0]
    assert (embedding @ head["_fc.weight"].T + head["_fc.bias"]).argmax() == PALACE


def test_weights_of_another_network_are_refused(package: Path) -> None:
    with pytest.raises(UserError, match=r"lite0-57934424\.pth does not fit the backbone: it lacks _blocks\."):
        weights.load(table.find("EfficientNetLite1"), 64, str(package / str(ENTRY.file)), None)


# Millions of trainable weights with the top, as TensorFlow's model garden states them.
@pytest.mark.parametrize(("width", "depth", "millions"), [(1.0, 1.0, 4.7), (1.0, 1.1, 5.4), (1.1, 1.2, 6.1)])
def test_the_sizes_have_their_published_numbers_of_weights(width: float, depth: float, millions: float) -> None:
    network = efficientnet_lite.build((64, 64, 3), width=width, depth=depth)
    trainable = sum(int(np.prod(weight.shape)) for weight in network.trainable_weights)
    assert (trainable + 1280 * 1000 + 1000) / 1e6 == pytest.approx(millions, abs=0.06)

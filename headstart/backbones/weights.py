"""Filling a bare network with pretrained weights: from its own entry, a package, Keras' download or a file."""

import hashlib
import tempfile
import warnings
from pathlib import Path
from typing import NamedTuple

import keras

from headstart.backbones import checkpoints, efficientnet_lite
from headstart.backbones.build import bare
from headstart.backbones.table import Backbone
from headstart.data import sources
from headstart.stage import UserError

FILE_TYPES = (".keras", ".weights.h5")


class Provenance(NamedTuple):
    """Where a network's weights come from, as it is written beside them.

    sha256: of the package or file that held them; None for Keras' download, which Keras checks, and for random ones.
    """

    source: str
    sha256: str | None
    licence: str


def load(entry: Backbone, image_size: int, weights: str | None, sha256: str | None) -> tuple[keras.Model, Provenance]:
    """Build the bare network with its weights.

    Args:
        entry: the network's line of the table.
        image_size: height and width in pixels.
        weights: None (the entry's own), imagenet, random, or the path of a `.keras` or `.weights.h5` file.
        sha256: of the file, if a path is given; None: not checked.

    Raises:
        UserError: the weights can't be had, are not those expected, or do not fit.
    """
    weights = weights or entry.weights
    if weights == "random":
        return bare(entry, image_size), Provenance("random, not pretrained", None, "none")
    if weights == "imagenet":
        return _imagenet(entry, image_size)
    if weights.startswith("package:"):
        return _package(entry, image_size, weights)
    return _file(entry, image_size, Path(weights), sha256)


def _imagenet(entry: Backbone, image_size: int) -> tuple[keras.Model, Provenance]:
    if not entry.builder.startswith("keras.applications"):
        raise UserError(
            f"features.weights: imagenet is given, but this backbone's weights are {entry.weights}; give null"
        )
    options = tuple((key, "imagenet" if key == "weights" else value) for key, value in entry.options)
    try:
        network = bare(entry._replace(options=options), image_size)
    except Exception as error:  # Keras raises a bare Exception when its download fails
        if isinstance(error, UserError) or "fetch failure" not in str(error):
            raise
        raise UserError(
            f"features.weights: the download of the ImageNet weights failed ({error}); "
            "without a network, give the path of a .weights.h5 or .keras file"
        ) from None
    return network, Provenance("keras.applications, weights imagenet", None, entry.licence)


def _package(entry: Backbone, image_size: int, weights: str) -> tuple[keras.Model, Provenance]:
    if weights != entry.weights or entry.file is None:
        raise UserError(
            f"features.weights: {weights!r} is given, but this backbone's weights are {entry.weights}; give null"
        )
    with tempfile.TemporaryDirectory() as folder:
        sources.fetch(weights, entry.sha256, Path(folder))
        state = checkpoints.read_state_dict(Path(folder) / entry.file)
    network = bare(entry, image_size)
    efficientnet_lite.load_state_dict(network, state)
    return network, Provenance(weights, entry.sha256, entry.licence)


def _file(entry: Backbone, image_size: int, path: Path, sha256: str | None) -> tuple[keras.Model, Provenance]:
    if not path.is_file() or not path.name.endswith(FILE_TYPES):
        raise UserError(
            f"features.weights: {str(path)!r} is not a file ending in {' or '.join(FILE_TYPES)}; "
            "allowed are null, imagenet, random and such a path"
        )
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if sha256 not in (None, found):
        raise UserError(f"features.sha256: {path} has the SHA-256 {found}, expected was {sha256}")
    network = bare(entry, image_size)
    try:
        if path.suffix == ".keras":
            network.set_weights(keras.saving.load_model(path, compile=False, safe_mode=True).get_weights())
        else:
            with warnings.catch_warnings():
                # Keras warns where a file lacks a layer's weights, and goes on with random ones.
                warnings.filterwarnings("error", "Skipping nested container")
                network.load_weights(path)
    except (ValueError, OSError, KeyError, UserWarning) as error:
        raise UserError(f"features.weights: {path} does not fit the backbone: {error}") from None
    return network, Provenance(path.name, found, "as its owner says")

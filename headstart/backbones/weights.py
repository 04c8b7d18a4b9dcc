"""Filling a bare network with pretrained weights: from its own entry, a package, Keras' download or a file."""

import hashlib
import importlib
import re
import tempfile
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import h5py
import keras
import numpy as np
import onnx
import safetensors
import safetensors.numpy

from headstart.backbones import checkpoints
from headstart.backbones.build import bare, variables
from headstart.backbones.published import Layout, Place
from headstart.backbones.saving import load_model
from headstart.backbones.table import TABLE, Backbone
from headstart.data import sources
from headstart.stage import UserError

FILE_TYPES = (".keras", ".weights.h5", ".safetensors", ".pth", ".pt", ".onnx")

# Keras has the weights of these for pictures of several sizes, and takes those for 224 px for any other size. They
# are also the only two whose download it holds against no hash (Keras 3.15).
_MANY_SIZES = {
    "keras.applications:MobileNet": (128, 160, 192, 224),
    "keras.applications:MobileNetV2": (96, 128, 160, 192, 224),
}


class Provenance(NamedTuple):
    """Where a network's weights come from, as it is written beside them.

    sha256: of the package or file that held them; None for random ones.
    """

    source: str
    sha256: str | None
    licence: str


def load(entry: Backbone, image_size: int, weights: str | None, sha256: str | None) -> tuple[keras.Model, Provenance]:
    """Build the bare network with its weights.

    Args:
        entry: the network's line of the table.
        image_size: height and width in pixels.
        weights: None (the entry's own), imagenet, random, the entry's `package:NAME==VERSION`, or the path of a file:
            `.keras`, `.weights.h5` and `.safetensors` with the names that Keras gives, or any type of file with the
            names under which this network's weights are published, if its builder knows such.
        sha256: of the file, or of Keras' download; None: not checked. A package is held against the table's.

    Raises:
        UserError: the weights can't be had, are not those expected, or do not fit.
    """
    weights = weights or entry.weights
    if weights == "random":
        return bare(entry, image_size), Provenance("random, not pretrained", None, "none")
    if weights == "imagenet":
        return _imagenet(entry, image_size, sha256)
    if weights.startswith("package:"):
        return _package(entry, image_size, weights)
    return _file(entry, image_size, Path(weights), sha256)


def _imagenet(entry: Backbone, image_size: int, sha256: str | None) -> tuple[keras.Model, Provenance]:
    if not entry.builder.startswith("keras.applications:") or entry.file is None:
        raise UserError(
            f"features.weights: imagenet is given, but this backbone's weights are {entry.weights}; give null"
        )
    sizes = _MANY_SIZES.get(entry.builder, ())
    name = entry.file.format(image_size if image_size in sizes else 224)
    options = tuple((key, "imagenet" if key == "weights" else value) for key, value in entry.options)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`input_shape` is undefined or non-square")  # see _MANY_SIZES
            downloaded = bare(entry._replace(options=options), image_size)
        # Keras has put it into its cache just now, or long ago: this call says where that is.
        found = _sha256(Path(keras.utils.get_file(name, "file:///", cache_subdir="models")))
    except Exception as error:  # Keras raises a bare Exception when its download fails
        if isinstance(error, UserError) or "fetch failure" not in str(error):
            raise
        raise UserError(
            f"features.weights: the download of the ImageNet weights failed ({error}); "
            "without a network, give the path of a .weights.h5 or .keras file"
        ) from None
    if sha256 not in (None, found):
        raise UserError(
            f"features.sha256: Keras' download {name} has the SHA-256 {found}, expected was {sha256}; "
            "if it is damaged, remove it from ~/.keras/models"
        )
    # With its own weights Keras builds EfficientNet otherwise than without: the table means the latter.
    network = bare(entry, image_size)
    network.set_weights(downloaded.get_weights())
    unchecked = ", which Keras holds against no hash" if sizes and sha256 is None else ""
    return network, Provenance(f"keras.applications, weights imagenet: {name}{unchecked}", found, entry.licence)


def _package(entry: Backbone, image_size: int, weights: str) -> tuple[keras.Model, Provenance]:
    if weights != entry.weights or entry.file is None:
        owners = [name for name, other in TABLE.items() if other.weights == weights]
        raise UserError(
            f"features.weights: {weights!r} is given, but this backbone's weights are {entry.weights}; give null"
            + (f", or backbone: {owners[0]}, whose weights these are" if owners else "")
        )
    network = bare(entry, image_size)
    with tempfile.TemporaryDirectory() as folder:
        sources.fetch(weights, entry.sha256, Path(folder))
        _fill(network, entry, Path(folder) / entry.file)
    return network, Provenance(weights, entry.sha256, entry.licence)


def _file(entry: Backbone, image_size: int, path: Path, sha256: str | None) -> tuple[keras.Model, Provenance]:
    if not path.is_file() or not path.name.endswith(FILE_TYPES):
        raise UserError(
            f"features.weights: {str(path)!r} is not a file ending in {', '.join(FILE_TYPES[:-1])} or "
            f"{FILE_TYPES[-1]}; allowed are null, imagenet, random and such a path"
        )
    found = _sha256(path)
    if sha256 not in (None, found):
        raise UserError(f"features.sha256: {path} has the SHA-256 {found}, expected was {sha256}")
    network = bare(entry, image_size)
    _fill(network, entry, path)
    return network, Provenance(path.name, found, "as its owner says")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fill(network: keras.Model, entry: Backbone, path: Path) -> None:
    """Copy a file's tensors into the network: all of them, and into all of it.

    Raises:
        UserError: the file can't be read, or does not fit.
    """
    try:
        tensors = _tensors(path)
    except (ValueError, TypeError, OSError, KeyError, safetensors.SafetensorError) as error:
        raise UserError(f"features.weights: {path} can't be read: {error}") from None
    module = importlib.import_module(entry.builder.partition(":")[0])
    published: list[Layout] = module.layouts(network) if hasattr(module, "layouts") else []
    layout = max(published, key=lambda layout: len(layout.places.keys() & tensors.keys()), default=None)
    if layout is not None and layout.places.keys() & tensors.keys():
        _assign(network, tensors, layout, path)
    elif path.name.endswith(".weights.h5"):
        _load_weights(network, tensors, path)
    elif path.suffix in (".keras", ".safetensors"):
        # A weight without a name of its own: see build.variables.
        tensors = {re.sub(r"/variable_\d+$", "/variable", name): tensor for name, tensor in tensors.items()}
        _assign(network, tensors, Layout({name: Place(name) for name in variables(network)}, r"(?!)"), path)
    elif layout is None:
        raise UserError(
            f"features.weights: {path} can't be used: no names that {path.suffix} files have for this backbone's "
            "tensors are known; give a .keras, .weights.h5 or .safetensors file with Keras' names"
        )
    else:
        raise _misfit(path, "it holds no tensor of the backbone; among its own are", tensors)


def _tensors(path: Path) -> dict[str, np.ndarray]:
    """Everything that the file holds, under the names that it uses; of a .keras file under those of `variables`."""
    if path.suffix == ".keras":
        return {name: np.asarray(variable) for name, variable in variables(load_model(path)).items()}
    if path.suffix == ".safetensors":
        return safetensors.numpy.load_file(path)
    if path.suffix == ".onnx":
        try:
            graph = onnx.load(path, load_external_data=False).graph
        except Exception as error:  # protobuf's DecodeError derives from nothing narrower
            raise ValueError(error) from None
        return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    if path.suffix == ".h5":
        found: dict[str, np.ndarray] = {}
        with h5py.File(path) as file:
            file.visititems(lambda name, item: found.update({name: item[()]} if isinstance(item, h5py.Dataset) else {}))
        return found
    return checkpoints.read_state_dict(path)


def _assign(network: keras.Model, tensors: dict[str, np.ndarray], layout: Layout, path: Path) -> None:
    """Copy tensors to their places; nothing is copied if any is missing, superfluous or of another shape."""
    places, ours = layout.places, variables(network)
    if missing := places.keys() - tensors.keys():
        raise _misfit(path, "it lacks", missing)
    superfluous = {name for name in tensors.keys() - places.keys() if not re.fullmatch(layout.unused, name)}
    if superfluous:
        raise _misfit(path, "the backbone has no place for", superfluous)
    arrays = {
        name: tensors[name].transpose(axes) if axes and tensors[name].ndim == len(axes) else tensors[name]
        for name, (_, axes) in places.items()
    }
    pairs = {name: (array, ours[places[name].variable]) for name, array in arrays.items()}
    if other := {name: (a.shape, v.shape) for name, (a, v) in pairs.items() if a.shape != tuple(v.shape)}:
        raise _misfit(path, "of other shapes are", [f"{n} {list(a)} for {list(v)}" for n, (a, v) in other.items()])
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise UserError(f"features.weights: {path} holds numbers that are not finite")
    assert {place.variable for place in places.values()} == set(ours)
    for array, variable in pairs.values():
        variable.assign(array)


def _load_weights(network: keras.Model, tensors: dict[str, np.ndarray], path: Path) -> None:
    """Keras' own reading of its `.weights.h5`, which numbers the layers; it overlooks what is too much."""
    try:
        with warnings.catch_warnings():
            # Keras warns where a file lacks a layer's weights, and goes on with random ones.
            warnings.filterwarnings("error", "Skipping nested container")
            network.load_weights(path)
    except (ValueError, OSError, KeyError, UserWarning) as error:
        raise UserError(f"features.weights: {path} does not fit the backbone: {error}") from None
    # Beside weights such a file holds the states of optimizers and of the generators of dropout.
    weights = [name for name in tensors if not re.search(r"(^|/)(optimizer|seed_generator)/", name)]
    if len(weights) > len(network.weights):
        raise UserError(
            f"features.weights: {path} does not fit the backbone: it holds {len(weights)} tensors, "
            f"the backbone has {len(network.weights)}; save the network without its top"
        )


def _misfit(path: Path, what: str, names: Iterable[str]) -> UserError:
    first, *others = sorted(names)
    more = f" and {len(others) - 2} more" if len(others) > 2 else ""
    return UserError(
        f"features.weights: {path} does not fit the backbone: {what} {', '.join([first, *others[:2]])}{more}"
    )

"""Filling a text network with pretrained weights: its own package, a folder, a GGUF file, keras-hub's downloads."""

import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

import keras
import safetensors
from tokenizers import Tokenizer

from headstart.backbones import hub, llama_cpp, text, tokenizing
from headstart.backbones.table import TABLE, Backbone
from headstart.backbones.weights import Provenance
from headstart.data import sources
from headstart.stage import UserError

ALLOWED = "null, preset:NAME, hf://ORG/NAME, random and the path of a folder or a .gguf file"


class Loaded(NamedTuple):
    """A bare network with its weights, where they come from, and its words."""

    network: keras.Model
    provenance: Provenance
    tokenizer: Tokenizer


def load(entry: Backbone, weights: str | None, sha256: str | None) -> Loaded:
    """Build the bare network with its weights.

    Args:
        entry: the network's line of the table.
        weights: None (the entry's own), `random`, the entry's `package:NAME==VERSION`, `preset:NAME` or
            `hf://ORG/NAME` (keras-hub downloads both), or the path of a folder in Hugging Face's layout
            (config.json, model.safetensors, vocabulary), of one in keras-hub's, or of a GGUF file.
        sha256: of a GGUF file, of a download's file of weights, or of a folder, see `folder_sha256`; None: not
            checked. A package is held against the table's.

    Raises:
        UserError: the weights can't be had, are not those expected, or are another network's.
    """
    weights = weights or entry.weights
    if weights == "random":
        provenance = Provenance("random, not pretrained", None, "none")
        return Loaded(text.bare(entry), provenance, tokenizing.alphabet(entry.vocabulary))
    if weights.startswith("package:"):
        return _package(entry, weights)
    if weights.startswith(("preset:", "hf://")):
        return _download(entry, weights, sha256)
    return _given(entry, Path(weights), sha256)


def _package(entry: Backbone, weights: str) -> Loaded:
    if weights != entry.weights or entry.file is None:
        owners = [name for name, other in TABLE.items() if other.weights == weights]
        raise UserError(
            f"features.weights: {weights!r} is given, but this backbone's weights are {entry.weights}; give null"
            + (f", or backbone: {owners[0]}, whose weights these are" if owners else "")
        )
    with tempfile.TemporaryDirectory() as folder:
        sources.fetch(weights, entry.sha256, Path(folder))
        network, tokenizer = _read(entry, Path(folder) / entry.file)
    return Loaded(network, Provenance(weights, entry.sha256, entry.licence), tokenizer)


def _download(entry: Backbone, weights: str, sha256: str | None) -> Loaded:
    name = weights.removeprefix("preset:")
    try:
        network = _from_preset(entry, name)
        files = {file: path for file in (*tokenizing.FILES, *hub.WEIGHTS) if (path := hub.file(name, file))}
    except (OSError, ValueError) as error:  # what requests and the hubs' libraries raise derives from OSError
        raise UserError(
            f"features.weights: {weights} could not be downloaded ({error}); "
            "without a network, give the path of a folder that holds it"
        ) from None
    found = next((_sha256(files[file]) for file in hub.WEIGHTS if file in files), None)
    if sha256 not in (None, found):
        raise UserError(f"features.sha256: the weights of {weights} have the SHA-256 {found}, expected was {sha256}")
    with tempfile.TemporaryDirectory() as folder:
        for file in tokenizing.FILES:
            if file in files:
                (Path(folder) / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(files[file], Path(folder) / file)
        tokenizer = tokenizing.of_folder(Path(folder), entry.vocabulary)
    licence = entry.licence if weights == entry.weights else "as its owner says"
    return Loaded(network, Provenance(weights, found, licence), tokenizer)


def _given(entry: Backbone, path: Path, sha256: str | None) -> Loaded:
    if not (path.is_dir() or (path.is_file() and path.suffix == ".gguf")):
        raise UserError(f"features.weights: {str(path)!r} is no folder and no .gguf file; allowed are {ALLOWED}")
    found = folder_sha256(path) if path.is_dir() else _sha256(path)
    if sha256 not in (None, found):
        raise UserError(f"features.sha256: {path} has the SHA-256 {found}, expected was {sha256}")
    network, tokenizer = _read(entry, path)
    return Loaded(network, Provenance(path.name, found, "as its owner says"), tokenizer)


def _read(entry: Backbone, path: Path) -> tuple[keras.Model, Tokenizer]:
    """The network and the words of a folder or a GGUF file."""
    if path.suffix == ".gguf":
        return _of_gguf(entry, path)
    try:
        network = _from_preset(entry, str(path))
    except (ValueError, KeyError, OSError, safetensors.SafetensorError) as error:
        raise UserError(f"features.weights: {path} can't be read: {error}") from None
    return network, tokenizing.of_folder(path, entry.vocabulary)


def _from_preset(entry: Backbone, name: str) -> keras.Model:
    """A network as keras-hub loads it, from its own names, from Hugging Face's, from a folder.

    Raises:
        UserError: it is of another kind.
    """
    wanted = getattr(hub.models, entry.builder.partition(":")[2])
    more = {}
    if (config := hub.file(name, "config.json")) and issubclass(wanted, hub.models.LlamaBackbone):
        settings = json.loads(config.read_text(encoding="utf-8"))
        if "rms_norm_eps" in settings:  # which keras-hub 0.32 leaves out for Llama alone
            more["layer_norm_epsilon"] = settings["rms_norm_eps"]
    network = hub.models.Backbone.from_preset(name, **more)
    if not isinstance(network, wanted):
        raise UserError(
            f"features.weights: {name} holds a {type(network).__name__}, this backbone is a {wanted.__name__}"
        )
    return network


def _of_gguf(entry: Backbone, path: Path) -> tuple[keras.Model, Tokenizer]:
    if not entry.builder.endswith(("LlamaBackbone", "Llama3Backbone")):
        raise UserError("features.weights: a .gguf file is read for backbones of the Llama kind alone, SmolLM2 for one")
    options, values, tokenizer = llama_cpp.read(path, entry.vocabulary)
    network = hub.models.LlamaBackbone(**options)
    variables = {variable.path: variable for variable in network.weights}
    assert variables.keys() == values.keys()
    for name, variable in variables.items():
        if values[name].shape != tuple(variable.shape):
            raise UserError(
                f"features.weights: {path.name}: {name} is {values[name].shape}, expected was {tuple(variable.shape)}"
            )
        variable.assign(values[name])
    return network, tokenizer


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_sha256(folder: Path) -> str:
    r"""SHA-256 of what `sha256sum` prints for a folder's files, in the order of their paths' bytes.

    As the shell has it, within the folder: `find . -type f -not -path '*/.*' -printf '%P\n' | LC_ALL=C sort |
    xargs -d '\n' sha256sum | sha256sum`. Files and folders whose name begins with a dot do not count.
    """
    inside = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    seen = {str(name).encode(): path for name, path in inside.items() if not any(p[0] == "." for p in name.parts)}
    lines = [f"{_sha256(seen[name])}  ".encode() + name + b"\n" for name in sorted(seen)]
    return hashlib.sha256(b"".join(lines)).hexdigest()

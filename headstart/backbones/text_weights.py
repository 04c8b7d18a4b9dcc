"""Filling a text network with pretrained weights: from its own package, a folder, keras-hub's download; and its words."""

import hashlib
import tempfile
from pathlib import Path
from typing import NamedTuple

import keras
from tokenizers import Tokenizer

from headstart.backbones import hub, text, tokenizing
from headstart.backbones.table import TABLE, Backbone
from headstart.backbones.weights import Provenance
from headstart.data import sources
from headstart.stage import UserError

ALLOWED = "null, preset:NAME, hf://ORG/NAME, random and the path of a folder"


class Loaded(NamedTuple):
    """A bare network with its weights, where they come from, and its vocabulary."""

    network: keras.Model
    provenance: Provenance
    tokenizer: Tokenizer


def load(entry: Backbone, weights: str | None, sha256: str | None) -> Loaded:
    """Build the bare network with its weights.

    Args:
        entry: the network's line of the table.
        weights: None (the entry's own), `random`, the entry's `package:NAME==VERSION`, `preset:NAME` or
            `hf://ORG/NAME` (keras-hub downloads both), or the path of a folder in Hugging Face's layout
            (config.json, model.safetensors, vocabulary) or in keras-hub's.
        sha256: of a folder, see `folder_sha256`; None: not checked. A package is held against the table's.

    Raises:
        UserError: the weights can't be had, are not those expected, or are another network's.
    """
    weights = weights or entry.weights
    if weights == "random":
        provenance = Provenance("random, not pretrained", None, "none")
        return Loaded(text.bare(entry), provenance, tokenizing.alphabet(entry.marks))
    if weights.startswith("package:"):
        return _package(entry, weights)
    if weights.startswith(("preset:", "hf://")):
        raise UserError(f"features.weights: {weights}: not yet")
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
        network, tokenizer = _folder(entry, Path(folder) / entry.file)
    return Loaded(network, Provenance(weights, entry.sha256, entry.licence), tokenizer)


def _given(entry: Backbone, folder: Path, sha256: str | None) -> Loaded:
    if not folder.is_dir():
        raise UserError(f"features.weights: {str(folder)!r} is not a folder; allowed are {ALLOWED}")
    found = folder_sha256(folder)
    if sha256 not in (None, found):
        raise UserError(f"features.sha256: {folder} has the SHA-256 {found}, expected was {sha256}")
    network, tokenizer = _folder(entry, folder)
    return Loaded(network, Provenance(folder.name, found, "as its owner says"), tokenizer)


def _folder(entry: Backbone, folder: Path) -> tuple[keras.Model, Tokenizer]:
    kind = getattr(hub.models, entry.builder.partition(":")[2])
    try:
        network = kind.from_preset(str(folder))
    except (ValueError, KeyError, OSError) as error:
        raise UserError(f"features.weights: {folder} can't be read as {kind.__name__}: {error}") from None
    return network, tokenizing.of_folder(folder, entry.marks)


def folder_sha256(folder: Path) -> str:
    """SHA-256 of what `sha256sum` prints for a folder's files, those with a dot before their name left out.

    The lines are sorted by path, from within the folder, as bytes:
    `find . -type f -not -path '*/.*' -printf '%P\\0' | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum`.
    """
    lines = []
    for path in folder.rglob("*"):
        inside = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in inside.parts):
            with path.open("rb") as file:
                lines.append((str(inside).encode(), hashlib.file_digest(file, "sha256").hexdigest()))
    return hashlib.sha256(b"".join(f"{digest}  ".encode() + name + b"\n" for name, digest in sorted(lines))).hexdigest()

"""What differs between networks for pictures and for texts while they are fetched; nothing above knows of it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras

from headstart.backbones.table import Backbone
from headstart.backbones.weights import Provenance
from headstart.params import Params


class Fetched(NamedTuple):
    """A pretrained network.

    network: raw input -> float32 [b, d] embedding.
    facts: of its input, for backbone.json.
    provenance: of the weights.
    files: what belongs beside the network: name -> content.
    """

    network: keras.Model
    facts: dict[str, Any]
    provenance: Provenance
    files: dict[str, str]


def picture(settings: Params, entry: Backbone) -> Fetched:
    """A network for pictures: float32 [b, s, s, 3], raw RGB, 0-255."""
    from headstart.backbones import build, weights

    size, given = settings.prepare.image_size, settings.features
    bare, provenance = weights.load(entry, size, given.weights, given.sha256)
    network = build.embedding_network(bare, entry, settings.backbone)
    facts = {"image_size": size, "preprocessing": entry.preprocessing, "input": {"kind": "picture", "size": size}}
    return Fetched(network, facts, provenance, {})


def text(settings: Params, entry: Backbone) -> Fetched:
    """A network for texts: int32 [b, tokens], and the tokenizer that makes them."""
    from headstart.backbones import text, text_weights, tokenizing

    given = settings.features
    bare, provenance, tokenizer = text_weights.load(entry, given.weights, given.sha256)
    pooling = entry.pooling if given.pooling == "auto" else given.pooling
    ids = text.Ids(
        padding=tokenizing.padding(tokenizer, entry.vocabulary),
        separator=tokenizer.token_to_id(entry.vocabulary.last) if entry.vocabulary.last else None,
    )
    network = text.embedding_network(bare, ids, pooling, settings.backbone)
    tokens = {
        "kind": "tokens",
        "padding": ids.padding,
        "max_tokens": getattr(bare, "max_sequence_length", entry.size),
        "vocabulary": bare.vocabulary_size,
    }
    return Fetched(network, {"pooling": pooling, "input": tokens}, provenance, {"tokenizer.json": tokenizer.to_str()})


FETCH: dict[str, Callable[[Params, Backbone], Fetched]] = {"picture": picture, "text": text}

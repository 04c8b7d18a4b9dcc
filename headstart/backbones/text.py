"""Building a text network of the table: one flat graph from token ids to one embedding per text.

The network's layers are keras-hub's, wired anew so that a single tensor runs from each block to the next and the graph
can be parted there: the padding mask travels with the hidden state, as one more channel of it. Knows no files.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops

from headstart.backbones import hub
from headstart.backbones.table import Backbone, Pooling


class Ids(NamedTuple):
    """Token ids that a network has to know.

    padding: fills a text up to the length of the longest one beside it.
    separator: stands behind each of two texts that are one example, where the network was trained so; or None.
    """

    padding: int
    separator: int | None


def bare(entry: Backbone) -> keras.Model:
    """The network as keras-hub builds it, with random weights."""
    module, name = entry.builder.split(":")
    assert module == "keras_hub.models", entry.builder
    return getattr(hub.models, name)(**dict(entry.options))


def embedding_network(network: keras.Model, ids: Ids, pooling: Pooling, name: str) -> keras.Model:
    """The network again, in one flat graph that makes its masks itself and pools.

    Args:
        network: a backbone of keras-hub; its weights are copied.
        ids: see there.
        pooling: mean (over the text's tokens) | cls (the first token) | last (the text's last token).
        name: of the result.

    Returns:
        A Functional network: int32 [b, tokens], each row padded at its end -> float32 [b, d] embedding. See `flat`.
    """
    made = flat(network, ids, pooling)
    for layer in made.layers:
        if layer.weights:
            # An embedding of keras-hub may hold a second matrix, for the way from hidden states back to tokens.
            layer.set_weights(network.get_layer(layer.name).get_weights()[: len(layer.weights)])
    return keras.Model(made.input, made.output, name=name)


def flat(network: keras.Model, ids: Ids, pooling: Pooling) -> keras.Model:
    """The graph of `embedding_network`, with random weights.

    Each block reads hidden state and mask out of `state_N`, [b, tokens, d + 1]; so does each layer with weights above
    the first block. DeBERTa's relative embeddings, which depend on no token, are computed anew for each block, because
    they would be a second tensor that passes by it.
    """
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    given = {"token_ids": tokens, "padding_mask": _mask(tokens, ids.padding)}
    if "segment_ids" in network.input:
        given["segment_ids"] = _segments(tokens, ids.separator)
    mask = given["padding_mask"]
    clones: dict[str, Any] = {}
    known: dict[int, Any] = {}
    states = 0

    def clone(operation: Any) -> Any:
        """Our copy of an operation; the ones that keras-hub gave no name are numbered as they come."""
        if operation.name not in clones:
            copy = _clone(operation)
            if not isinstance(operation, keras.Layer):
                copy.name = f"{type(operation).__name__.lower()}_{len(clones)}"
            clones[operation.name] = copy
        return clones[operation.name]

    def rebuilt(tensor: Any) -> Any:
        """What the network computes as this tensor, in our graph."""
        nonlocal mask, states
        if id(tensor) in known:
            return known[id(tensor)]
        operation, number, _ = tensor._keras_history
        if isinstance(operation, layers.InputLayer):
            return given[operation.name]
        arguments = operation._inbound_nodes[number].arguments
        operands = {id(x): rebuilt(x) for x in _tensors(arguments) if _source(x) != "rel_embedding"}
        first = next(_tensors(arguments))
        masked = any(_source(x) == "padding_mask" for x in _tensors(arguments))
        if masked or (states and operation.weights):
            state = layers.Concatenate(name=f"state_{states}")([operands[id(first)], mask])
            operands[id(first)] = _named(state[..., :-1], f"hidden_{states}")
            mask = _named(state[..., -1:], f"mask_{states}")
            states += 1
        for x in _tensors(arguments):
            if _source(x) == "padding_mask":
                flat_mask = _named(ops.squeeze(mask, axis=-1), f"mask_{states - 1}_flat")
                operands[id(x)] = _named(ops.cast(flat_mask, "int32"), f"padding_mask_{states - 1}")
            elif _source(x) == "rel_embedding":
                operands[id(x)] = clone(x._keras_history.operation)(operands[id(first)])
        args, kwargs = keras.tree.map_structure(
            lambda x: operands[id(x)] if isinstance(x, keras.KerasTensor) else _plain(x),
            (arguments.args, arguments.kwargs),
        )
        outputs = clone(operation)(*args, **kwargs)
        for original, ours in zip(
            operation._inbound_nodes[number].output_tensors, keras.tree.flatten(outputs), strict=True
        ):
            known[id(original)] = ours
        return known[id(tensor)]

    output = network.output
    hidden = rebuilt(output["sequence_output"] if isinstance(output, dict) else output)
    return keras.Model(tokens, _pooled(hidden, mask, pooling), name=network.name)


def _mask(tokens: keras.KerasTensor, padding: int) -> keras.KerasTensor:
    """float32 [b, tokens, 1]: 1 at tokens, 0 at padding."""
    real = _named(ops.not_equal(tokens, padding), "not_padding")
    real = _named(ops.cast(real, "float32"), "not_padding_float")
    return _named(ops.expand_dims(real, axis=-1), "mask")


def _segments(tokens: keras.KerasTensor, separator: int | None) -> keras.KerasTensor:
    """int32 [b, tokens]: 0 up to and with the first separator, 1 behind it: the second text of a pair."""
    if separator is None:
        return _named(ops.zeros_like(tokens), "segment_ids")
    ends = _named(ops.equal(tokens, separator), "separators")
    ends = _named(ops.cast(ends, "int32"), "separators_int")
    upto = _named(ops.cumsum(ends, axis=1), "separators_up_to")
    before = _named(ops.subtract(upto, ends), "separators_before")
    return _named(ops.minimum(before, 1), "segment_ids")


def _pooled(hidden: keras.KerasTensor, mask: keras.KerasTensor, pooling: Pooling) -> keras.KerasTensor:
    """float32 [b, d] of [b, tokens, d] and the mask; zeros for a text without a token, except for cls."""
    hidden = _named(ops.cast(hidden, "float32"), "hidden_float")
    if pooling == "cls":
        return _named(hidden[:, 0], "embedding")
    weights = _named(ops.cast(mask, "float32"), "pooled_tokens")  # before counting: bfloat16 counts to 256
    if pooling == "last":
        count = _named(ops.cumsum(weights, axis=1), "tokens_up_to")
        most = _named(ops.max(count, axis=1, keepdims=True), "tokens_in_all")
        last = _named(ops.equal(count, most), "from_last")
        last = _named(ops.cast(last, "float32"), "from_last_float")
        weights = _named(ops.multiply(weights, last), "last")
    weighted = _named(ops.multiply(hidden, weights), "weighted")
    total = ops.sum(weighted, axis=1)
    if pooling == "last":
        return _named(total, "embedding")
    total = _named(total, "total")
    count = _named(ops.sum(weights, axis=1), "count")
    count = _named(ops.maximum(count, 1.0), "count_or_1")
    return _named(ops.divide(total, count), "embedding")


def _named(tensor: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """The tensor, its operation called so: by itself Keras counts the operations of the whole session."""
    tensor._keras_history.operation.name = name
    return tensor


def _tensors(arguments: Any) -> Iterator[keras.KerasTensor]:
    """The tensors among a call's arguments, in order."""
    for value in keras.tree.flatten((arguments.args, arguments.kwargs)):
        if isinstance(value, keras.KerasTensor):
            yield value


def _source(tensor: keras.KerasTensor) -> str:
    """Name of the operation whose output the tensor is."""
    return tensor._keras_history.operation.name


def _clone(operation: Any) -> Any:
    if isinstance(operation, layers.ReversibleEmbedding):
        return layers.Embedding(operation.input_dim, operation.output_dim, name=operation.name)
    return operation.__class__.from_config(operation.get_config())


def _plain(value: Any) -> Any:
    """A number instead of a constant tensor of the backend (Gemma's scale of the embeddings)."""
    return np.asarray(value).item() if keras.ops.is_tensor(value) else value

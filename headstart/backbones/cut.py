"""Parting a Functional Keras network into a frozen lower part and a tail. Knows no pictures, texts or training."""

from collections.abc import Iterator
from typing import Any

import keras

from headstart.backbones.graph import Graph, in_topological_order


def _call(operation: str, number: int) -> str:
    """Name of an operation's call: the operation's own for the first one, which is all that most have."""
    return f"{operation}:{number + 1}" if number else operation


def _sources(config: Any) -> Iterator[str]:
    """Names of the calls whose outputs an operation's serialised call arguments hold."""
    if isinstance(config, dict):
        if "keras_history" in config:
            operation, number, _ = config["keras_history"]
            yield _call(operation, number)
        else:
            for value in config.values():
                yield from _sources(value)
    elif isinstance(config, list | tuple):
        for value in config:
            yield from _sources(value)


def graph(network: keras.Model) -> Graph:
    """The network's graph.

    An operation that is called several times (ALBERT's one block is all of its blocks) is in it as often: as `name`,
    `name:2` and so on. Its weights are those of the first call, so that unfreezing it cuts below all of them. Right
    behind a call that is not the last one Keras 3.15 can't begin a tail; behind the next operation it can.

    Raises:
        ValueError: an operation is a network itself: names would not tell where to cut.
    """
    reads: dict[str, list[str]] = {}
    for operation in network.get_config()["layers"]:
        name, calls = operation["name"], operation["inbound_nodes"]
        if "layers" in operation["config"]:
            raise ValueError(f"{network.name} holds the network {name}; build it flat")
        reads |= {_call(name, number): list(_sources(call)) for number, call in enumerate(calls or [[]])}
    ordered = in_topological_order(reads)
    weighted = {layer.name for layer in network.layers if layer.weights}
    return Graph(network.name, ordered, [name for name in ordered if name in weighted])


def output(network: keras.Model, at: str) -> keras.KerasTensor:
    """The output of operation `at`, which need not be a layer: the flip to BGR, for one, is none."""
    name, _, number = at.partition(":")
    operation = next(operation for operation in network.operations if operation.name == name)
    return operation._inbound_nodes[int(number) - 1].output_tensors[0] if number else operation.output


def lower(network: keras.Model, at: str) -> keras.Model:
    """The part from the input to the output of operation `at`. Shares its layers with the network."""
    return keras.Model(network.input, output(network, at), name="lower")


def tail(network: keras.Model, at: str) -> keras.Model:
    """The part from the output of operation `at` to the output. Shares its layers with the network."""
    return keras.Model(output(network, at), network.output, name="tail")


def unfreeze(network: keras.Model, names: list[str], batch_norm: bool = False) -> None:
    """Make just the named layers trainable.

    BatchNormalization layers are set still by their own flag, unless `batch_norm`: `training=False` at the call
    would not keep their statistics once the network is unfrozen (Keras 3.15).
    """
    for layer in network.layers:
        still = isinstance(layer, keras.layers.BatchNormalization) and not batch_norm
        layer.trainable = layer.name in names and not still

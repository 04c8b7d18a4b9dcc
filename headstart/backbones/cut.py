"""Parting a Functional Keras network into a frozen lower part and a tail. Knows nothing of images or training."""

from collections.abc import Iterator
from typing import Any

import keras

from headstart.backbones.graph import Graph, in_topological_order


def _sources(config: Any) -> Iterator[str]:
    """Names of the operations whose outputs an operation's serialised call arguments hold."""
    if isinstance(config, dict):
        if "keras_history" in config:
            yield config["keras_history"][0]
        else:
            for value in config.values():
                yield from _sources(value)
    elif isinstance(config, list | tuple):
        for value in config:
            yield from _sources(value)


def graph(network: keras.Model) -> Graph:
    """The network's graph.

    Raises:
        ValueError: an operation is called more than once, or is a network itself: names would not tell where to cut.
    """
    reads: dict[str, list[str]] = {}
    for operation in network.get_config()["layers"]:
        name, calls = operation["name"], operation["inbound_nodes"]
        if len(calls) > 1:
            raise ValueError(f"{network.name} calls {name} {len(calls)} times, so that it can't be parted by names")
        if "layers" in operation["config"]:
            raise ValueError(f"{network.name} holds the network {name}; build it flat")
        reads[name] = list(_sources(calls))
    ordered = in_topological_order(reads)
    weighted = {layer.name for layer in network.layers if layer.weights}
    return Graph(network.name, ordered, [name for name in ordered if name in weighted])


def output(network: keras.Model, at: str) -> keras.KerasTensor:
    """The output of operation `at`, which need not be a layer: the flip to BGR, for one, is none."""
    return next(operation.output for operation in network.operations if operation.name == at)


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

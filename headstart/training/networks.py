"""The head, and putting it on a backbone."""

import keras
from keras import layers

from headstart.device import xla
from headstart.tasks import Task


def head(embedding: int, classes: int, hidden: list[int], dropout: float, task: Task) -> keras.Model:
    """Dense layers from an embedding [b, embedding] to the task's output for so many classes."""
    inputs = keras.Input((embedding,), name="embedding")
    x = inputs
    for number, units in enumerate(hidden, start=1):
        x = layers.Dense(units, activation="relu", name=f"hidden{number}")(x)
    if dropout:
        x = layers.Dropout(dropout, name="dropout")(x)
    return keras.Model(inputs, task.output_layer(classes)(x), name="head")


def on_top(network: keras.Model, head: keras.Model, name: str) -> keras.Model:
    """A network (or its tail) with the head on its output; shares the weights of both."""
    return keras.Model(network.input, head(network.output), name=name)


def compile_for_device(model: keras.Model, **arguments: object) -> None:
    """Compile with XLA where that is the faster way."""
    model.compile(jit_compile=xla(), **arguments)

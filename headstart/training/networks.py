"""The head, and putting it on a backbone."""

from types import ModuleType

import keras
from keras import layers


def head(embedding: int, classes: int, hidden: list[int], dropout: float, task: ModuleType) -> keras.Model:
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


def on_accelerator() -> bool:
    """Whether Keras' backend sees a GPU or TPU."""
    return bool(keras.distribution.list_devices("gpu") or keras.distribution.list_devices("tpu"))


def compile_for_device(model: keras.Model, **arguments: object) -> None:
    """Compile with XLA on a GPU and without it on a CPU, where it is the slower way (0.1-0.7 of plain)."""
    jit = on_accelerator() or keras.backend.backend() == "jax"
    model.compile(jit_compile=jit, **arguments)

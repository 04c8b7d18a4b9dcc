"""Where Keras computes, and how: with XLA and bfloat16 on an accelerator, plainly in float32 on a CPU."""

import keras

# Names of the layers that give a model's answer, as headstart/tasks has them.
ANSWERS = ("probabilities", "standard_score", "score")


def on_accelerator() -> bool:
    """Whether Keras' backend sees a GPU or TPU."""
    return any(not name.startswith("cpu") for name in keras.distribution.list_devices())


def xla() -> bool:
    """Whether to use XLA: TensorFlow on a CPU is slower with it (0.1-0.7 of the plain speed); JAX is nothing else."""
    return on_accelerator() or keras.backend.backend() == "jax"


def precision(wanted: str) -> str:
    """float32 or bfloat16; `auto` is bfloat16 on an accelerator."""
    if wanted == "auto":
        return "bfloat16" if on_accelerator() else "float32"
    return wanted


def compute_in(model: keras.Model, precision: str) -> None:
    """Have the layers compute in float32 or bfloat16; their weights, a softmax and what answers stay in float32."""
    policy = {"float32": "float32", "bfloat16": "mixed_bfloat16"}[precision]
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            compute_in(layer, precision)
            continue
        for part in layer._flatten_layers():  # a block of a transformer holds layers itself
            exact = isinstance(part, keras.layers.Softmax) or part.name in ANSWERS
            if not exact and getattr(part, "activation", None) is not keras.activations.softmax:
                part.dtype_policy = policy


def share_work() -> int:
    """Have all devices of this machine take part in every training step that follows, each with a share of the batch.

    Keras has this for JAX alone (its distribution module for TensorFlow says that it is not to be used).

    Returns:
        How many devices share each batch.
    """
    count = len(keras.distribution.list_devices())
    if keras.backend.backend() != "jax" or count < 2:
        return 1
    keras.distribution.set_distribution(keras.distribution.DataParallel())
    return count


def for_inference(model: keras.Model, precision: str = "float32") -> keras.Model:
    """The same model, set up to predict on this device."""
    compute_in(model, precision)
    model.jit_compile = xla()
    return model

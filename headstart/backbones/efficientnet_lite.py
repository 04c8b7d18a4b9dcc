"""EfficientNet-Lite in plain Keras layers, and its published weights.

EfficientNet (Tan & Le 2019, arXiv:1905.11946, table 1) without squeeze-and-excitation and with ReLU6; the stem and
the last convolution keep their width in all sizes (TensorFlow's model garden, efficientnet/lite). The weights were
trained with TensorFlow, whose "same" padding is asymmetric at stride 2: other padding lowers the scores.
"""

import math

import keras
from keras import layers

from headstart.backbones.published import Layout, batch_norm, convolution

# stage: (kernel size, repeats, filters, expansion, stride)
STAGES = [
    (3, 1, 16, 1, 1),
    (3, 2, 24, 6, 2),
    (5, 2, 40, 6, 2),
    (3, 3, 80, 6, 2),
    (5, 3, 112, 6, 1),
    (5, 4, 192, 6, 2),
    (3, 1, 320, 6, 1),
]


def _filters(count: int, width: float) -> int:
    """Scale a number of filters, to a multiple of 8 that is not more than 10 % smaller (as published)."""
    scaled = max(8, int(count * width + 4) // 8 * 8)
    return scaled + 8 if scaled < 0.9 * count * width else scaled


def _blocks(width: float, depth: float) -> list[tuple[str, int, int, int, int, bool]]:
    """Each block's name, kernel size, filters, expanded filters, stride, and whether it has a shortcut."""
    blocks, inside = [], 32
    for stage, (kernel, repeats, filters, expansion, stride) in enumerate(STAGES, start=1):
        # The first and the last stage are not deepened in the Lite family.
        count = repeats if stage in (1, len(STAGES)) else math.ceil(repeats * depth)
        outside = _filters(filters, width)
        for i in range(count):
            step = stride if i == 0 else 1
            name = f"block{stage}{chr(ord('a') + i)}"
            blocks.append((name, kernel, outside, inside * expansion, step, step == 1 and inside == outside))
            inside = outside
    return blocks


def _normalised(x: keras.KerasTensor, name: str, relu: bool = True) -> keras.KerasTensor:
    x = layers.BatchNormalization(epsilon=1e-3, momentum=0.99, name=f"{name}_bn")(x)
    return layers.ReLU(max_value=6.0, name=f"{name}_relu")(x) if relu else x


def _convolution(x: keras.KerasTensor, filters: int, kernel: int, stride: int, name: str) -> keras.KerasTensor:
    return layers.Conv2D(filters, kernel, stride, padding="same", use_bias=False, name=f"{name}_conv")(x)


def build(
    input_shape: tuple[int, int, int],
    input_tensor: keras.KerasTensor | None = None,
    width: float = 1.0,
    depth: float = 1.0,
) -> keras.Model:
    """EfficientNet-Lite without its top.

    Args:
        input_shape: height, width, 3.
        input_tensor: what to build on, instead of an input of its own.
        width, depth: coefficients; Lite0 1.0, 1.0; Lite1 1.0, 1.1; Lite2 1.1, 1.2.

    Returns:
        A Functional network: float32 [b, h, w, 3], normalised as (x - 127) / 128 -> [b, h / 32, w / 32, 1280].
    """
    inputs = keras.Input(input_shape) if input_tensor is None else input_tensor
    x = _normalised(_convolution(inputs, 32, 3, 2, "stem"), "stem")
    for name, kernel, filters, expanded, stride, shortcut in _blocks(width, depth):
        block_input = x
        if expanded != x.shape[-1]:
            x = _normalised(_convolution(x, expanded, 1, 1, f"{name}_expand"), f"{name}_expand")
        x = layers.DepthwiseConv2D(kernel, stride, padding="same", use_bias=False, name=f"{name}_depthwise_conv")(x)
        x = _normalised(x, f"{name}_depthwise")
        x = _normalised(_convolution(x, filters, 1, 1, f"{name}_project"), f"{name}_project", relu=False)
        if shortcut:
            x = layers.Add(name=f"{name}_add")([block_input, x])
    x = _normalised(_convolution(x, 1280, 1, 1, "top"), "top")
    return keras.Model(keras.utils.get_source_inputs(inputs), x, name="efficientnet_lite")


def layouts(network: keras.Model) -> list[Layout]:
    """Where the tensors of a published checkpoint belong in a network made by `build`."""
    places = convolution("stem_conv", "_conv_stem") | batch_norm("stem_bn", "_bn0")
    names = [layer.name for layer in network.layers]
    for number, name in enumerate(n.removesuffix("_project_conv") for n in names if n.endswith("_project_conv")):
        key = f"_blocks.{number}"
        if f"{name}_expand_conv" in names:
            places |= convolution(f"{name}_expand_conv", f"{key}._expand_conv")
            places |= batch_norm(f"{name}_expand_bn", f"{key}._bn0")
        places |= convolution(f"{name}_depthwise_conv", f"{key}._depthwise_conv", depthwise=True)
        places |= batch_norm(f"{name}_depthwise_bn", f"{key}._bn1")
        places |= convolution(f"{name}_project_conv", f"{key}._project_conv")
        places |= batch_norm(f"{name}_project_bn", f"{key}._bn2")
    places |= convolution("top_conv", "_conv_head") | batch_norm("top_bn", "_bn1")
    return [Layout(places, r"_fc\..*|.*\.num_batches_tracked")]

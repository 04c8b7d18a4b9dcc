"""Building a network of the table: flat, its preprocessing inside, pooled to one embedding per picture."""

import importlib

import keras
from keras import layers

from headstart.backbones.table import Backbone, Preprocessing
from headstart.stage import UserError

# keras.applications.imagenet_utils: ImageNet's mean in BGR order for "caffe", mean and deviation in RGB for "torch".
_CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)
_TORCH_MEAN, _TORCH_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def preprocess(x: keras.KerasTensor, how: Preprocessing) -> keras.KerasTensor:
    """Raw RGB, 0-255, float32 [b, h, w, 3] -> what the network was trained on, same shape."""
    match how:
        case "efficientnet":
            # The network computes (x / 255 - mean) / d with a d that is the root of ImageNet's deviation, where the
            # deviation itself is meant. Dividing by d once more can be done to x beforehand.
            roots = [deviation**0.5 for deviation in _TORCH_DEVIATION]
            offset = [255 * mean * (1 - 1 / root) for mean, root in zip(_TORCH_MEAN, roots, strict=True)]
            return layers.Rescaling([1 / root for root in roots], offset, name="preprocessing")(x)
        case "tf":
            return layers.Rescaling(1 / 127.5, -1.0, name="preprocessing")(x)
        case "lite":
            return layers.Rescaling(1 / 128, -127 / 128, name="preprocessing")(x)
        case "caffe":
            offset = [-mean for mean in _CAFFE_MEAN_BGR]
            return layers.Rescaling([1.0] * 3, offset, name="preprocessing")(keras.ops.flip(x, axis=-1))
        case "torch":
            scale = [1 / (255 * deviation) for deviation in _TORCH_DEVIATION]
            offset = [-mean / deviation for mean, deviation in zip(_TORCH_MEAN, _TORCH_DEVIATION, strict=True)]
            return layers.Rescaling(scale, offset, name="preprocessing")(x)


def bare(entry: Backbone, image_size: int, input_tensor: keras.KerasTensor | None = None) -> keras.Model:
    """The network as its library builds it, without top and with random weights: the one that weight files fit.

    Args:
        entry: its line of the table.
        image_size: height and width in pixels.
        input_tensor: what to build it on, instead of an input of its own.

    Raises:
        UserError: the network can't take pictures of that size.
    """
    module, function = entry.builder.split(":")
    try:
        return getattr(importlib.import_module(module), function)(
            input_shape=(image_size, image_size, 3), input_tensor=input_tensor, **dict(entry.options)
        )
    except ValueError as error:
        raise UserError(
            f"prepare.image_size: {image_size} does not suit the backbone, whose own size is {entry.size}: {error}"
        ) from None


def embedding_network(network: keras.Model, entry: Backbone, name: str) -> keras.Model:
    """The network again, in one flat graph with the preprocessing below it and global average pooling above.

    Args:
        network: made by `bare`; its weights are copied.
        entry: its line of the table.
        name: of the result.

    Returns:
        A Functional network: float32 [b, h, w, 3] raw RGB, 0-255 -> float32 [b, d] embedding. Its layers carry the
        bare network's names and weights.
    """
    image = keras.Input(network.input_shape[1:], name="image")
    flat = bare(entry, network.input_shape[1], preprocess(image, entry.preprocessing))
    flat.set_weights(network.get_weights())
    for layer in flat.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # set_weights alone leaves it computing with its old mean (Keras 3.15)
    return keras.Model(image, layers.GlobalAveragePooling2D(name="embedding")(flat.output), name=name)

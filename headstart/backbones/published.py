"""Names under which publishers keep a network's tensors, and where each belongs in our layers.

A builder's module of ours that has published weights offers `layouts(network)`: for each way of naming that is
about, every tensor's name and place. Knows no files.
"""

from typing import NamedTuple


class Place(NamedTuple):
    """Where a tensor belongs.

    variable: `layer/variable` of the bare network, as `build.variables` names it.
    axes: transposition from the tensor's layout to Keras', if there is one.
    """

    variable: str
    axes: tuple[int, ...] | None = None


class Layout(NamedTuple):
    """One way of naming.

    places: each tensor's name -> where it belongs.
    unused: regular expression of the names that such a file may hold besides: its head, counters.
    """

    places: dict[str, Place]
    unused: str


# PyTorch and ONNX: [out, in, h, w], Keras: [h, w, in, out]; of a depthwise convolution [channels, 1, h, w] and
# [h, w, channels, 1].
CONVOLUTION = (2, 3, 1, 0)
DEPTHWISE = (2, 3, 0, 1)


def convolution(layer: str, key: str, depthwise: bool = False) -> dict[str, Place]:
    """The kernel of PyTorch's convolution `key` for our layer of that name."""
    return {f"{key}.weight": Place(f"{layer}/kernel", DEPTHWISE if depthwise else CONVOLUTION)}


def batch_norm(layer: str, key: str) -> dict[str, Place]:
    """The four vectors of PyTorch's batch normalisation `key` for our layer of that name."""
    names = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
    return {f"{key}.{theirs}": Place(f"{layer}/{ours}") for theirs, ours in names.items()}

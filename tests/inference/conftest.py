"""A real model, small enough to see through: how bright the left half of an 8 x 8 picture is."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

CLASSES = ["dark", "bright"]
FACTS = {
    "task": "image-classification",
    "image_size": 8,
    "resize": "stretch",
    "channels": 3,
    "black": 0.0,
    "white": 1.0,
    "augment": "flip",
    "seed": 0,
}


def brightness() -> onnx.ModelProto:
    """float32 [b, 8, 8, 3] -> probabilities [b, 2] of the classes."""
    left = np.zeros((8, 8, 3), np.float32)
    left[:, :4] = 1 / (left[:, :4].size * 255)
    nodes = [
        helper.make_node("Mul", ["image", "left"], ["weighed"]),
        helper.make_node("ReduceSum", ["weighed", "axes"], ["bright"], keepdims=0),
        helper.make_node("Unsqueeze", ["bright", "last"], ["column"]),
        helper.make_node("Sub", ["one", "column"], ["dark"]),
        helper.make_node("Concat", ["dark", "column"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 8, 8, 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 2])],
        [
            numpy_helper.from_array(left, "left"),
            numpy_helper.from_array(np.array([1, 2, 3]), "axes"),
            numpy_helper.from_array(np.array([1]), "last"),
            numpy_helper.from_array(np.array([1], np.float32), "one"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def grey(path: Path, level: int) -> Path:
    """A picture of one grey."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (16, 16), level).save(path)
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to run in, with the model where `predict` looks for it."""
    folder = tmp_path / "models" / "final"
    folder.mkdir(parents=True)
    onnx.save(brightness(), folder / "model.onnx")
    (folder / "labels.json").write_text(json.dumps(CLASSES))
    (folder / "model.json").write_text(json.dumps(FACTS))
    monkeypatch.chdir(tmp_path)
    return tmp_path

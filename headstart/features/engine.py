"""Running the frozen part of a backbone: ONNX Runtime where it agrees with Keras, else Keras itself.

TensorFlow is imported only if Keras runs. Agreement is checked at every start against outputs that Keras left
beside the backbone, so the check needs no Keras either.
"""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from headstart.backbones import reference
from headstart.backbones.graph import Graph, separators

# Largest error, relative to the largest output, at which an engine counts as computing the same in float32.
TOLERANCE = 1e-3

log = logging.getLogger(__name__)


class Engine(NamedTuple):
    """A running network part.

    name: onnxruntime | keras.
    error: relative error against Keras on the reference pictures; 0 for Keras.
    run: float32 or uint8 [b, s, s, 3], 0-255 -> float32 [b, ...] output at the cut.
    """

    name: str
    error: float
    run: Callable[[np.ndarray], np.ndarray]


def read_graph(backbone: Path) -> Graph:
    """The graph that `fetch_backbone` left in `backbone.json`."""
    facts = json.loads((backbone / "backbone.json").read_text())
    return Graph(facts["name"], facts["graph"], facts["weighted"])


def _onnxruntime(backbone: Path, at: str) -> Callable[[np.ndarray], np.ndarray]:
    """The part up to the cut, taken out of the network's ONNX file, whose outputs are all its separators in order."""
    import onnx
    import onnxruntime

    model = onnx.load(backbone / "backbone.onnx")
    # The input itself is the first separator and no output of the file.
    output = model.graph.output[separators(read_graph(backbone)).index(at) - 1].name
    source = model.graph.input[0].name
    part = onnx.utils.Extractor(model).extract_model([source], [output])
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(part.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda images: session.run([output], {source: images.astype(np.float32, copy=False)})[0]


def _keras(backbone: Path, at: str) -> Callable[[np.ndarray], np.ndarray]:
    import keras

    from headstart.backbones.cut import lower
    from headstart.backbones.saving import load_model

    part = lower(load_model(backbone / "backbone.keras"), at)
    if keras.backend.backend() == "tensorflow" and not keras.distribution.list_devices("gpu"):
        part.jit_compile = False  # XLA, which Keras chooses by itself, is the slower way on a CPU
    return lambda images: np.asarray(part.predict_on_batch(images.astype(np.float32, copy=False)))


def load(backbone: Path, at: str, wanted: str) -> Engine:
    """Start an engine for the part of the network from its input to the output of operation `at`.

    Args:
        backbone: folder that `fetch_backbone` wrote.
        at: a separator of the network's graph.
        wanted: auto (what the backbone's table entry names) | onnxruntime | keras.
    """
    facts = json.loads((backbone / "backbone.json").read_text())
    name = facts["engine"] if wanted == "auto" else wanted
    if name == "onnxruntime" and not (backbone / "backbone.onnx").exists():
        log.warning("%s could not be exported to ONNX: Keras runs its frozen layers", facts["name"])
        name = "keras"
    if name == "onnxruntime":
        run = _onnxruntime(backbone, at)
        expected = np.load(backbone / "reference.npz", allow_pickle=False)[at]
        found = reference.sample(run(reference.images(facts["image_size"])))
        error = float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-12))
        if error <= TOLERANCE:
            return Engine(name, error, run)
        log.warning("%s differs from Keras by %.1e at %s: Keras runs the frozen layers", name, error, at)
    return Engine("keras", 0.0, _keras(backbone, at))

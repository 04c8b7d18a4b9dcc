"""Running the frozen part of a backbone: on ONNX Runtime or OpenVINO where they agree with Keras, else on Keras itself.

TensorFlow is imported only if Keras runs. Agreement is checked at every start against outputs that Keras left
beside the backbone, so the check needs no Keras either.
"""

import functools
import hashlib
import json
import logging
import os
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from headstart import stage
from headstart.backbones import reference
from headstart.backbones.graph import Graph, separators

# Largest error, relative to the largest output, at which an engine counts as computing the same. bfloat16 has eight
# bits, and rounding adds up over the layers (measured: 0.004-0.05).
TOLERANCE = {"float32": 1e-3, "bfloat16": 0.1}
# Pictures in a call: beyond it two cores are no faster and memory grows. Always just so many, the last ones made up, so
# that a picture's row has the same bits whatever was computed beside it.
BATCH = 32

log = logging.getLogger(__name__)
Run = Callable[[np.ndarray], np.ndarray]


class Engine(NamedTuple):
    """A running network part.

    name: onnxruntime | openvino | keras.
    precision: float32 | bfloat16.
    error: relative error against Keras in float32 on the reference inputs; 0 for Keras in float32.
    identity: everything that the output's bits depend on besides the inputs.
    run: float32 or uint8 [b, s, s, 3], 0-255, or int32 [b, tokens] ids, any b -> float32 [b, ...] output at the cut.
    """

    name: str
    precision: str
    error: float
    identity: dict[str, str]
    run: Run

    def __str__(self) -> str:
        return f"{self.name} in {self.precision}, relative error against Keras {self.error:.1e}"


def read_graph(backbone: Path) -> Graph:
    """The graph that `fetch_backbone` left in `backbone.json`."""
    facts = json.loads((backbone / "backbone.json").read_text())
    return Graph(facts["name"], facts["graph"], facts["weighted"])


def _onnx_part(backbone: Path, at: str) -> Any:
    """The part up to the cut, taken out of the network's ONNX file, whose outputs are all its separators in order."""
    import onnx

    model = onnx.load(backbone / "backbone.onnx")
    # The input itself is the first separator and no output of the file.
    output = model.graph.output[separators(read_graph(backbone)).index(at) - 1].name
    return onnx.utils.Extractor(model).extract_model([model.graph.input[0].name], [output])


def _onnxruntime(backbone: Path, at: str, _: str) -> Run:
    import onnxruntime

    part = _onnx_part(backbone, at)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(part.SerializeToString(), options, providers=["CPUExecutionProvider"])
    source = part.graph.input[0].name
    return lambda images: session.run(None, {source: images})[0]


def _openvino(backbone: Path, at: str, precision: str) -> Run:
    import openvino

    core = openvino.Core()
    model = core.read_model(_onnx_part(backbone, at).SerializeToString())
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[precision],
    }
    part = core.compile_model(model, "CPU", settings)
    return lambda images: part(images)[0].copy()


def _keras(backbone: Path, at: str, precision: str) -> Run:
    from headstart.backbones.cut import lower
    from headstart.backbones.saving import load_model
    from headstart.device import for_inference

    part = for_inference(lower(load_model(backbone / "backbone.keras"), at), precision)
    return lambda images: np.asarray(part.predict_on_batch(images)).astype(np.float32, copy=False)


_START = {"onnxruntime": _onnxruntime, "openvino": _openvino, "keras": _keras}


def _whole_batches(run: Run) -> Run:
    """The same for any number of inputs, in calls of BATCH of them: pictures as float32, token ids as they are."""

    def whole(inputs: np.ndarray) -> np.ndarray:
        dtype = np.int32 if inputs.dtype == np.int32 else np.float32
        results = []
        for start in range(0, len(inputs), BATCH):
            part = inputs[start : start + BATCH].astype(dtype, copy=False)
            filled = np.concatenate([part, np.zeros((BATCH - len(part), *part.shape[1:]), dtype)])
            results.append(run(filled)[: len(part)])
        return np.concatenate(results)

    return whole


@functools.cache
def gpu() -> bool:
    """Whether Keras computes on a GPU here; a framework is started to ask only where the machine has one."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES", "all") not in ("", "-1")
    if not allowed or not any(Path("/dev").glob("nvidia[0-9]*")):
        return False
    from headstart.device import on_accelerator

    if not (used := on_accelerator()):
        log.warning("Keras can't use this machine's GPU: the frozen layers run on the CPU; see `headstart doctor`")
    return used


def choose(facts: dict[str, Any], wanted: str, precision: str) -> tuple[str, str]:
    """Name of the engine and the precision, where either is left to us.

    On a GPU Keras in bfloat16; on a CPU float32 and what the backbone's table entry names. ONNX Runtime has no
    bfloat16 on a CPU, OpenVINO does.
    """
    if precision == "auto":
        precision = "bfloat16" if wanted in ("auto", "keras") and gpu() else "float32"
    if wanted == "auto":
        wanted = "keras" if gpu() else "openvino" if precision == "bfloat16" else facts["engine"]
    return wanted, precision


def _first_line(failure: Exception) -> str:
    return next(iter(str(failure).splitlines()), type(failure).__name__)


def load(backbone: Path, at: str, wanted: str, precision: str) -> Engine:
    """Start an engine for the part of the network from its input to the output of operation `at`.

    Args:
        backbone: folder that `fetch_backbone` wrote.
        at: a separator of the network's graph.
        wanted: auto (see `choose`) | onnxruntime | openvino | keras.
        precision: auto | float32 | bfloat16.
    """
    facts = json.loads((backbone / "backbone.json").read_text())
    name, precision = choose(facts, wanted, precision)
    if name == "onnxruntime" and precision == "bfloat16":
        log.warning("features.engine: ONNX Runtime has no bfloat16 on a CPU; it computes in float32 (openvino has it)")
        precision = "float32"
    if name != "keras" and not (backbone / "backbone.onnx").exists():
        log.warning("there is no ONNX file of %s, only Keras runs it", facts["name"])
        name = "keras"
    expected = np.load(backbone / "reference.npz", allow_pickle=False)[at]
    inputs = reference.inputs(facts["input"])
    for attempt in dict.fromkeys((name, "keras")):
        try:
            run = _whole_batches(_START[attempt](backbone, at, precision))
            found = reference.sample(run(inputs))
        except Exception as failure:  # an engine has exceptions of its own for what it does not know
            if attempt == "keras" or stage.lacks_memory(failure):
                raise
            log.warning("%s fails at %s, Keras runs the frozen layers: %s", attempt, at, _first_line(failure))
            continue
        error = float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-12))
        if error <= TOLERANCE[precision] or attempt == "keras":
            break
        log.warning("%s differs from Keras by %.1e at %s: Keras runs the frozen layers", attempt, error, at)
    file = backbone / ("backbone.keras" if attempt == "keras" else "backbone.onnx")
    with file.open("rb") as content:
        identity = {
            "engine": f"{attempt} {metadata.version(attempt)}",
            "precision": precision,
            "network": hashlib.file_digest(content, "sha256").hexdigest(),
            "at": at,
        }
    return Engine(attempt, precision, error, identity, run)

"""A trained model for other runtimes: SavedModel, ONNX, LiteRT and OpenVINO, each held against Keras on real examples.

Refuses to leave behind what does not compute as Keras does. Int8 is another model, not another format: what it costs is
said in the primary figure on the validation split (the test split is looked at by the evaluation alone).
"""

import json
import logging
import os
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headstart import facts, quiet
from headstart.data.labels import YES
from headstart.data.prepared import Prepared, Texts, load
from headstart.evaluation import kinds
from headstart.evaluation.declared import OF_LABELS
from headstart.features.views import as_rgb
from headstart.inference.model import evaluated_views
from headstart.stage import UserError

if TYPE_CHECKING:
    import keras

# Largest difference from Keras' (of a probability, or of a score in deviations of them) at which a float export counts
# as the same.
TOLERANCE = 1e-3
BATCH = 32
# Pictures: that int8's scales are taken from, and that are compared, at most: seconds of work rather than minutes.
CALIBRATION, COMPARED = 128, 512
# Calls that a speed is the median of, by pictures in a call.
CALLS = {1: 15, BATCH: 3}

Pictures = NDArray[np.float32]  # [b, s, s, 3], 0-255
Run = Callable[[Pictures], NDArray[np.floating]]


Write = Callable[["keras.Model", Path, Pictures], None]  # the last are training pictures, to calibrate on


class Format(NamedTuple):
    """A file format.

    file: its name in the output folder.
    write: the network to a path.
    write_int8: the same as int8; None where there is none.
    start: path -> what runs it, for any number of pictures.
    """

    file: str
    write: Write
    write_int8: Write | None
    start: Callable[[Path], Run]


class Found(NamedTuple):
    """What an export is like.

    name: of the format, with int8 if it is that.
    file: its name.
    megabytes: of its files.
    difference: the largest of a probability from Keras'; of a score in deviations of Keras'.
    same: share of the pictures with the same answer: the most probable class, the same yes and no to every class, or a
        score that is off by less than a hundredth of the deviation of Keras'.
    figure: the primary figure of the label kind (accuracy, where a label is one class) on the validation split.
    speed: pictures in a call -> pictures a second.
    """

    name: str
    file: str
    megabytes: float
    difference: float
    same: float
    figure: float
    speed: dict[int, float]


class Failed(NamedTuple):
    """An export that was not left behind.

    name: of the format.
    reason: why not.
    """

    name: str
    reason: str


def export(
    model: Path, out: Path, formats: list[str], int8: bool, prepared: Path = Path("data/prepared")
) -> Iterator[Found | Failed]:
    """Write a model in other formats and hold each against Keras; the first thing found is Keras itself.

    What a converter can't do, or what differs from Keras by more than TOLERANCE, comes as Failed and is not there then.

    Args:
        model: a folder as `fine_tune` writes it.
        out: folder to write to; other files there are left alone, exports of before are replaced.
        formats: of `FORMATS`.
        int8: also write int8 variants, where a format has one.
        prepared: the prepared data, whose validation pictures are compared and whose training pictures calibrate.

    Raises:
        UserError: no model, or no data.
    """
    from headstart.backbones.saving import load_model
    from headstart.device import for_inference

    if not (model / "model.keras").exists():
        raise UserError(f"{model} holds no model.keras; `dvc repro` makes models/final, --model names another folder")
    if not (prepared / "examples.csv").exists():
        raise UserError(f"{prepared} is not there, and exports are held against Keras on its pictures; run `dvc repro`")
    data = load(prepared)
    if isinstance(data.contents, Texts):
        raise UserError(
            "a model of texts can't be exported yet; `headstart predict` and MLflow serve model.keras itself"
        )
    network = for_inference(load_model(model / "model.keras"))
    compared, calibration = pictures(data, "validation", COMPARED), pictures(data, "train", CALIBRATION)
    kind = kinds.of(data.labels)
    truth = data.targets("validation")[spread(len(data.of("validation")), COMPARED)]
    expected = in_batches(network.predict_on_batch, compared)
    unit = (float(expected.std()) or 1.0) if data.labels == "score" else 1.0
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(model / "labels.json", out / "labels.json")
    known = facts.read(model) | {"views": evaluated_views(model)}
    (out / facts.NAME).write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")

    def found(name: str, file: Path, run: Run, answers: NDArray[np.float32]) -> Found:
        return Found(
            name,
            file.name,
            sum(part.stat().st_size for part in parts(file)) / 1e6,
            float(np.abs(answers - expected).max()) / unit,
            _same(answers, expected, data.labels),
            float(kind.scores(truth, answers)[kind.FIGURES.primary] or 0.0),
            {
                n: n / _seconds(partial(run, compared[np.arange(n) % len(compared)]), calls)
                for n, calls in CALLS.items()
            },
        )

    yield found("keras", model / "model.keras", network.predict_on_batch, expected)
    for name in formats:
        to = FORMATS[name]
        for write in [to.write, to.write_int8] if int8 and to.write_int8 else [to.write]:
            assert write is not None
            exact = write is to.write
            # Aside, so that an export appears whole, or not at all if it does not compute the same.
            with TemporaryDirectory(prefix=".export-", dir=out) as folder:
                file = Path(folder, to.file if exact else to.file.replace(".", ".int8."))
                _remove(out / file.name)
                label = name if exact else f"{name} int8"
                try:
                    with _quietly():
                        write(network, file, calibration)
                        run = to.start(file)
                        answers = in_batches(run, compared)
                except Exception as error:  # converters stumble over anything at all, and the others may do
                    yield Failed(label, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
                    continue
                said = found(label, file, run, answers)
                if exact and not said.difference <= TOLERANCE:
                    yield Failed(
                        label, f"its answers differ from Keras' by up to {said.difference:.1e}, not {TOLERANCE:g}"
                    )
                    continue
                for part in [file] if file.is_dir() else parts(file):
                    part.replace(out / part.name)
            yield said


def _same(answers: NDArray[np.floating], expected: NDArray[np.floating], labels: str) -> float:
    """Share of the rows that say the same."""
    if labels == "class":
        same = answers.argmax(1) == expected.argmax(1)
    elif labels == "multi":
        same = ((answers >= YES) == (expected >= YES)).all(1)
    else:
        same = np.abs(answers - expected)[:, 0] <= 0.01 * expected.std()
    return float(same.mean())


def spread(n: int, most: int) -> NDArray[np.int64]:
    """At most so many of n places, evenly spread over them."""
    return np.linspace(0, n - 1, min(n, most)).round().astype(np.int64)


def pictures(data: Prepared, split: str, most: int) -> Pictures:
    """float32 [b, s, s, 3]: at most so many pictures of a split."""
    rows = data.of(split).index.to_numpy()
    return as_rgb(data.images[rows[spread(len(rows), most)]]).astype(np.float32)


def in_batches(run: Run, given: Pictures) -> NDArray[np.float32]:
    """float32 [b, classes], from calls of BATCH pictures; the last one is filled up, for runtimes of one shape."""
    answers = []
    for start in range(0, len(given), BATCH):
        rows = np.arange(start, start + BATCH) % len(given)
        answers.append(np.asarray(run(given[rows]), np.float32)[: len(given) - start])
    return np.concatenate(answers)


def parts(file: Path) -> list[Path]:
    """All files of an export: those in its folder, or itself, and OpenVINO's weights beside it."""
    if file.is_dir():
        return [path for path in file.rglob("*") if path.is_file()]
    weights = file.with_suffix(".bin")
    return [file, weights] if file.suffix == ".xml" else [file]


def _remove(file: Path) -> None:
    if file.is_dir():
        shutil.rmtree(file)
    else:
        for part in parts(file):
            part.unlink(missing_ok=True)


def table(found: Found | Failed | None, labels: str = "class") -> str:
    """A line of the table for a terminal; its head for None, by label kind."""
    if isinstance(found, Failed):
        return f"{found.name:13}  failed: {found.reason}"
    judged = ("same class", "accuracy") if labels == "class" else ("same answer", OF_LABELS[labels].primary)
    head = ["", "file", "MB", "largest difference", *judged, *(f"pictures/s at {n}" for n in CALLS)]
    widths = [max(13, len(head[0])), 15, 6, *(len(text) for text in head[3:])]
    if found is None:
        cells = head
    else:
        numbers = [f"{found.megabytes:.1f}", f"{found.difference:.1e}", f"{found.same:.4f}", f"{found.figure:.4f}"]
        cells = [found.name, found.file, *numbers, *(f"{speed:.0f}" for speed in found.speed.values())]
    texts = [f"{cell:{width}}" for cell, width in zip(cells[:2], widths[:2], strict=True)]
    return "  ".join(texts + [f"{cell:>{width}}" for cell, width in zip(cells[2:], widths[2:], strict=True)])


def _seconds(work: Callable[[], object], calls: int) -> float:
    """Of a call, the median after one that does not count."""
    taken = []
    for _ in range(calls + 1):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return median(taken[1:])


@contextmanager
def _quietly() -> Iterator[None]:
    """Hold back what converters say of their own inner works; what they make of it is checked."""
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
    with quiet.stderr_held_back(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _saved_model(network: "keras.Model", path: Path, _: Pictures) -> None:
    network.export(str(path), format="tf_saved_model", verbose=False)


def _start_saved_model(path: Path) -> Run:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    return lambda given: loaded.serve(given).numpy()


def _onnx(network: "keras.Model", path: Path, _: Pictures) -> None:
    # Without a call before it the export says that the model was never called.
    network.predict_on_batch(np.zeros((1, *network.input_shape[1:]), np.float32))
    network.export(str(path), format="onnx", verbose=False)


def _onnx_int8(network: "keras.Model", path: Path, sample: Pictures) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Sample(CalibrationDataReader):
        """Batches of the calibration pictures, then None."""

        def __init__(self) -> None:
            self.batches = iter(np.array_split(sample, max(1, len(sample) // BATCH)))

        def get_next(self) -> dict[str, Pictures] | None:
            batch = next(self.batches, None)
            return None if batch is None else {network.inputs[0].name: batch}

    whole = path.with_name("float.onnx")
    _onnx(network, whole, sample)
    # Scales per channel: depthwise filters differ too much for one. Unsigned activations: with signed ones ONNX Runtime
    # has no fast kernels for processors of the x86 kind (measured: a fifth to a third of the speed, no more accurate).
    quantize_static(
        whole, path, Sample(), quant_format=QuantFormat.QDQ, per_channel=True,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    )  # fmt: skip
    whole.unlink()


def _start_onnx(path: Path) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0].name
    return lambda given: session.run(None, {source: given})[0]


def _openvino(network: "keras.Model", path: Path, _: Pictures) -> None:
    network.export(str(path), format="openvino", verbose=False)


def _start_openvino(path: Path) -> Run:
    import openvino

    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(path, "CPU", settings)
    return lambda given: compiled(given)[0].copy()


def _litert(network: "keras.Model", path: Path, _: Pictures) -> None:
    network.export(str(path), format="litert", verbose=False)


def _litert_int8(network: "keras.Model", path: Path, sample: Pictures) -> None:
    import tensorflow as tf

    network.export(
        str(path),
        format="litert",
        verbose=False,
        optimizations=[tf.lite.Optimize.DEFAULT],
        representative_dataset=lambda: ([picture[None]] for picture in sample),
    )


def _start_litert(path: Path) -> Run:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=len(os.sched_getaffinity(0)))
    source, answer = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    shape: tuple[int, ...] = ()

    def run(given: Pictures) -> NDArray[np.floating]:
        nonlocal shape
        if given.shape != shape:
            shape = given.shape
            interpreter.resize_tensor_input(source, shape)
            interpreter.allocate_tensors()
        interpreter.set_tensor(source, given)
        interpreter.invoke()
        return interpreter.get_tensor(answer)

    return run


FORMATS: dict[str, Format] = {
    "savedmodel": Format("savedmodel", _saved_model, None, _start_saved_model),
    "onnx": Format("model.onnx", _onnx, _onnx_int8, _start_onnx),
    "openvino": Format("model.xml", _openvino, None, _start_openvino),
    "litert": Format("model.tflite", _litert, _litert_int8, _start_litert),
}

"""A trained model for other runtimes: SavedModel, ONNX, LiteRT and OpenVINO, each held against Keras on real examples.

Refuses to leave behind what does not compute as Keras does. Int8 is another model, not another format: what it costs is
said in the primary figure on the validation split (the test split is looked at by the evaluation alone).

A model of texts takes token ids, int32 [b, tokens], of any length up to `max_tokens`; its tokenizer goes beside it. A
format whose converter takes no such network gets one of that length alone, to which texts are padded: the network makes
its mask of the padding's id, so what it says is the same.
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
from headstart.features import inputs, tokens
from headstart.features.views import as_rgb
from headstart.inference.model import evaluated_views
from headstart.stage import UserError

if TYPE_CHECKING:
    import keras

# Largest difference from Keras' (of a probability, or of a score in deviations of them) at which a float export counts
# as the same.
TOLERANCE = 1e-3
BATCH = 32
# The file that `headstart predict` runs, on texts of any length.
PREDICTED = "model.onnx"
# Examples: that int8's scales are taken from, and that are compared, at most: seconds of work rather than minutes.
CALIBRATION, COMPARED = 128, 512
# Calls that a speed is the median of, by examples in a call.
CALLS = {1: 15, BATCH: 3}
# How a text becomes an input, beside an export.
HOW = "INPUT.md"

Inputs = NDArray[np.generic]  # pictures float32 [b, s, s, 3], 0-255; or token ids int32 [b, tokens]
Run = Callable[[Inputs], NDArray[np.floating]]


# The last are training pictures, to calibrate on; None for texts, whose scales are taken as they come.
Write = Callable[["keras.Model", Path, Inputs | None], None]


class Format(NamedTuple):
    """A file format.

    file: its name in the output folder.
    write: the network to a path.
    write_int8: the same as int8; None where there is none.
    start: path -> what runs it, for any number of examples.
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
    same: share of the examples with the same answer: the most probable class, the same yes and no to every class, or a
        score that is off by less than a hundredth of the deviation of Keras'.
    figure: the primary figure of the label kind (accuracy, where a label is one class) on the validation split.
    speed: examples in a call -> examples a second.
    length: tokens that it takes, no more and no fewer; None: any number, or it takes pictures.
    """

    name: str
    file: str
    megabytes: float
    difference: float
    same: float
    figure: float
    speed: dict[int, float]
    length: int | None


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
        prepared: the prepared data, whose validation examples are compared and whose training pictures calibrate.

    Raises:
        UserError: no model, no data, or data of another kind than the model's.
    """
    from headstart.backbones.saving import load_model
    from headstart.device import for_inference

    if not (model / "model.keras").exists():
        raise UserError(f"{model} holds no model.keras; `dvc repro` makes models/final, --model names another folder")
    if not (prepared / "examples.csv").exists():
        raise UserError(f"{prepared} is not there, and exports are held against Keras on its pictures; run `dvc repro`")
    data, vocabulary = load(prepared), tokens.of_model(model)
    if isinstance(data.contents, Texts) != (vocabulary is not None):
        one, other = ("pictures", "texts") if vocabulary is None else ("texts", "pictures")
        raise UserError(f"{model} is a model of {one}, and {prepared} holds {other}; run `dvc repro`")
    network = for_inference(load_model(model / "model.keras"))
    compared, rows = groups(data, "validation", COMPARED, vocabulary)
    calibration = groups(data, "train", CALIBRATION, None)[0][0] if vocabulary is None else None
    judged = kinds.of(data.labels)
    truth = data.targets("validation")[rows]
    expected = answers(network.predict_on_batch, compared)
    unit = (float(expected.std()) or 1.0) if data.labels == "score" else 1.0
    # Texts of the median length; of pictures there is one size.
    timed = compared[int(np.searchsorted(np.cumsum([len(each) for each in compared]), len(rows) / 2))]
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(model / "labels.json", out / "labels.json")
    known = facts.read(model) | {"views": evaluated_views(model)}
    (out / facts.NAME).write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    for name in (tokens.FILE, HOW):
        (out / name).unlink(missing_ok=True)  # of texts, where pictures are exported now
    if vocabulary is not None:
        tokens.save(vocabulary, out)
        (out / HOW).write_text(how(vocabulary), encoding="utf-8")

    def found(name: str, file: Path, run: Run, said: NDArray[np.float32], length: int | None = None) -> Found:
        return Found(
            name,
            file.name,
            sum(part.stat().st_size for part in parts(file)) / 1e6,
            float(np.abs(said - expected).max()) / unit,
            _same(said, expected, data.labels),
            float(judged.scores(truth, said)[judged.FIGURES.primary] or 0.0),
            {n: n / _seconds(partial(run, timed[np.arange(n) % len(timed)]), calls) for n, calls in CALLS.items()},
            length,
        )

    def written(write: Write, to: Format, file: Path) -> tuple[Run, NDArray[np.float32], int | None]:
        """Write a file and run it: any number of tokens, or the most there are if that does not work."""
        try:
            with _quietly():
                write(network, file, calibration)
                run = to.start(file)
                return run, answers(run, compared), None
        except Exception:  # converters stumble over anything at all
            if vocabulary is None or to.file == PREDICTED:
                raise
        with _quietly():
            _remove(file)
            length = vocabulary.max_tokens
            write(of_length(network, length), file, calibration)
            run = padding(to.start(file), length, vocabulary.padding)
            return run, answers(run, compared), length

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
                    run, answered, length = written(write, to, file)
                except Exception as error:  # the other formats may do
                    yield Failed(label, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
                    continue
                said = found(label, file, run, answered, length)
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


def groups(
    data: Prepared, split: str, most: int, vocabulary: tokens.Vocabulary | None
) -> tuple[list[Inputs], NDArray[np.int64]]:
    """At most so many examples of a split, as the network takes them.

    Returns:
        Groups of one shape: all pictures, float32 [b, s, s, 3]; the texts of one bucket, the shortest first, int32
        [b, tokens]. And the places in the split of all of them, one group behind the other.
    """
    examples = data.of(split)
    places = spread(len(examples), most)
    if vocabulary is None:
        return [as_rgb(data.images[examples.index.to_numpy()[places]]).astype(np.float32)], places
    source = inputs.fresh(data._replace(examples=examples.iloc[places]), split, "none", 0, vocabulary)
    made = [(rows, source(rows, np.zeros(len(rows), int))) for _, rows in inputs.members(source.buckets)]
    return [each for _, each in made], places[np.concatenate([rows for rows, _ in made])]


def answers(run: Run, given: list[Inputs]) -> NDArray[np.float32]:
    """float32 [b, classes] of groups, one behind the other."""
    return np.concatenate([in_batches(run, group) for group in given])


def in_batches(run: Run, given: Inputs) -> NDArray[np.float32]:
    """float32 [b, classes], from calls of BATCH examples; the last one is filled up, for runtimes of one shape."""
    said = []
    for start in range(0, len(given), BATCH):
        rows = np.arange(start, start + BATCH) % len(given)
        said.append(np.asarray(run(given[rows]), np.float32)[: len(given) - start])
    return np.concatenate(said)


def of_length(network: "keras.Model", length: int) -> "keras.Model":
    """A network of texts, its input int32 [b, length] instead of [b, any number of tokens]."""
    import keras

    given = keras.Input((length,), dtype="int32", name=network.inputs[0].name)
    return keras.Model(given, network(given), name=network.name)


def padding(run: Run, length: int, token: int) -> Run:
    """What runs a network of one length, for texts of any number of tokens up to it."""
    return lambda given: run(np.pad(given, ((0, 0), (0, length - given.shape[1])), constant_values=token))


def how(vocabulary: tokens.Vocabulary) -> str:
    """How a text becomes an input of an export, as Markdown with a piece of Python."""
    return f"""# From a text to an input

The input is token ids, int32 [texts, tokens]. The tokenizer in `{tokens.FILE}` (of Hugging Face's `tokenizers`) makes
them of a text, or of two that belong together. {vocabulary.max_tokens} tokens of a text count at most. Shorter texts
are filled up at the end with {vocabulary.padding}, by which the network knows what is padding. A format that
`headstart export` lists with a length of its own takes texts that are filled up to just that. The output is a
probability for each class in `labels.json`, in this order.

    import numpy
    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file("{tokens.FILE}")
    tokenizer.enable_truncation({vocabulary.max_tokens})
    tokenizer.enable_padding(pad_id={vocabulary.padding})
    ids = numpy.array([text.ids for text in tokenizer.encode_batch(texts)], "int32")

ONNX Runtime: `onnxruntime.InferenceSession("model.onnx").run(None, {{"tokens": ids}})[0]`. The same numbers come from
`headstart predict texts.csv --model .` in this folder.
"""


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


def table(found: Found | Failed | None, labels: str = "class", many: str = "pictures") -> str:
    """A line of the table for a terminal; its head for None, by label kind, with the examples called so."""
    if isinstance(found, Failed):
        return f"{found.name:13}  failed: {found.reason}"
    judged = ("same class", "accuracy") if labels == "class" else ("same answer", OF_LABELS[labels].primary)
    head = ["", "file", "MB", "largest difference", *judged, *(f"{many}/s at {n}" for n in CALLS)]
    widths = [max(13, len(head[0])), 15, 6, *(max(8, len(text)) for text in head[3:])]
    if found is None:
        cells = head
    else:
        numbers = [f"{found.megabytes:.1f}", f"{found.difference:.1e}", f"{found.same:.4f}", f"{found.figure:.4f}"]
        cells = [found.name, found.file, *numbers, *(f"{speed:.0f}" for speed in found.speed.values())]
    texts = [f"{cell:{width}}" for cell, width in zip(cells[:2], widths[:2], strict=True)]
    line = "  ".join(texts + [f"{cell:>{width}}" for cell, width in zip(cells[2:], widths[2:], strict=True)])
    return f"{line}  {found.length} tokens alone" if found is not None and found.length else line


def kind(model: Path) -> tuple[str, str]:
    """A model's label kind, and what its examples are called: pictures or texts."""
    known = facts.read(model) if (model / facts.NAME).exists() else {}
    return known.get("labels", "class"), "texts" if (model / tokens.FILE).exists() else "pictures"


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


def _saved_model(network: "keras.Model", path: Path, _: Inputs | None) -> None:
    network.export(str(path), format="tf_saved_model", verbose=False)


def _start_saved_model(path: Path) -> Run:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    return lambda given: loaded.serve(given).numpy()


def _onnx(network: "keras.Model", path: Path, _: Inputs | None) -> None:
    from headstart.backbones.export import collecting

    # Without a call before it the export says that the model was never called.
    shape = [size or 1 for size in network.input_shape[1:]]
    network.predict_on_batch(np.zeros((1, *shape), network.inputs[0].dtype))
    with collecting():
        network.export(str(path), format="onnx", verbose=False)


def _onnx_int8(network: "keras.Model", path: Path, sample: Inputs | None) -> None:
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_dynamic,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    # The float file has just been written, unless it was not the same; making it is most of the work.
    whole = path.with_name("float.onnx")
    if (written := path.parent.parent / PREDICTED).exists():
        shutil.copyfile(written, whole)
    else:
        _onnx(network, whole, sample)
    if sample is None:
        # What enters a transformer's products differs too much from text to text for fixed scales. Without the
        # preparation, which puts constants where reshaped variables were, a third of the weights stay as they are.
        prepared = path.with_name("prepared.onnx")
        quant_pre_process(whole, prepared, skip_symbolic_shape=True)
        quantize_dynamic(prepared, path, per_channel=True, weight_type=QuantType.QInt8)
        for part in (whole, prepared):
            part.unlink()
        return
    pictures = sample

    class Sample(CalibrationDataReader):
        """Batches of the calibration pictures, then None."""

        def __init__(self) -> None:
            self.batches = iter(np.array_split(pictures, max(1, len(pictures) // BATCH)))

        def get_next(self) -> dict[str, Inputs] | None:
            batch = next(self.batches, None)
            return None if batch is None else {network.inputs[0].name: batch}

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


def _openvino(network: "keras.Model", path: Path, _: Inputs | None) -> None:
    network.export(str(path), format="openvino", verbose=False)


def _start_openvino(path: Path) -> Run:
    import openvino

    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(path, "CPU", settings)
    return lambda given: compiled(given)[0].copy()


def _litert(network: "keras.Model", path: Path, _: Inputs | None) -> None:
    network.export(str(path), format="litert", verbose=False)


def _litert_int8(network: "keras.Model", path: Path, sample: Inputs | None) -> None:
    import tensorflow as tf

    calibrated = {} if sample is None else {"representative_dataset": lambda: ([each[None]] for each in sample)}
    network.export(str(path), format="litert", verbose=False, optimizations=[tf.lite.Optimize.DEFAULT], **calibrated)


def _start_litert(path: Path) -> Run:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=len(os.sched_getaffinity(0)))
    source, answer = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    shape: tuple[int, ...] = ()

    def run(given: Inputs) -> NDArray[np.floating]:
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

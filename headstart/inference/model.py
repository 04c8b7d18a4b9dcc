"""A saved model and the probabilities it gives: a stream of examples in, a stream of predictions out, memory constant.

An example is decoded, resized and looked at as `prepare` and `evaluate` do it. Keras runs the model, or ONNX Runtime
what `headstart export` made of it, in a fraction of Keras' time to start.
"""

import json
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from headstart import facts
from headstart.data import encodings, images
from headstart.features import tokens
from headstart.features.views import as_rgb, view
from headstart.inference.inputs import Example
from headstart.stage import UserError

# Inputs at a time, as `evaluate` takes them: always just so many, so that a compiled network sees one shape only.
BATCH = 16
FILES = {"keras": "model.keras", "onnx": "model.onnx"}
Run = Callable[[NDArray[Any]], NDArray[np.floating]]


class Model(NamedTuple):
    """A model that runs.

    classes: names of its outputs, in order.
    facts: as `facts.write` has them.
    views: of an example, whose probabilities are averaged.
    run: float32 pictures [b, s, s, 3] or int32 token ids [b, tokens] -> probabilities [b, classes], or scores [b, 1].
    vocabulary: of a network that reads texts.
    """

    classes: list[str]
    facts: dict[str, Any]
    views: int
    run: Run
    vocabulary: tokens.Vocabulary | None


class Prediction(NamedTuple):
    """What a model says of an example.

    name: what the user called the example.
    reason: why it could not be read; else None.
    probabilities: float32 [classes], or the score [1]; None if it could not be read.
    """

    name: str
    reason: str | None
    probabilities: NDArray[np.float32] | None


def load(path: Path, engine: str | None = None, views: int | None = None) -> Model:
    """Read a model's folder and start what runs it.

    Args:
        path: of the folder, as `fine_tune`, `train_head` or `headstart export` wrote it.
        engine: keras | onnx; None: the one whose file is there, Keras first.
        views: None: as many as the evaluation averaged, if it is at hand, else one.

    Raises:
        UserError: something is missing there.
    """
    folder = path.parent if path.suffix in (".keras", ".onnx") else path
    there = [name for name, file in FILES.items() if (folder / file).exists()]
    if not there:
        raise UserError(f"{folder} holds no model; `dvc repro` makes models/final, --model names another folder")
    if engine is not None and engine not in there:
        how = "`headstart export --format onnx` makes one" if engine == "onnx" else "models/final has it"
        raise UserError(f"{folder} holds no {FILES[engine]}; {how}")
    try:
        known = facts.read(folder)
        classes = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{error.filename} is not there; it is written beside a model, take the whole folder") from None
    return Model(
        classes, known, views or evaluated_views(folder), _START[engine or there[0]](folder), tokens.of_model(folder)
    )


def evaluated_views(folder: Path) -> int:
    """Views that the evaluation averaged, as stated beside an exported model or in evaluation/; 1 if it is unknown."""
    try:
        if views := facts.read(folder).get("views"):
            return int(views)
        return int(json.loads((folder.parent.parent / "evaluation" / "inference.json").read_text())["views"])
    except FileNotFoundError:
        return 1


def _keras(folder: Path) -> Run:
    from headstart.backbones.saving import load_model
    from headstart.device import for_inference

    return for_inference(load_model(folder / FILES["keras"])).predict_on_batch


def _onnx(folder: Path) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(folder / FILES["onnx"], options, providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0].name
    return lambda batch: session.run(None, {source: batch})[0]


_START: dict[str, Callable[[Path], Run]] = {"keras": _keras, "onnx": _onnx}


def predict(model: Model, examples: Iterable[Example]) -> Iterator[Prediction]:
    """The model's probabilities of each example, in order; of one that can't be read, the reason."""

    def read(example: Example) -> tuple[str, NDArray[Any] | str]:
        try:
            if model.vocabulary:
                return example.name, ids(example.content, model.vocabulary)
            assert not isinstance(example.content, tuple)
            return example.name, seen(example.content, model.facts, model.views)
        except MemoryError:
            raise
        except Exception as error:  # Pillow's decoders raise anything at all on damaged files
            return example.name, images.why_not(error)

    together = max(1, BATCH // model.views)
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with warnings.catch_warnings():
        # As in `images.decode_all`.
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
        waiting: list[tuple[str, NDArray[Any] | str]] = []
        for found in images.in_order(read, examples, workers):
            waiting.append(found)
            if sum(not isinstance(row, str) for _, row in waiting) == together:
                yield from _answered(model, waiting, together)
                waiting = []
        yield from _answered(model, waiting, together)


def _answered(model: Model, waiting: list[tuple[str, NDArray[Any] | str]], together: int) -> Iterator[Prediction]:
    rows = [row for _, row in waiting if not isinstance(row, str)]
    if rows:
        # Filled up with the last one.
        whole = rows + rows[-1:] * (together - len(rows))
        batch = np.concatenate(padded(whole, model.vocabulary) if model.vocabulary else whole)
        output = np.asarray(model.run(batch), np.float32)
        if output.shape != (len(batch), len(model.classes)):
            raise UserError(
                f"the model's output for {len(batch)} inputs has the shape {output.shape}, labels.json beside it names "
                f"{len(model.classes)} classes: the two do not belong together"
            )
        answers = iter(output.reshape(together, model.views, -1).mean(axis=1))
    for name, row in waiting:
        yield Prediction(name, row, None) if isinstance(row, str) else Prediction(name, None, next(answers))


def ids(content: Path | bytes | tuple[str, ...], vocabulary: tokens.Vocabulary) -> NDArray[np.int32]:
    """Token ids [1, n] of a text, a pair of texts, or what a file holds.

    Raises:
        ValueError, OSError: no text, an empty one, or a file that is not there.
    """
    text = content
    if isinstance(content, Path):
        text = (encodings.decode(content.read_bytes())[0],)
    assert isinstance(text, tuple)
    if not any(part.strip() for part in text):
        raise ValueError("the text is empty")
    first, second = (*text, None)[:2]
    return np.array([vocabulary.tokenizer.encode(first, second).ids], np.int32)


def padded(rows: list[NDArray[np.int32]], vocabulary: tokens.Vocabulary) -> list[NDArray[np.int32]]:
    """Rows of ids, filled up to the bucket of the longest."""
    longest = np.array([max(row.shape[1] for row in rows)])
    length = int(tokens.buckets(longest, vocabulary.max_tokens)[0])
    return [np.pad(row, ((0, 0), (0, length - row.shape[1])), constant_values=vocabulary.padding) for row in rows]


def seen(content: Path | bytes, known: dict[str, Any], views: int) -> NDArray[np.float32]:
    """The views of an example, as the model takes them.

    Args:
        content: a picture's file or its content.
        known: the model's facts.
        views: how many.

    Returns:
        float32 [views, s, s, 3].

    Raises:
        Exception: of any kind, where a picture can't be decoded; `images.why_not` words it.
    """
    survey = images.Survey(known["channels"], known["black"], known["white"])
    if survey.black == 0 and survey.white == 1:
        # No picture of the data had more than eight bits a sample, so there is no grey scale in common: its own.
        survey = images.look([content])._replace(channels=survey.channels)
    picture = images.decode(content, known["image_size"], known["resize"], survey)
    content_hash = sha256(picture.data).hexdigest()
    looks = [view(picture, number, known["augment"], known["seed"], content_hash) for number in range(views)]
    return as_rgb(np.stack(looks)).astype(np.float32)

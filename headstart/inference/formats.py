"""Predictions as text: a table to read, CSV, JSON, or a line of JSON each. Pieces of text, as they come."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from headstart.data.labels import BETWEEN, YES
from headstart.inference.model import Prediction

# Classes that the table shows where no number is asked for.
SHOWN = 2


def table(
    predictions: Iterable[Prediction], classes: Sequence[str], top: int | None, labels: str = "class"
) -> Iterator[str]:
    """Most probable classes first; the name comes last, so that columns stand straight whatever its length."""
    if labels == "score":
        yield f"{'score':>12}  file\n"
        for found in predictions:
            name = _printable(found.name)
            answer = "-" if found.probabilities is None else _digits(found.probabilities[0])
            yield f"{answer:>12}  {name}{f': {found.reason}' if found.reason else ''}\n"
        return
    top = min(top or SHOWN, len(classes))
    width = max(len("class"), *map(len, classes))
    column = f"{'class':{width}}  {'p':6}"
    yield "  ".join([column] * top) + "  file\n"
    for found in predictions:
        name = _printable(found.name)
        if found.probabilities is None:
            yield f"{'-':{width}}  {'-':6}" + "  " * (top - 1) + " " * (len(column) * (top - 1)) + f"  {name}: "
            yield f"{found.reason}\n"
        else:
            cells = [f"{classes[at]:{width}}  {found.probabilities[at]:.4f}" for at in _best(found, top)]
            yield "  ".join(cells) + f"  {name}\n"


def as_csv(
    predictions: Iterable[Prediction], classes: Sequence[str], top: int | None, labels: str = "class"
) -> Iterator[str]:
    """file, predicted, p_CLASS …, error as evaluation/predictions.csv; with `top`: file, class_1, p_1, …, error.

    Several classes have `|` between them; of scores there are file, predicted and error alone.
    """
    if labels == "score":
        yield _line(["file", "predicted", "error"])
        for found in predictions:
            answer = "" if found.probabilities is None else _digits(found.probabilities[0])
            yield _line([_text(found.name), answer, found.reason or ""])
        return
    if top is None:
        yield _line(["file", "predicted", *(f"p_{name}" for name in classes), "error"])
    else:
        top = min(top, len(classes))
        yield _line(["file", *(f"{what}_{n}" for n in range(1, top + 1) for what in ("class", "p")), "error"])
    cells = 1 + len(classes) if top is None else 2 * top
    for found in predictions:
        if found.probabilities is None:
            yield _line([_text(found.name), *[""] * cells, found.reason])
        elif top is None:
            first = BETWEEN.join(_several(found, classes)) if labels == "multi" else classes[_best(found, 1)[0]]
            yield _line([_text(found.name), first, *map(_digits, found.probabilities), ""])
        else:
            best = [cell for at in _best(found, top) for cell in (classes[at], _digits(found.probabilities[at]))]
            yield _line([_text(found.name), *best, ""])


def jsonl(
    predictions: Iterable[Prediction], classes: Sequence[str], top: int | None, labels: str = "class"
) -> Iterator[str]:
    """{"file": …, "predicted": …, "probabilities": {class: p}}, the most probable first; or {"file": …, "error": …}.

    What is predicted is a list where the labels are several classes; a number, without probabilities, where a score.
    """
    for found in predictions:
        yield json.dumps(_record(found, classes, top, labels), ensure_ascii=False) + "\n"


def as_json(
    predictions: Iterable[Prediction], classes: Sequence[str], top: int | None, labels: str = "class"
) -> Iterator[str]:
    """The lines of `jsonl` as one list."""
    before = "[\n"
    for found in predictions:
        yield before + json.dumps(_record(found, classes, top, labels), ensure_ascii=False)
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


FORMATS: dict[str, Callable[[Iterable[Prediction], Sequence[str], int | None, str], Iterator[str]]] = {
    "table": table,
    "csv": as_csv,
    "json": as_json,
    "jsonl": jsonl,
}


def _record(found: Prediction, classes: Sequence[str], top: int | None, labels: str) -> dict[str, Any]:
    if found.probabilities is None:
        return {"file": _text(found.name), "error": found.reason}
    if labels == "score":
        return {"file": _text(found.name), "predicted": float(_digits(found.probabilities[0]))}
    best = _best(found, top or len(classes))
    # As float32, whose digits end where its knowledge does.
    said = {classes[at]: float(_digits(found.probabilities[at])) for at in best}
    predicted = _several(found, classes) if labels == "multi" else classes[best[0]]
    return {"file": _text(found.name), "predicted": predicted, "probabilities": said}


def _several(found: Prediction, classes: Sequence[str]) -> list[str]:
    """The classes that are a yes, in the order of the model's outputs."""
    assert found.probabilities is not None
    return [name for name, p in zip(classes, found.probabilities, strict=True) if p >= YES]


def _best(found: Prediction, top: int) -> list[int]:
    """Numbers of the most probable classes; of equal ones the first, as argmax has it."""
    assert found.probabilities is not None
    return [int(at) for at in np.argsort(-found.probabilities, kind="stable")[:top]]


def _digits(p: float) -> str:
    """Six significant digits, as evaluation/predictions.csv has them."""
    return f"{p:.6g}"


def _text(name: str) -> str:
    """A name that UTF-8 can hold: bytes of a file's name that are none become question marks."""
    return name.encode("utf-8", "replace").decode("utf-8")


def _printable(name: str) -> str:
    """A name that does nothing to a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in _text(name))


def _line(cells: Sequence[object]) -> str:
    line = io.StringIO()
    # With these ends Python quotes a cell that holds either of them.
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue().removesuffix("\r\n") + "\n"

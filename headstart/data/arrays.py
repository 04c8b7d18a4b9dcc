"""Examples in an `.npz`, laid out as MedMNIST does: `train_images`, `train_labels`, likewise val and test.

Knows names, shapes and types of arrays; refuses pickled ones, and to hold more than one picture in memory.
"""

import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd

from headstart.data.labels import joined, score
from headstart.data.tables import split_name
from headstart.stage import UserError

# MedMNIST's names, and those of Keras' own archives (mnist.npz), where {} is a split.
NAMES = (("{}_images", "{}_labels"), ("x_{}", "y_{}"))
SPLITS_IN_NAMES = ("train", "val", "valid", "validation", "dev", "test")
# What zipfile and NumPy raise on what is no sound archive; NumPy takes an array's header for Python.
UNREADABLE = (
    ValueError, zipfile.BadZipFile, EOFError, OSError, zlib.error, NotImplementedError, RuntimeError,
    SyntaxError, tokenize.TokenError, TypeError, OverflowError,
)  # fmt: skip
NAMES_WITHOUT_SPLIT = (("images", "labels"), ("x", "y"))


def read_arrays(path: Path, kind: str = "class") -> pd.DataFrame:
    """One row per picture, as `readers.read` describes; the id is the split and the row, `train/000012`.

    Args:
        path: of the .npz.
        kind: of the labels: class, multi or score.

    Raises:
        UserError: not an .npz, pickled content, no such arrays, shapes or types that are no pictures.
    """
    frames = []
    try:
        with zipfile.ZipFile(path) as zipped:
            for split, (images, labels) in _pairs(path, zipped).items():
                with zipped.open(images + ".npy") as file:
                    shape, _, dtype = _header(file)
                with zipped.open(labels + ".npy") as file:
                    names, n = (
                        _labels(path, labels, np.lib.format.read_array(file, allow_pickle=False), kind),
                        shape[0],
                    )
                if dtype.kind not in "biuf" or len(shape) < 3 or shape[3:] not in ((), (1,), (3,), (4,)):
                    raise UserError(
                        f"{path}: {images} is {dtype} of shape {shape}; numbers of shape (n, height, width) "
                        "or (n, height, width, channels), with 1, 3 or 4 channels, are needed"
                    )
                if n != len(names):
                    raise UserError(f"{path}: {images} holds {n} pictures, {labels} {len(names)} labels")
                # One object for all rows where they agree: plain objects are shared, pandas' own strings are not.
                same = {"path": str(path), "group": None, "split": split_name(split), "reason": None}
                columns = {key: np.full(n, value, object) for key, value in same.items()}
                ids = [f"{split}/{at:06d}" for at in range(n)]
                frames.append(pd.DataFrame({"id": ids, "label": names, **columns}, dtype=object))
    except UNREADABLE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise UserError(f"{path}: not an .npz of plain arrays: {' '.join(str(error).split())}") from None
    examples = pd.concat(frames, ignore_index=True)
    examples.loc[examples["label"].isna(), "reason"] = "no label"
    return examples


def pictures(path: Path, ids: list[str]) -> Iterator[np.ndarray]:
    """The pictures with these ids, one by one as they are stored, read in passing from the compressed file.

    Ids of one split must rise, as `read_arrays` lists them.
    """
    with ExitStack() as stack:
        zipped = stack.enter_context(zipfile.ZipFile(path))
        pairs = _pairs(path, zipped)
        for split, members in groupby(ids, key=lambda name: name.partition("/")[0]):
            file = stack.enter_context(zipped.open(pairs[split][0] + ".npy"))
            shape, column_major, dtype = _header(file)
            if column_major:  # a transposed array, whose pictures are not contiguous: it is loaded whole
                whole = np.frombuffer(file.read(), dtype).reshape(shape, order="F")
                yield from (whole[int(name.partition("/")[2])] for name in members)
                continue
            size = int(np.prod(shape[1:])) * dtype.itemsize
            at = 0
            for name in members:
                row = int(name.partition("/")[2])
                file.seek((row - at) * size, 1)
                at = row + 1
                yield np.frombuffer(file.read(size), dtype).reshape(shape[1:])


def _pairs(path: Path, zipped: zipfile.ZipFile) -> dict[str, tuple[str, str]]:
    """Names of the images' and the labels' array by split; `all` where there is no split."""
    there = [name.removesuffix(".npy") for name in zipped.namelist()]
    pairs = {
        split: (images.format(split), labels.format(split))
        for split in SPLITS_IN_NAMES
        for images, labels in NAMES
        if images.format(split) in there
    }
    if not pairs:
        pairs = dict(zip(["all"], (pair for pair in NAMES_WITHOUT_SPLIT if pair[0] in there), strict=False))
    for images, labels in pairs.values():
        if labels not in there:
            raise UserError(f"{path}: {images} has no {labels} beside it; it holds {', '.join(there)}")
    if not pairs:
        raise UserError(
            f"{path}: no images found; allowed are train_images and train_labels, likewise val and test, "
            f"or images and labels; it holds {', '.join(there) or 'nothing'}"
        )
    return pairs


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether column-major, and dtype; the stream is left at the array's first byte."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    return np.lib.format.read_array_header_2_0(file)


def _labels(path: Path, name: str, labels: np.ndarray, kind: str) -> list[str | None]:
    """Labels of an array of shape (n,) or (n, 1), of several classes (n, k); None for not-a-number."""
    if kind == "multi":
        return _several(path, name, labels)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "biufUS":
        found = f"{labels.dtype} of shape {labels.shape}"
        hint = "; for a column of 0 and 1 per class, set data.labels to multi" if labels.ndim == 2 else ""
        raise UserError(f"{path}: {name} is {found}; one number or name for each image is needed{hint}")
    if kind == "score":
        if labels.dtype.kind not in "biuf":
            raise UserError(f"{path}: {name} is {labels.dtype}; data.labels score needs a number for each image")
        plain = labels.astype(int) if labels.dtype.kind == "b" else labels
        return [score(f"{path}, {name}, row {row}", cell) for row, cell in enumerate(plain.astype(str).tolist())]
    if labels.dtype.kind == "S":
        labels = np.char.decode(labels, "utf-8")
    values, which = np.unique(labels, return_inverse=True)
    if labels.dtype.kind == "f":  # so that a class is called 3 and not 3.0
        names = [None if np.isnan(value) else f"{value:.15g}" for value in values.tolist()]
    else:
        names = [str(value) for value in values.tolist()]
    return [names[at] for at in which]


def _several(path: Path, name: str, labels: np.ndarray) -> list[str | None]:
    """The classes of each row of an array (n, k) of 0 and 1, called by their columns' numbers."""
    if labels.ndim != 2 or labels.dtype.kind not in "biuf" or not np.isin(labels, (0, 1)).all():
        found = f"{labels.dtype} of shape {labels.shape}"
        raise UserError(f"{path}: {name} is {found}; data.labels multi needs 0 or 1 in shape (images, classes)")
    return [joined(path, [str(at) for at in np.flatnonzero(row)]) for row in labels]

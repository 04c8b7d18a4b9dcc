"""Reading what `prepare` wrote: the examples, their contents and the class names."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from headstart.data.labels import members
from headstart.stage import UserError


class Texts:
    """Texts by row, out of one array of bytes, usually a memory map. A row holds one text, or two that are a pair."""

    def __init__(self, content: np.ndarray, ends: np.ndarray) -> None:
        """Take the bytes.

        Args:
            content: uint8 [bytes], UTF-8, one text behind the other.
            ends: int64 [n, 1 or 2], where each text ends.
        """
        self.content, self.ends = content, ends

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, row: int) -> tuple[str, ...]:
        end = [int(at) for at in self.ends[row]]
        start = int(self.ends[row - 1, -1]) if row else 0
        parts = zip([start, *end[:-1]], end, strict=True)
        return tuple(bytes(self.content[begin:end]).decode("utf-8") for begin, end in parts)


class Prepared(NamedTuple):
    """The prepared data.

    examples: id, path, hash, label, group, split; all text, an absent value is "".
    contents: row i belongs to example i. Pictures are a uint8 [n, s, s, c] memory map, c is 1 if every picture is grey,
        else 3.
    classes: class names in the order of the model's outputs; of scores, the one name of all.
    labels: their kind: class, multi or score.
    """

    examples: pd.DataFrame
    contents: np.ndarray | Texts
    classes: list[str]
    labels: str = "class"

    def of(self, split: str) -> pd.DataFrame:
        """The examples of one split, indexed by their row in `contents`."""
        return self.examples[self.examples["split"] == split]

    @property
    def images(self) -> np.ndarray:
        """The contents, where they are pictures.

        Raises:
            UserError: they are not.
        """
        if isinstance(self.contents, Texts):
            raise UserError("data/prepared holds texts; this is for pictures")
        return self.contents

    def targets(self, split: str) -> np.ndarray:
        """Each example's label as a number: its class's in `classes`, int64 [n_split].

        Of several classes float32 [n_split, classes], 1 for those that it is of, else 0; of scores float32 [n_split].
        """
        return numbers(self.of(split)["label"], self.classes, self.labels)


def numbers(labels: "pd.Series[str]", classes: list[str], kind: str) -> np.ndarray:
    """Labels of a kind as `Prepared.targets` has them."""
    if kind == "score":
        return labels.to_numpy(np.float64).astype(np.float32)
    number = {name: i for i, name in enumerate(classes)}
    if kind == "class":
        return labels.map(number).to_numpy(np.int64)
    found = np.zeros((len(labels), len(classes)), np.float32)
    for row, label in enumerate(labels):
        found[row, [number[name] for name in members(label)]] = 1
    return found


def load(folder: str | Path, columns: list[str] | None = None) -> Prepared:
    """Read data/prepared/; the contents are not brought into memory.

    Args:
        folder: which it is.
        columns: the examples' columns that are needed; by default all. Of a stage that needs two, they are most of what
            grows with the number of examples.
    """
    folder = Path(folder)
    # As text, whole: a class may be called 01, NA or null. As plain objects: equal ones are shared then, where pandas'
    # own strings take three times the memory, most of it pages that Arrow's pool does not give back.
    examples = pd.read_csv(folder / "examples.csv", dtype=object, keep_default_na=False, usecols=columns)
    classes = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    return Prepared(examples, contents(folder), classes, _kind(folder))


def _kind(folder: Path) -> str:
    """The label kind among the facts of the inputs; one class an example goes without saying."""
    try:
        return str(json.loads((folder / "inputs.json").read_text(encoding="utf-8")).get("labels", "class"))
    except FileNotFoundError:
        return "class"


def contents(folder: Path) -> np.ndarray | Texts:
    """Pictures or texts, whichever lie there, as memory maps."""

    def mapped(name: str) -> np.ndarray:
        return np.load(folder / name, mmap_mode="r", allow_pickle=False)

    if (folder / "texts.npy").exists():
        return Texts(mapped("texts.npy"), mapped("ends.npy"))
    return mapped("images.npy")

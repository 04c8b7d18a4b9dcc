"""Reading what `prepare` wrote: the examples, their pictures and the class names."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd


class Prepared(NamedTuple):
    """The prepared data.

    examples: id, path, hash, label, group, split; all text, an absent value is "".
    images: uint8 [n, s, s, c] memory map; row i belongs to example i; c is 1 if every picture is grey, else 3.
    classes: class names in the order of the model's outputs.
    """

    examples: pd.DataFrame
    images: np.ndarray
    classes: list[str]

    def of(self, split: str) -> pd.DataFrame:
        """The examples of one split, indexed by their row in `images`."""
        return self.examples[self.examples["split"] == split]

    def targets(self, split: str) -> np.ndarray:
        """int64 [n_split]: each example's class as its number in `classes`."""
        number = {name: i for i, name in enumerate(self.classes)}
        return self.of(split)["label"].map(number).to_numpy(np.int64)

    def example_input(self) -> np.ndarray:
        """float32 [1, s, s, 3]: the first training picture, as the model takes it."""
        first = self.images[self.of("train").index[0]].astype(np.float32)
        return np.ascontiguousarray(np.broadcast_to(first, (1, *first.shape[:2], 3)))


def load(folder: str | Path) -> Prepared:
    """Read data/prepared/; the pictures are not brought into memory."""
    folder = Path(folder)
    # As text, whole: a class may be called 01, NA or null. As plain objects: equal ones are shared then, where pandas'
    # own strings take three times the memory, most of it pages that Arrow's pool does not give back.
    examples = pd.read_csv(folder / "examples.csv", dtype=object, keep_default_na=False)
    images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
    return Prepared(examples, images, json.loads((folder / "labels.json").read_text(encoding="utf-8")))

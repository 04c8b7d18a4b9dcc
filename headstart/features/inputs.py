"""A network's inputs by row and view: from a cache, from pictures, from pictures through the frozen layers."""

import mmap
from collections.abc import Callable

import numpy as np
import pandas as pd

from headstart.features.views import as_rgb, half, view


class Cached:
    """Views out of a cache [n, views, ...] of any float type."""

    def __init__(self, cache: np.ndarray) -> None:
        """Take a cache, usually a memory map."""
        self.cache = cache

    def __call__(self, rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """(int [b], int [b]) -> float32 [b, ...]."""
        return self.cache[rows, numbers].astype(np.float32, copy=False)

    def warm(self) -> None:
        """Have the system read the file ahead in one go: rows in random order would be many small reads."""
        if isinstance(self.cache, np.memmap) and hasattr(mmap, "MADV_WILLNEED"):
            self.cache._mmap.madvise(mmap.MADV_WILLNEED)  # type: ignore[attr-defined]  # not in NumPy's stubs


class OnTheFly(Cached):
    """Views of pictures uint8 [n, s, s, c], made when they are asked for."""

    def __init__(self, images: np.ndarray, examples: pd.DataFrame, augment: str, seed: int) -> None:
        """Take the pictures, usually a memory map, and the examples to show, indexed by their row in it."""
        super().__init__(images)
        self.where, self.hashes = examples.index.to_numpy(), examples["hash"].to_numpy()
        self.augment, self.seed = augment, seed

    def __call__(self, rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """(int [b], int [b]) -> float32 [b, s, s, 3]."""
        made = [
            view(self.cache[self.where[row]], int(number), self.augment, self.seed, self.hashes[row])
            for row, number in zip(rows, numbers, strict=True)
        ]
        return as_rgb(np.stack(made)).astype(np.float32)


class ThroughFrozen:
    """What a cache of activations would hold, computed when it is asked for: the same numbers, bit for bit."""

    def __init__(self, pictures: OnTheFly, run: Callable[[np.ndarray], np.ndarray]) -> None:
        """Take the views, and what runs the frozen layers on them."""
        self.pictures, self.run = pictures, run

    def __call__(self, rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """(int [b], int [b]) -> float32 [b, ...], rounded to float16 as the cache is."""
        return half(self.run(self.pictures(rows, numbers))).astype(np.float32)

    def warm(self) -> None:
        """Have the pictures read ahead."""
        self.pictures.warm()


Source = Cached | ThroughFrozen

"""A network's inputs by row and view: from a cache, from pictures or texts, from these through the frozen layers.

Rows of one bucket have inputs of one shape. Pictures are all of bucket 0; a text's bucket is the length to which it is
padded, so that a batch is padded to about the length of its texts rather than to the longest there is.
"""

import mmap
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Lock
from typing import Protocol

import numpy as np
import pandas as pd

from headstart.data.prepared import Prepared, Texts
from headstart.features import tokens
from headstart.features.views import as_rgb, half, view


class Source(Protocol):
    """What gives inputs.

    buckets: int [n], of each row.
    """

    buckets: np.ndarray

    def __call__(self, rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """(int [b] of one bucket, int [b] views) -> [b, ...]."""

    def warm(self) -> None:
        """Prepare for reading all of it."""


class Fresh(Source, Protocol):
    """A source that makes its inputs of the examples.

    hashes: of each row's content, hexadecimal: what its inputs depend on besides the view's number.
    """

    hashes: list[str]


def members(buckets: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Each bucket there is, in order, and its rows."""
    for bucket in np.unique(buckets):
        yield int(bucket), np.flatnonzero(buckets == bucket)


def caches(path: Path, buckets: np.ndarray) -> dict[int, Path]:
    """The file of each bucket: `train.npy` itself for bucket 0, `train-64.npy` for texts of 64 tokens."""
    return {
        bucket: path.with_stem(f"{path.stem}-{bucket}") if bucket else path for bucket in np.unique(buckets).tolist()
    }


class Cached:
    """Views out of a cache [n, views, ...] of any float type."""

    def __init__(self, cache: np.ndarray) -> None:
        """Take a cache, usually a memory map."""
        self.cache = cache
        self.buckets = np.zeros(len(cache), int)

    def __call__(self, rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """(int [b], int [b]) -> float32 [b, ...]."""
        return self.cache[rows, numbers].astype(np.float32, copy=False)

    def warm(self) -> None:
        """Have the system read the file ahead in one go: rows in random order would be many small reads."""
        if isinstance(self.cache, np.memmap) and hasattr(mmap, "MADV_WILLNEED"):
            self.cache._mmap.madvise(mmap.MADV_WILLNEED)  # type: ignore[attr-defined]  # not in NumPy's stubs


class CachedByBucket:
    """Views out of several caches, one a bucket."""

    def __init__(self, caches: dict[int, Cached], buckets: np.ndarray) -> None:
        """Take each bucket's cache, whose rows are in the order of the examples, and each example's bucket."""
        self.caches, self.buckets = caches, buckets
        self.place = np.zeros(len(buckets), int)
        for _, rows in members(buckets):
            self.place[rows] = np.arange(len(rows))

    def __call__(self, rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """(int [b] of one bucket, int [b]) -> float32 [b, ...]."""
        return self.caches[int(self.buckets[rows[0]])](self.place[rows], numbers)

    def warm(self) -> None:
        """Have the files read ahead."""
        for cache in self.caches.values():
            cache.warm()


class OnTheFly(Cached):
    """Views of pictures uint8 [n, s, s, c], made when they are asked for."""

    def __init__(self, images: np.ndarray, examples: pd.DataFrame, augment: str, seed: int) -> None:
        """Take the pictures, usually a memory map, and the examples to show, indexed by their row in it."""
        super().__init__(images)
        self.where, self.hashes = examples.index.to_numpy(), examples["hash"].to_list()
        self.buckets = np.zeros(len(examples), int)
        self.augment, self.seed = augment, seed

    def originals(self, rows: np.ndarray) -> np.ndarray:
        """Uint8 [b, s, s, c]: the pictures as they are."""
        return self.cache[self.where[rows]]

    def counts(self) -> dict[str, int]:
        """How many there are."""
        return {"pictures": len(self.where)}

    def __call__(self, rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """(int [b], int [b]) -> float32 [b, s, s, 3]."""
        made = [
            view(self.cache[self.where[row]], int(number), self.augment, self.seed, self.hashes[row])
            for row, number in zip(rows, numbers, strict=True)
        ]
        return as_rgb(np.stack(made)).astype(np.float32)


class Tokens:
    """Token ids of texts, made when they are asked for; the one view of a text is itself.

    cut: bool [n], whether a text was cut off.
    """

    def __init__(self, texts: Texts, examples: pd.DataFrame, vocabulary: tokens.Vocabulary) -> None:
        """Take the texts and the examples to show, by their row; all are tokenized once to know their lengths."""
        self.texts, self.where, self.vocabulary = texts, examples.index.to_numpy(), vocabulary
        parts = [
            tokens.survey(vocabulary, [texts[row] for row in self.where[start : start + tokens.AT_ONCE]])
            for start in range(0, len(self.where), tokens.AT_ONCE)
        ]
        self.lengths = np.concatenate([np.zeros(0, int), *(part.lengths for part in parts)])
        self.cut = np.concatenate([np.zeros(0, bool), *(part.cut for part in parts)])
        self.hashes = [name for part in parts for name in part.hashes]
        self.buckets = tokens.buckets(self.lengths, vocabulary.max_tokens)

    def originals(self, rows: np.ndarray) -> list[tokens.Pieces]:
        """The texts as the network takes them, unpadded, and which of their characters each token stands for."""
        return [tokens.pieces(self.vocabulary, self.texts[row]) for row in self.where[rows]]

    def counts(self) -> dict[str, int]:
        """How many there are, how many were cut off, and the tokens of all."""
        return {"texts": len(self.where), "cut": int(self.cut.sum()), "tokens": int(self.lengths.sum())}

    def __call__(self, rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """(int [b] of one bucket, int [b]) -> int32 [b, tokens], padded to the bucket's length."""
        return tokens.tokenize(
            self.vocabulary, [self.texts[row] for row in self.where[rows]], int(self.buckets[rows[0]])
        )

    def warm(self) -> None:
        """Nothing to do: texts are small."""


class ThroughFrozen:
    """What a cache of activations would hold, computed when it is asked for: the same numbers, bit for bit."""

    def __init__(self, fresh: Fresh, run: Callable[[np.ndarray], np.ndarray]) -> None:
        """Take the views, and what runs the frozen layers on them."""
        self.fresh, self.run, self.buckets = fresh, run, fresh.buckets
        self._one = Lock()  # batches are asked for from several threads, and OpenVINO refuses a second call meanwhile

    def __call__(self, rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """(int [b] of one bucket, int [b]) -> float32 [b, ...], rounded to float16 as the cache is."""
        views = self.fresh(rows, numbers)
        with self._one:
            return half(self.run(views)).astype(np.float32)

    def warm(self) -> None:
        """Have the contents read ahead."""
        self.fresh.warm()


def fresh(
    prepared: Prepared, split: str, augment: str, seed: int, vocabulary: tokens.Vocabulary | None
) -> OnTheFly | Tokens:
    """A split's examples as the network takes them.

    Args:
        prepared: the data.
        split: whose examples.
        augment, seed: of the views.
        vocabulary: the network's, if it has one; see `vocabulary_of`.
    """
    if isinstance(prepared.contents, Texts):
        assert vocabulary, "texts go with a network that has a vocabulary"
        return Tokens(prepared.contents, prepared.of(split), vocabulary)
    return OnTheFly(prepared.contents, prepared.of(split), augment, seed)


def example(prepared: Prepared, vocabulary: tokens.Vocabulary | None) -> np.ndarray:
    """[1, ...]: the first training example, as the model takes it."""
    first = prepared._replace(examples=prepared.of("train").head(1))
    return fresh(first, "train", "none", 0, vocabulary)(np.array([0]), np.array([0]))


def vocabulary_of(prepared: Prepared, backbone: Path, max_tokens: int) -> tokens.Vocabulary | None:
    """The vocabulary of the backbone, if the data are texts."""
    return tokens.of_backbone(backbone, max_tokens) if isinstance(prepared.contents, Texts) else None

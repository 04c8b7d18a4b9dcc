"""Filling a cache: each example's views through the frozen layers, into memory-mapped files.

What was computed before comes out of the store; the rest is computed and stored shard by shard, so a killed extraction
goes on where it was. Memory does not grow with the number of examples. Knows nothing of labels or training.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from tqdm import tqdm

from headstart.features import store
from headstart.features import views as looks
from headstart.features.engine import BATCH, Engine
from headstart.features.inputs import Fresh, caches, members
from headstart.features.store import Store, keys

# Of a shard of the store: what a kill can cost.
SHARD_BYTES, SHARD_ROWS = 2**25, 1024
# Rows copied at a time from the store.
COPIED = 256


class Extractor:
    """What runs the frozen layers on views, and the store of what they gave before."""

    def __init__(self, engine: Engine, *, augment: str, seed: int, dtype: str, within: Path | None = None) -> None:
        """Name the stores of the rows that this engine makes of such views.

        Args:
            engine: runs the frozen layers.
            augment, seed: see `headstart.features.views`; only photo views depend on the seed.
            dtype: of the rows: float32, or float16 (values beyond its range are clipped to it).
            within: the folder of all stores, if not the usual one.
        """
        self.engine, self.dtype, self.within = engine, dtype, within or store.folder()
        code = b"".join(Path(file).read_bytes() for file in (__file__, looks.__file__))
        self.made_by = {
            **engine.identity,
            # The others turn and flip a picture, by the same numbers.
            "augment": "photo" if augment == "photo" else None,
            "seed": seed if augment == "photo" else None,
            "dtype": dtype,
            "code": hashlib.sha256(code).hexdigest(),
        }

    def embed(self, source: Fresh, into: Path, views: int) -> str:
        """Write the engine's output for all views, of one shape whatever the bucket.

        Args:
            source: gives the views.
            into: the `.npy` file to write: [n, views, ...].
            views: of each example, from view 0.

        Returns:
            A sentence with the written array's shape, and how many of its rows had to be computed.
        """
        output, count = None, Count()
        for bucket, places in members(source.buckets):
            at = 0
            for rows in self._rows(source, bucket, places, views, count, into.stem):
                if output is None:
                    output = _allocated(into, self.dtype, (len(source.buckets), views, *rows.shape[1:]))
                # Places of rows and views, one behind the other.
                row, number = np.divmod(np.arange(at, at + len(rows)), views)
                output[places[row], number] = rows
                at += len(rows)
        return self._said(into, output, count)

    def activate(self, source: Fresh, into: Path, views: int) -> str:
        """Write the engine's output for all views: a file a bucket, as `caches` names them.

        Args:
            source, into, views: as for `embed`.

        Returns:
            A sentence for each file.
        """
        files, said = caches(into, source.buckets), []
        for bucket, places in members(source.buckets):
            output, flat, at, count = None, None, 0, Count()
            for rows in self._rows(source, bucket, places, views, count, files[bucket].stem):
                if output is None:
                    output = _allocated(files[bucket], self.dtype, (len(places), views, *rows.shape[1:]))
                    flat = output.reshape(-1, *rows.shape[1:])
                assert flat is not None
                flat[at : at + len(rows)] = rows
                at += len(rows)
            said.append(self._said(files[bucket], output, count))
        return "\n".join(said) or self._said(into, None, Count())

    def _said(self, into: Path, output: np.memmap | None, count: "Count") -> str:
        if output is None:
            raise ValueError(f"{into.name}: no examples to extract")
        output.flush()
        shape = " x ".join(map(str, output.shape))
        return f"{into.stem}: {shape}, {count.computed:,} of {count.wanted:,} views computed"

    def _rows(
        self, source: Fresh, bucket: int, places: np.ndarray, views: int, count: "Count", title: str
    ) -> Iterator[np.ndarray]:
        """The output for the views of the examples at `places`, all of one bucket, a part at a time."""
        kept = Store(self.within, **self.made_by, bucket=bucket)
        wanted = keys([source.hashes[place] for place in places], views).ravel()

        def compute(numbers: np.ndarray) -> np.ndarray:
            rows, looked = np.divmod(numbers, views)
            made = self.engine.run(source(places[rows], looked))
            return looks.half(made) if self.dtype == "float16" else made

        # The same content may be there several times: its views are computed once.
        _, once = np.unique(wanted, return_index=True)
        new = np.sort(once[kept.missing(wanted[once])])
        count.computed += len(new)
        count.wanted += len(wanted)
        with tqdm(total=len(new), desc=title, unit="view", disable=None) as bar:
            at = 0
            while at < len(new):
                shard = [compute(new[at : at + BATCH])]
                most = min(SHARD_ROWS, SHARD_BYTES // shard[0][0].nbytes)
                for start in range(at + BATCH, min(at + most, len(new)), BATCH):
                    bar.update(BATCH)
                    shard.append(compute(new[start : start + BATCH]))
                rows = np.concatenate(shard)
                kept.add(wanted[new[at : at + len(rows)]], rows)
                at += len(rows)
                bar.update(at - bar.n)

        at = 0
        for sound, rows in kept.read(wanted, COPIED):
            if not sound.all():
                damaged = np.flatnonzero(~sound)
                rows[damaged] = compute(at + damaged)
            yield rows
            at += len(rows)


class Count:
    """Views computed, and views wanted."""

    def __init__(self) -> None:
        self.computed = self.wanted = 0


def _allocated(path: Path, dtype: str, shape: tuple[int, ...]) -> np.memmap:
    """A new `.npy` as a memory map, its disk space reserved: a full disk is an error here, a crash while mapped."""
    made = open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return made

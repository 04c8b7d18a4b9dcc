"""Filling a cache: each picture's views through the frozen layers, into one memory-mapped file a split.

What was computed before comes out of the store; the rest is computed and stored shard by shard, so a killed extraction
goes on where it was. Memory does not grow with the number of pictures. Knows nothing of labels or training.
"""

import hashlib
import os
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.lib.format import open_memmap
from tqdm import tqdm

from headstart.features import store
from headstart.features import views as looks
from headstart.features.engine import BATCH, Engine
from headstart.features.store import Store, keys

# Of a shard of the store: what a kill can cost.
SHARD_BYTES, SHARD_ROWS = 2**25, 1024
# Rows copied at a time from the store.
COPIED = 256


class Extractor:
    """What runs the frozen layers on views, and the store of what they gave before."""

    def __init__(self, engine: Engine, *, augment: str, seed: int, dtype: str, within: Path | None = None) -> None:
        """Open the store of the rows that this engine makes of such views.

        Args:
            engine: runs the frozen layers.
            augment, seed: see `headstart.features.views`; only photo views depend on the seed.
            dtype: of the rows: float32, or float16 (values beyond its range are clipped to it).
            within: the folder of all stores, if not the usual one.
        """
        self.engine, self.augment, self.seed, self.dtype = engine, augment, seed, dtype
        code = b"".join(Path(file).read_bytes() for file in (__file__, looks.__file__))
        self.store = Store(
            within or store.folder(),
            **engine.identity,
            augment=augment,
            seed=seed if augment == "photo" else None,
            dtype=dtype,
            code=hashlib.sha256(code).hexdigest(),
        )

    def __call__(self, images: np.ndarray, examples: pd.DataFrame, into: Path, views: int) -> str:
        """Write the engine's output for all views of the given examples.

        Args:
            images: uint8 [n, s, s, c], usually a memory map; row i belongs to the example with index i.
            examples: rows to extract, indexed by their row in `images`, with a `hash` column.
            into: the `.npy` file to write: [len(examples), views, ...].
            views: of each example, from view 0.

        Returns:
            A sentence with the written array's shape, and how many of its rows had to be computed.
        """
        places, hashes = examples.index.to_numpy(), examples["hash"].to_list()
        wanted = keys(hashes, views).ravel()
        if not len(wanted):
            raise ValueError(f"{into.name}: no examples to extract")

        def compute(numbers: np.ndarray) -> np.ndarray:
            pairs = [divmod(int(number), views) for number in numbers]
            made = [looks.view(images[places[row]], look, self.augment, self.seed, hashes[row]) for row, look in pairs]
            rows = self.engine.run(looks.as_rgb(np.stack(made)))
            return looks.half(rows) if self.dtype == "float16" else rows

        # The same picture may be there several times: its views are computed once.
        _, once = np.unique(wanted, return_index=True)
        new = np.sort(once[self.store.missing(wanted[once])])
        with tqdm(total=len(new), desc=into.stem, unit="view", disable=None) as bar:
            at = 0
            while at < len(new):
                shard = [compute(new[at : at + BATCH])]
                most = min(SHARD_ROWS, SHARD_BYTES // shard[0][0].nbytes)
                for start in range(at + BATCH, min(at + most, len(new)), BATCH):
                    bar.update(BATCH)
                    shard.append(compute(new[start : start + BATCH]))
                rows = np.concatenate(shard)
                self.store.add(wanted[new[at : at + len(rows)]], rows)
                at += len(rows)
                bar.update(at - bar.n)

        output, at = None, 0
        for sound, rows in self.store.read(wanted, COPIED):
            if output is None:
                shape = (len(examples), views, *rows.shape[1:])
                output = _allocated(into, self.dtype, shape)
                flat = output.reshape(len(wanted), *rows.shape[1:])
            flat[at : at + len(rows)] = rows
            if not sound.all():
                damaged = at + np.flatnonzero(~sound)
                flat[damaged] = compute(damaged)
            at += len(rows)
        assert output is not None
        output.flush()
        return f"{into.stem}: {' x '.join(map(str, shape))}, {len(new):,} of {len(wanted):,} views computed"


def _allocated(path: Path, dtype: str, shape: tuple[int, ...]) -> np.memmap:
    """A new `.npy` as a memory map, its disk space reserved: a full disk is an error here, a crash while mapped."""
    made = open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return made

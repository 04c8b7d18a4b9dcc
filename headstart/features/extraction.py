"""Filling a cache: each picture's views through the frozen layers, straight into one memory-mapped file a split.

Memory does not grow with the number of pictures. Knows nothing of labels or training.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.lib.format import open_memmap
from tqdm import tqdm

from headstart.features.engine import Engine
from headstart.features.views import as_rgb, view

# Pictures a call of the engine: past this, two cores are no faster and memory grows.
BATCH = 32


def extract(
    images: np.ndarray,
    examples: pd.DataFrame,
    engine: Engine,
    into: Path,
    *,
    views: int,
    augment: str,
    seed: int,
    dtype: str,
) -> tuple[int, ...]:
    """Write the engine's output for all views of the given examples.

    Args:
        images: uint8 [n, s, s, c], usually a memory map; row i belongs to the example with index i.
        examples: rows to extract, indexed by their row in `images`, with a `hash` column.
        engine: what runs the frozen layers.
        into: the `.npy` file to write: `dtype` [len(examples), views, ...].
        views, augment, seed: see `headstart.features.views`.
        dtype: float32, or float16 (values beyond its range are clipped to it).

    Returns:
        The written array's shape.
    """
    rows, hashes = examples.index.to_numpy(), examples["hash"].to_list()
    total = len(rows) * views
    limit = np.finfo(dtype).max
    output = None
    with tqdm(total=total, desc=into.stem, unit="view", disable=None) as bar:
        for start in range(0, total, BATCH):
            pairs = [divmod(i, views) for i in range(start, min(start + BATCH, total))]
            batch = np.stack([view(images[rows[r]], number, augment, seed, hashes[r]) for r, number in pairs])
            result = engine.run(as_rgb(batch))
            if output is None:
                shape = (len(rows), views, *result.shape[1:])
                output = open_memmap(into, mode="w+", dtype=dtype, shape=shape)
                flat = output.reshape(total, *result.shape[1:])
            flat[start : start + len(pairs)] = np.clip(result, -limit, limit)
            bar.update(len(pairs))
    if output is None:
        raise ValueError(f"{into.name}: no examples to extract")
    output.flush()
    return output.shape

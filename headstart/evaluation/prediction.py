"""Class probabilities of many examples from a network that takes a few at a time, in constant memory.

The network is any callable on a batch; this module knows no framework.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm


def colour(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Pictures [b, S, S, 1 or 3] of 0-255 as float32 [b, S, S, 3]; grey is repeated in each channel."""
    if pictures.shape[-1] == 1:
        pictures = np.repeat(pictures, 3, axis=-1)
    return pictures.astype(np.float32)


def predict(
    network: Callable[[NDArray[Any]], NDArray[np.floating]],
    examples: NDArray[Any],
    rows: NDArray[np.integer],
    batch_size: int,
    title: str = "predict",
) -> NDArray[np.float32]:
    """The network's probabilities [len(rows), k] of `examples[rows]`, with a progress bar on a terminal.

    The last batch is filled up with its own last example, so that a compiled network sees one shape only.

    Raises:
        ValueError: there are no rows, the network's output is not [b, k], or it holds something that is not a
            number.
    """
    if len(rows) == 0:
        raise ValueError("there are no examples to predict")
    found = []
    with tqdm(total=len(rows), desc=title, unit="example", disable=None) as bar:
        for first in range(0, len(rows), batch_size):
            batch = rows[first : first + batch_size]
            filled = np.concatenate([batch, np.repeat(batch[-1:], batch_size - len(batch))])
            output = np.asarray(network(examples[filled]), dtype=np.float32)
            if output.ndim != 2 or len(output) != len(filled):
                raise ValueError(f"a network's output of shape {output.shape}; [{len(filled)}, classes] is needed")
            found.append(output[: len(batch)])
            bar.update(len(batch))
    probabilities = np.concatenate(found)
    if not np.isfinite(probabilities).all():
        raise ValueError("probabilities that are not numbers; its training diverged, try a smaller lr")
    return probabilities

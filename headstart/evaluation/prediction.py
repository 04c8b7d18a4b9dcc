"""Class probabilities of many examples from a network that takes a few at a time, in constant memory.

The network is any callable on a batch; this module knows no framework.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm


def predict(
    network: Callable[[NDArray[Any]], NDArray[np.floating]],
    fetch: Callable[[NDArray[np.integer], NDArray[np.integer]], NDArray[Any]],
    examples: int,
    *,
    views: int,
    batch_size: int,
    buckets: NDArray[np.integer] | None = None,
    title: str = "predict",
) -> NDArray[np.float32]:
    """The network's probabilities [examples, views, k], with a progress bar on a terminal.

    The last batch is filled up with its own last example, so that a compiled network sees one shape a bucket.

    Args:
        network: inputs [b, ...] -> probabilities [b, k].
        fetch: (example numbers int [b], view numbers int [b]) -> inputs [b, ...].
        examples, views: how many there are.
        batch_size: inputs at a time.
        buckets: of each example; those of one go together. None: all are of one.
        title: of the progress bar.

    Raises:
        ValueError: there are no examples, the network's output is not [b, k], or it holds something that is not a
            number.
    """
    if examples == 0:
        raise ValueError("there are no examples to predict")
    alike = np.zeros(examples, int) if buckets is None else buckets
    order = np.argsort(alike, kind="stable")
    found = []
    with tqdm(total=examples * views, desc=title, unit="view", disable=None) as bar:
        for bucket in np.unique(alike):
            places = np.flatnonzero(alike == bucket)
            total = len(places) * views
            for first in range(0, total, batch_size):
                rows, looks = np.divmod(np.minimum(np.arange(first, first + batch_size), total - 1), views)
                output = np.asarray(network(fetch(places[rows], looks)), dtype=np.float32)
                if output.ndim != 2 or len(output) != batch_size:
                    raise ValueError(f"a network's output of shape {output.shape}; [{batch_size}, classes] is needed")
                found.append(output[: total - first])
                bar.update(len(found[-1]))
    probabilities = np.concatenate(found).reshape(examples, views, -1)[np.argsort(order)]
    if not np.isfinite(probabilities).all():
        raise ValueError("probabilities that are not numbers; its training diverged, try a smaller lr")
    return probabilities

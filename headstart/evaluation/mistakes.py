"""The mistakes worth looking at: test examples whose wrong class the model was surest of.

Refuses to know what an example is, a picture or a text: that is `attribution`.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

# As many as one looks at; label errors gather at the top.
SHOWN = 24


def most_confident(
    examples: pd.DataFrame, truth: NDArray[np.integer], probabilities: NDArray[np.floating], labels: Sequence[str]
) -> pd.DataFrame:
    """The `SHOWN` wrong predictions of the highest probability, the surest first; at a tie, in order of their ids.

    Args:
        examples: a column id; a row per row of `probabilities`.
        truth: int [n].
        probabilities: float [n, k].
        labels: class names, by column.

    Returns:
        A table [row, id, truth, predicted, probability, of_truth]: the number of the row in `examples`, the classes'
        names, and the probabilities of the predicted and of the true class to six digits.
    """
    predicted = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != truth)
    ids = examples["id"].to_numpy(dtype=str)
    sure = probabilities[wrong, predicted[wrong]].astype(np.float64).round(6)
    wrong = wrong[np.lexsort((ids[wrong], -sure))][:SHOWN]
    names = np.asarray(labels, dtype=object)
    return pd.DataFrame(
        {
            "row": wrong,
            "id": ids[wrong],
            "truth": names[truth[wrong]],
            "predicted": names[predicted[wrong]],
            "probability": probabilities[wrong, predicted[wrong]].astype(np.float64).round(6),
            "of_truth": probabilities[wrong, truth[wrong]].astype(np.float64).round(6),
        }
    )


def listed(table: pd.DataFrame, rows: Sequence[Mapping[str, Any]]) -> str:
    """The table as JSON, a mistake a line; `rows` holds what `attribution` found to add to each."""
    columns = [name for name in table if name not in ("row", "number", "said")]
    found = [known | dict(row) for known, row in zip(table[columns].to_dict("records"), rows, strict=True)]
    return "[" + ",".join("\n" + json.dumps(row, ensure_ascii=False) for row in found) + "\n]\n"

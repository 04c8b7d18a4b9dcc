"""What differs between label kinds in a training, and nothing else: one module each, all with the same functions.

What examples are, pictures or texts, is told by `headstart.data.contents`.
"""

from typing import Any, Protocol

import numpy as np

from headstart.data.prepared import Prepared
from headstart.tasks import classification, multi_label
from headstart.tasks.score import Score
from headstart.training.followed import Followed


class Task(Protocol):
    """The functions that a training asks for; a module has them, or an object made from the training split."""

    @property
    def FOLLOWED(self) -> Followed:  # noqa: N802  # a constant of a module
        """What the training follows, and what makes an epoch the best."""

    def output_layer(self, classes: int) -> Any:
        """Embedding [b, d] -> the model's answer [b, classes], in float32 whatever the precision below."""

    def targets(self, labels: np.ndarray, classes: int, smoothing: float = 0.0) -> np.ndarray:
        """Labels as `Prepared.targets` has them -> float32 [n, classes], what the loss holds the answers against."""

    def loss(self) -> Any:
        """Of targets and answers."""

    def metrics(self) -> list[Any]:
        """Followed in every epoch, besides the loss."""

    def class_weights(self, labels: np.ndarray, classes: int) -> np.ndarray:
        """float32 [classes]: what an example of each weighs in the loss; only where each is of one class."""


def of(prepared: Prepared) -> Task:
    """The functions for the label kind of the prepared data."""
    if prepared.labels == "score":
        return Score.of(prepared.targets("train"))
    return {"class": classification, "multi": multi_label}[prepared.labels]

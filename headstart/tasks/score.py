"""A score an example: a number, answered in the data's own unit."""

from dataclasses import dataclass
from typing import ClassVar

import keras
import numpy as np
from keras import layers

from headstart.training.followed import OF_LABELS, Followed


@dataclass(frozen=True)
class Score:
    """The functions for scores, which must know the scale of those that the network is trained on.

    mean, deviation: of the training split's scores.
    """

    FOLLOWED: ClassVar[Followed] = OF_LABELS["score"]
    mean: float
    deviation: float

    @classmethod
    def of(cls, scores: np.ndarray) -> "Score":
        """From the training split's scores [n]."""
        numbers = scores.astype(np.float64)
        return cls(float(numbers.mean()), float(numbers.std()) or 1.0)

    def output_layer(self, classes: int) -> layers.Layer:
        """Embedding [b, d] -> scores [b, 1] in float32 whatever the precision below.

        A dense layer whose answer is in the training split's deviations from its mean, so that a learning rate means
        the same for any unit, and one without weights that makes scores of it.
        """
        assert classes == 1
        standard = layers.Dense(1, dtype="float32", name="standard_score")
        unit = layers.Rescaling(self.deviation, self.mean, dtype="float32", name="score")
        return lambda embedding: unit(standard(embedding))

    def targets(self, labels: np.ndarray, classes: int, smoothing: float = 0.0) -> np.ndarray:
        """float32 [n, 1]; a number can't be smoothed."""
        assert classes == 1
        assert smoothing == 0
        return labels[:, None].astype(np.float32)

    def loss(self) -> keras.losses.Loss:
        """Mean squared error in units of the training split's variance: 1 is that of answering its mean."""
        return SquaredError(self.deviation)

    def metrics(self) -> list[keras.metrics.Metric]:
        """The mean absolute error, in the data's own unit."""
        return [keras.metrics.MeanAbsoluteError(name="absolute_error")]

    def class_weights(self, labels: np.ndarray, classes: int) -> np.ndarray:
        """There are none: `headstart.params` refuses them."""
        raise NotImplementedError("a score has no class to be weighed by")


@keras.saving.register_keras_serializable(package="headstart")  # a compiled model is copied through its configuration
class SquaredError(keras.losses.Loss):
    """The squared error over the square of a unit."""

    def __init__(self, unit: float, name: str = "squared_error", **more: object) -> None:
        """Take the unit that errors are counted in."""
        super().__init__(name=name, **more)
        self.unit = unit

    def get_config(self) -> dict[str, object]:
        """What it is made from."""
        return {**super().get_config(), "unit": self.unit}

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """[b] of [b, 1] and [b, 1]."""
        return keras.ops.mean(keras.ops.square((y_true - y_pred) / self.unit), axis=-1)

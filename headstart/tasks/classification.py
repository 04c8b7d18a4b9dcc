"""Classification, whatever is classified: one label an example, probabilities over all classes."""

import keras
import numpy as np
from keras import layers

from headstart.training.followed import OF_LABELS

FOLLOWED = OF_LABELS["class"]


def output_layer(classes: int) -> layers.Layer:
    """Embedding [b, d] -> probabilities [b, classes], in float32 whatever the precision below."""
    return layers.Dense(classes, activation="softmax", dtype="float32", name="probabilities")


def targets(labels: np.ndarray, classes: int, smoothing: float = 0.0) -> np.ndarray:
    """One-hot: int [n] -> float32 [n, classes], with `smoothing` spread evenly (Szegedy et al. 2016, section 7)."""
    hot = np.eye(classes, dtype=np.float32)[labels]
    return hot * (1 - smoothing) + np.float32(smoothing / classes)


def loss() -> keras.losses.Loss:
    """Cross-entropy between target distributions and probabilities."""
    return keras.losses.CategoricalCrossentropy()


def metrics() -> list[keras.metrics.Metric]:
    """Followed in every epoch, besides the loss."""
    return [keras.metrics.CategoricalAccuracy(name="accuracy")]


def class_weights(labels: np.ndarray, classes: int) -> np.ndarray:
    """float32 [classes]: n / (classes x count), so that each class weighs the same in all (King & Zeng 2001)."""
    return (len(labels) / (classes * np.bincount(labels, minlength=classes))).astype(np.float32)

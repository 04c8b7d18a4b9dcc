"""Several classes an example, or none: a yes or no to each class, by itself."""

import keras
import numpy as np
from keras import layers

from headstart.training.followed import OF_LABELS

FOLLOWED = OF_LABELS["multi"]


def output_layer(classes: int) -> layers.Layer:
    """Embedding [b, d] -> probabilities [b, classes], each of its own; in float32 whatever the precision below."""
    return layers.Dense(classes, activation="sigmoid", dtype="float32", name="probabilities")


def targets(labels: np.ndarray, classes: int, smoothing: float = 0.0) -> np.ndarray:
    """float32 [n, classes] of 0 and 1, with `smoothing` spread evenly over yes and no, as `classification` does."""
    assert labels.shape[1] == classes
    return (labels * (1 - smoothing) + smoothing / 2).astype(np.float32)


def loss() -> keras.losses.Loss:
    """Cross-entropy of each class's yes or no, the mean over classes."""
    return keras.losses.BinaryCrossentropy()


def metrics() -> list[keras.metrics.Metric]:
    """The mean over classes of the area under precision over recall, from 200 thresholds.

    The evaluation has it exactly. A class that the split does not hold counts as 0, in every epoch alike.
    """
    counted = keras.metrics.AUC(curve="PR", multi_label=True, name="average_precision")
    update = counted.update_state

    def of_plain_targets(
        y_true: keras.KerasTensor, y_pred: keras.KerasTensor, sample_weight: keras.KerasTensor | None = None
    ) -> None:
        # Of smoothed targets Keras would take whatever is not 0 for a yes.
        update(keras.ops.cast(y_true > 0.5, "float32"), y_pred, sample_weight)

    # Not a class of its own: a saved network names the metrics it was trained with, and loads without our code.
    counted.update_state = of_plain_targets
    return [counted]


def class_weights(labels: np.ndarray, classes: int) -> np.ndarray:
    """There are none: `headstart.params` refuses them."""
    raise NotImplementedError("an example of several classes has no class to be weighed by")

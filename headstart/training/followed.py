"""What a training follows: by label kind, the figure that stands beside the loss, and what makes an epoch the best.

Stated without Keras, for those who only read what a training has written.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Followed(NamedTuple):
    """What is followed.

    metric: beside the loss in every epoch.
    best: what chooses the epoch, on the validation split: the metric, or the loss.
    sign: 1 where more of it is better, -1 where less is.
    named: `best` in words.
    """

    metric: str
    best: str
    sign: int
    named: str

    def rank(self, numbers: Mapping[str, float]) -> tuple[float, float]:
        """What makes an epoch better than another: the figure that is followed; among equals, the validation loss.

        Not the loss alone, where the label is a class: it punishes sureness, and fine-tuning on little data gets surer
        faster than it gets better. Fine-tuned on 1,000 pictures of Fashion-MNIST, the epoch of the lowest loss was 81 %
        right on the test split, the last one 86 %.

        Args:
            numbers: an epoch's, with val_loss and the figure as val_NAME.
        """
        return self.sign * numbers[f"val_{self.best}"], -numbers["val_loss"]

    def columns(self) -> list[str]:
        """Of a training's table of epochs."""
        return ["epoch", "learning_rate", "loss", self.metric, "val_loss", f"val_{self.metric}"]


# By `data.labels`.
OF_LABELS = {
    "class": Followed("accuracy", "accuracy", 1, "validation accuracy"),
    "multi": Followed("average_precision", "average_precision", 1, "validation average precision"),
    "score": Followed("absolute_error", "loss", -1, "validation loss"),
}

"""Text classification: one label a text. What texts are is told by `headstart.data.contents`."""

from headstart.tasks.classification import class_weights, loss, metrics, output_layer, targets

__all__ = ["class_weights", "loss", "metrics", "output_layer", "targets"]

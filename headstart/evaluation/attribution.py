"""What in an example spoke for the predicted class rather than the true one: a function per kind of content.

A function here takes the final network and the mistakes, and returns what a page needs to show them. It alone in this
package knows Keras. It lies here and not with the tasks, because the trainings depend on those: a finer heat map is no
reason to train anew.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Of a picture on the page, in pixels; a larger one is made smaller.
THUMBNAIL = 160
# Pictures at a time: EfficientNetB7's last map of so many pictures of 600 pixels a side has 60 MB.
BATCH = 8
# Parts of a text that are left out one after another.
MOST_PARTS = 40


class Explained(NamedTuple):
    """The mistakes, ready to be shown.

    rows: for each, what JSON can hold: nothing for pictures; `tokens` [[text, evidence], …] for texts.
    arrays: for all of them, what it can't; for pictures `pictures` uint8 [m, t, t, c] and `evidence` float16 [m, h, w].
    """

    rows: list[dict[str, Any]]
    arrays: dict[str, NDArray[Any]]


class Dense(NamedTuple):
    """One dense layer: weights [inputs, units], bias [units]."""

    weights: NDArray[np.floating]
    bias: NDArray[np.floating]


# A network's answers [b, k] -> scores [b, k or more] whose differences mean something. A last column that is always 0
# lets the number -1 stand for no output at all.
Additive = Callable[[NDArray[np.floating]], NDArray[np.floating]]
Explain = Callable[[Any, Any, NDArray[np.integer], NDArray[np.integer], Additive], Explained]


def log(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Of probabilities, as scores whose differences are those of the logits."""
    return np.log(np.asarray(probabilities, np.float64).clip(1e-12))


def pictures(
    network: Any,
    shown: NDArray[np.uint8],
    predicted: NDArray[np.integer],
    truth: NDArray[np.integer],
    additive: Additive = log,
) -> Explained:
    """Class activation maps of the predicted class against the true one.

    The class's score is, up to the head's bias, the mean over all places of the last feature map times a slope, so each
    place's summand is its share in it: CAM (Zhou et al. 2016, Learning Deep Features for Discriminative Localization).
    With hidden layers in the head the slope is the score's gradient at this picture, which makes it Grad-CAM (Selvaraju
    et al. 2017), without the step that drops what speaks against. A softmax knows its scores only up to a common
    constant, hence the difference of two: the mean over a map and the biases add up to the logarithm of the
    predicted class's odds against the true one. Of the picture as it is, whatever other views were averaged.

    Args:
        network: Keras; float32 pictures [b, s, s, 3] -> probabilities, its layer `embedding` the global average pooling
            that the head reads.
        shown: uint8 [m, s, s, c], c is 1 or 3.
        predicted, truth: int [m], class numbers; -1: none, so that what spoke for one output is told by itself.
        additive: is not needed: the head's last layer is read without its softmax or sigmoid.

    Returns:
        `pictures`, at most `THUMBNAIL` pixels a side, and `evidence`: positive where it spoke for the mistake.
    """
    import keras

    pooling = network.get_layer("embedding")
    below = keras.Model(network.input, pooling.input)
    head = [Dense(*layer.get_weights()) for layer in network.layers[-1].layers if layer.weights]
    found = []
    for first in range(0, len(shown), BATCH):
        some = slice(first, first + BATCH)
        batch = np.broadcast_to(shown[some], (*shown[some].shape[:3], 3)).astype(np.float32)
        features = keras.ops.convert_to_numpy(below(batch, training=False)).astype(np.float64)
        slopes = slope(features.mean(axis=(1, 2)), head, predicted[some], truth[some])
        found.append(evidence(features, slopes))
    small = np.stack([_smaller(picture) for picture in shown])
    return Explained([{} for _ in shown], {"pictures": small, "evidence": np.concatenate(found).astype(np.float16)})


def evidence(features: NDArray[np.floating], slopes: NDArray[np.floating]) -> NDArray[np.floating]:
    """Each place's share in a score: feature maps [m, h, w, d], slopes [m, d] -> [m, h, w]."""
    return np.einsum("mhwd,md->mhw", features, slopes)


def slope(
    embeddings: NDArray[np.floating],
    head: Sequence[Dense],
    towards: NDArray[np.integer],
    against: NDArray[np.integer],
) -> NDArray[np.floating]:
    """Gradient [m, d] of the difference of two logits at the embeddings, through dense layers with ReLUs between.

    Args:
        embeddings: float [m, d].
        head: the layers, the last one without its softmax.
        towards, against: int [m], the classes whose logits are subtracted; -1: none.
    """
    x, open_units = embeddings, []
    for layer in head[:-1]:
        x = np.maximum(x @ layer.weights + layer.bias, 0)
        open_units.append(x > 0)
    weights = np.pad(head[-1].weights, ((0, 0), (0, 1)))  # -1 is a column of zeros
    gradient = (weights[:, towards] - weights[:, against]).T
    for layer, units in zip(reversed(head[:-1]), reversed(open_units), strict=True):
        gradient = (gradient * units) @ layer.weights.T
    return gradient


def _smaller(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    side = min(THUMBNAIL, picture.shape[0])
    image = Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture)
    return np.asarray(image.resize((side, side), Image.Resampling.BOX)).reshape(side, side, picture.shape[2])


def texts(
    network: Any,
    shown: Sequence[Any],
    predicted: NDArray[np.integer],
    truth: NDArray[np.integer],
    additive: Additive = log,
) -> Explained:
    """What each word did for the predicted class against the true one, by leaving it out.

    The logarithm of the predicted class's odds against the true one, less the same without the word (Li et al. 2016,
    Understanding Neural Networks through Representation Erasure). Of a long text some words go together, and what they
    did is shared evenly among them.

    Args:
        network: Keras; int32 ids [b, tokens] -> probabilities.
        shown: of each mistake the ids, int32 [tokens], the word that each belongs to (None: to none), the words, and
            the id that fills a text up.
        predicted, truth: int [m], class numbers; -1: none.
        additive: of the network's answers.

    Returns:
        For each mistake `tokens`: a list of [word, evidence].
    """
    rows: list[dict[str, Any]] = []
    for text, towards, against in zip(shown, predicted, truth, strict=True):
        together = -(-len(text.shown) // MOST_PARTS) or 1
        part = np.array([-1 if word is None else word // together for word in text.words])
        without = [text.ids, *(text.ids[part != number] for number in range(part.max(initial=-1) + 1))]
        length = -(-len(text.ids) // 32) * 32  # few shapes, so that little is compiled
        odds: list[NDArray[np.floating]] = []
        for start in range(0, len(without), BATCH):
            ids = np.full((BATCH, length), text.padding, np.int32)
            ids[:, : len(text.ids)] = text.ids  # of rows beyond the last
            for row, kept in zip(ids, without[start : start + BATCH], strict=False):
                row[:] = text.padding
                row[: len(kept)] = kept
            found = additive(network.predict_on_batch(ids))
            odds.append(found[:, towards] - found[:, against])
        scores = np.concatenate(odds)[: len(without)]
        evidence = (scores[0] - scores[1:]) / together
        rows.append({"tokens": [[word, _short(evidence[at // together])] for at, word in enumerate(text.shown)]})
    return Explained(rows, {})


def _short(value: float) -> float:
    return float(f"{value:.4g}")


# By `task`.
EXPLAIN: dict[str, Explain] = {"image-classification": pictures, "text-classification": texts}

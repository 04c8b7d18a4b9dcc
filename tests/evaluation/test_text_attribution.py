"""A word's share in a mistake is what the prediction loses without it."""

import numpy as np

from headstart.evaluation import attribution
from headstart.features.tokens import Pieces

WEIGHTS = np.array([0.0, 0.5, 2.0, -3.0, 0.25])  # of ids, in the log odds of class 1; id 0 fills up


class Sums:
    """A network whose log odds are the sum of its tokens' weights."""

    def __init__(self) -> None:
        self.shapes = set()

    def predict_on_batch(self, ids):
        self.shapes.add(ids.shape)
        second = 1 / (1 + np.exp(-WEIGHTS[ids].sum(axis=1)))
        return np.stack([1 - second, second], axis=1)


def text(*words):
    """A mark, then words of one token each."""
    return Pieces(np.array([1, *words], np.int32), [None, *range(len(words))], [f"w{word}" for word in words], 0)


def test_each_word_has_what_the_odds_lose_without_it():
    found = attribution.texts(Sums(), [text(2, 3, 4), text(2)], np.array([1, 0]), np.array([0, 1]))
    first, second = (dict(row["tokens"]) for row in found.rows)
    assert {word: round(value, 3) for word, value in first.items()} == {"w2": 2.0, "w3": -3.0, "w4": 0.25}
    assert round(second["w2"], 3) == -2.0, "it spoke against the predicted class"


def test_words_of_a_long_text_go_together_and_share_what_they_did():
    network, words = Sums(), [4] * 60
    found = attribution.texts(network, [text(*words)], np.array([1]), np.array([0])).rows[0]["tokens"]
    assert [word for word, _ in found] == [f"w{word}" for word in words]
    assert len(network.shapes) == 1
    assert abs(sum(value for _, value in found) - WEIGHTS[words].sum()) < 0.01


def test_a_text_without_words_has_nothing_to_show():
    empty = Pieces(np.array([1], np.int32), [None], [], 0)
    assert attribution.texts(Sums(), [empty], np.array([0]), np.array([1])).rows == [{"tokens": []}]

"""What a training sees: every example, every view, in an order that seed and epoch decide."""

from collections import Counter

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.features.inputs import Cached
from headstart.training.batches import Batches

N, VIEWS = 10, 4
# Each example and view is told by its number.
CACHE = np.arange(N * VIEWS, dtype=np.float32).reshape(N, VIEWS, 1)


def batches(**given: object) -> Batches:
    settings = {"batch_size": 4, "seed": 0, "views": VIEWS} | given
    return Batches(Cached(CACHE), np.eye(N, dtype=np.float32), **settings)


def shown(data: Batches) -> list[tuple[int, int]]:
    """The epoch's (example, view) pairs, checked to come with their own targets."""
    pairs = []
    for inputs, targets, _ in (data[i] for i in range(len(data))):
        found = [divmod(int(number), VIEWS) for number in inputs[:, 0]]
        assert [row for row, _ in found] == targets.argmax(axis=1).tolist()
        pairs += found
    return pairs


def epochs(data: Batches, count: int) -> list[list[tuple[int, int]]]:
    found = []
    for _ in range(count):
        found.append(shown(data))
        data.on_epoch_end()
    return found


@given(st.integers(1, 15), st.integers(0, 2**32 - 1))
def test_no_example_is_dropped_and_none_shown_twice(batch_size: int, seed: int) -> None:
    for epoch in epochs(batches(batch_size=batch_size, seed=seed), 3):
        assert sorted(row for row, _ in epoch) == list(range(N))


def test_after_as_many_epochs_as_views_each_was_shown_once() -> None:
    found = Counter(pair for epoch in epochs(batches(), VIEWS) for pair in epoch)
    assert found == Counter({(row, number): 1 for row in range(N) for number in range(VIEWS)})


def test_an_epoch_of_every_view_shows_each_once() -> None:
    for epoch in epochs(batches(every_view=True), 2):
        assert sorted(epoch) == [(row, number) for row in range(N) for number in range(VIEWS)]


def test_the_order_is_that_of_seed_and_epoch_and_differs_between_them() -> None:
    first, again, other = (epochs(batches(seed=seed), 3) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert len({tuple(row for row, _ in epoch) for epoch in first}) == 3


def test_validation_is_the_clean_pictures_in_their_order_in_every_epoch() -> None:
    for epoch in epochs(batches(shuffle=False), 2):
        assert epoch == [(row, 0) for row in range(N)]


def test_weights_go_with_their_examples() -> None:
    data = batches(weights=np.arange(N, dtype=np.float32))
    for i in range(len(data)):
        _, targets, weights = data[i]
        np.testing.assert_array_equal(weights, targets.argmax(axis=1))
    assert all((batches()[i][2] == 1).all() for i in range(3))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("every_view", [False, True])
def test_a_real_training_gets_each_epoch_whole(every_view: bool, threads: int) -> None:
    """Keras fetches ahead in threads: an epoch must not begin before the last one's end is known."""
    seen: list[list[int]] = []

    class Told(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
            seen.append([])

    class Eager(keras.Model):
        def train_step(self, data: tuple) -> dict:
            seen[-1].extend(np.asarray(data[0])[:, 0].astype(int).tolist())
            return {"loss": 0.0}

    inputs = keras.Input((1,))
    model = Eager(inputs, keras.layers.Dense(N)(inputs))
    model.compile("sgd", "mse", run_eagerly=True)
    data = batches(every_view=every_view, threads=threads)
    model.fit(data, epochs=VIEWS, verbose=0, shuffle=False, callbacks=[Told()])
    # Keras builds the model on a batch of its own, and takes that for an epoch: the training begins with the second.
    expected = epochs(batches(every_view=every_view), VIEWS + 1)[1:]
    assert seen == [[row * VIEWS + number for row, number in epoch] for epoch in expected]


@given(st.integers(1, 12), st.integers(1, 5))
def test_devices_share_every_batch_evenly_and_what_fills_it_up_weighs_nothing(batch_size: int, devices: int) -> None:
    plain, shared = batches(batch_size=batch_size), batches(batch_size=batch_size, devices=devices)
    for i in range(len(plain)):
        real, found = plain[i], shared[i]
        assert len({len(array) for array in found}) == 1
        assert len(found[0]) % devices == 0
        for a, b in zip(real, found, strict=True):
            np.testing.assert_array_equal(a, b[: len(a)])
        assert not found[2][len(real[2]) :].any()


class Bucketed(Cached):
    """Examples of several buckets."""

    def __init__(self, buckets: list[int]) -> None:
        super().__init__(np.arange(len(buckets) * VIEWS, dtype=np.float32).reshape(len(buckets), VIEWS, 1))
        self.buckets = np.array(buckets)


@given(
    st.lists(st.sampled_from([16, 64, 128]), min_size=1, max_size=30),
    st.integers(1, 8),
    st.integers(0, 99),
    st.booleans(),
)
def test_each_batch_is_of_one_bucket_and_each_example_is_shown_once(
    buckets: list[int], batch_size: int, seed: int, every_view: bool
) -> None:
    source = Bucketed(buckets)
    data = Batches(
        source, np.eye(len(buckets), dtype=np.float32),
        batch_size=batch_size, seed=seed, views=VIEWS, every_view=every_view,
    )  # fmt: skip
    for _ in range(2):
        found = [data[at] for at in range(len(data))]
        rows = [targets.argmax(axis=1) for _, targets, _ in found]
        assert all(len({buckets[row] for row in batch}) == 1 for batch in rows)
        times = VIEWS if every_view else 1
        assert sorted(np.concatenate(rows).tolist()) == sorted(list(range(len(buckets))) * times)
        sizes = Counter(buckets[row] for batch in rows for row in batch)
        assert len(data) == sum(-(-n // batch_size) for n in sizes.values()), "a bucket's last batch alone is smaller"
        data.on_epoch_end()


def test_buckets_come_in_an_order_of_seed_and_epoch() -> None:
    def order(seed: int) -> list[list[int]]:
        data = Batches(Bucketed([16, 64] * 20), np.zeros((40, 1), np.float32), batch_size=4, seed=seed)
        found = []
        for _ in range(2):
            found.append([int(data.fetch.buckets[data.rows[part[0]]]) for part in data.parts])
            data.on_epoch_end()
        return found

    assert order(0) == order(0)
    assert order(0)[0] != order(0)[1]
    assert order(0) != order(1)


@pytest.mark.parametrize("shuffle", [True, False])
def test_keras_trains_on_buckets_in_whatever_order_they_come(shuffle: bool) -> None:
    class Lengths(Bucketed):
        def __call__(self, rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
            return np.zeros((len(rows), self.buckets[rows[0]], 1), np.float32)

    inputs = keras.Input((None, 1))
    outputs = keras.layers.Dense(1)(keras.layers.GlobalMaxPooling1D()(inputs))
    model = keras.Model(inputs, outputs)
    model.compile("sgd", "mse", jit_compile=False)
    source = Lengths([16] * 30 + [64] * 3)
    for seed in range(3):
        data = Batches(source, np.zeros((33, 1), np.float32), batch_size=4, seed=seed, shuffle=shuffle)
        model.fit(data, epochs=2, verbose=0, shuffle=False)
        model.evaluate(data, verbose=0)

import numpy as np
import pytest

from headstart.evaluation.prediction import predict

# Example i's view v holds 4 i + v.
NUMBERS = np.arange(20 * 4, dtype=np.float32).reshape(20, 4, 1)


def fetch(rows, views):
    return NUMBERS[rows, views]


def halves(batch):
    """A network of two outputs that remembers its inputs."""
    share = batch[:, 0] / 255
    return np.stack([1 - share, share], axis=1)


@pytest.mark.parametrize("batch_size", [1, 4, 7, 100])
@pytest.mark.parametrize("views", [1, 3])
def test_each_view_of_each_example_is_predicted_whatever_the_batch(batch_size, views):
    found = predict(halves, fetch, 20, views=views, batch_size=batch_size)
    assert found.shape == (20, views, 2)
    np.testing.assert_allclose(found[..., 1] * 255, NUMBERS[:, :views, 0], rtol=1e-5, atol=1e-4)


def test_a_compiled_network_sees_one_shape():
    seen = set()

    def network(batch):
        seen.add(batch.shape)
        return halves(batch)

    predict(network, fetch, 10, views=3, batch_size=4)
    assert seen == {(4, 1)}


def test_examples_of_one_bucket_go_together_and_come_back_in_their_order():
    buckets = np.array([16, 64, 16, 32, 64, 64, 16, 16, 32, 16])
    seen = []

    def fetched(rows, views):
        assert len(set(buckets[rows])) == 1
        seen.append(int(buckets[rows[0]]))
        return fetch(rows, views)

    plain = predict(halves, fetch, 10, views=2, batch_size=4)
    found = predict(halves, fetched, 10, views=2, batch_size=4, buckets=buckets)
    np.testing.assert_array_equal(found, plain)
    assert seen == sorted(seen)


def test_a_diverged_network_is_named_instead_of_scored():
    with pytest.raises(ValueError, match="diverged"):
        predict(lambda batch: np.full((len(batch), 2), np.nan), fetch, 3, views=1, batch_size=2)


def test_an_output_that_is_no_row_per_example_is_refused():
    with pytest.raises(ValueError, match=r"\[2, classes\]"):
        predict(lambda batch: np.zeros(2), fetch, 3, views=1, batch_size=2)


def test_no_examples_are_refused():
    with pytest.raises(ValueError, match="no examples"):
        predict(halves, fetch, 0, views=1, batch_size=2)

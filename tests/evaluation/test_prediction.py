import numpy as np
import pytest

from headstart.evaluation.prediction import colour, predict


def halves(batch):
    """A network of two outputs that remembers its examples."""
    share = batch.reshape(len(batch), -1)[:, 0].astype(np.float32) / 255
    return np.stack([1 - share, share], axis=1)


@pytest.mark.parametrize("batch_size", [1, 4, 7, 100])
def test_every_example_is_predicted_once_in_its_order_whatever_the_batch(batch_size):
    pictures = np.arange(20, dtype=np.uint8)[:, None, None, None]
    rows = np.array([3, 1, 19, 0, 7, 7, 12])
    np.testing.assert_allclose(predict(halves, pictures, rows, batch_size)[:, 1] * 255, rows, rtol=1e-6)


def test_a_compiled_network_sees_one_shape():
    seen = set()

    def network(batch):
        seen.add(batch.shape)
        return halves(batch)

    assert predict(network, np.zeros((10, 2, 2, 3), np.uint8), np.arange(10), 4).shape == (10, 2)
    assert seen == {(4, 2, 2, 3)}


def test_only_one_batch_of_a_file_on_disk_is_read_at_a_time(tmp_path):
    np.save(tmp_path / "images.npy", np.zeros((50, 4, 4, 1), np.uint8))
    images = np.load(tmp_path / "images.npy", mmap_mode="r")
    sizes = []

    def network(batch):
        sizes.append(batch.size)
        return halves(batch)

    predict(network, images, np.arange(50), 8)
    assert set(sizes) == {8 * 16}


def test_grey_pictures_are_the_same_in_each_channel_and_colours_stay():
    grey = np.array([[[[7], [250]]]], dtype=np.uint8)
    assert colour(grey).tolist() == [[[[7.0] * 3, [250.0] * 3]]]
    rgb = np.arange(3, dtype=np.uint8).reshape(1, 1, 1, 3)
    assert colour(rgb).tolist() == rgb.tolist()
    assert colour(rgb).dtype == np.float32


def test_a_diverged_network_is_named_instead_of_scored():
    with pytest.raises(ValueError, match="diverged"):
        predict(lambda batch: np.full((len(batch), 2), np.nan), np.zeros((3, 1)), np.arange(3), 2)


def test_an_output_that_is_no_row_per_example_is_refused():
    with pytest.raises(ValueError, match=r"\[2, classes\]"):
        predict(lambda batch: np.zeros(2), np.zeros((3, 1)), np.arange(3), 2)


def test_no_examples_are_refused():
    with pytest.raises(ValueError, match="no examples"):
        predict(halves, np.zeros((3, 1)), np.arange(0), 2)

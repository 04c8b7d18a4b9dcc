"""Filling a cache with an engine that is a function."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from headstart.features.engine import Engine
from headstart.features.extraction import BATCH, extract
from headstart.features.views import as_rgb, view

SETTINGS = {"views": 4, "augment": "dihedral", "seed": 0, "dtype": "float32"}


def corners(batch: np.ndarray) -> np.ndarray:
    """[b, s, s, 3] -> [b, 2, 3]: two corner pixels, which differ between the views of a picture."""
    return np.stack([batch[:, 0, 0], batch[:, 0, -1]], axis=1).astype(np.float32)


@pytest.fixture
def images(tmp_path: Path) -> np.ndarray:
    """Thirty pictures on disk."""
    np.save(tmp_path / "images.npy", np.random.default_rng(0).integers(0, 256, (30, 6, 6, 1), dtype=np.uint8))
    return np.load(tmp_path / "images.npy", mmap_mode="r")


def examples(rows: list[int]) -> pd.DataFrame:
    return pd.DataFrame({"hash": [f"{row:064x}" for row in rows]}, index=rows)


@pytest.mark.parametrize("augment", ["dihedral", "photo"])
def test_each_row_holds_its_pictures_views_in_order(tmp_path: Path, images: np.ndarray, augment: str) -> None:
    rows = [29, 3, 14, *range(15, 24)]
    table = examples(rows)
    settings = SETTINGS | {"augment": augment}
    shape = extract(images, table, Engine("test", 0.0, corners), tmp_path / "out.npy", **settings)
    stored = np.load(tmp_path / "out.npy", mmap_mode="r")
    assert stored.shape == shape == (12, 4, 2, 3)
    assert stored.dtype == np.float32
    for i, row in enumerate(rows):
        for number in range(4):
            made = view(images[row], number, augment, 0, table["hash"][row])
            np.testing.assert_array_equal(stored[i, number], corners(as_rgb(made[None]))[0])


def test_the_network_never_gets_more_than_a_batch_of_colour_pictures(tmp_path: Path, images: np.ndarray) -> None:
    seen = []

    def run(batch: np.ndarray) -> np.ndarray:
        seen.append(batch.shape)
        return corners(batch)

    extract(images, examples(list(range(30))), Engine("test", 0.0, run), tmp_path / "out.npy", **SETTINGS)
    assert {shape[1:] for shape in seen} == {(6, 6, 3)}
    assert max(shape[0] for shape in seen) == BATCH
    assert sum(shape[0] for shape in seen) == 120


def test_half_precision_clips_instead_of_overflowing(tmp_path: Path, images: np.ndarray) -> None:
    values = np.array([1e6, -1e6, 65504, 0.1], np.float32)
    engine = Engine("test", 0.0, lambda batch: np.tile(values, (len(batch), 1)))
    extract(images, examples([0]), engine, tmp_path / "out.npy", **SETTINGS | {"dtype": "float16"})
    stored = np.load(tmp_path / "out.npy")
    assert stored.dtype == np.float16
    np.testing.assert_array_equal(stored[0, 0], np.array([65504, -65504, 65504, 0.1], np.float16))


def test_no_examples_is_an_error_and_no_file(tmp_path: Path, images: np.ndarray) -> None:
    with pytest.raises(ValueError, match="no examples to extract"):
        extract(images, examples([]), Engine("test", 0.0, corners), tmp_path / "out.npy", **SETTINGS)
    assert not (tmp_path / "out.npy").exists()

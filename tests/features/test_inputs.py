"""Inputs by row and view are the same wherever they come from."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from headstart.features.inputs import Cached, OnTheFly, ThroughFrozen
from headstart.features.views import as_rgb, half, view


@pytest.mark.parametrize("augment", ["dihedral", "photo"])
def test_views_made_on_the_fly_are_those_that_are_cached(tmp_path: Path, augment: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 6, 6, 1), dtype=np.uint8)
    table = pd.DataFrame({"hash": [f"{row:064x}" for row in (3, 17, 5)]}, index=[3, 17, 5])
    cache = np.stack(
        [[as_rgb(view(images[row], k, augment, 0, h)[None])[0] for k in range(4)] for row, h in table["hash"].items()]
    )
    np.save(tmp_path / "cache.npy", cache)
    rows, numbers = np.array([2, 0, 1, 2, 2]), np.array([0, 1, 3, 2, 1])
    made = OnTheFly(images, table, augment, 0)(rows, numbers)
    kept = Cached(np.load(tmp_path / "cache.npy", mmap_mode="r"))(rows, numbers)
    assert made.dtype == kept.dtype == np.float32
    np.testing.assert_array_equal(made, kept)
    np.testing.assert_array_equal(kept, cache[rows, numbers])


def test_a_cache_of_half_precision_arrives_in_single(tmp_path: Path) -> None:
    np.save(tmp_path / "cache.npy", np.arange(40, dtype=np.float16).reshape(10, 4, 1))
    fetch = Cached(np.load(tmp_path / "cache.npy", mmap_mode="r"))
    fetch.warm()
    found = fetch(np.array([1, 2]), np.array([0, 3]))
    assert found.dtype == np.float32
    assert found[:, 0].tolist() == [4, 11]


def test_frozen_layers_are_asked_by_one_thread_at_a_time() -> None:
    """Batches are made in several threads; OpenVINO throws if it is called while it runs."""
    inside: list[int] = []
    most: list[int] = []

    def frozen(batch: np.ndarray) -> np.ndarray:
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.01)
        inside.pop()
        return batch.reshape(len(batch), -1)

    images = np.zeros((8, 4, 4, 3), np.uint8)
    table = pd.DataFrame({"hash": [f"{n:064x}" for n in range(8)]})
    source = ThroughFrozen(OnTheFly(images, table, "none", 0), frozen)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda row: source(np.array([row]), np.array([0])), range(8)))
    assert most == [1] * 8


def test_what_goes_through_frozen_layers_is_rounded_as_a_cache_would_be() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 6, 6, 3), dtype=np.uint8)
    table = pd.DataFrame({"hash": [f"{row:064x}" for row in range(5)]})
    pictures = OnTheFly(images, table, "dihedral", 0)

    def frozen(batch: np.ndarray) -> np.ndarray:
        return batch.mean(axis=(1, 2)) / 3 * 1000

    rows, numbers = np.array([4, 0]), np.array([1, 6])
    found = ThroughFrozen(pictures, frozen)(rows, numbers)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, half(frozen(pictures(rows, numbers))).astype(np.float32))
    assert (found != frozen(pictures(rows, numbers))).any()

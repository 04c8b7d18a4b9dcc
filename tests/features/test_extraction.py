"""Filling a cache with an engine that is a function: what is computed, what is known, what a kill or damage costs."""

import gc
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.features import extraction, store
from headstart.features.engine import BATCH, Engine
from headstart.features.extraction import Extractor
from headstart.features.inputs import OnTheFly
from headstart.features.views import as_rgb, view

ROOT = Path(__file__).parents[2]


def corners(batch: np.ndarray) -> np.ndarray:
    """[b, s, s, 3] -> [b, 2, 3]: two corner pixels, which differ between the views of a picture."""
    return np.stack([batch[:, 0, 0], batch[:, 0, -1]], axis=1).astype(np.float32)


class Counted:
    """An engine that counts its pictures, and dies when it has had enough."""

    def __init__(self, run: Callable[[np.ndarray], np.ndarray] = corners, enough: float = float("inf")) -> None:
        self.seen: list[tuple[int, ...]] = []
        self.enough = enough
        self.engine = Engine("test", "float32", 0.0, {"network": "test"}, self.run)
        self.made = run

    @property
    def count(self) -> int:
        return sum(shape[0] for shape in self.seen)

    def run(self, batch: np.ndarray) -> np.ndarray:
        if self.count >= self.enough:
            raise KeyboardInterrupt
        self.seen.append(batch.shape)
        return self.made(batch)


IMAGES = np.random.default_rng(0).integers(0, 256, (300, 6, 6, 1), dtype=np.uint8)


def examples(rows: list[int]) -> pd.DataFrame:
    # As a hash would be: its first digits differ.
    return pd.DataFrame({"hash": [f"{row * 2654435761 % 2**32:08x}{row:056x}" for row in rows]}, index=rows)


def extract(
    folder: Path, rows: list[int], counted: Counted, views: int = 4, augment: str = "dihedral", **given: object
):
    settings = {"seed": 0, "dtype": "float32"} | given
    extractor = Extractor(counted.engine, augment=augment, within=folder / "store", **settings)
    extractor.embed(OnTheFly(IMAGES, examples(rows), augment, settings["seed"]), folder / "out.npy", views)
    return np.load(folder / "out.npy")


@pytest.mark.parametrize("augment", ["dihedral", "photo"])
def test_each_row_holds_its_pictures_views_in_order(tmp_path: Path, augment: str) -> None:
    rows = [29, 3, 14, *range(15, 24)]
    stored = extract(tmp_path, rows, Counted(), augment=augment)
    assert stored.shape == (12, 4, 2, 3)
    assert stored.dtype == np.float32
    for i, (row, content) in enumerate(examples(rows)["hash"].items()):
        for number in range(4):
            made = view(IMAGES[row], number, augment, 0, content)
            np.testing.assert_array_equal(stored[i, number], corners(as_rgb(made[None]))[0])


def test_the_network_never_gets_more_than_a_batch_of_colour_pictures(tmp_path: Path) -> None:
    counted = Counted()
    extract(tmp_path, list(range(30)), counted)
    assert {shape[1:] for shape in counted.seen} == {(6, 6, 3)}
    assert max(shape[0] for shape in counted.seen) == BATCH
    assert counted.count == 120


def test_half_precision_clips_instead_of_overflowing(tmp_path: Path) -> None:
    values = np.array([1e6, -1e6, 65504, 0.1], np.float32)
    stored = extract(tmp_path, [0], Counted(lambda batch: np.tile(values, (len(batch), 1))), dtype="float16")
    assert stored.dtype == np.float16
    np.testing.assert_array_equal(stored[0, 0], np.array([65504, -65504, 65504, 0.1], np.float16))


def test_no_examples_is_an_error_and_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no examples to extract"):
        extract(tmp_path, [], Counted())
    assert not (tmp_path / "out.npy").exists()


def test_only_what_is_new_is_computed(tmp_path: Path) -> None:
    extract(tmp_path, list(range(200)), Counted())
    again, grown, fewer, more = Counted(), Counted(), Counted(), Counted()
    extract(tmp_path, list(range(200)), again)
    found = extract(tmp_path, [299, *range(100, 200), 298], grown)
    extract(tmp_path, list(range(50)), fewer, views=2)
    extract(tmp_path, list(range(10)), more, views=6)
    assert [c.count for c in (again, grown, fewer, more)] == [0, 8, 0, 20]
    np.testing.assert_array_equal(found, extract(tmp_path / "fresh", [299, *range(100, 200), 298], Counted()))


def test_a_picture_that_is_there_twice_is_computed_once(tmp_path: Path) -> None:
    counted = Counted()
    table = examples([0, 0, 1]).reset_index(drop=True)
    Extractor(counted.engine, augment="none", seed=0, dtype="float32", within=tmp_path).embed(
        OnTheFly(IMAGES[[0, 0, 1]], table, "none", 0), tmp_path / "out.npy", 1
    )
    assert counted.count == 2
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy")[:, 0, 0, 0], IMAGES[[0, 0, 1], 0, 0, 0])


@pytest.mark.parametrize(
    ("change", "kept"),
    [({"seed": 1}, True), ({"augment": "photo"}, False), ({"dtype": "float16"}, False), ({"augment": "flip"}, True)],
)
def test_rows_made_otherwise_are_not_taken(tmp_path: Path, change: dict, kept: bool) -> None:
    extract(tmp_path, [1, 2], Counted(), views=2)
    counted = Counted()
    extract(tmp_path, [1, 2], counted, views=2, **change)
    assert (counted.count == 0) == kept


def test_photo_views_depend_on_the_seed(tmp_path: Path) -> None:
    first = extract(tmp_path, [1], Counted(), augment="photo", seed=0)
    other = extract(tmp_path, [1], Counted(), augment="photo", seed=1)
    assert (first[:, 0] == other[:, 0]).all()
    assert (first[:, 1:] != other[:, 1:]).any()


def test_a_killed_extraction_goes_on_from_its_last_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "SHARD_ROWS", 128)
    rows = list(range(150))
    with pytest.raises(KeyboardInterrupt):
        extract(tmp_path, rows, Counted(enough=440))
    rest = Counted()
    found = extract(tmp_path, rows, rest)
    assert rest.count == 600 - 3 * 128
    np.testing.assert_array_equal(found, extract(tmp_path / "fresh", rows, Counted()))


def shards(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "store").rglob("*.npy") if not path.name.endswith(".index.npy"))


@pytest.mark.parametrize("how", ["truncated", "empty", "gone", "flipped", "index truncated", "index gone"])
def test_damage_is_noticed_and_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    monkeypatch.setattr(extraction, "SHARD_ROWS", 64)
    rows = list(range(48))
    before = extract(tmp_path, rows, Counted())
    path = shards(tmp_path)[1]
    if how.startswith("index"):
        path = path.with_suffix(".index.npy")
    content = bytearray(path.read_bytes())
    path.unlink()
    if how.endswith("truncated"):
        path.write_bytes(content[:-10])
    elif how == "empty":
        path.touch()
    elif how == "flipped":
        content[-5] ^= 1
        path.write_bytes(content)
    again = Counted()
    np.testing.assert_array_equal(extract(tmp_path, rows, again), before)
    assert again.count == (1 if how == "flipped" else 64 if len(content) else 0)
    assert how == "index gone" or "damaged" in caplog.text
    last = Counted()
    np.testing.assert_array_equal(extract(tmp_path, rows, last), before)
    assert last.count == (64 if how == "flipped" else 0), "a shard with a damaged row was dropped"


@given(st.lists(st.integers(0, 299), min_size=1, max_size=40, unique=True), st.integers(1, 8), st.integers(1, 60))
@settings(max_examples=25, deadline=None)
def test_whatever_was_there_before_the_result_is_the_same(
    tmp_path_factory: pytest.TempPathFactory, rows: list[int], views: int, known: int
) -> None:
    folder = tmp_path_factory.mktemp("grown")
    extract(folder, list(range(known)), Counted(), views=3)
    grown = extract(folder, rows, Counted(), views=views)
    np.testing.assert_array_equal(grown, extract(folder / "fresh", rows, Counted(), views=views))


def test_the_stores_unused_for_longest_go_when_there_are_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = store.Store(tmp_path, number=0)
    one.add(np.arange(1, dtype=np.uint64), np.zeros((1, 1000), np.float32))
    size = sum(file.stat().st_size for file in one.folder.iterdir())
    monkeypatch.setattr(store, "LIMIT", int(size * 2.5))
    for number in range(1, 4):
        other = store.Store(tmp_path, number=number)
        other.add(np.arange(1, dtype=np.uint64), np.zeros((1, 1000), np.float32))
        os.utime(other.folder, (number, number))
    store.Store(tmp_path, number=4)
    left = {path.name for path in tmp_path.iterdir()}
    assert store.Store(tmp_path, number=4).folder.name in left
    assert one.folder.name in left, "touched last"
    assert len(left) == 3


WITHOUT_MEMORY = """
import resource, sys
from pathlib import Path
from headstart.features import store
mapped = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (mapped + 2**20,) * 2)
try:
    store.Store(Path(sys.argv[1]), made="large")
except OSError as error:
    print(error.strerror)
"""


def test_a_store_in_use_is_not_deleted_by_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "LIMIT", 0)
    used = store.Store(tmp_path, of="one")
    used.add(np.arange(3, dtype=np.uint64), np.ones((3, 2), np.float32))
    script = f"""
import pathlib
from headstart.features import store
store.LIMIT = 0
store.Store(pathlib.Path({str(tmp_path)!r}), of="other")
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)
    used.add(np.arange(3, 6, dtype=np.uint64), np.ones((3, 2), np.float32))
    assert not used.missing(np.arange(6, dtype=np.uint64)).any()
    folder = used.folder
    del used
    gc.collect()
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)
    assert not folder.exists()


def test_more_shards_than_a_process_may_open_are_read(tmp_path: Path) -> None:
    kept = store.Store(tmp_path, of="one")
    for key in range(300):
        kept.add(np.array([key], np.uint64), np.full((1, 2), key, np.float32))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (150, hard))
    try:
        rows = [rows for sound, rows in kept.read(np.arange(300, dtype=np.uint64), 50) if sound.all()]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    np.testing.assert_array_equal(np.concatenate(rows)[:, 0], np.arange(300))


def test_rows_that_memory_has_no_room_for_are_not_taken_for_damaged(tmp_path: Path) -> None:
    rows = np.zeros((8, 2**20), np.float32)
    store.Store(tmp_path, made="large").add(np.arange(8, dtype=np.uint64), rows)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_MEMORY, tmp_path], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout == "Cannot allocate memory\n"
    assert not store.Store(tmp_path, made="large").missing(np.arange(8, dtype=np.uint64)).any()

"""Copies are found, whatever was done to them on the way; given splits that part them are not passed over."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from headstart.data import duplicates, images
from headstart.stage import UserError

SIZE = 96


def photographs(plankton: Path) -> list[Image.Image]:
    return [Image.open(path).convert("RGB") for path in sorted(plankton.rglob("*.*"))]


def linked(pictures: list[Image.Image]) -> list[str | None]:
    squares = np.stack([images.decode(np.asarray(picture), SIZE, "stretch") for picture in pictures])
    looks = np.array([duplicates.perceptual_hash(square) for square in squares], np.uint64)
    examples = pd.DataFrame({"id": [str(at) for at in range(len(pictures))], "look": looks})
    return list(duplicates.link(examples, squares))


def jpeg(picture: Image.Image, quality: int) -> Image.Image:
    data = BytesIO()
    picture.save(data, "JPEG", quality=quality)
    return Image.open(data)


CHANGES = {
    "saved as a poor JPEG": lambda picture: jpeg(picture, 40),
    "half the size": lambda picture: picture.resize((picture.width // 2, picture.height // 2)),
    "brighter": lambda picture: ImageEnhance.Brightness(picture).enhance(1.1),
    "grey": lambda picture: picture.convert("L").convert("RGB"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_linked_to_its_picture(plankton: Path, change: str) -> None:
    pictures = photographs(plankton)[:40]
    found = linked(pictures + [CHANGES[change](picture) for picture in pictures])
    there = [one is not None and one == other for one, other in zip(found[:40], found[40:], strict=True)]
    assert np.mean(there) >= 0.9


def test_different_photographs_are_not_linked(plankton: Path) -> None:
    found = linked(photographs(plankton))
    assert sum(name is not None for name in found) <= 2


def test_plain_pictures_are_not_taken_for_one_another() -> None:
    assert linked([Image.new("RGB", (50, 50), (grey,) * 3) for grey in (0, 100, 255)]) == [None] * 3


@given(seed=st.integers(0, 999), n=st.integers(1, 60))
@settings(deadline=None, max_examples=30)
def test_every_pair_of_close_hashes_is_found(seed: int, n: int) -> None:
    draw = np.random.default_rng(seed)
    bases = draw.integers(0, 2**63, 4, dtype=np.uint64)
    flips = [
        np.bitwise_or.reduce(np.uint64(1) << draw.integers(0, 64, k, dtype=np.uint64)) for k in draw.integers(1, 6, n)
    ]
    hashes = bases[draw.integers(0, 4, n)] ^ np.array(flips, np.uint64)
    square = draw.integers(0, 255, (1, 8, 8, 1), dtype=np.uint8)  # alike as thumbnails, so that hashes alone decide
    examples = pd.DataFrame({"id": [str(at) for at in range(n)], "look": hashes})
    found = duplicates.link(examples, np.broadcast_to(square, (n, 8, 8, 1)))
    apart = np.bitwise_count(hashes[:, None] ^ hashes[None])
    wanted = connected_components(coo_array(apart <= duplicates.MOST_BITS))[1]
    names = found.fillna(examples["id"])
    assert [list(names == name) for name in names] == [list(wanted == number) for number in wanted]


def table(**columns: list[object]) -> pd.DataFrame:
    n = len(next(iter(columns.values())))
    start = {"id": [f"{at}.png" for at in range(n)], "group": None, "near": None, "hash": [str(at) for at in range(n)]}
    return pd.DataFrame(start | columns, dtype=object)


LEAKS = {
    "the same pixels": table(split=["train", "test", "train", None], hash=["a", "a", "b", "c"]),
    "nearly the same": table(split=["train", "test", "train", None], near=["0", "0", None, None]),
    "group 'p'": table(split=["train", "test", "train", None], group=["p", "p", "q", "q"]),
    "by others between them": table(
        split=["train", "test", "train", None], hash=["a", "b", "c", "a"], near=[None, "n", None, "n"]
    ),
}


@pytest.mark.parametrize("why", LEAKS)
def test_given_splits_that_part_what_belongs_together(why: str) -> None:
    examples = LEAKS[why]
    with pytest.raises(UserError, match=f"part 1 sets .*: 0.png in train and 1.png in test, {why}; .*data.on_leak"):
        duplicates.settle(examples, "fail")
    split, notes = duplicates.settle(examples, "warn")
    assert list(split) == list(examples["split"])
    assert "0.png in train and 1.png in test" in notes[0]
    split, notes = duplicates.settle(examples, "move")
    assert list(split) == ["test", "test", "train", None]
    assert notes[0].endswith("1 examples were moved")


def test_splits_in_order_are_left_alone() -> None:
    examples = table(split=["train", "train", "test", None], hash=["a", "a", "b", "b"])
    split, notes = duplicates.settle(examples, "fail")
    assert list(split) == list(examples["split"])
    assert notes == []
    assert duplicates.settle(table(split=[None, None], hash=["a", "a"]), "fail")[1] == []


def test_the_same_pixels_with_different_labels_are_listed() -> None:
    examples = table(hash=["a", "a", "b", "b", "c"], label=["x", "y", "x", "x", "y"])
    assert duplicates.conflicts(examples) == [["0.png", "1.png"]]

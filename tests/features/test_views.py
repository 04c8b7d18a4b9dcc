"""Views of a picture: the same in every run, and the clean picture always the first."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from headstart.features.views import DISTINCT, as_rgb, check, view
from headstart.stage import UserError

HASH = "0123456789abcdef" * 4


def picture(side: int = 24, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (side, side, channels), dtype=np.uint8)


@pytest.mark.parametrize("augment", DISTINCT)
@pytest.mark.parametrize("channels", [1, 3])
def test_view_0_is_the_picture_and_all_views_look_like_one(augment: str, channels: int) -> None:
    image = picture(channels=channels)
    np.testing.assert_array_equal(view(image, 0, augment, 0, HASH), image)
    for number in range(10):
        made = view(image, number, augment, 0, HASH)
        assert made.shape == image.shape
        assert made.dtype == np.uint8


@given(arrays(np.uint8, st.sampled_from([(4, 4, 1), (5, 5, 3)])), st.integers(0, 20))
def test_each_dihedral_view_can_be_turned_back(image: np.ndarray, number: int) -> None:
    made = view(image, number, "dihedral", 0, HASH)
    back = np.rot90(made, -(number % 8 // 2))
    np.testing.assert_array_equal(back[:, ::-1] if number % 2 else back, image)


@pytest.mark.parametrize(("augment", "n"), [("none", 1), ("flip", 2), ("dihedral", 8)])
def test_there_are_as_many_different_views_as_stated_and_then_they_start_over(augment: str, n: int) -> None:
    made = [view(picture(), number, augment, 0, HASH).tobytes() for number in range(2 * n)]
    assert len(set(made)) == n
    assert made[:n] == made[n:]


def test_a_flip_is_a_mirror_and_not_upside_down() -> None:
    np.testing.assert_array_equal(view(picture(), 1, "flip", 0, HASH), picture()[:, ::-1])


def test_photo_views_do_not_depend_on_what_was_made_before() -> None:
    forwards = {number: view(picture(), number, "photo", 3, HASH) for number in range(6)}
    backwards = {number: view(picture(), number, "photo", 3, HASH) for number in reversed(range(6))}
    for number, made in forwards.items():
        np.testing.assert_array_equal(made, backwards[number])
    assert len({made.tobytes() for made in forwards.values()}) == 6


def test_photo_views_differ_with_seed_and_picture() -> None:
    made = [view(picture(), 1, "photo", seed, content) for seed in (0, 1) for content in (HASH, "f" * 64)]
    assert len({m.tobytes() for m in made}) == 4


def test_photo_views_stay_near_the_picture() -> None:
    ramp = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)[..., None]
    for number in range(1, 20):
        made = view(ramp, number, "photo", 0, HASH).astype(float)[..., 0]
        mirrored = abs(np.corrcoef(made[:, ::-1].ravel(), ramp.ravel())[0, 1])
        assert max(np.corrcoef(made.ravel(), ramp.ravel())[0, 1], mirrored) > 0.8
        assert abs(made.mean() - ramp.mean()) < 60


@pytest.mark.parametrize(("augment", "views"), [("none", 2), ("flip", 3), ("dihedral", 9)])
def test_more_views_than_there_are_is_a_sentence(augment: str, views: int) -> None:
    n = DISTINCT[augment]
    check(augment, n, "features.views")
    with pytest.raises(
        UserError, match=f"^features.views: {views} is given, but augment: {augment} makes {n} different views$"
    ):
        check(augment, views, "features.views")
    check("photo", 64, "features.views")


def test_grey_is_repeated_and_colour_stays() -> None:
    grey, colour = picture(channels=1)[None], picture()[None]
    np.testing.assert_array_equal(as_rgb(grey), np.concatenate([grey] * 3, axis=-1))
    assert as_rgb(colour) is colour

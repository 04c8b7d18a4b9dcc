"""When a cache of activations is worth its disk."""

from headstart.features.caching import COPIES, DISK, SHARE, weigh


def test_a_cache_that_fits_and_is_faster_to_read_is_worth_it() -> None:
    found = weigh(views=400, pictures=100, row_bytes=30_000, seconds=0.01, free=10**10)
    assert found.worth
    assert "0.012 GB for 400 views, 4 s to compute once; saves 1 s in every later epoch" in found.why


def test_a_cache_is_not_made_where_the_disk_is_too_small_for_it() -> None:
    size = 400 * 30_000
    assert weigh(400, 100, 30_000, 0.01, int(size * COPIES / SHARE)).worth
    found = weigh(400, 100, 30_000, 0.01, int(size * COPIES / SHARE) - 1)
    assert not found.worth
    assert "free disk" in found.why


def test_a_cache_is_not_made_where_computing_is_as_fast_as_reading() -> None:
    assert weigh(10, 10, 10**6, 1.01 * 10**6 / DISK, 10**12).worth
    found = weigh(10, 10, 10**6, 10**6 / DISK, 10**12)
    assert not found.worth
    assert "no faster than computing" in found.why

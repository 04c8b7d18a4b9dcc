"""Whether activations are worth their disk: the weighing behind `fine_tune.cache: auto`."""

from typing import NamedTuple

# Bytes a second that a disk gives, at the cautious end of the solid-state ones.
DISK = 5e8
# Share of the free disk that a cache may take. A row lies on it twice: in the store of features and in the output.
SHARE, COPIES = 0.5, 2


class Weighed(NamedTuple):
    """The verdict and the sentence that says why."""

    worth: bool
    why: str


def weigh(views: int, pictures: int, row_bytes: int, seconds: float, free: int) -> Weighed:
    """Weigh a cache of activations against computing them in every epoch.

    Args:
        views: rows to cache.
        pictures: examples that an epoch shows, training and validation together.
        row_bytes: of one row of activations.
        seconds: that the frozen layers take for one row.
        free: bytes of disk.
    """
    size, reading = views * row_bytes, row_bytes / DISK
    costs = f"{size / 1e9:.2g} GB for {views:,} views, {views * seconds:.0f} s to compute"
    if size * COPIES > free * SHARE:
        return Weighed(
            False, f"it would take {costs}, and twice that beside {free / 1e9:.3g} GB of free disk is too much"
        )
    if reading >= seconds:
        return Weighed(False, f"it would take {costs}, and reading a row is no faster than computing it")
    return Weighed(True, f"{costs} once; saves {pictures * (seconds - reading):.0f} s in every later epoch")

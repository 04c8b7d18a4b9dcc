"""Claim: feeding fine-tuning from the cache costs next to nothing beside the training step.

Seconds of a step fed from the cache through `Batches`, as `fine_tune` does it, over those of a step on one batch that
lies in memory, through the same loop, in turn. Once with the cache in the system's page cache and, where the system
can be asked to let go of a file (Linux), once with the file on the disk alone.
"""

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import measure, workshop
from headstart.backbones import table
from headstart.features.inputs import Cached
from headstart.training.batches import Batches

TRAINABLE, VIEWS, BATCH_SIZE = 50, 4, 32  # as in params.yaml


class Repeated(Batches):
    """As many batches, all of them the same one in memory."""

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The first batch that was asked for."""
        if not hasattr(self, "kept"):
            self.kept = super().__getitem__(index)
        return self.kept


class OnDisk:
    """A cache's copy that can be put out of the system's memory."""

    def __init__(self, cache: Path) -> None:
        """Copy the cache's file."""
        self.path = cache.with_name("on_disk.npy")
        shutil.copy(cache, self.path)
        self.fetch = Cached(np.load(self.path, mmap_mode="r"))
        self.left: list[float] = []  # share of the file that stayed in memory, each time

    def forget(self) -> None:
        """Unmap it, have it written and let go of, and map it anew."""
        self.fetch.cache = np.zeros(0)  # pages stay while they are mapped
        with self.path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            size = self.path.stat().st_size
            places = range(0, size, max(1, size // 200))
            self.left.append(sum(in_memory(file.fileno(), place) for place in places) / len(places))
        self.fetch.cache = np.load(self.path, mmap_mode="r")


def in_memory(file: int, place: int) -> bool:
    """Whether a read at this place would not have to wait for the disk."""
    try:
        os.preadv(file, [bytearray(1)], place, os.RWF_NOWAIT)
    except BlockingIOError:
        return False
    return True


def main() -> None:
    parser = measure.parser(__doc__)
    parser.add_argument("--pictures", type=int, default=1280, help="training pictures of the default data")
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    n, rounds = (64, 1) if given.quick else (given.pictures, given.rounds)

    data = workshop.prepared()
    data = data._replace(examples=data.of("train").head(n // BATCH_SIZE * BATCH_SIZE))  # whole batches alone
    with workshop.folder() as within:
        path = workshop.backbone(workshop.DEFAULT, table.find(workshop.DEFAULT).size, within)
        at, tail, _, targets = workshop.sides(path, data, TRAINABLE)
        cache = workshop.activations(path, at, data, VIEWS, within)
        fetch = Cached(cache)
        fed = Batches(fetch, targets, batch_size=BATCH_SIZE, seed=0, views=VIEWS)
        held = Repeated(fetch, targets, batch_size=BATCH_SIZE, seed=0, views=VIEWS)
        sides: dict[str, Callable[[], object]] = {
            "memory": partial(tail.fit, held, shuffle=False, verbose=0),
            "warm": partial(tail.fit, fed, shuffle=False, verbose=0),
        }
        before: dict[str, Callable[[], object]] = {}
        if hasattr(os, "posix_fadvise"):
            disk = OnDisk(within / "train.npy")
            unread = Batches(disk.fetch, targets, batch_size=BATCH_SIZE, seed=0, views=VIEWS)

            def cold() -> None:
                disk.fetch.warm()  # as `fine_tune` does when it sets up its batches
                tail.fit(unread, shuffle=False, verbose=0)

            sides["cold"], before["cold"] = cold, disk.forget
        taken = measure.in_turn(sides, rounds, before=before)

    step = {name: time / len(fed) for name, time in taken.items()}
    found = {
        name: {"ours": step[name], "peer": step["memory"], "ratio": step[name] / step["memory"]}
        for name in step
        if name != "memory"
    }
    if "cold" in found:
        found["cold"]["left_in_memory"] = max(disk.left)
    measure.report(
        "data_loading",
        **found["warm"],
        unit="seconds a step",
        claims=[measure.Claim(f"ratio, {name}", numbers["ratio"], "<=", 1.05) for name, numbers in found.items()],
        quick=given.quick,
        cut=at,
        gigabytes=cache.nbytes / 1e9,
        steps=len(fed),
        all=found,
    )


if __name__ == "__main__":
    main()

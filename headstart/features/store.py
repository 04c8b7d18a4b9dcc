"""What the frozen layers made of pictures before: rows on disk, found again by picture and view.

The stages' outputs are assembled from it, so an interrupted extraction goes on where it was, and new pictures or
another split cost only what is new. It lies outside the outputs, which DVC deletes before a stage runs, and may be
deleted while no stage runs. It is a folder of shards that are written once: neither a kill nor a second process can
spoil it.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import os
import shutil
import weakref
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

# Bytes that all stores together may keep; beyond it, those that were not used for longest go.
LIMIT = int(float(os.environ.get("HEADSTART_STORE_GIB", "20")) * 2**30)
# A key is 58 bits of a picture's SHA-256 and 6 of the view's number: of a million pictures, two are
# taken for one another in one data set of 500,000.
VIEW_BITS = 6
# Of a store's folder, held while the store is in use.
LOCK = ".lock"
_INDEX = np.dtype([("key", "<u8"), ("crc", "<u4")])

log = logging.getLogger(__name__)


def folder() -> Path:
    """Where all stores lie: in the repository that DVC names, also for an experiment in a temporary copy."""
    return Path(os.environ.get("DVC_ROOT", ".")).resolve() / ".headstart" / "features"


def keys(hashes: Iterable[str], views: int) -> np.ndarray:
    """uint64 [n, views]: the key of each picture's each view.

    Args:
        hashes: SHA-256 of each picture, hexadecimal.
        views: at most 64.
    """
    pictures = np.fromiter((int(text[:16], 16) for text in hashes), np.uint64)[:, None]
    bits = np.uint64(VIEW_BITS)
    return (pictures >> bits << bits) | np.arange(views, dtype=np.uint64)


class Store:
    """Rows of one shape and dtype, by key."""

    def __init__(self, within: Path, **made_by: Any) -> None:
        """Open, or begin.

        Args:
            within: the folder of all stores.
            made_by: everything that a row depends on besides its picture and view.
        """
        name = hashlib.sha256(json.dumps(made_by, sort_keys=True).encode()).hexdigest()[:16]
        self.folder = within / name
        weakref.finalize(self, os.close, _hold(self.folder))
        os.utime(self.folder)
        _prune(within, self.folder)
        self._shards: dict[str, np.ndarray] = {}
        for path in sorted(self.folder.glob("*.index.npy")):
            self._enter(path.name.removesuffix(".index.npy"))

    def _enter(self, name: str) -> None:
        """Take a shard into the index, if it is whole."""
        try:
            index = np.load(self.folder / f"{name}.index.npy", allow_pickle=False)
            whole = index.dtype == _INDEX and len(index) == len(self._rows(name))
        except (OSError, ValueError, EOFError) as error:
            if isinstance(error, OSError) and error.errno not in (None, errno.ENOENT):
                raise  # no memory to map it to, no right to read it: that is no damage
            whole = False
        if whole:
            self._shards[name] = index
        else:
            self._drop(name)

    def _rows(self, name: str) -> np.ndarray:
        return np.load(self.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)

    def _drop(self, name: str) -> None:
        log.warning("the feature store's %s is damaged; its rows are computed again", self.folder / f"{name}.npy")
        self._shards.pop(name, None)
        for end in (".index.npy", ".npy"):
            (self.folder / f"{name}{end}").unlink(missing_ok=True)

    def missing(self, wanted: np.ndarray) -> np.ndarray:
        """Which of these keys [m] have no row, as bool [m]."""
        return ~np.isin(wanted, np.concatenate([np.zeros(0, np.uint64), *(s["key"] for s in self._shards.values())]))

    def add(self, wanted: np.ndarray, rows: np.ndarray) -> None:
        """Write a shard: rows [m, ...] with these keys [m]."""
        index = np.zeros(len(wanted), _INDEX)
        index["key"], index["crc"] = wanted, [zlib.crc32(row) for row in rows]
        name = f"{wanted[0]:016x}-{os.getpid()}-{len(self._shards)}"
        for end, content in ((".npy", rows), (".index.npy", index)):  # without its index, a shard is not there
            aside = self.folder / f".{name}{end}.part"
            with aside.open("wb") as file:
                np.save(file, content, allow_pickle=False)
            aside.replace(self.folder / f"{name}{end}")
        self._enter(name)

    def read(self, wanted: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Rows of keys that are there, in order, in parts of at most `size`.

        Yields:
            Which rows are sound, bool [b], and the rows [b, ...]. A shard with an unsound row is dropped in the end.
        """
        names = list(self._shards)
        index = np.concatenate(list(self._shards.values()))
        shard = np.repeat(np.arange(len(names)), [len(s) for s in self._shards.values()])
        row = np.concatenate([np.arange(len(s)) for s in self._shards.values()])
        order = np.argsort(index["key"], kind="stable")
        at = order[np.searchsorted(index["key"], wanted, sorter=order)]
        damaged: set[int] = set()
        for start in range(0, len(at), size):
            part = at[start : start + size]
            # Of a part alone: each map keeps a file open, and a process may open about a thousand.
            rows = {n: self._rows(names[n]) for n in np.unique(shard[part])}
            found = np.stack([rows[n][r] for n, r in zip(shard[part], row[part], strict=True)])
            sound = np.array([zlib.crc32(r) for r in found], np.uint32) == index["crc"][part]
            damaged.update(shard[part][~sound].tolist())
            yield sound, found
        for n in damaged:
            self._drop(names[n])


def _hold(folder: Path) -> int:
    """Make a store's folder, and keep it from being pruned until the file descriptor that is returned is closed."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:  # deleted just now
            continue
        fcntl.flock(lock, fcntl.LOCK_SH)
        if (folder / LOCK).exists():
            return lock
        os.close(lock)


def _size(folder: Path) -> int:
    """Bytes in a folder to which other processes may write."""
    total = 0
    with contextlib.suppress(FileNotFoundError):
        for file in folder.iterdir():
            with contextlib.suppress(FileNotFoundError):
                total += file.stat().st_size
    return total


def _prune(within: Path, keep: Path) -> None:
    """Delete the stores that were not used for longest, until the rest keeps the limit; none that is in use."""
    used: dict[Path, float] = {}
    for path in within.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if path.is_dir() and path != keep:
                used[path] = path.stat().st_mtime
    total = _size(keep)
    for path in sorted(used, key=used.__getitem__, reverse=True):
        total += _size(path)
        if total <= LIMIT:
            continue
        with contextlib.suppress(OSError), (path / LOCK).open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)

"""Pictures that are there twice: the same pixels, or nearly the same, and what to do where given splits part them.

Knows hashes and tables; refuses to open a file.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import imagehash
import numpy as np
import pandas as pd
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from tqdm import tqdm

from headstart.data.splitting import together
from headstart.data.tables import SPLITS
from headstart.stage import UserError

OnLeak = Literal["fail", "move", "warn"]

# Bits of 64 in which the perceptual hashes of two pictures may differ, and how well they must correlate as thumbnails:
# the hash finds candidates among millions, the correlation decides. See docs/data.md for what they were measured on.
MOST_BITS = 3
LEAST_CORRELATION = 0.98
THUMBNAIL = 32
# The hash in parts: with at most three bits apart, one of four parts is the same.
PARTS, PART_BITS = 4, 16
# Sets of examples named in a message.
SHOWN = 20
# Thumbnails kept at hand, of 4 kB each.
KEPT = 512


def perceptual_hash(pixels: np.ndarray) -> int:
    """64 bits of a picture's coarse look: those of its low frequencies that lie above their median.

    Args:
        pixels: uint8 [s, s, 1 or 3].
    """
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    return int(str(imagehash.phash(picture)), 16)


def link(examples: pd.DataFrame, images: np.ndarray) -> "pd.Series[str]":
    """What pictures that look alike have in common, if through others: the id of the first; None for one of its own.

    Pictures are taken one after another and held against those before them of about the same hash. Of several with the
    very same hash that look alike, the first stands for all: a thousand frames of one still cost a thousand looks.

    Args:
        examples: id, and look, the perceptual hash.
        images: uint8 [n, s, s, c], usually a memory map; row i belongs to example i.
    """
    hashes = examples["look"].to_numpy(np.uint64)
    thumbnail = lru_cache(KEPT)(lambda row: _thumbnail(images[row]))
    # Rows sorted by each part of their hashes, and where each value of the part begins among them.
    parts = [(hashes >> np.uint64(PART_BITS * at)).astype(np.uint16) for at in range(PARTS)]
    sorted_by = [np.argsort(part, kind="stable").astype(np.int32) for part in parts]
    begins = [
        np.searchsorted(part[order], np.arange(2**PART_BITS + 1)) for part, order in zip(parts, sorted_by, strict=True)
    ]
    stands = np.ones(len(hashes), bool)
    links = []
    for row in tqdm(range(len(hashes)), desc="looking for copies", unit=" pictures", disable=None):
        values = [int(part[row]) for part in parts]
        rows = np.concatenate([o[b[v] : b[v + 1]] for o, b, v in zip(sorted_by, begins, values, strict=True)])
        rows = rows[(rows < row) & stands[rows]]
        rows = np.unique(rows[np.bitwise_count(hashes[rows] ^ hashes[row]) <= MOST_BITS])
        for other in rows.tolist():
            if float(thumbnail(row) @ thumbnail(other)) >= LEAST_CORRELATION:
                links.append((row, other))
                if hashes[other] == hashes[row]:
                    stands[row] = False

    return named(links, examples)


def named(links: Sequence[tuple[int, int]], examples: pd.DataFrame) -> "pd.Series[str]":
    """For each example the id of the first of those that it is linked with, if through others; or None.

    Args:
        links: pairs of rows.
        examples: id.
    """
    pairs = np.array(links, np.int64).reshape(-1, 2)
    n = len(examples)
    graph = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    found = connected_components(graph, directed=False)[1]
    numbers, first, size = np.unique(found, return_index=True, return_counts=True)
    names = examples["id"].to_numpy(object)[first]
    names[size == 1] = None
    return pd.Series(names[np.searchsorted(numbers, found)], index=examples.index, dtype=object)


def _thumbnail(pixels: np.ndarray) -> np.ndarray:
    """float32 [t * t]: a small grey picture of mean 0 and length 1; of a plain one, 0."""
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).convert("L")
    small = np.asarray(picture.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX), np.float32).ravel()
    small -= small.mean()
    return small / max(float(np.linalg.norm(small)), 1e-6)


def conflicts(examples: pd.DataFrame) -> list[list[str]]:
    """Ids of examples with the same content and different labels, a list for each such content."""
    repeated = examples[examples["hash"].duplicated(keep=False)]
    labels = repeated.groupby("hash")["label"].nunique()
    torn = repeated[repeated["hash"].isin(labels[labels > 1].index)]
    return [list(ids) for _, ids in torn.groupby("hash", sort=False)["id"]]


def settle(
    examples: pd.DataFrame, on_leak: OnLeak, same: str = "the same pixels"
) -> tuple["pd.Series[str]", list[str]]:
    """The given splits, none of which parts what belongs together, or not without the user's knowing.

    Args:
        examples: id, group, hash, near, split (None where none is given).
        on_leak: fail; move all that belong together to the split of one of them, test before validation before train,
            so that the examples to be judged by stay; or warn.
        same: what examples with the same hash have.

    Returns:
        The split column, and notes for the user.

    Raises:
        UserError: given splits part a group or examples that are the same, and on_leak is "fail".
    """
    split = examples["split"].copy()
    units = together(examples, ["group", "hash", "near"])
    rank = split.map({name: at for at, name in enumerate(SPLITS)})
    extremes = rank.groupby(units).agg(["min", "max"])
    torn = extremes.index[extremes["min"] < extremes["max"]]
    if not len(torn):
        return split, []
    found = [_said(examples[units == unit], same) for unit in torn[:SHOWN]]
    more = f" … and {len(torn) - SHOWN} more" if len(torn) > SHOWN else ""
    what = f"the given splits part {len(torn)} sets of examples that belong together: {'; '.join(found)}{more}"
    if on_leak == "fail":
        raise UserError(
            f"{what}; mend the splits, or set data.on_leak to move (all of them go to the test split if one is there, "
            "else to validation) or to warn"
        )
    if on_leak == "move":
        target = pd.Series(units, index=examples.index).map(extremes["max"]).map(dict(enumerate(SPLITS)))
        moved = split.notna() & np.isin(units, torn) & (split != target)
        split[moved] = target[moved]
        return split, [f"{what}; {moved.sum()} examples were moved"]
    return split, [f"{what}; the test split tells less than it seems"]


def _said(unit: pd.DataFrame, same: str) -> str:
    """Two of a unit's examples in different splits, and why they belong together."""
    one, other = unit[unit["split"].notna()].drop_duplicates("split").iloc[:2].to_dict("records")
    if one["hash"] == other["hash"]:
        why = same
    elif one["group"] is not None and one["group"] == other["group"]:
        why = f"group {one['group']!r}"
    elif one["near"] is not None and one["near"] == other["near"]:
        why = "nearly the same"
    else:
        why = "by others between them"
    return f"{one['id']} in {one['split']} and {other['id']} in {other['split']}, {why}"

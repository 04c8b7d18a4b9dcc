"""Texts that are nearly the same: those that share most of their short sequences of words.

MinHash signatures find candidates, the sets themselves decide (Broder 1997, On the resemblance and containment of
documents; banding as in Leskovec et al., Mining of Massive Datasets, section 3.4). Memory grows by a signature a text.
Knows strings; refuses to open a file.
"""

import re
import zlib
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import pandas as pd
from tqdm import tqdm

from headstart.data.duplicates import named

# Words in a shingle, and the share of the shingles of both that two texts must have in common. See docs/data.md for
# what they were measured on.
WORDS = 5
LEAST_JACCARD = 0.8
# Of a signature. Of pairs of a Jaccard similarity of 0.8, 99.97 % agree in all rows of a band; of those of 0.3, 5 %.
BANDS, ROWS = 20, 5
# Candidates of a text in a band: the nearest before it. A thousand texts of one form letter are a chain then.
NEIGHBOURS = 32
# Sets of shingles kept at hand.
KEPT = 4096
# Chinese and Japanese write no spaces: each of their characters counts as a word.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|\w+")
_MIX = np.uint64(0x9E3779B97F4A7C15)


def shingles(text: str) -> np.ndarray:
    """uint64 [m], sorted: a hash of each sequence of WORDS words, once; of a shorter text the one of all its words."""
    words = np.fromiter((zlib.crc32(word.encode()) for word in _WORD.findall(text)), np.uint64)
    if not len(words):
        return np.array([zlib.crc32(text.encode())], np.uint64)
    length = min(WORDS, len(words))
    total = np.zeros(len(words) - length + 1, np.uint64)
    for at in range(length):
        total = _mixed(total + words[at : at + len(total)])
    return np.unique(total)


def _mixed(values: np.ndarray) -> np.ndarray:
    """Numbers scattered over all 64 bits (the finaliser of SplitMix64, Steele et al. 2014)."""
    values = values + _MIX
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def signature(found: np.ndarray) -> np.ndarray:
    """uint64 [BANDS]: of each band one number out of its ROWS least hashes of a set of shingles."""
    seeds = _mixed(np.arange(BANDS * ROWS, dtype=np.uint64))[:, None]
    least = np.concatenate(
        [_mixed(found[None] ^ seeds[at : at + ROWS]).min(axis=1) for at in range(0, BANDS * ROWS, ROWS)]
    ).reshape(BANDS, ROWS)
    bands = np.zeros(BANDS, np.uint64)
    for row in least.T:
        bands = _mixed(bands ^ row)
    return bands


def similarity(one: np.ndarray, other: np.ndarray) -> float:
    """Jaccard's: what two sets have in common, over all that either has."""
    common = len(np.intersect1d(one, other, assume_unique=True))
    return common / (len(one) + len(other) - common)


def link(examples: pd.DataFrame, text: Callable[[int], str]) -> "pd.Series[str]":
    """What texts that are nearly the same have in common, if through others: the id of the first; or None.

    Args:
        examples: id and hash; of several with one hash the first stands for all.
        text: of a row.
    """
    rows = np.flatnonzero(~examples["hash"].duplicated().to_numpy())
    # A row number does not depend on its neighbours, so neither do the signatures: they are computed one by one.
    bar = tqdm(rows.tolist(), desc="looking for copies", unit=" texts", disable=None)
    signatures = np.array([signature(shingles(text(row))) for row in bar], np.uint64).reshape(len(rows), BANDS)
    at_hand = lru_cache(KEPT)(lambda row: shingles(text(row)))
    leader = np.arange(len(examples))

    def first(row: int) -> int:
        while leader[row] != row:
            leader[row] = row = int(leader[leader[row]])
        return row

    links = []
    for other, row in _candidates(signatures):
        pair = (int(rows[row]), int(rows[other]))
        one, two = map(first, pair)
        if one != two and similarity(at_hand(pair[0]), at_hand(pair[1])) >= LEAST_JACCARD:
            links.append(pair)
            leader[max(one, two)] = min(one, two)
    # Copies go with the one that stands for them.
    hashes = examples["hash"].to_numpy(object)
    stands = {hashes[row]: int(row) for row in rows}
    linked = {hashes[row] for pair in links for row in pair}
    links += [(row, stands[name]) for row, name in enumerate(hashes) if name in linked and stands[name] != row]
    return named(links, examples)


def _candidates(signatures: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of rows that agree in a band, the earlier one first, in order."""
    n = len(signatures)
    pairs = [np.zeros(0, np.int64)]
    for band in signatures.T:
        order = np.argsort(band, kind="stable")
        for apart in range(1, min(NEIGHBOURS, n - 1) + 1):
            same = np.flatnonzero(band[order[apart:]] == band[order[:-apart]])
            if not len(same):
                break
            pairs.append(order[same + apart] * n + order[same])
    return [(int(code % n), int(code // n)) for code in np.unique(np.concatenate(pairs))]

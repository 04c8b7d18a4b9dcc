"""Texts to token ids, by the tokenizer that lies beside a network, and to buckets of about the same length.

The Rust library `tokenizers` does the work; neither Keras nor TensorFlow is needed. Knows nothing of rows or splits.
"""

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Tokenizer

from headstart import facts

# Lengths to which texts are padded. Each at most half as long again as the one before, so that a third of the work is
# padding at worst; the fewer there are, the fuller the batches.
LENGTHS = tuple(length for power in range(4, 15) for length in (2**power, 3 * 2 ** (power - 1)))
FILE = "tokenizer.json"
# Texts tokenized at a time.
AT_ONCE = 1024


class Vocabulary(NamedTuple):
    """How a network takes texts.

    tokenizer: cuts and adds the special tokens; of two texts too.
    padding: id that fills a text up.
    max_tokens: beyond it texts are cut off.
    file: of the tokenizer.
    """

    tokenizer: Tokenizer
    padding: int
    max_tokens: int
    file: Path


class Surveyed(NamedTuple):
    """What tokenizing tells of each text.

    lengths: int [n], tokens, special ones included.
    cut: bool [n], whether it was cut off.
    hashes: SHA-256 of the ids, hexadecimal.
    """

    lengths: np.ndarray
    cut: np.ndarray
    hashes: list[str]


def of_backbone(folder: Path, max_tokens: int) -> Vocabulary:
    """The vocabulary of a network as `fetch_backbone` left it; texts may be cut off earlier than it would."""
    given = json.loads((folder / "backbone.json").read_text(encoding="utf-8"))["input"]
    return _load(folder / FILE, given["padding"], min(max_tokens, given["max_tokens"]))


def of_model(folder: Path) -> Vocabulary | None:
    """The vocabulary that `save` left beside a trained model; None if it needs none."""
    if not (folder / FILE).exists():
        return None
    given = facts.read(folder)
    return _load(folder / FILE, given["padding"], given["max_tokens"])


def save(vocabulary: Vocabulary | None, folder: Path) -> dict[str, Any]:
    """Put the tokenizer, if there is one, into a model's folder; what belongs into the facts beside it."""
    if vocabulary is None:
        return {}
    shutil.copyfile(vocabulary.file, folder / FILE)
    return {"padding": vocabulary.padding, "max_tokens": vocabulary.max_tokens}


def _load(file: Path, padding: int, max_tokens: int) -> Vocabulary:
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    return Vocabulary(tokenizer, padding, max_tokens, file)


def tokenize(vocabulary: Vocabulary, texts: Sequence[tuple[str, ...]], length: int) -> np.ndarray:
    """int32 [b, length]: the ids of texts or pairs of them, padded at their ends.

    Raises:
        ValueError: one of them has more tokens than `length`.
    """
    rows = np.full((len(texts), length), vocabulary.padding, np.int32)
    for row, encoding in zip(rows, vocabulary.tokenizer.encode_batch_fast(_plain(texts)), strict=True):
        if len(encoding.ids) > length:
            raise ValueError(f"a text of {len(encoding.ids)} tokens is to become one of {length}")
        row[: len(encoding.ids)] = encoding.ids
    return rows


def survey(vocabulary: Vocabulary, texts: Sequence[tuple[str, ...]]) -> Surveyed:
    """Tokenize without keeping the ids."""
    lengths, cut, hashes = [], [], []
    for encoding in vocabulary.tokenizer.encode_batch_fast(_plain(texts)):
        lengths.append(len(encoding.ids))
        cut.append(bool(encoding.overflowing))
        hashes.append(hashlib.sha256(np.array(encoding.ids, "<i4").tobytes()).hexdigest())
    return Surveyed(np.array(lengths, int), np.array(cut, bool), hashes)


class Pieces(NamedTuple):
    """A text in tokens.

    ids: int32 [tokens].
    words: number of the word that each token belongs to, None for one that is no text.
    shown: of each word, the characters that it stands for.
    padding: id that fills a text up.
    """

    ids: np.ndarray
    words: list[int | None]
    shown: list[str]
    padding: int


def pieces(vocabulary: Vocabulary, text: tuple[str, ...]) -> Pieces:
    """One text, or a pair, with the words behind its tokens."""
    encoding = vocabulary.tokenizer.encode(text[0], text[1] if len(text) > 1 else None)
    numbers: dict[tuple[int, int], int] = {}
    shown: list[str] = []
    words: list[int | None] = []
    for part, word, (begin, end) in zip(encoding.sequence_ids, encoding.word_ids, encoding.offsets, strict=True):
        if part is None or word is None:
            words.append(None)
            continue
        if (part, word) not in numbers:
            numbers[part, word] = len(shown)
            shown.append("")
        words.append(numbers[part, word])
        shown[-1] += text[part][begin:end]
    return Pieces(np.array(encoding.ids, np.int32), words, [word.strip() for word in shown], vocabulary.padding)


def _plain(texts: Sequence[tuple[str, ...]]) -> list[str | tuple[str, ...]]:
    return [text if len(text) > 1 else text[0] for text in texts]


def buckets(lengths: np.ndarray, max_tokens: int) -> np.ndarray:
    """The length that each text is padded to, int [n]: the least of `LENGTHS` that holds it, at most `max_tokens`."""
    there = np.array([*(length for length in LENGTHS if length < max_tokens), max_tokens])
    return there[np.searchsorted(there, lengths)]

"""Texts of any encoding to one array of UTF-8 bytes: read once, stored as they are, set aside where that fails.

Knows encodings and characters; refuses to know labels, splits and what a network takes for a word.
"""

import hashlib
import unicodedata
from collections import Counter
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd
from markupsafe import Markup, escape
from tqdm import tqdm

from headstart import params
from headstart.data import encodings, shingles, text_readers
from headstart.data.prepared import Texts
from headstart.data.storing import About, Stored, check_share, quarantine, set_aside

MANY, SAME = "texts", "the same words"
NEAR = f"by {shingles.WORDS}-word sequences: of all that two texts have, they share {shingles.LEAST_JACCARD:.0%}"
# Characters of a text that the page shows.
SHOWN = 280
STYLE = """
.pictures { display: block } figure { width: auto; font-size: 13px; margin: .4rem 0 }
blockquote { margin: .3rem 0; padding-left: .6rem; border-left: 3px solid var(--line); font-size: 14px;
  overflow-wrap: anywhere }
"""

read = text_readers.read


def store(examples: pd.DataFrame, settings: params.Prepare, folder: Path) -> Stored:
    """Store all texts as texts.npy, uint8 [bytes], and ends.npy, int64 [n, 1 or 2]; memory is bounded by one text.

    Args:
        examples: id, path, reason, text and pair as `text_readers.read` gives them; where there is no text it is the
            file's content. A row with a reason is set aside unread.
        settings: of the quarantine.
        folder: where to.

    Returns:
        See there; the stored rows have gained `hash`, the sha256 of the text without the differences that nobody sees.

    Raises:
        UserError: more than the allowed share is set aside.
    """
    usable = examples[examples["reason"].isna()]
    aside = set_aside(examples)
    pairs = bool(usable["pair"].notna().any())
    kept, hashes, ends, words, at = [], [], [], [], 0
    names: Counter[str] = Counter()
    with (folder / "texts.npy").open("wb") as file:
        _write_header(file, 0)
        rows = zip(usable["id"], usable["path"], usable["text"], usable["pair"], strict=True)
        for row, (name, path, text, pair) in enumerate(tqdm(rows, total=len(usable), desc="reading", disable=None)):
            try:
                whole = text if text is not None else _content(Path(path), names)
                parts = _sound(whole, pair) if pairs else _sound(whole)
            except (ValueError, OSError) as error:
                aside.append((name, path, _why_not(error)))
                check_share(aside, len(examples), settings.max_quarantined)
                continue
            stops = []
            for part in parts:
                at += len(part)
                file.write(part)
                stops.append(at)
            plain = [part.decode("utf-8") for part in parts]
            kept.append(row)
            ends.append(stops)
            hashes.append(hashlib.sha256("\n".join(map(normal, plain)).encode("utf-8")).hexdigest())
            words.append(sum(len(part.split()) for part in plain))
        check_share(aside, len(examples), settings.max_quarantined)
        file.seek(0)
        _write_header(file, at)
    np.save(folder / "ends.npy", np.array(ends, np.int64).reshape(len(kept), 1 + pairs))
    stored = usable.iloc[kept].drop(columns=["reason", "text", "pair"]).reset_index(drop=True)
    stored["hash"] = np.array(hashes, object)
    spread = {f"{share:.0%}": int(n) for share, n in zip(QUANTILES, np.quantile(words or [0], QUANTILES), strict=True)}
    notes = [
        f"{n} file{'s' * (n > 1)} read as {encoding}" for encoding, n in sorted(names.items()) if encoding != "utf-8"
    ]
    return Stored(
        stored,
        quarantine(aside),
        {"words": {"median": spread["50%"], "most": spread["100%"]}},
        About(
            kept=f"{'pairs, ' if pairs else ''}they were, of {spread['50%']:,} words in the median",
            title="Lengths", head=("texts", "words at most"),
            sizes=[(share, f"{n:,}") for share, n in spread.items()],
            style=STYLE,
        ),
        {},
        notes,
    )  # fmt: skip


QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)


def normal(text: str) -> str:
    """The text without the differences that nobody sees, or minds: compatible characters, case, white space."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _content(path: Path, names: "Counter[str]") -> str:
    text, encoding = encodings.decode(path.read_bytes())
    names[encoding.removesuffix("-sig")] += 1
    return text


def _sound(*texts: str | None) -> list[bytes]:
    """As UTF-8.

    Raises:
        ValueError: one of them is empty, or no text.
    """
    if any(text is None or not text.strip() for text in texts):
        raise ValueError("empty text")
    try:
        return [(text or "").encode("utf-8") for text in texts]
    except UnicodeEncodeError:
        raise ValueError("holds half a character (a lone surrogate)") from None


def _why_not(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"unreadable: {error.strerror}"
    return str(error)


def _write_header(file: IO[bytes], n: int) -> None:
    """The head of a .npy file; NumPy leaves room for any length of the first axis, so it can be rewritten."""
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (n,)})


def link(examples: pd.DataFrame, texts: Texts) -> "pd.Series[str]":
    """What texts that are nearly the same have in common, see `shingles`."""
    return shingles.link(examples, lambda row: normal(" ".join(texts[row])))


def show(texts: Texts, row: int, name: str) -> Markup:
    """The beginning of a text, for the page about the data."""
    parts = []
    for text in texts[row]:
        short = " ".join(text.split())
        parts.append(escape(short[:SHOWN] + (" …" if len(short) > SHOWN else "")))
    return Markup('<blockquote title="{}">{}</blockquote>').format(name, Markup("<br>").join(parts))

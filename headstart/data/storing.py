"""What storing pictures and storing texts have in common: the outcome, and the quarantine with its limit."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd

from headstart.stage import UserError

Aside = list[tuple[str, str, str]]  # id, path, reason


class About(NamedTuple):
    """What the page about the data says of the contents as such.

    kept: how they are kept, as the end of a sentence.
    title, head, sizes: a table of sizes: its title, its columns' names and its rows.
    more: how many rows the table leaves out.
    style: more CSS.
    """

    kept: str
    title: str
    head: tuple[str, str]
    sizes: Sequence[tuple[str, str]]
    more: int = 0
    style: str = ""


class Stored(NamedTuple):
    """What came of the examples.

    examples: those stored, row i belonging to row i of the contents, with `hash`, hexadecimal, the same for the same
        content.
    quarantine: id, path and reason of the others.
    facts: for the metrics.
    about: for the page.
    inputs: how a raw example became a row of the contents.
    notes: a sentence each, for the user.
    """

    examples: pd.DataFrame
    quarantine: pd.DataFrame
    facts: dict[str, Any]
    about: About
    inputs: dict[str, Any]
    notes: list[str]


def set_aside(examples: pd.DataFrame) -> Aside:
    """Those that have a reason already."""
    failed = examples[examples["reason"].notna()]
    return list(zip(failed["id"], failed["path"], failed["reason"], strict=True))


def check_share(aside: Aside, n: int, most: float) -> None:
    """Stop where too many were set aside.

    Raises:
        UserError: more than `most` of `n`; names the first reasons.
    """
    if len(aside) > most * n:
        first = "; ".join(f"{path}: {reason}" for _, path, reason in aside[:5])
        raise UserError(
            f"{len(aside)} of {n} examples cannot be used so far, prepare.max_quarantined is {most:g}: "
            f"{first}; mend or remove them, or allow more"
        )


def quarantine(aside: Aside) -> pd.DataFrame:
    """As a table: id, path, reason."""
    return pd.DataFrame(aside, columns=["id", "path", "reason"])

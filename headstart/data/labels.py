"""Label kinds as the data know them: what a label cell says, which classes there are, how labels are counted.

In data/prepared a label is one text whatever its kind: a class's name, the names of several classes with `|` between
them (none of them: an empty text), or a score as the shortest text that reads as the same number. Refuses to know what
an example is, and what a network makes of a label.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd

from headstart import params
from headstart.stage import UserError

BETWEEN = "|"
# What may stand between the classes in a cell, the likeliest first: of those that occur in a column, the first counts.
SEPARATORS = (BETWEEN, ";", ",")
# Ends each member where a cell of JSON or Parquet was a list: its names may then hold what separates elsewhere.
MEMBER_END = "\x02"
ONE, ZERO = frozenset(("1", "1.0", "true")), frozenset(("0", "0.0", "false", ""))
FEWEST = 3  # examples of a class: one for each split
YES = 0.5  # the least probability of one of several classes that counts as a yes
BINS = 10  # of a histogram of scores


class Counted(NamedTuple):
    """Labels as they are counted.

    names: of what is counted: the classes, or intervals of scores.
    of: for each example, those that it counts for.
    heading: over the counts.
    said: of all labels, as the end of a sentence.
    facts: for the metrics.
    """

    names: list[str]
    of: list[list[str]]
    heading: str
    said: str
    facts: dict[str, float]


def read(path: object, lines: Sequence[int], cells: Sequence[str | None], data: params.Data) -> list[str | None]:
    """Label cells as `data.labels` says they are meant; None where there is no label.

    Raises:
        UserError: a score that is no number, or may be one of two; a class whose name can't be kept.
    """
    if data.labels == "score":
        refuse_thousands(path, lines, cells)
        return [score(f"{path}, line {line}", cell) for line, cell in zip(lines, cells, strict=True)]
    if data.labels == "multi":
        return list(several(path, cells))
    return list(cells)


def refuse_thousands(path: object, lines: Sequence[int], cells: Sequence[str | None]) -> None:
    """Refuse 1,234 where it may be a thousand: every comma of the column stands before three digits, none after a 0.

    Raises:
        UserError: the first such cell.
    """
    with_comma = [(line, cell) for line, cell in zip(lines, cells, strict=True) if cell and "," in cell]
    if with_comma and all(re.fullmatch(r"\s*[-+]?[1-9]\d{0,2},\d{3}\s*", cell) for _, cell in with_comma):
        line, cell = with_comma[0]
        plain = cell.strip()
        raise UserError(
            f"{path}, line {line}: {cell!r} may be {plain.replace(',', '')} or {plain.replace(',', '.')}; "
            "write the numbers of this column without a comma"
        )


def score(where: str, cell: str | None) -> str | None:
    """A score as the shortest text that reads as the same number; None for an empty cell or not-a-number.

    Raises:
        UserError: no number, or an infinite one; `where` begins the sentence.
    """
    try:
        number = float("nan" if cell is None else cell.replace(",", "."))
    except ValueError:
        number = math.inf
    if math.isinf(number):
        raise UserError(
            f"{where}: {cell!r} is no number that can be a score; mend or empty it, "
            "or set data.labels to class to take the labels as classes"
        )
    return None if math.isnan(number) else repr(number + 0.0).removesuffix(".0")


def several(path: object, cells: Sequence[str | None]) -> list[str]:
    """Cells that each hold any number of classes, as `joined` writes them; an empty one holds none.

    Raises:
        UserError: a class in a list whose name holds a `|`.
    """
    plain = [cell for cell in cells if cell and not cell.endswith(MEMBER_END)]
    separator = next((mark for mark in SEPARATORS if any(mark in cell for cell in plain)), BETWEEN)
    found = {}
    for cell in dict.fromkeys(cells):
        listed = cell is not None and cell.endswith(MEMBER_END)
        found[cell] = joined(path, (cell or "").split(MEMBER_END if listed else separator))
    return [found[cell] for cell in cells]


def flags(path: object, lines: Sequence[int], columns: Mapping[str, Sequence[str | None]]) -> list[str]:
    """Columns of 0 and 1, each a class, as `joined` writes them; an empty cell is a 0.

    Raises:
        UserError: another cell, or a column whose name can't be kept.
    """
    members: list[list[str]] = [[] for _ in lines]
    for name, cells in columns.items():
        for of, line, cell in zip(members, lines, cells, strict=True):
            said = (cell or "").strip().lower()
            if said in ONE:
                of.append(name)
            elif said not in ZERO:
                raise UserError(
                    f"{path}, line {line}: {cell!r} in column {name!r} is neither 0 nor 1; where it is uncertain "
                    "whether an example is of a class, decide for one, or remove the line"
                )
    return [joined(path, of) for of in members]


def joined(path: object, names: Sequence[str]) -> str:
    """The names of an example's classes as one text: each once, in the order of `ordered`, `|` between them.

    Raises:
        UserError: a name that holds a `|`.
    """
    kept = {name.strip() for name in names} - {""}
    if torn := [name for name in kept if BETWEEN in name]:
        raise UserError(f"{path}: the class {torn[0]!r} has a | in its name, which separates classes; rename it")
    return BETWEEN.join(ordered(kept))


def members(label: str) -> list[str]:
    """The classes in a label that `joined` wrote."""
    return label.split(BETWEEN) if label else []


def class_names(labels: "pd.Series[str]", data: params.Data) -> list[str]:
    """Names of what the model answers: the classes in their order; of scores, the one name of the label's column.

    Classes are ordered by value if all are numbers, else as people sort (`b2` before `b10`). The two classes of a
    threshold stay in the order of their scores, so that the second is the positive one.

    Raises:
        UserError: fewer than two classes, or a class with fewer examples than there are splits; of scores, fewer of
            them, or all the same.
    """
    if data.labels == "score":
        if len(labels) < FEWEST or labels.nunique() < 2:
            found = f"{len(labels)} scores, {labels.nunique()} of them different"
            raise UserError(f"data.path: {data.path} holds {found}; {FEWEST} or more are needed that are not all equal")
        return [data.columns.label if isinstance(data.columns.label, str) else "score"]
    each = labels.map(members).explode().dropna() if data.labels == "multi" else labels
    counts = each.value_counts()
    names = ordered(counts.index)
    if set(names) == set(data.classes or ()):
        names = list(data.classes or ())
    if len(names) < 2:
        found = f"only one class, {names[0]!r}" if names else "no example that has a label"
        raise UserError(f"data.path: {data.path} holds {found}; two classes or more are needed")
    if few := [name for name in names if counts[name] < FEWEST]:
        scores = all_numbers(names) and len(few) > 5 and data.labels == "class"
        hint = "; are they scores? then set data.threshold, or data.labels to score" if scores else ""
        listed = ", ".join(f"{name!r} {counts[name]}" for name in few[:5])
        listed += f" … ({len(few)} in all)" if len(few) > 5 else ""
        raise UserError(
            f"data.path: {data.path}: {len(few)} of {len(names)} classes have fewer than {FEWEST} examples "
            f"(one each for train, validation and test): {listed}; add some, or remove or merge classes{hint}"
        )
    return names


def ordered(names: "pd.Index[str] | set[str] | Sequence[str]") -> list[str]:
    """By value if all are numbers, else as people sort."""
    numbers = all_numbers(list(names))
    return sorted(names, key=lambda name: (float(name) if numbers else 0, _natural(name), name))


def _natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts digits by their value and letters without their case."""
    parts = re.split(r"([0-9]+)", name)
    return [(int(part), "") if part.isdecimal() else (-1, part.casefold()) for part in parts]


def all_numbers(names: Sequence[str]) -> bool:
    """Whether each name reads as a number."""
    return all(re.fullmatch(r"[-+]?[0-9]+(\.[0-9]*)?(e[-+]?[0-9]+)?", name) for name in names)


def classes_of(labels: "pd.Series[str]", kind: str) -> list[list[str]]:
    """The classes of each example that a split should not go without; scores are all of one, so that none is empty."""
    if kind == "score":
        return [["score"] for _ in labels]
    return [members(label) if kind == "multi" else [label] for label in labels]


def counted(labels: "pd.Series[str]", classes: list[str], kind: str) -> Counted:
    """Labels by class, or by intervals of equal width from the least score to the greatest."""
    if kind == "score":
        numbers = labels.to_numpy(float)
        edges = np.linspace(numbers.min(), numbers.max(), BINS + 1)
        names = _intervals(edges)
        at = np.clip(np.searchsorted(edges, numbers, side="right") - 1, 0, BINS - 1)
        facts = {"least": numbers.min(), "most": numbers.max(), "mean": numbers.mean(), "deviation": numbers.std()}
        rounded = {key: float(f"{value:.6g}") for key, value in facts.items()}
        said = f"with scores from {numbers.min():g} to {numbers.max():g}"
        return Counted(names, [[names[place]] for place in at], "Scores and splits", said, rounded)
    of, facts = classes_of(labels, kind), {}
    said = f"in {len(classes)} classes"
    if kind == "multi":
        facts = {"of_no_class": sum(not one for one in of)}
        said += f", of none {facts['of_no_class']}"
    return Counted(classes, of, "Classes and splits", said, facts)


def _intervals(edges: "np.ndarray") -> list[str]:
    """Names of the intervals between edges, with as few digits as tell them apart."""
    for digits in range(3, 18):
        shown = [f"{edge:.{digits}g}" for edge in edges]
        if len(set(shown)) == len(edges):
            break
    return [f"{low} to {high}" for low, high in pairwise(shown)]


def counts(found: Counted, split: "pd.Series[str]", splits: Sequence[str]) -> pd.DataFrame:
    """How many examples of each split count for each name: int, a row per name, a column for each of `splits`."""
    tally = Counter((name, of) for names, of in zip(found.of, split, strict=True) for name in names)
    rows = [[tally[name, of] for of in splits] for name in found.names]
    return pd.DataFrame(rows, index=found.names, columns=list(splits), dtype=int)

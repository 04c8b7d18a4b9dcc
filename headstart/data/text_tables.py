"""A table that holds texts and their labels: CSV, TSV, Orange's `.tab`, JSON lines or Parquet, as people write them.

Separator, header, quotes, encoding and columns are found. Knows cells and columns; refuses to know what a text means.
"""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from headstart import params
from headstart.data import encodings
from headstart.data.labels import MEMBER_END
from headstart.data.tables import SEPARATORS, USUAL_NAMES, find_columns, given_splits, label_columns, labels_in
from headstart.stage import UserError

JSON = (".json", ".jsonl", ".ndjson")
PARQUET = (".parquet", ".pq")
DELIMITED = (".csv", ".tsv", ".tab", ".txt", "")
ENDINGS = frozenset((*DELIMITED, *JSON, *PARQUET))
TEXT_COLUMNS = {
    "text": "text texts sentence sentence1 text1 text_a review content message tweet document body comment premise "
    "question1 question sms article snippet headline description v2",
    "pair": "pair text_pair",
    "label": "label class target category labels class_name classname class_label sentiment topic intent polarity y v1",
    "group": USUAL_NAMES["group"],
    "split": USUAL_NAMES["split"],
}
# Second texts, told by the name of the first.
PAIRS = {
    "sentence1": "sentence2",
    "text1": "text2",
    "text_a": "text_b",
    "premise": "hypothesis",
    "question1": "question2",
}
# Orange's words for the type of a column and for its part, in a table's second and third line.
ORANGE_TYPES = frozenset("d discrete c continuous s string t time basket".split())  # noqa: SIM905
ORANGE_PARTS = ("class", "meta", "include", "title", "i", "ignore", "w", "weight")

# Characters of a cell, which may hold a book. Python's limit is a global one: it is lifted while a table is read.
LONGEST_CELL = 2**31 - 1


class Rows(NamedTuple):
    """A table's cells.

    names: of the columns, or None.
    lines: where each row stands, from 1.
    cells: of each row; None where there is nothing.
    hints: columns that the file itself says are text or label.
    """

    names: list[str] | None
    lines: list[int]
    cells: list[list[str | None]]
    hints: dict[str, int]
    notes: list[str]


class Table(NamedTuple):
    """A table that has been read.

    rows: columns line (int), text, pair, label, group, split (str, None where empty), in the file's order. Labels are
        as `labels.read` has them; a score has gone through `data.threshold`.
    notes: for the user.
    columns: text and label -> the name of their column, or its number where there are no names.
    """

    rows: pd.DataFrame
    notes: list[str]
    columns: dict[str, str | int]


def read_table(path: Path, data: params.Data) -> Table:
    """Read a table's text, pair, label, group and split cells.

    Raises:
        UserError: not readable as what its ending says, uneven columns, a column that is not there or can't be told, an
            unknown split, a score that is no number.
    """
    rows, found = _found(path, data, ("text", "label"))
    table = pd.DataFrame({"line": rows.lines})
    for key in TEXT_COLUMNS:
        column = [row[found[key]] for row in rows.cells] if key in found else None
        if column is not None and key not in ("text", "pair"):
            column = [(cell or "").strip() or None for cell in column]
        table[key] = pd.Series(column, index=table.index, dtype=object)
    if "pair" in found:
        table["pair"] = table["pair"].fillna("")
    table["text"] = table["text"].fillna("")
    table["split"] = given_splits(path, table)
    notes = list(rows.notes)
    said = (
        f"{key} from column {rows.names[at]!r}" if rows.names else f"{key} from column {at}"
        for key, at in found.items()
    )
    notes.append(f"{path.name}: {', '.join(said)}")
    several = label_columns(path, data.columns, rows.names, len(rows.names or rows.cells[0]))
    columns = {rows.names[at] if rows.names else str(at): [row[at] for row in rows.cells] for at in several}
    table["label"], more = labels_in(path, table, columns, data)
    asked = {key: rows.names[found[key]].strip() if rows.names else found[key] for key in ("text", "label")}
    return Table(table, notes + more, asked)


def read_texts(path: Path, column: str | None) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Line and text, or pair of texts, of each row of a table that need not have labels.

    Args:
        path: of the table.
        column: of the texts, by name or number from 0; None: found as for a table with labels.

    Raises:
        UserError: as `read_table`.
    """
    asked = dict.fromkeys(params.Columns.model_fields) | {
        "text": int(column) if column and column.isdecimal() else column
    }
    data = params.Data(
        source=None, sha256=None, path=str(path), images=".", labels="class",
        columns=params.Columns.model_validate(asked), header=None, separator="auto", threshold=None, classes=None,
        on_leak="warn", max_tokens=8,
    )  # fmt: skip
    rows, found = _found(path, data, ("text",))
    columns = [found[key] for key in ("text", "pair") if key in found]
    for line, cells in zip(rows.lines, rows.cells, strict=True):
        yield line, tuple(cells[at] or "" for at in columns)


def _found(path: Path, data: params.Data, needed: tuple[str, ...]) -> tuple[Rows, dict[str, int]]:
    """A table's rows, and where its columns are."""
    if path.suffix.lower() in PARQUET:
        rows = _parquet(path, data.labels == "multi")
    elif path.suffix.lower() in JSON:
        rows = _json(path, data.labels == "multi")
    else:
        rows = _delimited(path, data, len(needed))
    if not rows.cells:
        raise UserError(f"{path}: holds no rows; a table needs a row with {' and '.join(needed)} for each example")
    width = len(rows.names or rows.cells[0])
    found = find_columns(path, data.columns, rows.names, width, TEXT_COLUMNS, rows.hints)
    found = _guessed(path, rows, found, needed, label_columns(path, data.columns, rows.names, width))
    names = [name.strip().lower() for name in rows.names or []]
    if "pair" not in found and names and (second := PAIRS.get(names[found["text"]])) in names:
        found["pair"] = names.index(second)
    return rows, {key: found[key] for key in TEXT_COLUMNS if key in found}


def _guessed(
    path: Path, rows: Rows, found: dict[str, int], needed: tuple[str, ...], taken: list[int]
) -> dict[str, int]:
    """The same, with text and label guessed where no name tells them: the longest cells, the fewest different ones."""
    width = len(rows.names or rows.cells[0])
    free = [at for at in range(width) if at not in found.values() and at not in taken]
    if "text" not in found and free:
        found["text"] = max(free, key=lambda at: (sum(len(row[at] or "") for row in rows.cells), -at))
        free.remove(found["text"])
    if "label" not in found and free:
        values = {at: len({row[at] for row in rows.cells if row[at]}) for at in free}
        if several := [at for at in free if 2 <= values[at] <= len(rows.cells) / 2]:
            found["label"] = min(several, key=lambda at: (values[at], at))
        elif len(free) == 1:  # scores, or a table of a few rows
            found["label"] = free[0]
    if missing := set(needed) - found.keys():
        there = ", ".join(rows.names) if rows.names else f"{width} columns without names"
        key = sorted(missing)[0]
        raise UserError(f"{path}: no column of {key}s found among {there}; name it in data.columns.{key}")
    return found


def _cell(value: Any, lists: bool) -> str | None:
    """A value of JSON or Parquet as a table's cell: a class is called 3, not 3.0; with `lists` one may be several."""
    if lists and isinstance(value, list):
        return "".join(f"{_cell(one, False) or ''}{MEMBER_END}" for one in value)
    if value is None or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value if isinstance(value, str) else str(value)


def _parquet(path: Path, lists: bool) -> Rows:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: not readable as Parquet: {' '.join(str(error).split())[:200]}") from None
    columns = [table.column(at).to_pylist() for at in range(table.num_columns)]
    cells = [[_cell(value, lists) for value in row] for row in zip(*columns, strict=True)]
    return Rows(list(table.column_names), list(range(1, len(cells) + 1)), cells, {}, [])


def _json(path: Path, lists: bool) -> Rows:
    """An object a line, or one list of objects."""
    text, notes = _text(path)
    objects: list[tuple[int, Any]] = []
    line = 0
    try:
        if text.lstrip().startswith("["):
            objects = list(enumerate(json.loads(text), 1))
        else:
            for line, content in enumerate(text.split("\n"), 1):  # JSON may hold other line ends inside a string
                if content.strip():
                    objects.append((line, json.loads(content)))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {line or error.lineno}: not JSON: {error.msg}") from None
    if odd := [line for line, value in objects if not isinstance(value, dict)]:
        raise UserError(f'{path}, line {odd[0]}: an object such as {{"text": …, "label": …}} is needed')
    names = list(dict.fromkeys(key for _, value in objects for key in value))
    cells = [[_cell(value.get(name), lists) for name in names] for _, value in objects]
    return Rows(names, [line for line, _ in objects], cells, {}, notes)


def _text(path: Path) -> tuple[str, list[str]]:
    """A file's text, and a note where it is not UTF-8."""
    try:
        text, encoding = encodings.decode(path.read_bytes())
    except ValueError as error:
        raise UserError(f"{path}: {error}; save the table as UTF-8") from None
    if all(sign.isspace() or sign in ',;"' for sign in text):  # separators and quotes alone are no cells
        raise UserError(f"{path}: empty; a table needs a line with text and label for each example")
    plain = encoding.removeprefix("utf-8").removeprefix("-sig") == ""
    return text, [] if plain else [f"{path.name} is read as {encoding}; if characters look wrong, save it as UTF-8"]


def _delimited(path: Path, data: params.Data, fewest: int) -> Rows:
    text, notes = _text(path)
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")  # nothing else ends a line: texts hold U+2028
    lines = [line + "\n" for line in lines]
    limit = csv.field_size_limit(LONGEST_CELL)
    try:
        separator: str = data.separator
        if separator == "auto":
            separator = _separator(path, lines, fewest)
        parsed = list(_parse(lines, separator))
    except csv.Error as error:
        raise UserError(f"{path}: not readable as a table: {error}") from None
    finally:
        csv.field_size_limit(limit)
    width = len(parsed[0][1])
    if width < fewest:
        raise UserError(f"{path}: one column where text and label are needed, with data.separator {separator}")
    hints: dict[str, int] = {}
    names: list[str] | None = None
    if _orange(parsed):
        names, hints = _orange_header(parsed)
        parsed = parsed[3:]
    elif data.header or (data.header is None and _has_header(parsed, data)):
        names = [cell.strip() for cell in parsed.pop(0)[1]]
        while names and not names[-1] and all(not any(c.strip() for c in row[len(names) - 1 :]) for _, row in parsed):
            names.pop()  # columns of nothing, such as a spreadsheet leaves behind
        width = len(names)
        parsed = [(line, row[:width] if not any(c.strip() for c in row[width:]) else row) for line, row in parsed]
    for line, row in parsed:
        if len(row) != width:
            raise UserError(
                f"{path}, line {line}: {len(row)} cells where the first line has {width}; "
                "quote cells that hold the separator, or set data.separator"
            )
    cells: list[list[str | None]] = [[cell or None for cell in row] for _, row in parsed]
    return Rows(names, [line for line, _ in parsed], cells, hints, notes)


def _parse(lines: list[str], separator: str) -> Iterator[tuple[int, list[str]]]:
    """Line number from 1 and cells of each line that is not blank.

    Between tabs a quote is a character like any other, unless lines come out even only if it is not, or whoever wrote
    the first line put all of it in quotes: short messages are full of quotes that nothing closes.
    """
    if separator != "tab":
        return _quoted(lines, separator)
    plain = [(at, line.rstrip("\n").split("\t")) for at, line in enumerate(lines, 1) if line.strip()]
    if not _even(plain):
        return _quoted(lines, separator)
    if plain and all(len(cell) > 1 and cell[0] == cell[-1] == '"' for cell in plain[0][1]):
        quoted = list(_quoted(lines, separator))
        if _even(quoted):
            return iter(quoted)
    return ((at, [_unquoted(cell) for cell in cells]) for at, cells in plain)


def _quoted(lines: list[str], separator: str) -> Iterator[tuple[int, list[str]]]:
    """The same, with quotes round cells that hold separators or ends of lines."""
    reader = csv.reader(
        (" ".join(line.split("\t")) for line in lines) if separator == "whitespace" else lines,
        delimiter=SEPARATORS[separator], skipinitialspace=True,
    )  # fmt: skip
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield reader.line_num, cells


def _even(rows: list[tuple[int, list[str]]]) -> bool:
    return len({len(cells) for _, cells in rows}) == 1


def _unquoted(cell: str) -> str:
    """A cell without quotes round the whole of it."""
    inside = cell[1:-1]
    if len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in inside.replace('""', ""):
        return inside.replace('""', '"')
    return cell


def _separator(path: Path, lines: list[str], fewest: int) -> str:
    """The separator that cuts all rows into as many cells as the first, two or more; else the one nearest to that."""
    best = ("", 0.0)
    for separator in ("tab", "semicolon", "comma"):
        try:
            widths = [len(cells) for _, cells in _parse(lines, separator)]
        except csv.Error:
            continue
        alike = sum(width == widths[0] for width in widths) / len(widths) if widths[0] > 1 else 0
        if alike > best[1]:
            best = (separator, alike)
    if fewest == 1 and best[1] < 1:
        return "tab"  # a text a line, whose commas part nothing
    if not best[0]:
        first = next(line for line in lines if line.strip())
        raise UserError(f"{path}: no separator found in {first.strip()[:60]!r}; text and label are needed")
    return best[0]


def _orange(parsed: list[tuple[int, list[str]]]) -> bool:
    """Whether the second line holds Orange's types of columns."""
    types = [cell.strip().lower() for cell in parsed[1][1]] if len(parsed) > 2 else []
    return bool(types) and all(word in ORANGE_TYPES for word in types)


def _orange_header(parsed: list[tuple[int, list[str]]]) -> tuple[list[str], dict[str, int]]:
    """Names out of Orange's three lines, and which columns they say are label and text."""
    names, types, parts = ([cell.strip() for cell in row] for _, row in parsed[:3])
    parts += [""] * (len(names) - len(parts))
    hints: dict[str, int] = {}
    for at, part in enumerate(parts):
        if part.lower().split(" ")[0] == "class":
            hints.setdefault("label", at)
        if "include=true" in part.lower() and types[at].lower() in ("s", "string"):
            hints.setdefault("text", at)
    for at, word in enumerate(types):
        if word.lower() in ("s", "string") and "meta" not in parts[at].lower():
            hints.setdefault("text", at)
    return names, hints


def _has_header(parsed: list[tuple[int, list[str]]], data: params.Data) -> bool:
    """Whether the first line names the columns.

    It does where a column is asked for by a name in it, where it holds a usual name of text or label, or where none of
    its cells recurs below it though some column has few different cells: those of a label.
    """
    first = [cell.strip() for cell in parsed[0][1]]
    below = [row for _, row in parsed[1:]]
    listed = data.columns.label if isinstance(data.columns.label, list) else [data.columns.label]
    asked = {*listed, *(getattr(data.columns, key) for key in TEXT_COLUMNS if key != "label")}
    usual = {name for key in ("text", "label", "split") for name in TEXT_COLUMNS[key].split()} | set(PAIRS.values())
    if any(name in asked for name in first):
        return True
    columns = [{row[at].strip() for row in below if at < len(row)} for at in range(len(first))]
    fresh = [cell not in column for cell, column in zip(first, columns, strict=True)]
    few = [2 <= len(column) <= max(2, len(below) ** 0.5) for column in columns]
    if any(is_few and not is_fresh for is_few, is_fresh in zip(few, fresh, strict=True)):
        return False  # its label is one of those below
    if any(name.lower().replace(" ", "_").replace("-", "_") in usual for name in first):
        return True
    return len(below) > 3 and any(few) and all(fresh) and all(len(cell.split()) <= 3 for cell in first)

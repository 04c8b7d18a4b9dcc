"""A table of examples as people write them: separator, header and columns are found.

Knows text and columns; refuses to know what a path leads to, beyond asking whether a cell names a picture.
"""

import csv
import difflib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from headstart import params
from headstart.data import labels
from headstart.stage import UserError

# In this order: tabs and semicolons hardly occur in every line of anything else, commas and blanks do.
SEPARATORS = {"tab": "\t", "semicolon": ";", "comma": ",", "whitespace": " "}
SAMPLE = 50  # lines that a separator is judged by

USUAL_NAMES = {
    "path": "path image file filename image_path img_path img file_path filepath file_name image_name "
    "image_file picture photo image_id",
    "label": "label class target category labels class_name classname class_label y",
    "group": "group group_id patient patient_id subject subject_id",
    "split": "split subset partition",
}

SPLITS = ("train", "validation", "test")
OTHER_NAMES_OF_SPLITS = {
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "dev": "validation",
    "testing": "test",
}


def split_name(text: str) -> str | None:
    """One of `SPLITS` for its usual names in any case, else None."""
    name = text.strip().lower()
    return OTHER_NAMES_OF_SPLITS.get(name, name if name in SPLITS else None)


def read_table(path: Path, data: params.Data, is_picture: Callable[[str], bool]) -> tuple[pd.DataFrame, list[str]]:
    """Read a table's path, label, group and split cells.

    Args:
        is_picture: whether a cell names a picture; decides whether the first line is a header.

    Returns:
        The columns line (int), path, label, group, split (str, None where empty), in the file's order; and
        notes for the user. Labels are as `labels.read` has them; a score has gone through `data.threshold`.

    Raises:
        UserError: not text, no or uneven columns, a column that is not there, an unknown split, a score that is no
            number, an empty path.
    """
    lines = _lines(path)
    rows = _rows(path, lines, data.separator)
    header = data.header
    if header is None:
        header = not any(is_picture(cell) for cell in rows[0][1])
    names = rows.pop(0)[1] if header else None
    width = len(names or rows[0][1])
    for line, cells in rows:
        if len(cells) != width:
            raise UserError(
                f"{path}, line {line}: {len(cells)} cells where the first line has {width}; "
                "quote cells that hold the separator, or set data.separator"
            )
    if not rows:
        raise UserError(f"{path}: holds a header and nothing below it")
    found = find_columns(path, data.columns, names, width, USUAL_NAMES)
    several = label_columns(path, data.columns, names, width)
    for key in ("path", "label"):
        if key not in found:
            free = [at for at in range(width) if at not in found.values() and at not in several]
            if not free:
                raise UserError(f"{path}: no column is left for the {key}; name it in data.columns.{key}")
            found[key] = free[0]
    found = {key: found[key] for key in USUAL_NAMES if key in found}
    table = pd.DataFrame({"line": [line for line, _ in rows]})
    for key in USUAL_NAMES:
        column = [row[found[key]].strip() or None for _, row in rows] if key in found else None
        table[key] = pd.Series(column, index=table.index, dtype=object)
    if table["path"].isna().any():
        raise UserError(f"{path}: no path in {_some_lines(table[table['path'].isna()])}")
    table["split"] = given_splits(path, table)
    notes = []
    if names:
        notes.append(f"{path.name}: " + ", ".join(f"{key} from column {names[at]!r}" for key, at in found.items()))
    flags = {names[at] if names else str(at): [row[at] for _, row in rows] for at in several}
    table["label"], said = labels_in(path, table, flags, data)
    return table, notes + said


def labels_in(
    path: Path, table: pd.DataFrame, columns: Mapping[str, Sequence[str | None]], data: params.Data
) -> tuple["pd.Series[str]", list[str]]:
    """The labels of a table's rows, and notes for the user.

    Args:
        path: for messages.
        table: columns line and label, the cell.
        columns: of 0 and 1, by their names, each of which is a class; where there are some, they are the labels.
        data: says what the cells mean.

    Raises:
        UserError: as `two_classes`, `labels.read` and `labels.flags`.
    """
    lines, notes = table["line"].tolist(), []
    found: Sequence[str | None]
    if columns:
        found = labels.flags(path, lines, columns)
        notes.append(f"{path.name}: a class from each of the columns {', '.join(map(repr, columns))}")
    elif data.threshold is not None:
        found = two_classes(path, table, data.threshold, data.classes)
        counts = ", ".join(f"{label} {count}" for label, count in pd.Series(found).value_counts().items())
        notes.append(f"data.threshold {data.threshold:g} makes two classes of the labels: {counts}; null keeps them")
    else:
        found = labels.read(path, lines, table["label"].tolist(), data)
    return pd.Series(found, index=table.index, dtype=object), notes


def _some_lines(table: pd.DataFrame) -> str:
    numbers = [str(line) for line in table["line"]]
    return ("line " if len(numbers) == 1 else "lines ") + ", ".join(numbers[:5]) + (" …" if len(numbers) > 5 else "")


def _lines(path: Path) -> list[str]:
    """The text's lines with their ends, so that a quoted cell may hold one."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            text = file.read()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start}); save the table as UTF-8") from None
    if all(sign.isspace() or sign in ',;"' for sign in text):  # separators and quotes alone are no cells
        raise UserError(f"{path}: empty; a table needs a line with path and label for each example")
    # Nothing else ends a line: a cell may hold U+2028.
    return [line + "\n" for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]


def _parse(lines: list[str], separator: str) -> Iterator[tuple[int, list[str]]]:
    """Line number from 1 and cells of each line that is not blank."""
    blanks = separator == "whitespace"
    reader = csv.reader(
        (" ".join(line.split("\t")).rstrip() + "\n" for line in lines) if blanks else lines,
        delimiter=SEPARATORS[separator],
        skipinitialspace=True,  # makes one separator of a run of blanks, and lets a quote follow `, `
    )
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield reader.line_num, cells


def _rows(path: Path, lines: list[str], separator: str) -> list[tuple[int, list[str]]]:
    try:
        if separator == "auto":
            separator = _separator(path, [line for line in lines if line.strip()][:SAMPLE])
        rows = list(_parse(lines, separator))
    except csv.Error as error:
        raise UserError(f"{path}: not readable as a table: {error}") from None
    if len(rows[0][1]) < 2:
        raise UserError(
            f"{path}: one column where path and label are needed, with data.separator {separator}; "
            "allowed are auto, comma, semicolon, tab, whitespace"
        )
    return rows


def _separator(path: Path, sample: list[str]) -> str:
    """The separator that cuts most lines, at best all, into as many cells as the first, two or more."""
    best = ("", 0.0)
    for separator in SEPARATORS:
        widths = [len(cells) for _, cells in _parse(sample, separator)]
        alike = sum(width == widths[0] for width in widths) / len(widths) if widths[0] > 1 else 0
        if alike > best[1]:
            best = (separator, alike)
    if not best[0]:
        raise UserError(f"{path}: no separator found in {sample[0].strip()[:60]!r}; path and label are needed")
    return best[0]


def find_columns(
    path: Path,
    asked: params.Columns,
    names: list[str] | None,
    width: int,
    usual_names: Mapping[str, str],
    hints: Mapping[str, int] | None = None,
) -> dict[str, int]:
    """Position of each column there is: as asked for, else as the file itself hints, else by usual names.

    Of several label columns, the first.

    Args:
        path: for messages.
        asked: columns by name or number.
        names: of the columns, or None.
        width: how many there are.
        usual_names: key -> names, the likeliest first.
        hints: key -> position.

    Raises:
        UserError: a column that is asked for is not there.
    """
    plain = [name.strip() for name in names or []]
    usual = [name.lower().replace(" ", "_").replace("-", "_") for name in plain]
    found: dict[str, int] = {}
    for key, others in usual_names.items():
        column = getattr(asked, key)
        if column is not None:
            found[key] = _position(path, key, column[0] if isinstance(column, list) else column, plain, width)
        elif hints and key in hints:
            found[key] = hints[key]
        elif match := [name for name in others.split() if name in usual]:
            found[key] = usual.index(match[0])
    return found


def _position(path: Path, key: str, column: int | str, names: list[str], width: int) -> int:
    """Where a column that is asked for stands."""
    if isinstance(column, int):
        if column >= width:
            raise UserError(f"data.columns.{key}: {column} is given, {path} has columns 0 to {width - 1}")
        return column
    if column not in names:
        there = ", ".join(names) or f"no names, only numbers 0 to {width - 1}: there is no header"
        close = difflib.get_close_matches(column, names, n=1, cutoff=0.5)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise UserError(f"data.columns.{key}: {path} has no column {column!r}; it has {there}{hint}")
    return names.index(column)


def label_columns(path: Path, asked: params.Columns, names: list[str] | None, width: int) -> list[int]:
    """Positions of several label columns, where `data.columns.label` lists some.

    Raises:
        UserError: one of them is not there.
    """
    listed = asked.label if isinstance(asked.label, list) else []
    return [_position(path, "label", column, [name.strip() for name in names or []], width) for column in listed]


def given_splits(path: Path, table: pd.DataFrame) -> pd.Series:
    """The split cells by the names of `SPLITS`."""
    names = {cell: split_name(cell) for cell in table["split"].dropna().unique()}
    if unknown := [cell for cell, name in names.items() if name is None]:
        raise UserError(
            f"{path}, {_some_lines(table[table['split'] == unknown[0]])}: {unknown[0]!r} is not a split; "
            f"allowed are {', '.join([*SPLITS, *OTHER_NAMES_OF_SPLITS])}, or nothing"
        )
    return table["split"].map(names).astype(object).where(table["split"].notna(), None)


def two_classes(path: Path, table: pd.DataFrame, threshold: float, classes: list[str] | None) -> list[str | None]:
    """`classes[0]` for a score of at most `threshold`, `classes[1]` above, None for no score."""
    labels.refuse_thousands(path, table["line"].tolist(), table["label"].tolist())
    low, high = classes or (f"<={threshold:g}", f">{threshold:g}")
    found: list[str | None] = []
    for line, cell in zip(table["line"], table["label"], strict=True):
        try:
            score = float("nan" if cell is None else cell.replace(",", "."))
        except ValueError:
            raise UserError(
                f"{path}, line {line}: {cell!r} is no number to compare with data.threshold {threshold:g}; "
                "set data.threshold to null to take the labels as classes"
            ) from None
        found.append(None if math.isnan(score) else low if score <= threshold else high)
    return found

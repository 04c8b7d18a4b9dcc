"""What a user points at, as a stream of examples: files, folders, tables of paths, the standard input.

Knows names and layouts; refuses to open a picture. What differs between tasks stands at the end.
"""

import csv
import difflib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO, NamedTuple

from headstart.data.readers import PICTURES
from headstart.data.tables import SAMPLE, SEPARATORS, USUAL_NAMES
from headstart.data.text_tables import ENDINGS, read_texts
from headstart.stage import UserError

LISTS = (".csv", ".tsv", ".tab", ".txt")
STDIN = "-"


class Example(NamedTuple):
    """Something to predict.

    name: what the user called it.
    content: a file's path, or the content itself: a picture's bytes, a text or a pair of texts.
    """

    name: str
    content: Path | bytes | tuple[str, ...]


def examples(paths: Sequence[str], task: str, stdin: BinaryIO, column: str | None = None) -> Iterator[Example]:
    """The examples behind paths, one after the other; nothing is kept.

    Args:
        paths: files, folders (with all below them, in order), tables, or `-`, the standard input. For pictures a table
            (.csv, .tsv, .tab; .txt: a path a line) holds paths, and the standard input paths or one picture's content;
            for texts both hold texts, the standard input one a line. A file that is not there is an example like any
            other.
        task: of the model.
        stdin: the standard input.
        column: of a table's paths or texts; by default found by its usual names or by what is in it.

    Raises:
        UserError: a folder without such files, a table without such a column, a task that is not known here.
    """
    if task not in KINDS:
        raise UserError(f"a model for {task} can't be used here; allowed are {', '.join(KINDS)}")
    known = KINDS[task]
    for path in paths:
        if path == STDIN:
            yield from known.piped(stdin)
        elif Path(path).is_dir():
            yield from _below(Path(path), known)
        elif Path(path).suffix.lower() in known.tables:
            yield from known.listed(Path(path), column)
        else:
            yield Example(path, Path(path))


def _below(folder: Path, known: "Kind") -> Iterator[Example]:
    """The files of a kind in a folder and all folders below; hidden ones are left out."""
    found = False
    for parent, folders, names in os.walk(folder, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if Path(name).suffix.lower() in known.files and not name.startswith("."):
                found = True
                file = Path(parent, name)
                yield Example(str(file), file)
    if not found:
        raise UserError(f"{folder} holds no {known.many}, nor does a folder below it")


def _piped(stream: BinaryIO) -> Iterator[Example]:
    """Paths, one a line; or a picture, which a byte that no text has gives away."""
    first, second = stream.readline(), stream.readline()
    if not first:
        raise UserError("nothing came through the standard input; paths, one a line, or a picture are expected there")
    # A PNG's first line has none.
    if any(byte < 32 and byte not in b"\t\r\n\f" for byte in (first + second)[:512]):
        yield Example(STDIN, first + second + stream.read())
        return
    for line in chain([first, second], stream):
        if name := os.fsdecode(line).strip("\r\n"):
            yield Example(name, Path(name))


def _listed(path: Path, column: str | None) -> Iterator[Example]:
    """The pictures that a table names. Their paths start at its folder, or where the command runs."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for cell in _cells(path, file, column):
                names = [cell, cell.replace("\\", "/")]  # tables written on Windows
                places = [folder / name for name in names for folder in (path.parent, Path())]
                yield Example(cell, next(filter(_is_file, places), places[0]))
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start}); save the table as UTF-8") from None
    except csv.Error as error:
        raise UserError(f"{path}: not readable as a table: {error}") from None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long for one
        return False


def _cells(path: Path, file: Iterable[str], column: str | None) -> Iterator[str]:
    """The cells of the column of paths, without empty ones."""
    lines = (line.rstrip() + "\n" for line in file if line.strip())
    sample = list(islice(lines, SAMPLE))
    if not sample:
        raise UserError(f"{path}: empty; a table of pictures has one in each line")
    separator = None if path.suffix.lower() == ".txt" and column is None else _separator(sample)
    rows = _cut(chain(sample, lines), separator)
    first = next(rows)
    at, is_header = _column(path, first, column)
    for row in rows if is_header else chain([first], rows):
        if len(row) <= at:
            raise UserError(f"{path}: {len(row)} cells in a line where the first has {len(first)}: {row[0][:60]!r} …")
        if cell := row[at].strip():
            yield cell


def _cut(lines: Iterable[str], separator: str | None) -> Iterator[list[str]]:
    """Cells of each line; the whole line where there is no separator."""
    if separator is None:
        return ([line.strip().strip('"')] for line in lines)
    return csv.reader(lines, delimiter=separator, skipinitialspace=True)


def _separator(sample: Sequence[str]) -> str | None:
    """The separator that cuts all lines into as many cells, two or more; None: there is one column."""
    for separator in SEPARATORS.values():
        rows = list(_cut(sample, separator))
        # Names of files hold blanks: these separate only where the piece before the first is a picture's name.
        if len({len(row) for row in rows}) == 1 < len(rows[0]) and (separator != " " or _is_picture(rows[-1][0])):
            return separator
    return None


def _is_picture(cell: str) -> bool:
    return Path(cell.strip()).suffix.lower() in PICTURES


def _column(path: Path, first: list[str], asked: str | None) -> tuple[int, bool]:
    """Position of the column of paths, and whether the first line is a header."""
    names = [cell.strip() for cell in first]
    if asked is not None:
        if asked in names:
            return names.index(asked), True
        if asked.isdecimal() and int(asked) < len(names):
            return int(asked), not _is_picture(first[int(asked)])
        close = difflib.get_close_matches(asked, names, n=1, cutoff=0.5)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise UserError(f"--column: {path} has no column {asked!r}; it has {', '.join(names)}{hint}")
    usual = [name.lower().replace(" ", "_").replace("-", "_") for name in names]
    for name in USUAL_NAMES["path"].split():
        if name in usual:
            return usual.index(name), True
    for at, cell in enumerate(first):
        if _is_picture(cell):
            return at, False
    raise UserError(f"{path}: which column holds the pictures' paths? Name it with --column; it has {', '.join(names)}")


def _lines(stream: BinaryIO) -> Iterator[Example]:
    """Texts, one a line."""
    for number, line in enumerate(stream, 1):
        text = line.decode("utf-8", errors="replace").strip()
        if text:
            yield Example(f"{STDIN}:{number}", (text,))


def _rows(path: Path, column: str | None) -> Iterator[Example]:
    """The texts in a table, called by its path and their lines; a table of texts is read whole."""
    for line, text in read_texts(path, column):
        yield Example(f"{path}:{line}", text)


class Kind(NamedTuple):
    """What a task's examples look like.

    many: their name.
    files: endings of files that are one.
    tables: endings of tables that list them, whose examples `listed` gives.
    piped: gives those in the standard input.
    """

    many: str
    files: frozenset[str]
    tables: frozenset[str]
    listed: Callable[[Path, str | None], Iterator[Example]]
    piped: Callable[[BinaryIO], Iterator[Example]]


TEXT_FILES = frozenset((".txt", ".text", ".md", ""))
KINDS = {
    "image-classification": Kind("pictures", PICTURES, frozenset(LISTS), _listed, _piped),
    "text-classification": Kind("texts", TEXT_FILES, ENDINGS - TEXT_FILES, _rows, _lines),
}

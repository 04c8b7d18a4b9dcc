"""Raw texts to a table with one row per example: a folder per class of `.txt`, or a table with the texts in it.

Knows layouts and names; refuses to open a text file, which is `texts`' work.
"""

import re
from pathlib import Path

import pandas as pd

from headstart import params
from headstart.data import readers
from headstart.data.labels import class_names
from headstart.data.readers import nearest, refuse_folders
from headstart.data.tables import split_name
from headstart.data.text_tables import ENDINGS, read_table
from headstart.stage import UserError

COLUMNS = [*readers.COLUMNS, "text", "pair"]
FILES = frozenset((".txt", ".text", ""))


def read(data: params.Data) -> tuple[pd.DataFrame, list[str]]:
    """List the examples at `data.path`.

    Returns:
        As `readers.read`, with the columns text (None where it is the content of the file at `path`) and pair (the
        second text of a pair, or None); and notes, a sentence each, that the user should see. The id of a table's
        row is its file's name and its number.

    Raises:
        UserError: nothing there, nothing usable there, fewer than two classes, or fewer than three examples of one; a
            folder per class where `data.labels` is another kind.
    """
    path = Path(data.path)
    if not path.exists():
        raise UserError(f"data.path: {path} does not exist{nearest(path)}; paths start at the repository's root")
    if path.is_dir() and (tables := _tables_in(path)):
        path = tables
    if path.is_dir():
        refuse_folders(path, data)
        examples, notes = readers.read_folders(path, FILES, "texts")
        examples["text"] = examples["pair"] = None
        if data.threshold is not None:
            notes.append("data.threshold and data.classes are for the scores of a table; not used here")
    elif path.suffix.lower() in ENDINGS:
        examples, notes = _read_tables(path, data)
    else:
        allowed = ", ".join(sorted(filter(None, ENDINGS)))
        raise UserError(
            f"data.path: {path} is of no kind known here; allowed are a folder per class of .txt, {allowed}"
        )
    readers.refuse_names(path, examples)
    class_names(examples.loc[examples["reason"].isna(), "label"], data)
    return examples[COLUMNS].astype(object), notes


def _tables_in(folder: Path) -> Path | None:
    """The table of training texts in a folder of tables named after splits, or its only table."""
    if any(entry.is_dir() and not entry.name.startswith(".") for entry in folder.iterdir()):
        return None
    tables = [entry for entry in sorted(folder.iterdir()) if entry.suffix and entry.suffix.lower() in ENDINGS]
    named = [table for table in tables if "train" in _words(table)]
    found = named or [table for table in tables if table.suffix.lower() != ".txt"]
    if len(found) > 1:
        raise UserError(
            f"data.path: {folder} holds the tables {', '.join(table.name for table in found[:5])}; name one of them"
        )
    return found[0] if found else None


def _words(path: Path) -> list[str]:
    return re.split(r"[-_. ]+", path.stem.lower())


def _siblings(path: Path) -> list[tuple[str, Path]]:
    """The tables of the other splits beside one whose name holds the word train: `news-train.csv`, `news-test.csv`."""
    parts = re.split(r"([-_. ]+)", path.stem)
    at = next((at for at, part in enumerate(parts) if split_name(part) == "train"), None)
    if at is None:
        return []
    found = []
    for other in sorted(path.parent.glob(f"*{path.suffix}")):
        name = re.split(r"([-_. ]+)", other.stem)
        if len(name) == len(parts) and [*name[:at], *name[at + 1 :]] == [*parts[:at], *parts[at + 1 :]]:
            split = split_name(name[at])
            if split is not None and split != "train":
                found.append((split, other))
    return found


def _read_tables(path: Path, data: params.Data) -> tuple[pd.DataFrame, list[str]]:
    """One table, or one for each split: those beside a table whose name holds the word train."""
    table, notes, columns = read_table(path, data)
    frames, taken = [_listed(path, table)], dict[str, str]()
    # Columns that were found in the first are meant in the others; by itself, one without labels would be read as if
    # some other column held them.
    asked = data.columns.model_copy(update={k: v for k, v in columns.items() if getattr(data.columns, k) is None})
    for split, other in _siblings(path):
        try:
            table, said, _ = read_table(other, data.model_copy(update={"columns": asked}))
            why = "it has no labels" if table["label"].isna().all() else ""
        except UserError as error:
            why = str(error)
        if split in taken:
            why = f"{taken[split]} gives the {split} split"
        if why:
            notes.append(f"{other.name} lies beside {path.name} and is left out: {why}")
            continue
        taken[split] = other.name
        frames[0]["split"] = frames[0]["split"].fillna("train")
        table["split"] = split
        frames.append(_listed(other, table))
        notes += [*said, f"{other.name} gives the {split} split"]
    examples = pd.concat(frames, ignore_index=True)
    examples.loc[examples["label"].isna(), "reason"] = "no label"
    # DVC runs `prepare` again when what it watches changes.
    watched = [Path(data.images).resolve(), Path("data/fetched").resolve(), path.resolve()]
    if astray := sorted(
        {name for name in examples["path"] if not any(map(Path(name).resolve().is_relative_to, watched))}
    ):
        notes.append(f"DVC does not watch {', '.join(astray)}; set data.images to the folder")
    return examples, notes


def _listed(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    """A table's rows as examples."""
    examples = table[["text", "pair", "label", "group", "split"]].copy()
    examples.insert(0, "id", [f"{path.stem}/{number:06d}" for number in range(len(table))])
    examples.insert(1, "path", str(path))
    examples["reason"] = None
    return examples

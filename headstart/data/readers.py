"""Raw data to a table with one row per example: a folder per class, a table of paths, or arrays in an `.npz`.

Knows layouts and names; refuses to open a picture, which is `images`' work.
"""

import difflib
import os
import unicodedata
from pathlib import Path

import pandas as pd

from headstart import params
from headstart.data.arrays import read_arrays
from headstart.data.labels import class_names
from headstart.data.tables import read_table, split_name
from headstart.stage import UserError

COLUMNS = ["id", "path", "label", "group", "split", "reason"]
PICTURES = frozenset(
    f".{ending}"
    for ending in "jpg jpeg jpe jfif png gif bmp dib tif tiff webp avif pbm pgm ppm pnm jp2 j2k".split()  # noqa: SIM905
)
TABLES = (".csv", ".tsv", ".tab", ".txt")
# Unicode's categories of what a table's cell does not keep; a space of any kind it does.
UNFIT = ("Cc", "Cs", "Zl", "Zp")


def read(data: params.Data) -> tuple[pd.DataFrame, list[str]]:
    """List the examples at `data.path`.

    Returns:
        One row per example, in an order that depends on the data alone: `id` (path relative to the data's
        folder; `train/000012` in an .npz), `path` (what to open), `label`, `group` (or None), `split` (train,
        validation, test or None), and `reason` (None, or why it cannot be used: such a row goes to
        quarantine). And notes, a sentence each, that the user should see.

    Raises:
        UserError: nothing there, nothing usable there, fewer than two classes, or fewer than three examples
            of one; a folder per class where `data.labels` is another kind.
    """
    path = Path(data.path)
    if path.is_dir():
        refuse_folders(path, data)
        examples, notes = read_folders(path, PICTURES, "pictures")
    elif not path.exists():
        raise UserError(f"data.path: {path} does not exist{nearest(path)}; paths start at the repository's root")
    elif path.suffix.lower() == ".npz":
        examples, notes = read_arrays(path, data.labels), []
    elif path.suffix.lower() in TABLES:
        examples, notes = _read_paths(path, data)
    else:
        allowed = ", ".join([*TABLES, ".npz"])
        raise UserError(f"data.path: {path} is of no kind known here; allowed are a folder per class, {allowed}")
    refuse_names(path, examples)
    if data.threshold is not None and path.suffix.lower() not in TABLES:
        notes.append("data.threshold and data.classes are for the scores of a table; not used here")
    class_names(examples.loc[examples["reason"].isna(), "label"], data)
    return examples[COLUMNS], notes


def refuse_names(path: Path, examples: pd.DataFrame) -> None:
    """Ids and labels that would not survive the way through a table: with line ends, control signs, undecodable bytes.

    Raises:
        UserError: there is one.
    """
    for name in [*examples["id"], *examples["label"].dropna()]:
        if not name.isprintable() and any(unicodedata.category(sign) in UNFIT for sign in name):
            raise UserError(f"{path}: the name {name!a} holds a line end, a control sign or a broken one; rename it")


def refuse_folders(path: Path, data: params.Data) -> None:
    """A folder per class says one class of each example, and nothing else.

    Raises:
        UserError: `data.labels` is of another kind.
    """
    if data.labels != "class":
        what = "any number of classes" if data.labels == "multi" else "a score"
        raise UserError(
            f"data.path: {path} is a folder, which gives each example one class, but data.labels is {data.labels}; "
            f"name a table there that gives each example {what}, or set data.labels to class"
        )


def nearest(path: Path) -> str:
    """What stands where `path` was looked for, as the end of a sentence."""
    parent = next(folder for folder in path.parents if folder.exists())
    there = sorted(entry.name for entry in parent.iterdir() if not entry.name.startswith("."))
    missing = path.relative_to(parent).parts[0]
    if close := difflib.get_close_matches(missing, there, n=1):
        return f", did you mean {parent / close[0]}"
    return f"; {parent} holds {', '.join(there[:8]) or 'nothing'}{' …' if len(there) > 8 else ''}"


def _unfit(file: Path, roots: list[Path]) -> str | None:
    """Why a file is not even opened: reading a pipe would wait for ever, and a link may lead to anybody's files."""
    real = Path(os.path.realpath(file))  # unlike Path.resolve, it does not mind a link to itself
    if not any(map(real.is_relative_to, [root.resolve() for root in roots])):
        return "a link that leads out of the data folder"
    return None if file.is_file() else "no plain file"


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" … ({len(names)} in all)" if len(names) > 5 else "")


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _folders(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not _hidden(entry.name))


def _files(folder: Path, endings: frozenset[str]) -> tuple[list[Path], list[Path]]:
    """Files below `folder`, at any depth, that end so, and the others; both sorted, neither hidden."""
    wanted: list[Path] = []
    others: list[Path] = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not _hidden(name)]
        for name in names:
            if not _hidden(name):
                (wanted if Path(name).suffix.lower() in endings else others).append(Path(parent, name))
    return sorted(wanted), sorted(others)


def read_folders(root: Path, endings: frozenset[str], many: str) -> tuple[pd.DataFrame, list[str]]:
    """A folder per class, or split folders with a folder per class in each.

    Args:
        root: of the data.
        endings: of the files to list, in lower case.
        many: what they are.
    """
    below = _folders(root)
    filled = [folder for folder in below if _files(folder, endings)[0]]
    if not filled:
        if any(entry.is_file() and entry.suffix.lower() in endings for entry in root.iterdir()):
            raise UserError(f"data.path: {root} holds {many} but no class folders; give each class a folder")
        raise UserError(f"data.path: {root} holds no {many}; a folder per class with {many} inside is needed")
    splits = {folder.name: split_name(folder.name) for folder in filled}
    notes: list[str] = []
    # A split folder is told from a class that happens to be called "test" by all its neighbours being splits
    # too.
    if "train" in splits.values() and None not in splits.values() and _folders(filled[0]):
        classes = [(folder, splits[parent.name]) for parent in filled for folder in _folders(parent)]
        if loose := [str(p) for p in filled if any(e.is_file() and e.suffix.lower() in endings for e in p.iterdir())]:
            raise UserError(f"data.path: {_listed(loose)}: holds {many} outside of class folders; move them there")
    else:
        classes = [(folder, None) for folder in below]
    rows, strange = [], []
    for folder, split in classes:
        files, others = _files(folder, endings)
        strange += [path.relative_to(root).as_posix() for path in others]
        if not files:
            found = f"only {_listed([path.name for path in others])}" if others else "nothing"
            raise UserError(f"data.path: the class folder {folder} holds no {many}, {found}; fill or remove it")
        for file in files:
            reason = _unfit(file, [root])
            rows.append((file.relative_to(root).as_posix(), str(file), folder.name, None, split, reason))
    if len({row[2] for row in rows}) == 1 and len(inner := _folders(classes[0][0])) > 1:
        raise UserError(f"data.path: {root} holds one folder, the classes are inside; set {inner[0].parent}")
    if strange:
        notes.append(f"not {many}, left out: {_listed(strange)}")
    return pd.DataFrame(rows, columns=COLUMNS, dtype=object), notes


def _read_paths(path: Path, data: params.Data) -> tuple[pd.DataFrame, list[str]]:
    """A table of paths, which start at the table's own folder or at `data.images`."""
    roots = [path.parent, Path(data.images)]
    table, notes = read_table(path, data, lambda cell: _picture(cell, roots) is not None or _looks_like_one(cell))
    found = {cell: _picture(cell, roots) for cell in table["path"].unique()}
    if missing := [cell for cell, file in found.items() if file is None]:
        raise UserError(
            f"{path}: {len(missing)} of {len(found)} pictures are not there: {_listed(missing)}; "
            f"their paths may start at {roots[0]} or at data.images ({roots[1]})"
        )
    examples = pd.DataFrame({"id": [_id(str(found[cell]), roots) for cell in table["path"]]}, dtype=object)
    examples["path"] = [str(found[cell]) for cell in table["path"]]
    examples[["label", "group", "split"]] = table[["label", "group", "split"]]
    examples["reason"] = None
    examples.loc[examples["label"].isna(), "reason"] = "no label"
    repeated = examples.duplicated(keep="first")
    if repeated.any():
        notes.append(f"{path.name}: {repeated.sum()} lines repeat an earlier one; left out")
    examples = examples[~repeated].reset_index(drop=True)
    unfit = {file: _unfit(Path(file), [*roots, Path(file).parent]) for file in examples["path"].unique()}
    examples["reason"] = examples["path"].map(unfit).fillna(examples["reason"]).astype(object)
    examples.loc[examples["id"].duplicated(keep=False), "reason"] = "listed more than once, with different cells"
    # DVC runs `prepare` again when what it watches changes, and it watches only these.
    watched = [Path(data.images).resolve(), Path("data/fetched").resolve()]
    folders = {Path(file).parent for file in examples["path"]}
    astray = [str(folder) for folder in folders if not any(map(folder.resolve().is_relative_to, watched))]
    if astray:
        notes.append(
            f"DVC does not watch {_listed(sorted(astray))}: changed pictures there would go unnoticed; "
            "set data.images to a folder that holds them"
        )
    return examples, notes


def _looks_like_one(cell: str) -> bool:
    return Path(cell.strip()).suffix.lower() in PICTURES


def _picture(cell: str, roots: list[Path]) -> Path | None:
    """The file that a cell names, as it stands, with Windows' separators turned, or without its ending."""
    text = cell.strip()
    if not text or "\0" in text:
        return None
    for name in dict.fromkeys((text, text.replace("\\", "/"))):
        for root in roots:
            if (root / name).is_file():
                return root / name
            if "." not in Path(name).name and (root / name).parent.is_dir():
                for ending in (".jpg", ".jpeg", ".png", ".tif"):  # many tables list ids instead of files
                    if (file := root / (name + ending)).is_file():
                        return file
    return None


def _id(file: str, roots: list[Path]) -> str:
    """The path from the first root that it is under, the user's own words where it is under none."""
    for root in roots:
        if Path(file).is_relative_to(root):
            return Path(file).relative_to(root).as_posix()
    return Path(file).as_posix()

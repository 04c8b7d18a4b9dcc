"""Reading: every layout that people have, and one clear sentence for what cannot be used."""

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from headstart import params
from headstart.data import arrays, readers, tables
from headstart.data.labels import class_names
from headstart.stage import UserError

Settings = Callable[..., params.Data]
Picture = Callable[..., Path]
TABLE = "a.png,cat\nb.png,cat\nc.png,cat\nd.png,dog\ne.png,dog\nf.png,dog\n"


@pytest.fixture
def root(tmp_path: Path, picture: Picture) -> Path:
    """Two classes of three pictures, one of which lies deeper."""
    for at, name in enumerate(["cat/1.jpg", "cat/2.PNG", "cat/10.png", "dog/a.png", "dog/b.png", "dog/more/c.png"]):
        picture(tmp_path / "pets" / name, seed=at)
    return tmp_path / "pets"


@pytest.fixture
def table(tmp_path: Path, picture: Picture) -> Callable[[str], Path]:
    """Writes a table beside six pictures."""

    def write(text: str, name: str = "labels.csv") -> Path:
        for at, letter in enumerate("abcdef"):
            picture(tmp_path / f"{letter}.png", seed=at)
        (tmp_path / name).write_bytes(text.encode())
        return tmp_path / name

    return write


def test_a_folder_per_class(root: Path, settings: Settings) -> None:
    (root / "cat/.hidden.png").write_text("")
    (root / ".cache").mkdir()
    (root / "cat/notes.txt").write_text("")
    examples, notes = readers.read(settings(root))
    assert list(examples["id"]) == sorted(examples["id"])
    assert set(examples["id"]) >= {"cat/2.PNG", "dog/more/c.png"}
    assert examples["label"].value_counts().to_dict() == {"cat": 3, "dog": 3}
    assert examples[["group", "split", "reason"]].isna().all(axis=None)
    assert notes == ["not pictures, left out: cat/notes.txt"]


def test_real_pictures_are_all_found(plankton: Path, settings: Settings) -> None:
    examples, _ = readers.read(settings(plankton))
    assert len(examples) == 105
    assert examples["label"].nunique() == 6


@pytest.mark.parametrize(
    "names", [("train", "val", "test"), ("Training", "dev", "testing"), ("train", "valid", "test")]
)
def test_split_folders_above_the_classes(
    names: tuple[str, ...], tmp_path: Path, picture: Picture, settings: Settings
) -> None:
    for split in names:
        for label in ("cat", "dog"):
            picture(tmp_path / "pets" / split / label / "1.png")
    examples, _ = readers.read(settings(tmp_path / "pets"))
    assert examples["split"].value_counts().to_dict() == {"train": 2, "validation": 2, "test": 2}
    assert set(examples["label"]) == {"cat", "dog"}


def test_a_class_called_test_is_a_class(root: Path, picture: Picture, settings: Settings) -> None:
    for at in range(3):
        picture(root / f"test/{at}.png")
    examples, _ = readers.read(settings(root))
    assert set(examples["label"]) == {"cat", "dog", "test"}


def test_a_link_out_of_the_data_is_set_aside(root: Path, picture: Picture, settings: Settings) -> None:
    (root / "cat/link.png").symlink_to(picture(root.parent / "elsewhere.png"))
    examples, _ = readers.read(settings(root))
    assert list(examples.loc[examples["reason"].notna(), "id"]) == ["cat/link.png"]


@pytest.mark.parametrize(
    "text",
    [
        TABLE,
        "path,label\n" + TABLE,
        "\ufeff" + "Image Path,Class\n" + TABLE,
        TABLE.replace("\n", "\r\n"),
        TABLE.replace("\n", "\n\n \n"),
        TABLE.replace(",", ";"),
        TABLE.replace(",", "\t"),
        TABLE.replace(",", "      "),
        TABLE.replace(",", " \t "),
        TABLE.replace("a.png", '"a.png"').replace("cat", ' "cat"'),
        TABLE.replace("a.png", "./a.png"),
        TABLE.replace(".png", ""),
        "label,note,image\n"
        + "".join(f"{label},x,{path}\n" for path, label in (line.split(",") for line in TABLE.split())),
    ],
    ids=[
        "plain",
        "header",
        "BOM",
        "CRLF",
        "blank lines",
        "semicolon",
        "tab",
        "blanks",
        "mixed blanks",
        "quotes",
        "dot",
        "no endings",
        "other order",
    ],
)
def test_a_table_is_read_as_people_write_it(text: str, table: Callable[..., Path], settings: Settings) -> None:
    examples, _ = readers.read(settings(table(text)))
    assert list(examples["id"]) == [f"{letter}.png" for letter in "abcdef"]
    assert list(examples["label"]) == ["cat"] * 3 + ["dog"] * 3


def test_columns_may_be_named_or_numbered(table: Callable[..., Path], settings: Settings) -> None:
    lines = [
        f"{at},{line},p{at // 2},{'test' if at % 3 == 2 else 'Val' if at % 3 else 'train'}"
        for at, line in enumerate(TABLE.split())
    ]
    path = table("\n".join(["n,photo file,what,who,part", *lines]))
    by_name = {"path": "photo file", "label": "what", "group": "who", "split": "part"}
    named, _ = readers.read(settings(path, columns=by_name))
    numbered, _ = readers.read(settings(path, columns={"path": 1, "label": 2, "group": 3, "split": 4}))
    assert named.equals(numbered)
    assert list(named["split"]) == ["train", "validation", "test"] * 2
    assert list(named["group"]) == ["p0", "p0", "p1", "p1", "p2", "p2"]


def test_windows_paths_and_paths_from_another_folder(tmp_path: Path, picture: Picture, settings: Settings) -> None:
    for at, line in enumerate(TABLE.split()):
        picture(tmp_path / "pictures/sub" / line.split(",")[0], seed=at)
    (tmp_path / "tables").mkdir()
    path = tmp_path / "tables/labels.csv"
    path.write_text("".join(f"sub\\{line}\n" for line in TABLE.split()))
    examples, notes = readers.read(settings(path, images=str(tmp_path / "pictures")))
    assert examples["id"].iloc[0] == "sub/a.png"
    assert not notes


def test_pictures_that_dvc_does_not_watch_are_named(table: Callable[..., Path], settings: Settings) -> None:
    path = table(TABLE)
    assert any("DVC does not watch" in note for note in readers.read(settings(path))[1])
    assert not any("DVC" in note for note in readers.read(settings(path, images=str(path.parent)))[1])


def test_a_threshold_makes_two_classes_in_the_order_of_their_scores(
    table: Callable[..., Path], settings: Settings
) -> None:
    path = table("a.png 0.0\nb.png 0.5\nc.png 0.333\nd.png 0,7\ne.png 1\nf.png 1.0\n")
    data = settings(path, threshold=0.5, classes=["functional", "defective"], separator="whitespace")
    examples, _ = readers.read(data)
    assert list(examples["label"]) == ["functional"] * 3 + ["defective"] * 3
    assert class_names(examples["label"], data) == ["functional", "defective"]
    assert set(readers.read(settings(path, threshold=0.5, separator="whitespace"))[0]["label"]) == {
        "<=0.5",
        ">0.5",
    }


def test_lines_without_label_and_contradicting_lines_are_set_aside(
    table: Callable[..., Path], settings: Settings
) -> None:
    for letter in "ghi":
        table(TABLE).with_name(f"{letter}.png").write_bytes(b"")
    examples, notes = readers.read(settings(table(TABLE + "g.png,\nh.png,cat\nh.png,dog\na.png,cat\ni.png,cat\n")))
    reasons = examples.set_index("id")["reason"].dropna()
    assert list(reasons.index) == ["g.png", "h.png", "h.png"]
    assert any("1 lines repeat" in note for note in notes)


BAD_TABLES = {
    "missing files": (
        TABLE.replace("a.png", "x.png").replace("b.png", "y.png"),
        {},
        "2 of 6 pictures .*: x.png, y.png",
    ),
    "missing first file without header": (TABLE.replace("a.png", "x.png"), {}, "1 of 6 pictures .*: x.png"),
    "unknown column": (
        "path,lable\n" + TABLE,
        {"columns": {"label": "label"}},
        "path, lable; did you mean 'lable'",
    ),
    "column number": (TABLE, {"columns": {"label": 2}}, "columns 0 to 1"),
    "name without header": (TABLE, {"columns": {"label": "label"}}, "there is no header"),
    "no number": (TABLE, {"threshold": 0.5}, "line 1: 'cat' is no number .* set data.threshold to null"),
    "unknown split": (
        "path,label,split\n" + TABLE.replace("\n", ",trian\n"),
        {},
        "lines 2, 3.*'trian' is not a split",
    ),
    "uneven": (TABLE.replace("d.png,", "d.png,,"), {}, "line 4: 3 cells where the first line has 2"),
    "wrong separator": (TABLE, {"separator": "tab"}, "one column where path and label are needed"),
    "one column": ("a.png\nb.png\n", {}, "no separator found in 'a.png'"),
    "empty": ("\n\n", {}, "empty"),
    "header only": ("path,label\n", {}, "nothing below"),
    "no path": (TABLE + ",cat\n", {}, "no path in line 7"),
    "open quote": (TABLE + '"a.png,cat\n' + "x" * 140_000, {}, "not readable as a table"),
    "one class": (TABLE.replace("dog", "cat"), {}, "only one class, 'cat'"),
    "single example": (TABLE.replace("f.png,dog", "f.png,eel"), {}, "'dog' 2, 'eel' 1"),
    "scores as classes": (
        "".join(f"{p}.png,{at / 7}\n" for at, p in enumerate("abcdef")),
        {},
        "set data.threshold",
    ),
}


@pytest.mark.parametrize("kind", BAD_TABLES)
def test_a_bad_table_is_one_sentence(kind: str, table: Callable[..., Path], settings: Settings) -> None:
    text, choices, message = BAD_TABLES[kind]
    with pytest.raises(UserError, match=message) as caught:
        readers.read(settings(table(text), **choices))
    assert "\n" not in str(caught.value)


def test_text_that_is_not_utf8_is_named(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "a.csv").write_bytes("a.png,Käse".encode("latin-1"))
    with pytest.raises(UserError, match="not UTF-8 text"):
        readers.read(settings(tmp_path / "a.csv"))


def bad_folder(kind: str, root: Path, picture: Picture) -> Path:
    if kind == "missing":
        return root.with_name("pest")
    if kind == "empty class":
        (root / "eel").mkdir()
    if kind == "class without pictures":
        (root / "eel").mkdir()
        (root / "eel/readme.md").write_text("")
    if kind == "single example":
        picture(root / "eel/1.png")
    if kind == "one class":
        return root / "dog"
    if kind == "no class folders":
        return root / "cat"
    if kind == "nothing":
        (root / "new").mkdir()
        return root / "new"
    if kind == "one folder above":
        return root.parent
    if kind == "other file":
        return picture(root / "a.png")
    if kind == "strange name":
        picture(root / "cat/a\nb.png")
    return root


def test_names_may_hold_any_space(root: Path, picture: Picture, settings: Settings) -> None:
    for number in range(3):
        picture(root / f"sea\u3000lion/{number} 9.41\u202fAM.png")
    examples, _ = readers.read(settings(root))
    assert "sea\u3000lion" in set(examples["label"])


def test_a_cell_of_a_table_may_hold_what_ends_a_line_elsewhere(
    tmp_path: Path, picture: Picture, settings: Settings
) -> None:
    rows = [f"{picture(tmp_path / f'{n}.png').name},{'ab'[n % 2]},a caption\u2028of two\x0blines" for n in range(6)]
    (tmp_path / "a.csv").write_text("path,label,caption\n" + "\n".join(rows) + "\n")
    assert len(readers.read(settings(tmp_path / "a.csv", images=str(tmp_path)))[0]) == 6


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "pest does not exist, did you mean .*pets"),
        ("empty class", "class folder .*eel holds no pictures, nothing"),
        ("class without pictures", "class folder .*eel holds no pictures, only readme.md"),
        ("single example", "1 of 3 classes have fewer than 3 examples .*: 'eel' 1"),
        ("one class", "only one class, 'more'"),
        ("no class folders", "cat holds pictures but no class folders"),
        ("nothing", "new holds no pictures"),
        ("one folder above", "holds one folder, the classes are inside; set .*pets"),
        ("other file", "a.png is of no kind known here; allowed are a folder per class, .csv"),
        ("strange name", r"the name 'cat/a\\nb.png' holds a line end"),
    ],
)
def test_a_bad_folder_is_one_sentence(
    kind: str, message: str, root: Path, picture: Picture, settings: Settings
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        readers.read(settings(bad_folder(kind, root, picture)))
    assert "\n" not in str(caught.value)


def npz(path: Path, **content: np.ndarray) -> Path:
    np.savez_compressed(path, **content)
    return path


def digits(n: int = 30) -> tuple[np.ndarray, np.ndarray]:
    images, labels = load_digits(return_X_y=True)
    return images[:n].reshape(n, 8, 8).astype(np.uint8), labels[:n]


@pytest.mark.parametrize("names", ["{}_images {}_labels", "x_{} y_{}"])
def test_an_npz_with_splits(names: str, tmp_path: Path, settings: Settings) -> None:
    images, labels = digits(60)
    images_name, labels_name = names.split()
    content = {}
    for at, split in enumerate(("train", "val", "test")):
        content |= {images_name.format(split): images[at::3], labels_name.format(split): labels[at::3, None]}
    path = npz(tmp_path / "a.npz", **content)
    examples, _ = readers.read(settings(path))
    assert list(examples["id"][[0, 20]]) == ["train/000000", "val/000000"]
    assert set(examples["split"]) == {"train", "validation", "test"}
    assert class_names(examples["label"], settings(path)) == [str(digit) for digit in range(10)]
    stored = np.stack(list(arrays.pictures(path, list(examples["id"]))))
    assert np.array_equal(stored, np.concatenate([images[at::3] for at in range(3)]))
    some = ["train/000003", "train/000019", "test/000002"]
    assert np.array_equal(np.stack(list(arrays.pictures(path, some))), images[[9, 57, 8]])


@pytest.mark.parametrize("order", ["C", "F"])
def test_an_npz_without_splits_in_either_memory_order(order: str, tmp_path: Path, settings: Settings) -> None:
    images, labels = digits()
    path = npz(tmp_path / "a.npz", images=np.array(images, order=order), labels=labels.astype(float))
    examples, _ = readers.read(settings(path))
    assert examples["split"].isna().all()
    assert examples["label"].iloc[3] == "3"
    assert np.array_equal(np.stack(list(arrays.pictures(path, list(examples["id"])))), images)


IMAGES, LABELS = digits()
BAD_ARRAYS = {
    "pickled": ({"images": np.array([{}] * 30), "labels": LABELS}, "object of shape"),
    "pickled labels": (
        {"images": IMAGES, "labels": np.array([{}] * 30)},
        "not an .npz of plain arrays.*allow_pickle",
    ),
    "no images": ({"data": IMAGES}, "no images found; .* it holds data"),
    "no labels": ({"train_images": IMAGES}, "train_images has no train_labels"),
    "other length": ({"images": IMAGES, "labels": LABELS[:9]}, "holds 30 pictures, labels 9 labels"),
    "channels first": ({"images": np.zeros((30, 3, 8, 8)), "labels": LABELS}, r"of shape \(30, 3, 8, 8\)"),
    "vectors": ({"images": IMAGES.reshape(30, 64), "labels": LABELS}, r"of shape \(30, 64\)"),
    "one-hot": ({"images": IMAGES, "labels": np.eye(10)[LABELS]}, "one number or name for each image"),
    "complex": ({"images": IMAGES.astype(complex), "labels": LABELS}, "complex128"),
}


@pytest.mark.parametrize("kind", BAD_ARRAYS)
def test_a_bad_npz_is_one_sentence(kind: str, tmp_path: Path, settings: Settings) -> None:
    content, message = BAD_ARRAYS[kind]
    with pytest.raises(UserError, match=message):
        readers.read(settings(npz(tmp_path / "a.npz", **content)))


def test_a_file_that_only_ends_in_npz_is_one_sentence(tmp_path: Path, settings: Settings) -> None:
    for content in (b"", b"hello", b"PK\x03\x04 no zip"):
        (tmp_path / "a.npz").write_bytes(content)
        with pytest.raises(UserError, match=r"not an \.npz"):
            readers.read(settings(tmp_path / "a.npz"))


def test_labels_sort_as_people_do(tmp_path: Path, settings: Settings) -> None:
    def order(*names: str) -> list[str]:
        return class_names(pd.Series(list(names) * 3), settings(tmp_path))

    assert order("10", "9", "-1", "2.5") == ["-1", "2.5", "9", "10"]
    assert order("b10", "b2", "a", "B1") == ["a", "B1", "b2", "b10"]
    assert order("nan", "inf", "1") == ["1", "inf", "nan"]


cells = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=8)
blank = re.compile(r"\s")


@given(
    rows=st.lists(st.tuples(cells, cells, cells), min_size=2, max_size=20, unique_by=lambda row: row[0]),
    separator=st.sampled_from(["comma", "semicolon", "tab", "whitespace"]),
    end=st.sampled_from(["\n", "\r\n"]),
    blank_lines=st.booleans(),
)
@hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_quoted_table_comes_back_as_it_was(
    rows: list[tuple[str, str, str]],
    separator: str,
    end: str,
    blank_lines: bool,
    settings: Settings,
    tmp_path: Path,
) -> None:
    text = io.StringIO()
    quoting = csv.QUOTE_ALL
    csv.writer(text, delimiter=tables.SEPARATORS[separator], lineterminator=end, quoting=quoting).writerows(rows)
    path = tmp_path / "a.csv"
    path.write_bytes((text.getvalue().replace(end, end + end) if blank_lines else text.getvalue()).encode())
    data = settings(path, separator=separator, header=False, columns={"group": 2})
    table, _ = tables.read_table(path, data, lambda cell: False)
    assert list(table[["path", "label", "group"]].itertuples(index=False, name=None)) == rows
    assert list(table["line"]) == [at * (2 if blank_lines else 1) + 1 for at in range(len(rows))]


@example(content=b",")  # separators alone
@example(content=b"\x0b")
@given(content=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
@hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_called_a_table_are_read_or_refused_by_a_sentence(
    content: bytes, settings: Settings, tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(UserError):
        readers.read(settings(path))

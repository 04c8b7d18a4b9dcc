"""Label kinds on the data's side: what a cell says, how classes are found, counted and spread over the splits."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart import params
from headstart.data import labels, prepared, readers, splitting, text_readers
from headstart.data.tables import SPLITS
from headstart.stage import UserError

Settings = Callable[..., params.Data]
names = st.text(st.characters(codec="utf-8", exclude_characters="|;,\x02", exclude_categories=("C", "Z")), min_size=1)


@given(st.lists(st.lists(names, max_size=4), min_size=1, max_size=8), st.sampled_from(labels.SEPARATORS))
def test_several_classes_come_back_whatever_separates_them(rows: list[list[str]], separator: str) -> None:
    found = labels.several("t.csv", [f" {separator} ".join(row) or None for row in rows])
    assert [set(labels.members(label)) for label in found] == [set(row) for row in rows]
    # The same classes are the same label, in whatever order they are given.
    assert found == labels.several("t.csv", [separator.join(reversed(row)) or None for row in rows])


@given(st.lists(st.lists(names | st.just("Arts, Crafts"), max_size=4), min_size=1, max_size=8))
def test_a_list_in_json_may_hold_what_separates_elsewhere(rows: list[list[str]]) -> None:
    cells = ["".join(f"{name}{labels.MEMBER_END}" for name in row) for row in rows]
    found = labels.several("t.jsonl", cells)
    assert [set(labels.members(label)) for label in found] == [set(row) for row in rows]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_score_is_kept_as_a_text_that_is_the_same_number(number: float) -> None:
    said = labels.score("t.csv, line 1", repr(number))
    assert said is not None
    assert float(said) == number
    assert not said.endswith(".0")


@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=9))
def test_columns_of_0_and_1_are_classes(rows: list[list[bool]]) -> None:
    columns = {name: ["1" if row[at] else "" for row in rows] for at, name in enumerate("abc")}
    found = labels.flags("t.csv", range(len(rows)), columns)
    kept = prepared.numbers(pd.Series(found), list("abc"), "multi")
    assert kept.dtype == np.float32
    assert (kept == np.array(rows)).all()


@pytest.mark.parametrize("cell", ["good", "inf", "1e999", "3 stars"])
def test_what_is_no_number_is_no_score(cell: str) -> None:
    with pytest.raises(UserError, match=r"^t\.csv, line 7: .* is no number that can be a score"):
        labels.score("t.csv, line 7", cell)


def test_a_comma_that_may_stand_for_thousands_is_refused(settings: Settings, tmp_path: Path) -> None:
    data = settings(tmp_path / "a.csv", labels="score", threshold=None, classes=None)
    with pytest.raises(UserError, match=r"^a\.csv, line 2: '1,234' may be 1234 or 1\.234; write"):
        labels.read("a.csv", [1, 2, 3], ["950", "1,234", "12,000"], data)
    assert labels.read("a.csv", [1, 2, 3], ["1,25", "0,125", "3"], data) == ["1.25", "0.125", "3"]
    assert labels.read("a.csv", [1, 2], ["0,125", "1"], data) == ["0.125", "1"]


def test_an_empty_cell_or_not_a_number_is_no_score() -> None:
    assert [labels.score("", cell) for cell in (None, "nan", "1,5", "-0.0", "2.0")] == [None, None, "1.5", "0", "2"]


def table(path: Path, rows: list[str], picture: Callable[..., Path], separator: str = ",") -> Path:
    """A table of small pictures, one beside it for each row."""
    for number, _ in enumerate(rows):
        picture(path.parent / f"{number}.png", seed=number)
    path.write_text("".join(f"{at}.png{separator}{row}\n" for at, row in enumerate(rows)))
    return path


def test_a_column_of_several_classes(tmp_path: Path, settings: Settings, picture: Callable[..., Path]) -> None:
    rows = ["red|round", "round", "", "red", "red|round|big", "big", "big"] * 2
    data = settings(table(tmp_path / "t.csv", rows, picture), labels="multi", header=False)
    examples, _ = readers.read(data)
    assert list(examples["label"][:5]) == ["red|round", "round", "", "red", "big|red|round"]
    assert examples["reason"].isna().all(), "no class at all is an answer, not a gap"
    assert labels.class_names(examples["label"], data) == ["big", "red", "round"]


def test_a_class_of_too_few_examples_is_refused(tmp_path: Path, settings: Settings, picture: Callable[..., Path]):
    rows = ["red;round"] * 5 + ["red;odd"] * 2
    path = table(tmp_path / "t.csv", rows, picture)
    data = settings(path, labels="multi", header=False, separator="comma")
    with pytest.raises(UserError, match=r"1 of 3 classes have fewer than 3 examples .*'odd' 2"):
        readers.read(data)


def test_columns_of_classes_in_a_table_of_texts(tmp_path: Path, settings: Settings) -> None:
    rows = [f"comment {at},{at % 2},{at % 3 == 0:d},0.0" for at in range(12)]
    path = tmp_path / "comments.csv"
    path.write_text("comment_text,toxic,threat,insult\n" + "\n".join(rows))
    columns = {"text": "comment_text", "label": ["toxic", "threat"]}
    data = settings(path, labels="multi", columns=columns)
    examples, notes = text_readers.read(data)
    assert list(examples["label"][:4]) == ["threat", "toxic", "", "threat|toxic"]
    assert any("'toxic', 'threat'" in note for note in notes)
    path.write_text(path.read_text().replace("comment 4,0", "comment 4,-1"))
    with pytest.raises(UserError, match=r"line 6: '-1' in column 'toxic' is neither 0 nor 1"):
        text_readers.read(data)
    missing = settings(path, labels="multi", columns={**columns, "label": ["toxic", "thread"]})
    with pytest.raises(UserError, match=r"no column 'thread'.*did you mean 'threat'"):
        text_readers.read(missing)


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_list_of_classes(tmp_path: Path, settings: Settings, kind: str) -> None:
    rows = [{"text": f"film {at}", "label": ["drama", "war, history"][: at % 3]} for at in range(12)]
    path = tmp_path / f"films.{kind}"
    if kind == "jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    else:
        pd.DataFrame(rows).to_parquet(path)
    examples, _ = text_readers.read(settings(path, labels="multi"))
    assert list(examples["label"][:3]) == ["", "drama", "drama|war, history"]


def test_a_class_with_the_mark_between_classes_in_its_name_is_refused(tmp_path: Path, settings: Settings) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps({"text": f"t{at}", "label": ["a|b"]}) for at in range(4)))
    with pytest.raises(UserError, match=r"the class 'a\|b' has a \| in its name"):
        text_readers.read(settings(path, labels="multi"))


def test_a_column_of_scores(tmp_path: Path, settings: Settings, picture: Callable[..., Path]) -> None:
    rows = ["0.50", "1", "-2.25", "nan", "1e3"]
    data = settings(table(tmp_path / "t.csv", rows, picture), labels="score", header=False)
    examples, _ = readers.read(data)
    assert list(examples["label"].dropna()) == ["0.5", "1", "-2.25", "1000"]
    assert list(examples["reason"].dropna()) == ["no label"]
    usable = examples["label"].dropna()
    assert labels.class_names(usable, data) == ["score"]
    assert labels.class_names(
        usable, data.model_copy(update={"columns": data.columns.model_copy(update={"label": "y"})})
    ) == ["y"]
    assert prepared.numbers(usable, ["score"], "score").tolist() == [0.5, 1.0, -2.25, 1000.0]


@pytest.mark.parametrize(("kind", "needed"), [("multi", "any number of classes"), ("score", "a score")])
def test_a_folder_per_class_has_one_class_an_example(tmp_path: Path, settings: Settings, kind: str, needed: str):
    (tmp_path / "a").mkdir()
    for read in (readers.read, text_readers.read):
        with pytest.raises(UserError, match=f"gives each example one class, but data.labels is {kind}; .*{needed}"):
            read(settings(tmp_path, labels=kind))


def test_arrays_of_several_classes_and_of_scores(tmp_path: Path, settings: Settings) -> None:
    images = np.zeros((12, 8, 8), np.uint8)
    flags = np.stack([np.arange(12) % 2, np.arange(12) % 3 == 0], axis=1).astype(np.uint8)
    np.savez(tmp_path / "m.npz", images=images, labels=flags)
    examples, _ = readers.read(settings(tmp_path / "m.npz", labels="multi"))
    assert list(examples["label"][:4]) == ["1", "0", "", "0|1"]
    with pytest.raises(UserError, match=r"set data\.labels to multi"):
        readers.read(settings(tmp_path / "m.npz"))
    np.savez(tmp_path / "s.npz", images=images, labels=np.linspace(0, 1.1, 12, dtype=np.float32)[:, None])
    examples, _ = readers.read(settings(tmp_path / "s.npz", labels="score"))
    assert list(examples["label"][:3]) == ["0", "0.1", "0.2"]
    with pytest.raises(UserError, match=r"data\.labels multi needs 0 or 1"):
        readers.read(settings(tmp_path / "s.npz", labels="multi"))


@given(st.lists(st.sets(st.sampled_from("abcd")), min_size=30, max_size=80), st.integers(0, 5))
def test_each_of_several_classes_reaches_each_split_where_it_can(rows: list[set[str]], seed: int) -> None:
    of = [sorted(row) for row in [*rows, *[{name} for name in "abcd" for _ in range(3)]]]
    examples = pd.DataFrame({"id": [f"{at}" for at in range(len(of))], "label": "", "group": None, "split": None})
    split = splitting.assign(examples.astype(object), 0.6, 0.15, 0.25, seed, of)
    found = {(name, where) for names, where in zip(of, split, strict=True) for name in names}
    # Three examples of each class have no other class, so that moving them takes nothing from another.
    assert found == {(name, where) for name in "abcd" for where in SPLITS}


def test_few_scores_reach_each_split() -> None:
    examples = pd.DataFrame(
        {"id": list("abcdefgh"), "label": list("12345678"), "group": None, "split": None}, dtype=object
    )
    split = splitting.assign(examples, 0.4, 0.3, 0.3, 3, labels.classes_of(examples["label"], "score"))
    assert set(split) == set(SPLITS)


def test_several_classes_count_for_each_of_them_and_scores_by_intervals() -> None:
    given, split = pd.Series(["a|b", "", "b"]), pd.Series(["train", "test", "train"])
    found = labels.counted(given, ["a", "b"], "multi")
    assert labels.counts(found, split, SPLITS)["train"].to_dict() == {"a": 1, "b": 2}
    assert found.facts == {"of_no_class": 1}
    scores = labels.counted(pd.Series(["0", "10", "9.5", "0.1"]), ["score"], "score")
    assert (scores.names[0], scores.names[-1]) == ("0 to 1", "9 to 10")
    assert labels.counts(scores, pd.Series(["train"] * 4), SPLITS)["train"].tolist() == [2, 0, 0, 0, 0, 0, 0, 0, 0, 2]
    assert scores.facts["mean"] == pytest.approx(4.9)

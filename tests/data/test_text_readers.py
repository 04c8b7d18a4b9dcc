"""Texts as people keep them: folders, tables of every kind, quotes, marks, encodings; and what is said of the rest."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from headstart import params
from headstart.data import encodings
from headstart.data.text_readers import read
from headstart.data.text_tables import read_table
from headstart.stage import UserError

Settings = Callable[..., params.Data]
SMS = [
    ("ham", 'Ok lar... Joking wif u "oni'),
    ("spam", "FREE entry, win a £100 prize; txt 'WIN' now"),
    ("ham", "U dun say so early hor… U c already then say"),
    ("spam", '"Urgent" call 0900, it is free'),
    ("ham", "Nah, I don't think he goes to usf"),
    ("spam", "Had your mobile 11 months? U R entitled to update"),
]


def texts(examples: pd.DataFrame) -> list[tuple[str, str]]:
    return list(zip(examples["label"], examples["text"], strict=True))


def test_a_folder_per_class_with_given_splits(tmp_path: Path, settings: Settings) -> None:
    for split in ("train", "test"):
        for label in ("neg", "pos"):
            (tmp_path / split / label).mkdir(parents=True)
            for number in range(3):
                (tmp_path / split / label / f"{number}.txt").write_text(f"{label} {number}")
    examples, _ = read(settings(tmp_path))
    assert examples["id"].iloc[0] == "test/neg/0.txt"
    assert examples["split"].value_counts().to_dict() == {"test": 6, "train": 6}
    assert set(examples["label"]) == {"neg", "pos"}
    assert examples["text"].isna().all(), "they are read later, one by one"


def test_short_messages_without_a_header_or_closed_quotes(tmp_path: Path, settings: Settings) -> None:
    file = tmp_path / "SMSSpamCollection"
    file.write_text("".join(f"{label}\t{text}\n" for label, text in SMS), encoding="utf-8")
    examples, notes = read(settings(file))
    assert texts(examples) == SMS
    assert "label from column 0" in notes[0]


def test_a_spreadsheets_table_in_latin_letters_with_empty_columns(tmp_path: Path, settings: Settings) -> None:
    file = tmp_path / "spam.csv"
    with file.open("w", newline="", encoding="cp1252") as open_file:
        writer = csv.writer(open_file)
        writer.writerow(["v1", "v2", "", "", ""])
        writer.writerows([*row, "", "", ""] for row in SMS)
    examples, notes = read(settings(file))
    assert texts(examples) == SMS
    assert any("read as cp1252" in note for note in notes)


def test_reviews_with_quotes_line_breaks_and_a_mark_at_the_beginning(tmp_path: Path, settings: Settings) -> None:
    rows = [(f'A "great" film,<br />\nno. {n}\nreally', "01"[n % 2]) for n in range(8)]
    with (tmp_path / "reviews.csv").open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows([("review", "sentiment"), *rows])
    examples, _ = read(settings(tmp_path / "reviews.csv"))
    assert list(zip(examples["text"], examples["label"], strict=True)) == rows


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".parquet"])
def test_lines_of_json_and_parquet(tmp_path: Path, settings: Settings, ending: str) -> None:
    table = pd.DataFrame({"label": [1.0, 0.0, None, 1.0, 0.0, 1.0, 0.0], "text": [f"line\n{n}" for n in range(7)]})
    file = tmp_path / f"data{ending}"
    if ending == ".parquet":
        table.to_parquet(file)
    else:
        table.to_json(file, orient="records", lines=ending == ".jsonl")
    examples, _ = read(settings(file))
    assert examples["text"].tolist() == table["text"].tolist()
    assert examples["label"].dropna().tolist() == ["1", "0", "1", "0", "1", "0"]
    assert examples["reason"].tolist() == [None, None, "no label", None, None, None, None]


def test_pairs_are_told_by_the_names_of_their_columns(tmp_path: Path, settings: Settings) -> None:
    rows = "".join(f"it rains {n}\tit is wet {n}\t{n % 2}\n" for n in range(6))
    (tmp_path / "pairs.tsv").write_text("sentence1\tsentence2\tlabel\n" + rows)
    examples, _ = read(settings(tmp_path / "pairs.tsv"))
    assert examples[["text", "pair", "label"]].iloc[1].tolist() == ["it rains 1", "it is wet 1", "1"]


ORANGE = "Category\tText\nd\tstring\nclass\t\n\n"


def test_oranges_three_lines_and_a_table_for_each_split(tmp_path: Path, settings: Settings) -> None:
    for split in ("train", "test"):
        rows = "".join(f"group.{n % 2}\tmessage {n} of {split}\n" for n in range(6))
        (tmp_path / f"news-{split}.tab").write_text(ORANGE + rows)
    (tmp_path / "other-test.tab").write_text(ORANGE + "group.9\tno\n")
    examples, notes = read(settings(tmp_path / "news-train.tab", images=str(tmp_path)))
    assert examples["split"].value_counts().to_dict() == {"train": 6, "test": 6}
    assert examples["text"].iloc[0] == "message 0 of train"
    assert "news-test.tab gives the test split" in notes
    whole = tmp_path / "folder"
    whole.mkdir()
    for split in ("train", "test"):
        (tmp_path / f"news-{split}.tab").rename(whole / f"{split}.tab")
    assert read(settings(whole))[0]["split"].value_counts().to_dict() == {"train": 6, "test": 6}


def test_tables_without_labels_are_no_test_split(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "train.csv").write_text("text,label\n" + "".join(f"text {n},{n % 2}\n" for n in range(6)))
    (tmp_path / "test.csv").write_text("text,id\n" + "".join(f"text {n},{n}\n" for n in range(6)))
    examples, notes = read(settings(tmp_path / "train.csv", columns={"label": "label"}))
    assert len(examples) == 6
    assert any(note.startswith("test.csv lies beside train.csv and is left out") for note in notes)


@pytest.mark.parametrize("kind", ["class", "score"])
def test_a_table_beside_it_is_read_by_the_same_columns(tmp_path: Path, settings: Settings, kind: str) -> None:
    """A competition's test.csv has everything but the labels, and an id that could be some."""
    rows = "".join(f"{n},word {n % 2},text {n},{n % 3}\n" for n in range(9))
    (tmp_path / "train.csv").write_text("id,keyword,text,target\n" + rows)
    (tmp_path / "test.csv").write_text("id,keyword,text\n" + "".join(f"{n},word {n % 2},text {n}\n" for n in range(9)))
    examples, notes = read(settings(tmp_path / "train.csv", labels=kind))
    assert len(examples) == 9
    assert examples["label"].tolist() == [str(n % 3) for n in range(9)]
    (said,) = [note for note in notes if note.startswith("test.csv lies beside train.csv and is left out")]
    assert "has no column 'target'" in said


def test_two_tables_of_one_split_are_not_both_taken(tmp_path: Path, settings: Settings) -> None:
    for name in ("train", "dev", "val"):
        (tmp_path / f"{name}.csv").write_text("text,label\n" + "".join(f"{name} {n},{n % 2}\n" for n in range(6)))
    examples, notes = read(settings(tmp_path / "train.csv"))
    assert examples["split"].value_counts().to_dict() == {"train": 6, "validation": 6}
    assert "val.csv lies beside train.csv and is left out: dev.csv gives the validation split" in notes


def test_scores_become_two_classes(tmp_path: Path, settings: Settings) -> None:
    file = tmp_path / "tweets.txt"
    file.write_text("".join(f"{n}\t{n - 3.5}\ttweet {n}\n" for n in range(8)))
    data = settings(file, threshold=0.0, classes=["negative", "positive"], columns={"label": 1, "text": 2})
    assert read(data)[0]["label"].tolist() == ["negative"] * 4 + ["positive"] * 4


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "text,label\nhello,1\n", "only one class|fewer than 3"),
        ("a.csv", "text,label\none, two,1\nthree,0\n", "line 2: 3 cells where the first line has 2; quote cells"),
        ("a.csv", "\n", "empty; a table needs a line with text and label"),
        ("a.csv", "just a sentence\nand another\n", "no separator found in 'just a sentence'"),
        ("a.jsonl", '{"text": "a", "label": 1}\n{"text": }\n', "line 2: not JSON"),
        ("a.jsonl", "[1]", "line 1: an object"),
        ("a.parquet", "PAR1", "not readable as Parquet"),
        ("a.docx", "x", r"of no kind known here; allowed are .*\.csv"),
        ("a.tsv", "id\ttext\n1\ta b\n2\tc d\n", "only one class|fewer than 3"),
    ],
)
def test_a_mistake_is_told_with_the_file(
    tmp_path: Path, settings: Settings, name: str, content: str, said: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=said) as error:
        read(settings(tmp_path / name))
    assert name in str(error.value)


def test_a_column_that_is_not_there_is_told_with_those_that_are(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "a.csv").write_text("body,topic\n" + "x y,1\n" * 3 + "z,2\n" * 3)
    with pytest.raises(UserError, match=r"data.columns.text: .* no column 'boddy'; .* did you mean 'body'"):
        read(settings(tmp_path / "a.csv", columns={"text": "boddy"}))


words = st.text(st.characters(codec="utf-8", exclude_characters="\r\0\x1c\x1d\x1e\x1f\x85"), min_size=1).filter(
    str.strip
)


@given(st.lists(words, min_size=3, max_size=12), st.sampled_from([("csv", ","), ("csv", ";"), ("tsv", "\t")]))
@example(["0", "0", "0\t\n"], ("tsv", "\t"))  # as even without quotes
@hypothesis_settings(max_examples=60, deadline=None)
def test_whatever_a_csv_writer_wrote_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, found: list[str], kind: tuple[str, str]
) -> None:
    ending, separator = kind
    file = tmp_path_factory.mktemp("csv") / f"table.{ending}"
    with file.open("w", newline="", encoding="utf-8") as open_file:
        writer = csv.writer(open_file, delimiter=separator, quoting=csv.QUOTE_ALL)
        writer.writerow(["text", "label"])
        writer.writerows((text, "ab"[at % 2]) for at, text in enumerate(found))
    columns = params.Columns(path=None, text=None, pair=None, label=None, group=None, split=None)
    data = params.Data.model_construct(
        columns=columns, header=None, separator="auto", threshold=None, classes=None, labels="class"
    )
    table = read_table(file, data).rows
    assert table["text"].tolist() == found
    assert table["label"].tolist() == ["ab"[at % 2] for at in range(len(found))]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings_are_found(encoding: str) -> None:
    text = "The café’s price went up by £5 to £25, said the owner, who has run the place for thirty years."
    assert encodings.decode(text.encode(encoding))[0] == text


def test_other_alphabets_are_recognised() -> None:
    text = "Погода сегодня хорошая, и дети играют во дворе до самого вечера, пока их не зовут домой ужинать."
    assert encodings.decode(text.encode("cp1251"))[0] == text


def test_what_is_no_text_is_said_to_be_none() -> None:
    with pytest.raises(ValueError, match="neither UTF-8"):
        encodings.decode(bytes(range(128, 256)) * 3 + b"\0\1\2")


def test_json_keeps_what_it_holds(tmp_path: Path, settings: Settings) -> None:
    rows = [{"text": f"a\u2028b\x85 {n}", "label": bool(n % 2)} for n in range(6)]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    examples, _ = read(settings(tmp_path / "a.jsonl"))
    assert examples["text"].tolist() == [row["text"] for row in rows]
    assert examples["label"].tolist() == ["0", "1"] * 3


def test_a_cell_may_hold_a_book(tmp_path: Path, settings: Settings) -> None:
    book = "word " * 50_000
    with (tmp_path / "books.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *((f"{book}{n}", n % 2) for n in range(6))])
    before = csv.field_size_limit()
    examples, _ = read(settings(tmp_path / "books.csv"))
    assert examples["text"].iloc[3] == f"{book}3"
    assert csv.field_size_limit() == before, "other readers count on it"

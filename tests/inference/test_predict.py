"""`headstart predict` on a real ONNX model that needs no TensorFlow: what is looked at, how, and what is said of it."""

import csv
import io
import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from headstart.commands.predict import main
from headstart.inference import formats
from headstart.inference.inputs import Example, examples
from headstart.inference.model import Prediction, load, predict
from headstart.stage import UserError
from tests.inference.conftest import CLASSES, FACTS, grey


def run(*arguments: str, given: bytes | None = None) -> Result:
    """The command's result; a user's mistake comes as it was raised."""
    return CliRunner().invoke(main, arguments, input=given, catch_exceptions=False)


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_folder_is_read_with_all_below_it_and_the_most_probable_class_comes_first(here: Path) -> None:
    grey(here / "photos" / "b.png", 51)
    grey(here / "photos" / "a" / "c.jpg", 204)
    grey(here / "photos" / ".hidden" / "d.png", 0)
    (here / "photos" / "notes.md").write_text("no picture")
    done = run("photos")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "class   p       class   p       file",
        "dark    0.8000  bright  0.2000  photos/b.png",
        "bright  0.8000  dark    0.2000  photos/a/c.jpg",
    ]


def test_each_format_says_the_same(here: Path) -> None:
    grey(here / "b.png", 51)
    (here / "bad.png").write_bytes(b"no picture")
    said = {form: run("b.png", "bad.png", "--format", form).stdout for form in ("csv", "json", "jsonl")}
    good, bad = rows(said["csv"])
    assert good == {"file": "b.png", "predicted": "dark", "p_dark": "0.8", "p_bright": "0.2", "error": ""}
    assert (bad["file"], bad["predicted"], bad["error"]) == ("bad.png", "", "not a picture of a known kind")
    listed = json.loads(said["json"])
    assert listed == [
        {"file": "b.png", "predicted": "dark", "probabilities": {"dark": 0.8, "bright": 0.2}},
        {"file": "bad.png", "error": "not a picture of a known kind"},
    ]
    assert [json.loads(line) for line in said["jsonl"].splitlines()] == listed


def test_top_keeps_the_most_probable_classes(here: Path) -> None:
    grey(here / "b.png", 51)
    (row,) = rows(run("b.png", "--format", "csv", "--top", "1").stdout)
    assert row == {"file": "b.png", "class_1": "dark", "p_1": "0.8", "error": ""}
    (found,) = json.loads(run("b.png", "--format", "json", "--top", "1").stdout)
    assert found["probabilities"] == {"dark": 0.8}
    assert run("b.png", "--top", "1").stdout.splitlines()[1] == "dark    0.8000  b.png"
    assert rows(run("b.png", "--format", "csv", "--top", "9").stdout)[0]["class_2"] == "bright"


def test_what_cannot_be_read_is_named_with_its_reason_and_the_others_go_on(here: Path) -> None:
    grey(here / "good.png", 0)
    (here / "empty.png").touch()
    (here / "text.jpg").write_text("hello")
    whole = grey(here / "whole.png", 9).read_bytes()
    (here / "half.png").write_bytes(whole[: len(whole) // 2])
    done = run("empty.png", "text.jpg", "good.png", "half.png", "missing.png", "--format", "csv")
    assert done.exit_code == 0
    reasons = {row["file"]: row["error"] for row in rows(done.stdout)}
    assert list(reasons) == ["empty.png", "text.jpg", "good.png", "half.png", "missing.png"]
    assert reasons["good.png"] == ""
    assert "empty" in reasons["empty.png"]
    assert "not a picture" in reasons["text.jpg"]
    assert reasons["half.png"]
    assert "No such file" in reasons["missing.png"]
    assert "4 of 5 could not be read" in done.stderr
    assert "missing.png: unreadable: No such file" in run("missing.png", "good.png").stdout


def test_the_exit_status_is_1_if_nothing_could_be_read(here: Path) -> None:
    assert run("missing.png").exit_code == 1


def test_a_picture_or_paths_come_through_the_standard_input(here: Path) -> None:
    content = grey(here / "b.png", 51).read_bytes()
    assert run("-", given=content).stdout.splitlines()[1].endswith("dark    0.8000  bright  0.2000  -")
    done = run("-", "--format", "csv", given=b"b.png\r\n\nmissing.png\n")
    assert [row["file"] for row in rows(done.stdout)] == ["b.png", "missing.png"]
    with pytest.raises(UserError, match="nothing came"):
        run("-", given=b"")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.csv", "label,image path\nx,b.png\ny,deep/c.png\n"),
        ("list.tsv", "label\timage\nx\tb.png\ny\tdeep/c.png\n"),
        ("no_header.csv", "b.png;1\ndeep/c.png;2\n"),
        ("blanks.csv", "b.png       0.0   mono\ndeep/c.png  1.0   poly\n"),
        ("one_column.csv", "path\nb.png\ndeep/c.png\n"),
        ("one_without_header.csv", "b.png\ndeep/c.png\n"),
        ("list.txt", "b.png\n\ndeep/c.png\n"),
        ("windows.csv", "\ufefflabel,file\r\nx,b.png\r\ny,deep\\c.png\r\n"),
        ("excel.csv", '"file";"note"\n"b.png";"a;b"\n"deep/c.png";""\n'),
    ],
)
def test_a_tables_paths_are_found_however_it_is_written(here: Path, name: str, text: str) -> None:
    grey(here / "data" / "b.png", 51)
    grey(here / "data" / "deep" / "c.png", 204)
    (here / "data" / name).write_text(text, newline="")
    done = run(f"data/{name}", "--format", "csv")
    assert [row["predicted"] for row in rows(done.stdout)] == ["dark", "bright"], done.stdout


def test_a_name_that_no_file_can_have_is_one_that_cannot_be_read(here: Path) -> None:
    grey(here / "b.png", 51)
    long = "x" * 300 + ".png"
    (here / "list.csv").write_text(f"file\n{long}\nb.png\n")
    for done in (run("list.csv", "--format", "csv"), run("-", "--format", "csv", given=f"{long}\nb.png\n".encode())):
        assert [bool(row["error"]) for row in rows(done.stdout)] == [True, False]


def test_a_tables_column_can_be_named_and_a_wrong_name_is_told(here: Path) -> None:
    grey(here / "b.png", 51)
    (here / "list.csv").write_text("thing,where\nx.png,b.png\n")
    for column in ("where", "1"):
        assert rows(run("list.csv", "--column", column, "--format", "csv").stdout)[0]["file"] == "b.png"
    with pytest.raises(UserError, match="no column 'were'; it has thing, where; did you mean 'where'"):
        run("list.csv", "--column", "were")
    (here / "list.csv").write_text("thing,other\nx,y\n")
    with pytest.raises(UserError, match="Name it with --column; it has thing, other"):
        run("list.csv")
    (here / "list.csv").write_text("")
    with pytest.raises(UserError, match="empty"):
        run("list.csv")


names = st.text(
    st.characters(blacklist_categories=["C", "Z"], blacklist_characters='"\\,;\t/') | st.sampled_from(" "),
    min_size=1,
).map(lambda name: f"x{name.strip()}.png")


@given(names=st.lists(names, min_size=2, max_size=20), separator=st.sampled_from(",;\t"))
def test_whatever_a_csv_writer_wrote_is_read(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], separator: str
) -> None:
    path = tmp_path_factory.mktemp("table") / "list.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=separator).writerows([["file", "number"], *([name, 1] for name in names)])
    assert [found.name for found in examples([str(path)], FACTS["task"], io.BytesIO())] == names


@given(name=st.text(min_size=1))
def test_a_files_name_survives_csv_and_json_and_does_nothing_to_a_terminal(name: str) -> None:
    found = Prediction(name, None, np.array([0.25, 0.75], np.float32))
    written = io.StringIO("".join(formats.as_csv([found], CLASSES, None)), newline="")
    assert next(csv.DictReader(written))["file"] == formats._text(name)
    assert json.loads("".join(formats.as_json([found], CLASSES, None)))[0]["file"] == formats._text(name)
    assert "".join(formats.table([found], CLASSES, 1)).count("\n") == 2
    assert "".join(formats.table([found], CLASSES, 1)).replace("\n", "").isprintable()


def test_a_name_that_is_no_text_is_written_with_question_marks(here: Path) -> None:
    picture = grey(here / "b.png", 51).read_bytes()
    Path(os.fsdecode(b"b\xff.png")).write_bytes(picture)
    for form in ("csv", "json", "jsonl", "table"):
        assert "b?.png" in run(os.fsdecode(b"b\xff.png"), "--format", form).stdout


def test_nothing_is_written_where_something_is_wrong_and_the_ending_chooses_the_format(here: Path) -> None:
    grey(here / "b.png", 51)
    Path("kept.json").write_text("before")
    Path("photos").mkdir()
    with pytest.raises(UserError, match="photos holds no pictures"):
        run("photos", "--output", "kept.json")
    assert Path("kept.json").read_text() == "before"
    assert run("b.png", "--output", "kept.json").stdout == ""
    assert json.loads(Path("kept.json").read_text())[0]["predicted"] == "dark"
    assert not list(here.glob(".*.part"))


def test_views_are_averaged_as_the_evaluation_did(here: Path) -> None:
    half = np.zeros((8, 8, 3), np.uint8)
    half[:, :4] = 255
    Image.fromarray(half).save("half.png")

    def bright(*arguments: str) -> float:
        return float(rows(run("half.png", "--format", "csv", *arguments).stdout)[0]["p_bright"])

    assert bright() == 1
    Path("evaluation").mkdir()
    Path("evaluation/inference.json").write_text('{"views": 2}')
    assert bright() == 0.5, "the picture and its mirror image"
    assert bright("--views", "1") == 1
    (here / "models/final/model.json").write_text(json.dumps(FACTS | {"views": 1}))
    assert bright() == 1, "an exported model says itself how many"


def test_pictures_of_more_than_eight_bits_keep_their_greys(here: Path) -> None:
    Image.fromarray(np.full((8, 8), 2**15, np.uint16)).save("deep.png")
    (row,) = rows(run("deep.png", "--format", "csv").stdout)
    assert float(row["p_bright"]) == pytest.approx(0.5, abs=0.01), "the data had none, so its own scale holds"
    (here / "models/final/model.json").write_text(json.dumps(FACTS | {"white": 2.0**17 - 1}))
    (row,) = rows(run("deep.png", "--format", "csv").stdout)
    assert float(row["p_bright"]) == pytest.approx(0.25, abs=0.01), "the scale of the data"


def test_a_thousand_pictures_come_each_once_and_in_order(here: Path) -> None:
    first = grey(here / "many" / "0000.png", 51)
    for number in range(1, 1000):
        os.link(first, first.with_name(f"{number:04d}.png"))
    done = run("many", "--output", "found.csv")
    assert done.exit_code == 0
    found = rows(Path("found.csv").read_text())
    assert [row["file"] for row in found] == [f"many/{number:04d}.png" for number in range(1000)]
    assert {row["p_dark"] for row in found} == {"0.8"}


def test_an_endless_stream_is_answered_as_it_comes(here: Path) -> None:
    picture, asked = grey(here / "b.png", 51), itertools.count()

    def endless() -> Iterator[Example]:
        for number in asked:
            yield Example(str(number), picture)

    found = predict(load(Path("models/final")), endless())
    assert [next(found).name for _ in range(200)] == [str(number) for number in range(200)]
    assert next(asked) < 200 + 200, "pictures are read a few ahead, not all"
    found.close()


def test_a_model_that_is_not_there_or_not_whole_is_told(here: Path) -> None:
    with pytest.raises(UserError, match="models/other holds no model"):
        run("b.png", "--model", "models/other")
    with pytest.raises(UserError, match=r"holds no model\.keras"):
        run("b.png", "--engine", "keras")
    grey(here / "b.png", 51)
    (here / "models/final/labels.json").write_text(json.dumps([*CLASSES, "third"]))
    with pytest.raises(UserError, match="names 3 classes: the two do not belong together"):
        run("b.png")
    (here / "models/final/labels.json").unlink()
    with pytest.raises(UserError, match=r"labels\.json is not there"):
        run("b.png")
    (here / "models/final/labels.json").write_text(json.dumps(CLASSES))
    (here / "models/final/model.json").write_text(json.dumps(FACTS | {"task": "another"}))
    with pytest.raises(UserError, match="a model for another can't be used here"):
        run("b.png")

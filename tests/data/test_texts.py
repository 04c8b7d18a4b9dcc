"""Texts are stored as they are, found again by row, and set aside with a reason where they hold nothing."""

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from headstart import params
from headstart.data import prepared, texts
from headstart.stage import UserError

ROOT = Path(__file__).parents[2]
PREPARE = params.load(ROOT / "params.yaml").prepare


def table(rows: list[str | None], pair: list[str] | None = None) -> pd.DataFrame:
    examples = pd.DataFrame({"id": [f"e{at}" for at in range(len(rows))], "path": "a.csv", "text": rows}, dtype=object)
    examples["reason"] = None
    examples["pair"] = pair
    return examples.astype(object)


def store(rows: list[str | None], folder: Path, most: float = 1.0, pair: list[str] | None = None):
    settings = PREPARE.model_copy(update={"max_quarantined": most})
    return texts.store(table(rows, pair), settings, folder), prepared.contents(folder)


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip), min_size=1, max_size=8))
@hypothesis_settings(max_examples=50, deadline=None)
def test_every_text_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, rows: list[str]) -> None:
    folder = tmp_path_factory.mktemp("texts")
    stored, there = store(rows, folder)
    assert [there[row] for row in range(len(there))] == [(text,) for text in rows]
    again = tmp_path_factory.mktemp("again")
    store(rows, again)
    for name in ("texts.npy", "ends.npy"):
        assert (folder / name).read_bytes() == (again / name).read_bytes()
    assert len(stored.examples) == len(rows)


def test_pairs_come_back_as_pairs(tmp_path: Path) -> None:
    _, there = store(["a", "bb"], tmp_path, pair=["cc", "d"])
    assert [there[0], there[1]] == [("a", "cc"), ("bb", "d")]


def test_what_holds_nothing_is_set_aside_and_the_rest_keeps_its_rows(tmp_path: Path) -> None:
    stored, there = store(["a", " \n", "half \ud800", "b"], tmp_path)
    assert stored.examples["id"].tolist() == ["e0", "e3"]
    assert there[1] == ("b",)
    assert stored.quarantine["reason"].tolist() == ["empty text", "holds half a character (a lone surrogate)"]
    with pytest.raises(UserError, match=r"1 of 2 examples cannot be used so far.*a.csv: empty text"):
        store(["", "a"], tmp_path, most=0.1)


def test_texts_that_are_all_set_aside_leave_none(tmp_path: Path) -> None:
    stored, _ = store([" ", ""], tmp_path)
    assert (len(stored.examples), len(stored.quarantine)) == (0, 2)


def test_texts_differ_only_in_what_can_be_seen(tmp_path: Path) -> None:
    same = ["The  ﬁrst\tday", "the first day", "THE FIRST DAY "]
    stored, there = store([*same, "the second day"], tmp_path)
    hashes = stored.examples["hash"].tolist()
    assert len(set(hashes[:3])) == 1
    assert hashes[3] != hashes[0]
    assert there[0] == ("The  ﬁrst\tday",), "the text itself is kept"


def test_files_are_read_in_their_own_encoding(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("caf\u00e9 au lait".encode("cp1252"))
    (tmp_path / "b.txt").write_bytes(b"\x00\x81\x8d" * 9)
    (tmp_path / "out").mkdir()
    examples = table([None, None])
    examples["path"] = [str(tmp_path / name) for name in ("a.txt", "b.txt")]
    stored = texts.store(examples, PREPARE.model_copy(update={"max_quarantined": 1.0}), tmp_path / "out")
    assert prepared.contents(tmp_path / "out")[0] == ("café au lait",)
    assert stored.notes == ["1 file read as cp1252"]
    assert "neither UTF-8" in stored.quarantine["reason"].iloc[0]


def test_the_page_shows_the_beginning_and_no_markup_of_the_texts(tmp_path: Path) -> None:
    _, there = store(["<script>alert(1)</script> " + "word " * 100], tmp_path)
    shown = texts.show(there, 0, "e0")
    assert "&lt;script&gt;" in shown
    assert "<script>" not in shown
    assert len(shown) < texts.SHOWN + 200

"""Texts that are nearly the same are found, others are not, and what is found is a chain's whole."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.data import shingles

TEXT = (
    "the committee met on tuesday to discuss the new budget and after a long debate about the cost of the bridge "
    "most of its members voted for the proposal that the mayor had made in the spring of the year before"
)
SENTENCE = TEXT.split()


def linked(texts: list[str]) -> list[str | None]:
    hashes = [str(texts.index(text)) for text in texts]
    table = pd.DataFrame({"id": [f"t{at}" for at in range(len(texts))], "hash": hashes})
    return shingles.link(table, lambda row: texts[row]).tolist()


def changed(words: list[str], *places: int) -> str:
    return " ".join("other" if at in places else word for at, word in enumerate(words))


def test_a_text_with_a_word_changed_is_nearly_the_same_and_one_with_many_is_not() -> None:
    long = [f"{word}{n}" for n in range(4) for word in SENTENCE]
    assert linked([changed(long), "something else entirely", changed(long, 70)]) == ["t0", None, "t0"]
    assert linked([changed(long), changed(long, *range(0, 140, 10))]) == [None, None]


def test_copies_go_with_the_one_that_stands_for_them() -> None:
    long = [f"{word}{n}" for n in range(4) for word in SENTENCE]
    one, other = changed(long), changed(long, 3)
    assert linked([one, one, other, other]) == ["t0"] * 4
    assert linked([one, one, "else"]) == [None, None, None], "copies alone are found by their hash"


def test_short_texts_need_all_their_words_but_neither_case_nor_marks() -> None:
    assert linked(["ok, see you!", "ok see you", "ok see me", "ok"]) == ["t0", "t0", None, None]


def test_chinese_has_words_too() -> None:
    text = "今天天气很好我们一起去公园散步然后回家吃饭看电视睡觉明天再见朋友们大家好"
    assert linked([text, text.replace("见", "看"), "完全不同的一句话没有任何关系"])[2] is None
    assert len(shingles.shingles(text)) == len(text) - shingles.WORDS + 1


@given(st.sets(st.integers(0, 60), min_size=1), st.sets(st.integers(0, 60), min_size=1))
def test_similarity_is_jaccards(one: set[int], other: set[int]) -> None:
    arrays = (np.array(sorted(numbers), np.uint64) for numbers in (one, other))
    assert shingles.similarity(*arrays) == pytest.approx(len(one & other) / len(one | other))


def test_a_form_letter_sent_a_thousand_times_is_one_set() -> None:
    letter = [f"{word}{n}" for n in range(3) for word in SENTENCE]
    found = linked([" ".join([*letter, f"number{at}"]) for at in range(1000)])
    assert set(found) == {"t0"}

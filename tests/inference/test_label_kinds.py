"""What is written of an example that may be of several classes, or that has a score."""

import csv
import io
import json

import numpy as np
import pytest

from headstart.inference import formats
from headstart.inference.model import Prediction

GOOD = Prediction("a.png", None, np.array([0.75, 0.25, 0.5], np.float32))
NONE = Prediction("b.png", None, np.array([0.1, 0.2, 0.3], np.float32))
BAD = Prediction("c.png", "not a picture of a known kind", None)
SCORE = Prediction("a.png", None, np.array([1234.5678], np.float32))


def test_several_classes_are_those_of_an_even_chance_or_more() -> None:
    found = [json.loads(line) for line in formats.jsonl([GOOD, NONE, BAD], ["x", "y", "z"], None, "multi")]
    assert [row.get("predicted") for row in found] == [["x", "z"], [], None]
    assert list(found[0]["probabilities"]) == ["x", "z", "y"]
    rows = list(csv.DictReader(io.StringIO("".join(formats.as_csv([GOOD, NONE], ["x", "y", "z"], None, "multi")))))
    assert [row["predicted"] for row in rows] == ["x|z", ""]
    assert rows[0]["p_x"] == "0.75"


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_a_score_is_a_number(form: str) -> None:
    text = "".join(formats.FORMATS[form]([SCORE], ["price"], None, "score"))
    record = json.loads(text)
    record = record[0] if form == "json" else record
    assert record == {"file": "a.png", "predicted": 1234.57}


def test_scores_in_a_table_and_in_csv() -> None:
    rows = list(csv.DictReader(io.StringIO("".join(formats.as_csv([SCORE, BAD], ["price"], None, "score")))))
    assert rows[0] == {"file": "a.png", "predicted": "1234.57", "error": ""}
    assert rows[1] == {"file": "c.png", "predicted": "", "error": "not a picture of a known kind"}
    shown = "".join(formats.table([SCORE, BAD], ["price"], None, "score")).splitlines()
    assert shown[1].split() == ["1234.57", "a.png"]
    assert shown[2].endswith("c.png: not a picture of a known kind")

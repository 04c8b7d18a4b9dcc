import json

import numpy as np
import pandas as pd

from headstart.evaluation import mistakes

LABELS = ["sound", "01", "NA"]


def test_the_surest_wrong_predictions_come_first_and_ties_by_id():
    probabilities = np.array([[0.9, 0.05, 0.05], [0.2, 0.7, 0.1], [0.6, 0.3, 0.1], [0.1, 0.2, 0.7]])
    examples = pd.DataFrame({"id": ["d", "c", "b", "a"]})
    found = mistakes.most_confident(examples, np.array([0, 2, 1, 1]), probabilities, LABELS)
    assert found["id"].tolist() == ["a", "c", "b"]
    assert found["predicted"].tolist() == ["NA", "01", "sound"]
    assert found["truth"].tolist() == ["01", "NA", "01"]
    assert found["of_truth"].tolist() == [0.2, 0.1, 0.3]
    assert found["row"].tolist() == [3, 1, 2]


def test_no_more_are_kept_than_one_looks_at(simulate):
    truth, p = simulate(500, 6)
    table = mistakes.most_confident(pd.DataFrame({"id": [f"{i}" for i in range(500)]}), truth, p, list("abcdef"))
    assert len(table) == mistakes.SHOWN
    assert (np.diff(table["probability"]) <= 0).all()
    assert (table["truth"] != table["predicted"]).all()


def test_a_model_without_mistakes_has_an_empty_list():
    table = mistakes.most_confident(pd.DataFrame({"id": ["a", "b"]}), np.array([0, 1]), np.eye(3)[:2], LABELS)
    assert len(table) == 0
    assert json.loads(mistakes.listed(table, [])) == []


def test_the_list_is_json_with_what_was_found_about_each():
    table = mistakes.most_confident(pd.DataFrame({"id": ["ü</script>"]}), np.array([0]), np.eye(3)[2:], LABELS)
    (row,) = json.loads(mistakes.listed(table, [{"tokens": [["a", 0.5]]}]))
    assert row == {
        "id": "ü</script>", "truth": "sound", "predicted": "NA", "probability": 1.0, "of_truth": 0.0,
        "tokens": [["a", 0.5]],
    }  # fmt: skip

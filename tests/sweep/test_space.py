"""Ranges as people write them."""

import contextlib
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from headstart.stage import UserError
from headstart.sweep.space import changed, ranges, space

ROOT = Path(__file__).parents[2]
VALUES = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))


def test_a_range_has_the_type_of_its_parameter() -> None:
    found = space(
        {
            "lr": "1e-4:1e-2:log",
            "epochs": "4:12",
            "optimizer": "adamw,sgd",
            "trainable_layers": "0, 20, all",
            "head.dropout": "0:0.5",
            "batch_size": "32",
        },
        VALUES,
    )
    assert found == {
        "lr": FloatDistribution(1e-4, 1e-2, log=True),
        "epochs": IntDistribution(4, 12),
        "optimizer": CategoricalDistribution(["adamw", "sgd"]),
        "trainable_layers": CategoricalDistribution([0, 20, "all"]),
        "head.dropout": FloatDistribution(0, 0.5),
        "batch_size": CategoricalDistribution([32]),
    }


@pytest.mark.parametrize(
    ("key", "text", "sentence"),
    [
        ("lr", "1e-2:1e-4:log", "two numbers, the smaller one first and above 0"),
        ("lr", "-1:1", "the range of lr: lr: -1.0 is given, it must be greater than 0"),
        ("lr", "0:1:log", "two numbers, the smaller one first and above 0"),
        ("lr", "1:2:3", "a range is LOW:HIGH or LOW:HIGH:log"),
        ("lr", "low:high", "two numbers"),
        ("lr", "", "choices are A,B,C"),
        ("epochs", "0:4", "the range of epochs: epochs: 0 is given"),
        ("epochs", "4,4", "each once"),
        ("optimizer", "adamw,lion", "the range of optimizer: optimizer: 'lion' is given"),
        ("head.hidden", "[],[16]", "each a word or a number"),
        ("lr_", "1:2", "lr_: a sweep may vary lr, batch_size"),
        ("head.drop", "0:1", "head.drop: there is no such parameter"),
        ("seed", "0:4", "another seed"),
        ("data.threshold", "0.4:0.6", "judged by the same pictures"),
        ("head", "1,2", "a sweep may vary"),
    ],
)
def test_what_is_no_range_is_a_sentence(key: str, text: str, sentence: str) -> None:
    with pytest.raises(UserError) as error:
        space({key: text}, VALUES)
    assert sentence in str(error.value)


@given(st.floats(1e-8, 1e3), st.floats(1e-8, 1e3))
def test_bounds_are_read_as_they_are_written(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert space({"lr": f"{low!r}:{high!r}"}, VALUES)["lr"] == FloatDistribution(low, high)


@given(st.text(max_size=20))
def test_no_text_is_more_than_a_sentence(text: str) -> None:
    for key in ("lr", "epochs", "optimizer"):
        with contextlib.suppress(UserError):
            space({key: text}, VALUES)


def test_the_ranges_that_come_with_the_repository_are_in_order(tmp_path: Path) -> None:
    found = ranges(ROOT / "sweep.yaml")
    assert found["epochs"] == "4:12", "which YAML 1.1 takes for 252 seconds"
    assert space(found, VALUES).keys() == {"lr", "batch_size", "trainable_layers", "epochs", "optimizer"}
    for text, sentence in (("- lr", "a parameter and its range"), ("lr: [1, 2]", "a parameter and its range")):
        (tmp_path / "ranges.yaml").write_text(text)
        with pytest.raises(UserError, match=sentence):
            ranges(tmp_path / "ranges.yaml")
    with pytest.raises(UserError, match="no such file"):
        ranges(tmp_path / "none.yaml")


def test_a_change_leaves_the_parameters_alone() -> None:
    before = yaml.safe_dump(VALUES)
    after = changed(VALUES, {"lr": 1.0, "head.dropout": 0.5})
    assert (after["lr"], after["head"]["dropout"]) == (1.0, 0.5)
    assert yaml.safe_dump(VALUES) == before

"""Splitting: the asked shares, no group torn apart, the same for the same seed, whatever the order."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.data import splitting
from headstart.data.tables import SPLITS
from headstart.stage import UserError

SHARES = (0.6, 0.15, 0.25)


def table(labels: list[str], **columns: list[object]) -> pd.DataFrame:
    start = {"id": [f"{at}.png" for at in range(len(labels))], "label": labels, "group": None, "split": None}
    return pd.DataFrame(start | columns, dtype=object)


def assign(examples: pd.DataFrame, seed: int = 0, shares: tuple[float, float, float] = SHARES) -> pd.Series:
    return splitting.assign(examples, *shares, seed)


def counts(examples: pd.DataFrame, split: pd.Series) -> pd.DataFrame:
    return pd.crosstab(examples["label"], split).reindex(columns=list(SPLITS), fill_value=0)


class_sizes = st.lists(st.integers(3, 60), min_size=2, max_size=8)
some_shares = st.tuples(st.integers(1, 20), st.integers(1, 20), st.integers(1, 20)).map(
    lambda parts: tuple(part / sum(parts) for part in parts)
)


@given(sizes=class_sizes, shares=some_shares, seed=st.integers(0, 9))
@settings(deadline=None)
def test_every_class_meets_its_shares_to_within_one_example(sizes: list[int], shares: tuple, seed: int) -> None:
    examples = table([str(at) for at, size in enumerate(sizes) for _ in range(size)])
    found = counts(examples, assign(examples, seed, shares))
    wanted = found.sum(axis=1).to_numpy()[:, None] * np.array(shares)
    assert (found > 0).all(axis=None)
    # A class too small for its shares gives each split its one example, which takes from another.
    ample = (wanted >= 1).all(axis=1)
    assert np.abs(found - wanted)[ample].max(axis=None) < 1 or not ample.any()


def test_many_small_classes_still_add_up_to_the_shares() -> None:
    examples = table([str(at // 10) for at in range(1000)])
    assert counts(examples, assign(examples)).sum().tolist() == [600, 150, 250]


@given(data=st.data(), seed=st.integers(0, 9))
@settings(deadline=None)
def test_groups_and_equal_pixels_are_never_torn_apart(data: st.DataObject, seed: int) -> None:
    n = data.draw(st.integers(30, 120))
    draw = np.random.default_rng(data.draw(st.integers(0, 999)))
    group = [None if draw.random() < 0.3 else f"g{draw.integers(n // 4)}" for _ in range(n)]
    pixels = [f"h{draw.integers(2 * n)}" for _ in range(n)]
    examples = table([str(draw.integers(3)) for _ in range(n)], group=group, hash=pixels)
    try:
        split = assign(examples, seed)
    except UserError:  # large groups that do not reach every split
        return
    assert splitting.crossings(examples.assign(split=split), "group") == []
    assert splitting.crossings(examples.assign(split=split), "hash") == []


def test_groups_come_close_to_the_shares() -> None:
    draw = np.random.default_rng(0)
    group = [f"patient {at}" for at, size in enumerate(draw.integers(1, 12, 150)) for _ in range(size)]
    label = ["ill" if hash_ % 3 == 0 else "well" for hash_ in (int(name.split()[1]) for name in group)]
    examples = table(label, group=group)
    for seed in range(5):
        shares = counts(examples, assign(examples, seed))
        shares = shares.div(shares.sum(axis=1), axis=0)
        assert np.abs(shares - np.array(SHARES)).max(axis=None) < 0.01


def test_three_large_groups_reach_three_splits() -> None:
    examples = table(["a"] * 30 + ["b"] * 30, group=[f"g{at // 10}" for at in range(60)])
    assert counts(examples, assign(examples)).to_numpy().tolist() == [[10, 10, 10]] * 2


@given(order=st.permutations(range(40)), seed=st.integers(0, 3))
@settings(deadline=None)
def test_the_order_of_rows_changes_nothing(order: list[int], seed: int) -> None:
    draw = np.random.default_rng(1)
    group = [None if at % 2 else f"g{at // 6}" for at in range(40)]
    given_split = [SPLITS[at % 3] if at > 33 and at % 2 else None for at in range(40)]
    examples = table([str(draw.integers(2)) for _ in range(40)], group=group, split=given_split)
    assert assign(examples.iloc[list(order)], seed).sort_index().equals(assign(examples, seed))


def test_another_seed_is_another_split_of_the_same_sizes() -> None:
    examples = table(["a", "b"] * 50)
    first, second = assign(examples, 0), assign(examples, 1)
    assert assign(examples, 0).equals(first)
    assert not first.equals(second)
    assert counts(examples, first).equals(counts(examples, second))


def test_given_splits_stay() -> None:
    split = [SPLITS[at % 3] for at in range(30)]
    assert list(assign(table(["a", "b"] * 15, split=split))) == split


def test_a_missing_validation_is_taken_from_train() -> None:
    split = ["test"] * 20 + ["train"] * 100
    found = assign(table(["a", "b"] * 60, split=split))
    assert list(found[:20]) == ["test"] * 20
    assert found[20:].value_counts().to_dict() == {"train": 80, "validation": 20}


def test_with_train_alone_given_all_are_made() -> None:
    examples = table(["a", "b"] * 50, split=["train"] * 100)
    assert assign(examples).value_counts().to_dict() == {"train": 60, "test": 25, "validation": 15}


def test_blanks_beside_a_given_test_split_never_join_it() -> None:
    split = ["test" if at < 10 else None for at in range(100)]
    found = assign(table(["a", "b"] * 50, split=split))
    assert list(found[found == "test"].index) == list(range(10))
    assert found.value_counts()["validation"] == 18


def test_new_examples_beside_given_ones_fill_what_lacks_and_move_nothing() -> None:
    old = table(["a", "b"] * 50)
    old["split"] = assign(old)
    new = table(["a", "b"] * 60, split=[*old["split"], *[None] * 20])
    found = assign(new)
    assert list(found[:100]) == list(old["split"])
    assert found.value_counts().to_dict() == {"train": 72, "test": 30, "validation": 18}


def test_a_blank_of_a_group_follows_the_given_ones() -> None:
    split = [*["train", "validation", "test"] * 10, None, None]
    group = [f"g{at % 3}" for at in range(30)] + ["g1", "g2"]
    assert list(assign(table(["a", "b"] * 16, split=split, group=group))[30:]) == ["validation", "test"]


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        (table(["a"] * 9 + ["b"] * 2), "class 'b' does not reach every split: .*it has 2 examples"),
        (table(["a"] * 9 + ["b"] * 9, group=[*range(9), *["g"] * 9]), "class 'b' .*9 examples in 1 groups"),
        (table(["a", "b"] * 6, split=["validation", "test"] * 6), "hold no train"),
        (
            table(["a", "b"] * 6, split=["train"] * 6 + ["test"] * 6, group=["g"] * 12),
            "tear 1 groups apart, 'g'",
        ),
        (table(["a", "b", "a"] * 6, split=["train", "validation", "test"] * 6), "class 'a'|class 'b'"),
    ],
)
def test_what_cannot_be_split_is_one_sentence(examples: pd.DataFrame, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        assign(examples)
    assert "\n" not in str(caught.value)

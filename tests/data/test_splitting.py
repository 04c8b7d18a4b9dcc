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
def test_every_class_reaches_every_split(sizes: list[int], shares: tuple, seed: int) -> None:
    examples = table([str(at) for at, size in enumerate(sizes) for _ in range(size)])
    assert (counts(examples, assign(examples, seed, shares)) > 0).all(axis=None)


def test_shares_are_met_to_within_chance() -> None:
    examples = table([str(at % 3) for at in range(30_000)])
    found = counts(examples, assign(examples)) / 10_000
    assert np.abs(found - np.array(SHARES)).max(axis=None) < 0.02  # four standard deviations


@given(
    n=st.integers(60, 110),
    more=st.integers(1, 40),
    seed=st.integers(0, 9),
    order=st.randoms(use_true_random=False),
    grouped=st.booleans(),
)
@settings(deadline=None)
def test_new_examples_move_no_old_one(n: int, more: int, seed: int, order: object, grouped: bool) -> None:
    group = [f"g{at % 25}" if grouped else None for at in range(n + more)]
    # With one class of this size every split is reached by lot, so none has to be filled.
    examples = table(["a"] * (n + more), group=group)
    old, rows = assign(examples[:n], seed), list(examples.index)
    order.shuffle(rows)  # type: ignore[attr-defined]
    assert assign(examples.loc[rows], seed).loc[old.index].equals(old)


def test_another_share_for_validation_leaves_the_test_split_alone() -> None:
    examples = table(["a", "b"] * 100)
    first, second = assign(examples), assign(examples, shares=(0.45, 0.3, 0.25))
    assert first.ne(second).any()
    assert (first == "test").equals(second == "test")


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
    for column in ("group", "hash"):
        assert split.groupby(examples[column]).nunique().max() == 1


def test_large_groups_go_where_lots_fall_as_often_as_small_ones() -> None:
    group = [f"patient {at}" for at in range(3000) for _ in range(1 + at % 5)]
    examples = table(["ill" if name.endswith("3") else "well" for name in group], group=group)
    shares = assign(examples).value_counts(normalize=True)
    assert np.abs(shares[list(SPLITS)].to_numpy() - np.array(SHARES)).max() < 0.03
    copies = examples.assign(group=None, hash=group)  # the same, linked by their pixels
    shares = assign(copies).value_counts(normalize=True)
    assert np.abs(shares[list(SPLITS)].to_numpy() - np.array(SHARES)).max() < 0.03


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


def test_another_seed_is_another_split() -> None:
    examples = table(["a", "b"] * 50)
    first, second = assign(examples, 0), assign(examples, 1)
    assert assign(examples, 0).equals(first)
    assert not first.equals(second)


def test_given_splits_stay() -> None:
    split = [SPLITS[at % 3] for at in range(30)]
    assert list(assign(table(["a", "b"] * 15, split=split))) == split


def test_a_missing_validation_is_taken_from_train() -> None:
    split = ["test"] * 20 + ["train"] * 100
    found = assign(table(["a", "b"] * 60, split=split))
    assert list(found[:20]) == ["test"] * 20
    assert set(found[20:]) == {"train", "validation"}
    assert 10 <= (found == "validation").sum() <= 30  # a fifth of 100


def test_with_train_alone_given_all_are_made() -> None:
    examples = table(["a", "b"] * 50, split=["train"] * 100)
    assert assign(examples).equals(assign(examples.assign(split=None)))


def test_blanks_beside_a_given_test_split_never_join_it() -> None:
    split = ["test" if at < 10 else None for at in range(100)]
    found = assign(table(["a", "b"] * 50, split=split))
    assert list(found[found == "test"].index) == list(range(10))
    assert set(found[10:]) == {"train", "validation"}


def test_new_examples_beside_given_ones_are_spread_and_move_nothing() -> None:
    old = table(["a", "b"] * 50)
    old["split"] = assign(old)
    new = table(["a", "b"] * 100, split=[*old["split"], *[None] * 100])
    found = assign(new)
    assert list(found[:100]) == list(old["split"])
    assert set(found[100:]) == set(SPLITS)


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
        (table(["a", "b", "a"] * 6, split=["train", "validation", "test"] * 6), "class 'a'|class 'b'"),
    ],
)
def test_what_cannot_be_split_is_one_sentence(examples: pd.DataFrame, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        assign(examples)
    assert "\n" not in str(caught.value)

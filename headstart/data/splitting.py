"""Train, validation and test: seeded, stratified by class, no group in two of them, given splits respected.

Knows ids, labels, groups and hashes; refuses to know what an example is. scikit-learn's StratifiedGroupKFold
is not used: its folds are of equal size, it wants as many examples of a class as folds (60/15/25 takes
twenty), its result depends on the order of rows, and it can neither fill up given splits nor promise each
class a place in each.
"""

import hashlib

import numpy as np
import pandas as pd

from headstart.data.tables import SPLITS
from headstart.stage import UserError

TRAIN, FREE = 0, -1  # the first of SPLITS, and a split not decided yet


def assign(examples: pd.DataFrame, train: float, validation: float, test: float, seed: int) -> "pd.Series[str]":
    """Decide the split of each example.

    Examples of one `group`, or with one `hash` (the same pixels), stay together. Where there are no groups
    each class meets its shares to within one example; groups are placed from the largest to the smallest,
    each where its classes lack most, which is close to the best but not sure to be. Seed and ids decide, not
    the rows' order.

    Given splits stay. A split that nobody gave is taken from train, in proportion to the shares; examples
    without a split, beside given ones, go where examples lack.

    Args:
        examples: id, label, group, split, and hash if there is one.
        train, validation, test: shares, which add up to 1.

    Returns:
        A series of "train", "validation" and "test" on the examples' index.

    Raises:
        UserError: a class that does not reach all three; given splits that tear a group apart or leave out
            train.
    """
    names, label = np.unique(examples["label"].to_numpy(str), return_inverse=True)
    given = examples["split"].map({name: at for at, name in enumerate(SPLITS)}).fillna(FREE).to_numpy(int)
    units = _units(examples)
    _check_groups(examples)
    shares = np.array([train, validation, test])
    split = given.copy()
    missing = [at for at in range(len(SPLITS)) if at not in given]
    if 0 < len(missing) < len(SPLITS):
        if TRAIN in missing and FREE not in given:
            raise UserError("the given splits hold no train to learn from; call one of them train, or give none")
        split[given == TRAIN] = FREE
        shares[[at for at in range(len(SPLITS)) if at not in {TRAIN, *missing}]] = 0
    # What belongs to an example that stays goes with it; where given splits share pixels, they stay as given.
    home = np.full(len(units), FREE)
    for at in reversed(range(len(SPLITS))):  # of several, train wins, whatever the rows' order
        home[units[split == at]] = at
    bound = (split == FREE) & (home[units] != FREE)
    split[bound] = np.where(given == FREE, home[units], given)[bound]

    digests = (hashlib.sha256(f"{seed}:{name}".encode()).digest() for name in examples["id"])
    keys = np.fromiter((int.from_bytes(digest[:8]) for digest in digests), np.uint64)  # a lot for each example
    split = _fill(split, label, units, keys, shares / shares.sum())

    counts = np.array([np.bincount(label[split == at], minlength=len(names)) for at in range(len(SPLITS))])
    if (counts == 0).any():
        short = int(np.flatnonzero((counts == 0).any(axis=0))[0])
        of_it = label == short
        raise UserError(
            f"class {str(names[short])!r} does not reach every split: "
            + ", ".join(f"{counts[at, short]} in {name}" for at, name in enumerate(SPLITS))
            + f"; it has {of_it.sum()} examples in {len(np.unique(units[of_it]))} groups that stay together"
            + "; add examples, merge the class with another, or change groups or given splits"
        )
    return pd.Series(np.array(SPLITS, dtype=object)[split], index=examples.index, name="split")


def crossings(examples: pd.DataFrame, column: str) -> list[list[str]]:
    """Ids of examples that agree in `column` but not in split, a list for each group or hash."""
    known = examples.loc[examples[column].notna() & examples["split"].notna(), ["id", column, "split"]]
    splits = known.groupby(column)["split"].nunique()
    torn = known[known[column].isin(splits[splits > 1].index)]
    return [list(ids) for _, ids in torn.groupby(column, sort=False)["id"]]


def _check_groups(examples: pd.DataFrame) -> None:
    if torn := crossings(examples, "group"):
        name = examples.loc[examples["id"] == torn[0][0], "group"].iloc[0]
        raise UserError(
            f"the given splits tear {len(torn)} groups apart, {name!r} for one ({', '.join(torn[0][:4])}); "
            "give all of a group one split, or set data.columns.group or data.columns.split to another column"
        )


def _units(examples: pd.DataFrame) -> np.ndarray:
    """A number for each example, the same for those that stay together: by group, hash, or both."""
    columns = {"group", "hash"} & set(examples.columns)
    codes = [pd.factorize(examples[column])[0] for column in columns]  # -1 where there is none
    units = np.arange(len(examples))
    while True:  # until the least number has reached all of its unit, which takes long chains alone many rounds
        before = units.copy()
        for code in codes:
            known = code >= 0
            least = np.full(code.max() + 1, len(units))
            np.minimum.at(least, code[known], units[known])
            units[known] = least[code[known]]
        if np.array_equal(units, before):
            return units


def _fill(split: np.ndarray, label: np.ndarray, units: np.ndarray, keys: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Decide what is `FREE`: units of several examples first, then single ones to even out."""
    split = split.copy()
    allowed = np.flatnonzero(shares > 0)
    free = split == FREE
    classes = int(label.max()) + 1
    counts = np.array([np.bincount(label[split == at], minlength=classes) for at in range(len(shares))])
    total = np.bincount(label[free], minlength=classes) + counts[allowed].sum(axis=0)
    target = shares[:, None] * total

    rows = np.flatnonzero(free)
    rows = rows[np.lexsort((keys[rows], units[rows]))]
    alone = (np.bincount(units[rows], minlength=len(units)) == 1)[units[rows]]
    single, rows = rows[alone], rows[~alone]
    several = np.split(rows, np.flatnonzero(np.diff(units[rows])) + 1) if len(rows) else []
    several.sort(key=lambda unit: (-len(unit), keys[unit[0]]))
    left = np.bincount(label[single], minlength=classes)  # units with that class still to be placed
    for unit in several:
        left[np.unique(label[unit])] += 1

    for unit in several:
        present, n = np.unique(label[unit], return_counts=True)
        empty = counts[np.ix_(allowed, present)] == 0
        # As few units are left as there are splits without the class: each of them has to go to such a split.
        last_chance = (empty & (left[present] <= empty.sum(axis=0))).sum(axis=1)
        lacks = ((target - counts)[np.ix_(allowed, present)] * n / total[present]).sum(axis=1)
        best = allowed[np.lexsort((-lacks, -last_chance))[0]]
        split[unit] = best
        counts[best, present] += n
        left[present] -= 1

    owed = np.zeros(len(shares))
    single = single[np.argsort(keys[single])]
    for at in range(classes):
        mine = single[label[single] == at]
        number = _apportion(len(mine), (target - counts)[:, at], counts[:, at], owed, allowed)
        split[mine] = np.repeat(np.arange(len(shares)), number)
    return split


def _apportion(n: int, lacks: np.ndarray, have: np.ndarray, owed: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Whole numbers that add up to n, in proportion to what each split lacks; at least one where none is yet.

    What rounding takes from a split is `owed` to it in the next class, so that many small classes do not add
    up to a shifted whole. `owed` is changed in place.
    """
    exact = np.maximum(lacks, 0)
    if exact.sum() == 0:
        exact[TRAIN] = 1
    exact *= n / exact.sum()
    number = np.floor(exact + 1e-9).astype(int)
    fraction = np.maximum(exact - number, 0)
    order = np.argsort(-np.where(fraction > 1e-9, fraction + owed, -np.inf), kind="stable")
    number[order[: n - number.sum()]] += 1
    for at in allowed:
        donor = int(np.argmax(np.where(number > 0, have + number, 0)))
        if have[at] + number[at] == 0 and have[donor] + number[donor] > 1 and number[donor] > 0:
            number[donor] -= 1
            number[at] += 1
    owed += exact - number
    return number

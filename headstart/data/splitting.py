"""Train, validation and test: by lot, no group in two of them, given splits respected, none moved by new examples.

Each example draws a lot from the seed and its name, so where it goes depends on nothing but itself and those that it
stays with: a data set that grows keeps its old examples where they were. The price is that shares are met as lots
fall, to within chance. A stratified split, as scikit-learn makes it, meets them exactly and moves examples whenever one
is added. Knows ids, labels, groups and links; refuses to know what an example is.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import sparse

from headstart.data.tables import SPLITS
from headstart.stage import UserError

TRAIN, FREE = 0, -1  # the first of SPLITS, and a split not decided yet
# Along the lots: another share for validation then leaves the test split as it is.
ALONG = (2, 1, 0)


def assign(
    examples: pd.DataFrame,
    train: float,
    validation: float,
    test: float,
    seed: int,
    classes: Sequence[Sequence[str]] | None = None,
) -> "pd.Series[str]":
    """Decide the split of each example.

    Examples of one `group`, with one `hash` (the same pixels) or of one `near` (about the same) stay together. They
    go where the lot of one of them falls, so that shares do not depend on how many they are. Seed, group and id
    decide, not the rows' order.

    Given splits stay. A split that nobody gave is taken from train, in proportion to the shares; examples
    without a split, beside given ones, are spread over all of them.

    Where a split is left without a class, the example of it moves there whose lot is nearest to it: in a class of
    few examples alone can a new one move another.

    Args:
        examples: id, label, group, split, and hash and near if there are such columns.
        train, validation, test: shares, which add up to 1.
        seed: of the lots.
        classes: of each example, any number; each should reach each split, where examples of others allow, and must
            reach train. None: its label alone, which must reach all three.

    Returns:
        A series of "train", "validation" and "test" on the examples' index.

    Raises:
        UserError: a class that does not reach where it must; given splits that leave out train; a split without
            examples.
    """
    names, member = _membership(examples["label"] if classes is None else classes)
    given = examples["split"].map({name: at for at, name in enumerate(SPLITS)}).fillna(FREE).to_numpy(int)
    shares = np.array([train, validation, test])
    split = given.copy()
    missing = [at for at in range(len(SPLITS)) if at not in given]
    if 0 < len(missing) < len(SPLITS):
        if TRAIN in missing and FREE not in given:
            raise UserError("the given splits hold no train to learn from; call one of them train, or give none")
        split[given == TRAIN] = FREE
        shares[[at for at in range(len(SPLITS)) if at not in {TRAIN, *missing}]] = 0
    units = together(examples, ["group", "hash", "near"])
    # What belongs to an example that stays goes with it; given splits stay, whatever they part.
    home = np.full(len(units), FREE)
    for at in reversed(range(len(SPLITS))):  # of several, train wins, whatever the rows' order
        home[units[split == at]] = at
    bound = (split == FREE) & (home[units] != FREE)
    split[bound] = np.where(given == FREE, home[units], given)[bound]

    free = split == FREE
    lots = _lots(examples, units, seed)
    along = np.array(ALONG)
    ends = np.cumsum(shares[along] / shares.sum())
    split[free] = along[np.minimum(np.searchsorted(ends, lots[free], side="right"), len(along) - 1)]
    _reach_all(split, member, units, lots, free, shares)

    counts = _counts(split, member)
    missed = (counts == 0).any(axis=0) if classes is None else counts[TRAIN] == 0
    if missed.any():
        short = int(np.flatnonzero(missed)[0])
        of_it = member[:, [short]].toarray().ravel() > 0
        raise UserError(
            f"class {names[short]!r} does not reach {'every split' if classes is None else 'the training split'}: "
            + ", ".join(f"{counts[at, short]} in {name}" for at, name in enumerate(SPLITS))
            + f"; it has {of_it.sum()} examples in {len(np.unique(units[of_it]))} groups that stay together"
            + "; add examples, merge the class with another, or change groups or given splits"
        )
    if empty := [name for at, name in enumerate(SPLITS) if at not in split]:
        raise UserError(
            f"no example reaches {' and '.join(empty)}; there are {len(split)} in {len(np.unique(units))} groups that "
            "stay together; add examples, or change groups or given splits"
        )
    return pd.Series(np.array(SPLITS, dtype=object)[split], index=examples.index, name="split")


def together(examples: pd.DataFrame, columns: Sequence[str]) -> np.ndarray:
    """A number for each example, the same for those that agree in one of the columns, or are so linked by others.

    It is the row of the first of them. A column that is not there links nothing, nor does an absent value.
    """
    codes = [pd.factorize(examples[column])[0] for column in columns if column in examples]
    units = np.arange(len(examples))
    while True:  # until the least number has reached all of its unit, which takes long chains alone many rounds
        before = units.copy()
        for code in codes:
            known = code >= 0
            least = np.full(code.max(initial=-1) + 1, len(units))
            np.minimum.at(least, code[known], units[known])
            units[known] = least[code[known]]
        if np.array_equal(units, before):
            return units


def _lots(examples: pd.DataFrame, units: np.ndarray, seed: int) -> np.ndarray:
    """float64 [n] in [0, 1): the lot of each unit, the same for its members.

    It is drawn by the name of its group, or of the one example or group in it that a second drawing chooses.
    """
    n = len(examples)
    digests = bytearray()
    for group, own in zip(examples["group"], examples["id"], strict=True):
        name = f"id {own}" if pd.isna(group) else f"group {group}"
        digests += hashlib.sha256(f"{seed}:{name}".encode()).digest()[:16]
    drawn = np.frombuffer(digests, ">u8").reshape(n, 2)
    order = np.lexsort((drawn[:, 1], units))
    _, first = np.unique(units[order], return_index=True)
    of_unit = np.empty(n)
    of_unit[units[order[first]]] = drawn[order[first], 0] / 2.0**64
    return of_unit[units]


def _membership(classes: "pd.Series[str] | Sequence[Sequence[str]]") -> tuple[list[str], sparse.csr_array]:
    """Names of all classes in order, and int [n, classes]: 1 where an example is of a class.

    Args:
        classes: of each example one, as a series, or any number of them.
    """
    if isinstance(classes, pd.Series):
        each, n = classes, np.ones(len(classes), int)
    else:
        each = pd.Series([name for of in classes for name in of], dtype=object)
        n = np.array([len(of) for of in classes], int)
    columns, names = pd.factorize(each, sort=True)
    rows = np.repeat(np.arange(len(classes)), n)
    shape = (len(classes), len(names))
    return list(names), sparse.csr_array((np.ones(len(rows), dtype=int), (rows, columns)), shape=shape)


def _counts(split: np.ndarray, member: sparse.csr_array) -> np.ndarray:
    """Int [splits, classes]: examples of each."""
    return np.array([member[np.flatnonzero(split == at)].sum(axis=0) for at in range(len(SPLITS))])


def _reach_all(
    split: np.ndarray, member: sparse.csr_array, units: np.ndarray, lots: np.ndarray, free: np.ndarray,
    shares: np.ndarray,
) -> None:  # fmt: skip
    """Give each split with a share an example of each class, where some can be spared; `split` is changed in place."""
    allowed = [at for at in ALONG if shares[at] > 0]
    counts, of_class = _counts(split, member), member.tocsc()
    ends = np.cumsum([shares[at] / shares.sum() for at in allowed])
    for at, start, end in zip(allowed, ends - shares[allowed] / shares.sum(), ends, strict=True):
        for short in np.flatnonzero(counts[at] == 0):
            rows = np.sort(of_class.indices[of_class.indptr[short] : of_class.indptr[short + 1]])
            rows = rows[free[rows]]
            away = np.maximum(start - lots[rows], lots[rows] - end)
            for row in rows[np.lexsort((lots[rows], away))]:
                unit = np.flatnonzero(units == units[row])
                n = member[unit].sum(axis=0)
                if (counts[split[row]] > n)[n > 0].all():
                    counts[split[row]] -= n
                    counts[at] += n
                    split[unit] = at
                    break

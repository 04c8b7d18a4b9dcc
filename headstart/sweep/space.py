"""What a sweep tries: parameters with their ranges, as text, as Optuna's distributions, checked as params.yaml is.

lr=1e-4:1e-2:log      between the two, as likely below 1e-3 as above
epochs=4:12           a whole number, because the parameter is one
optimizer=adamw,sgd   one of these
epochs=8              this one in every trial
"""

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from headstart import params
from headstart.stage import UserError

Space = dict[str, BaseDistribution]

# What may differ between trials that are compared on one validation split.
KNOBS = ("lr", "batch_size", "epochs", "optimizer", "trainable_layers", "backbone")
SECTIONS = ("features", "head", "fine_tune")


def ranges(file: Path) -> dict[str, str]:
    """Parameter -> range, as a YAML file has them; all as text, because YAML 1.1 reads 4:12 as 252.

    Raises:
        UserError: no such file, or not a mapping.
    """
    try:
        found = yaml.load(file.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)  # noqa: S506  # nothing but text
    except FileNotFoundError:
        raise UserError(f"{file}: no such file; it holds the ranges, as in lr: 1e-4:1e-2:log") from None
    except yaml.YAMLError as error:
        raise UserError(f"{file}: not readable as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise UserError(f"{file}: a parameter and its range in each line are needed, as in lr: 1e-4:1e-2:log")
    return found


def space(given: Mapping[str, str], values: dict[str, Any]) -> Space:
    """The distributions of the given ranges.

    Args:
        given: parameter -> range; sections by a dot, as in head.dropout.
        values: what params.yaml holds: a parameter's type there is its type here.

    Raises:
        UserError: no parameter of that name, none that a sweep may vary, not a range, or a bound that the parameter
            may not have.
    """
    found = {key: _distribution(key, text, _present(key, values)) for key, text in given.items()}
    if not found:
        raise UserError("nothing to try: give a range, as in -S lr=1e-4:1e-2:log")
    for key, distribution in found.items():
        for value in _extremes(distribution):
            params.check(changed(values, {key: value}), f"the range of {key}")
    return dict(sorted(found.items()))


def changed(values: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the parameters with some of them changed; sections by a dot."""
    copy = deepcopy(values)
    for key, value in changes.items():
        *sections, name = key.split(".")
        at = copy
        for section in sections:
            at = at[section]
        at[name] = value
    return copy


def _present(key: str, values: dict[str, Any]) -> Any:
    section = key.partition(".")[0]
    if key not in KNOBS and (section not in SECTIONS or section == key):
        raise UserError(
            f"{key}: a sweep may vary {', '.join(KNOBS)} and what is in {', '.join(SECTIONS)}; "
            "with other data or another seed, trials would not be judged by the same pictures"
        )
    at: Any = values
    for part in key.split("."):
        if not isinstance(at, dict) or part not in at:
            raise UserError(f"{key}: there is no such parameter in params.yaml")
        at = at[part]
    return at


def _distribution(key: str, text: str, present: Any) -> BaseDistribution:
    bounds = [part.strip() for part in text.split(":")]
    if len(bounds) == 1:
        return CategoricalDistribution([_value(key, part, present) for part in _parts(key, text)])
    log = len(bounds) == 3 and bounds[2] == "log"
    if len(bounds) > 3 or (len(bounds) == 3 and not log):
        raise UserError(f"{key}: {text!r} is given; a range is LOW:HIGH or LOW:HIGH:log, choices are A,B,C")
    low, high = (_value(key, bound, present) for bound in bounds[:2])
    try:
        if isinstance(low, int) and isinstance(high, int):
            return IntDistribution(low, high, log=log)
        return FloatDistribution(float(low), float(high), log=log)
    except (TypeError, ValueError):
        what = "two numbers, the smaller one first" + (" and above 0" if log else "")
        raise UserError(f"{key}: {text!r} is given; a range has {what}") from None


def _parts(key: str, text: str) -> list[str]:
    parts = [part.strip() for part in text.split(",")]
    if "" in parts or len(set(parts)) < len(parts) or set(text) & set("[]{}"):
        raise UserError(f"{key}: {text!r} is given; choices are A,B,C, each a word or a number, each once")
    return parts


def _value(key: str, text: str, present: Any) -> Any:
    """The text as YAML reads it, and as a number with an exponent where YAML 1.1 sees text."""
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        return text
    if not isinstance(value, bool | int | float | None):
        value = text
    if isinstance(present, float) or isinstance(value, str):
        try:
            return float(text)
        except ValueError:
            return text
    return value


def _extremes(distribution: BaseDistribution) -> list[Any]:
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return [distribution.low, distribution.high]

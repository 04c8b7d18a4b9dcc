"""The recipes: complete parameters for one data set each, with a head that says what to expect of them."""

import difflib
from pathlib import Path
from typing import NamedTuple

import yaml

from headstart.stage import UserError

FOLDER = Path("recipes")


class Recipe(NamedTuple):
    """A recipe at a glance.

    name: of its file.
    task, backbone: its parameters.
    about: the first line of its head.
    command: the last command there, which runs it.
    """

    name: str
    task: str
    backbone: str
    about: str
    command: str


def names() -> list[str]:
    """All recipes' names, in order."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def text(name: str) -> str:
    """A recipe's content.

    Raises:
        UserError: there is none of that name.
    """
    try:
        return (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    except FileNotFoundError:
        close = difflib.get_close_matches(name, names(), n=1, cutoff=0.5)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise UserError(f"there is no recipe {name!r} in {FOLDER}/; there are {', '.join(names())}{hint}") from None


def read(name: str) -> Recipe:
    """A recipe's summary.

    Raises:
        UserError: there is none of that name, or it is not a mapping of parameters.
    """
    content = text(name)
    head = []
    for line in content.splitlines():
        if not line.startswith("#"):
            break
        head.append(line.removeprefix("#"))
    try:
        values = yaml.safe_load(content)
        task, backbone = values["task"], values["backbone"]
    except (yaml.YAMLError, TypeError, KeyError) as error:
        raise UserError(f"{FOLDER / name}.yaml: not a recipe: {' '.join(str(error).split())}") from None
    commands = [line.strip() for line in head if line.startswith("   ")]
    about = head[0].strip() if head else ""
    return Recipe(name, task, backbone, about, commands[-1] if commands else f"cp {FOLDER / name}.yaml params.yaml")

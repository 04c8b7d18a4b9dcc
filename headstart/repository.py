"""The repository as git and DVC know it: what git says and holds, DVC's experiments, and where DVC's cache has what."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from headstart.stage import UserError

# DVC's experiments are Git references: refs/exps/, their baseline's hash in two parts, their name.
EXPERIMENTS = "refs/exps"


@dataclass(frozen=True)
class Revision:
    """A state of the repository: the workspace, a commit or an experiment.

    name: of the experiment; None for the others.
    commit: None for the workspace.
    baseline: the commit that the experiment set out from.
    time: seconds since 1970.
    """

    name: str | None
    commit: str | None
    baseline: str | None
    time: int


def git(*arguments: str, env: Mapping[str, str] | None = None, text: str | None = None) -> str:
    """What git says.

    Args:
        arguments: of git.
        env: further variables.
        text: standard input.

    Raises:
        UserError: git fails; with its reason.
    """
    done = subprocess.run(
        ["git", *arguments], env={**os.environ, **(env or {})}, input=text, capture_output=True, text=True, check=False,
        encoding="utf-8", errors="replace",
    )  # fmt: skip
    if done.returncode:
        raise UserError(f"git {arguments[0]}: {done.stderr.strip()}")
    return done.stdout


def asked(*arguments: str) -> str:
    """What git says; nothing if it is not there, or there is no repository, or no such thing in it."""
    try:
        return git(*arguments)
    except (FileNotFoundError, UserError):
        return ""


def experiments() -> list[Revision]:
    """DVC's experiments; none if this is no repository of git."""
    found = []
    for line in asked(
        "for-each-ref", "--format=%(refname) %(objectname) %(committerdate:unix)", EXPERIMENTS
    ).splitlines():
        reference, commit, time = line.rsplit(" ", 2)
        parts = reference.removeprefix(f"{EXPERIMENTS}/").split("/")
        # Beside the experiments DVC keeps its queue and its temporary marks there.
        if len(parts) == 3 and len(parts[0]) == 2 and len(parts[1]) == 38:
            found.append(Revision(parts[2], commit, parts[0] + parts[1], int(time)))
    return found


def contents(names: Sequence[str]) -> list[bytes | None]:
    """The content of files by `REVISION:./PATH`, None where there is none; one call of git for all of them."""
    if not names:
        return []
    asking = "\n".join(names).encode()
    rest = subprocess.run(["git", "cat-file", "--batch"], input=asking, capture_output=True, check=True).stdout
    found: list[bytes | None] = []
    for _ in names:
        head, _, rest = rest.partition(b"\n")
        if head.endswith(b" missing"):
            found.append(None)
            continue
        size = int(head.split()[-1])
        found.append(rest[:size])
        rest = rest[size + 1 :]
    return found


def content(rev: str, path: str) -> bytes | None:
    """The content of a file at a revision; None if it is not there."""
    return contents([f"{rev}:./{path}"])[0]


def cache_folder() -> Path:
    """DVC's cache of this repository."""
    done = subprocess.run(["dvc", "cache", "dir"], capture_output=True, text=True, check=True)
    return Path(done.stdout.strip())


def cached(cache: Path, md5: str) -> Path:
    """Where DVC's cache has the content of this hash, if it has it."""
    return cache / "files" / "md5" / md5[:2] / md5[2:]


def listing(stored: Path) -> dict[str, str] | None:
    """The files of a folder in DVC's cache, their paths in it and hashes; None if it is not there or damaged."""
    try:
        return {entry["relpath"]: entry["md5"] for entry in json.loads(stored.read_text(encoding="utf-8"))}
    except (OSError, ValueError, KeyError, TypeError):
        return None

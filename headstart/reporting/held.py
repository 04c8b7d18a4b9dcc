"""What DVC and git hold at a revision: files of the workspace, of a commit or of an experiment, read the same way.

Refuses to know what is in them.
"""

import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path

from headstart import repository
from headstart.repository import asked
from headstart.stage import UserError

# A file's content by its path from the repository's root; None if it is not there, or in no cache at hand.
Read = Callable[[str], bytes | None]

METRICS = "metrics/evaluate.json"
# Commits to look back through for other results.
FAR = 50


def reader(rev: str | None) -> Read:
    """Reads files at a revision; at None in the current folder.

    Raises:
        UserError: there is no such revision.
    """
    if rev is None:
        return _from_disk
    if commit_of(rev) is None:
        raise UserError(
            f"{rev}: there is no such revision; `dvc exp list` names the experiments, `git log` the commits"
        )
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException
    from dvc_data.index import DataIndexDirError

    files = DVCFileSystem(".", rev=rev)

    def read(path: str) -> bytes | None:
        try:
            content: bytes = files.cat_file(path)
        except (DvcException, DataIndexDirError, OSError):
            return None
        return content

    return read


def _from_disk(path: str) -> bytes | None:
    try:
        return Path(path).read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None


def earlier(rev: str | None, metrics: bytes, figures: Iterable[str]) -> str | None:
    """The last commit or experiment before it with other results on the test split.

    Args:
        rev: what to start from; None: the workspace, before which are HEAD and all experiments.
        metrics: content of metrics/evaluate.json to differ from.
        figures: names of those that count.

    Returns:
        Its hash; None if there is none, or this is no repository of git.
    """
    figures, here, since = tuple(figures), json.loads(metrics), commit_of(rev) or "HEAD"
    lines = asked("log", f"--max-count={FAR}", "--format=%ct %H", since, "--", METRICS).splitlines()
    found = [(int(time), commit) for time, commit in map(str.split, lines)]
    last = math.inf if rev is None else int(asked("log", "-1", "--format=%ct", since) or 0)
    found += [(each.time, each.commit) for each in repository.experiments() if each.commit and each.time < last]
    newest = [commit for _, commit in sorted(found, key=lambda one: one[0], reverse=True)[:FAR]]
    contents = repository.contents([f"{commit}:./{METRICS}" for commit in newest])
    for commit, content in zip(newest, contents, strict=True):
        there = json.loads(content or b"{}")
        if there and any(there.get(figure) != here.get(figure) for figure in figures):
            return commit
    return None


def commit_of(rev: str | None) -> str | None:
    """The hash of a commit, branch, tag or experiment; of HEAD for None; None if git knows no such thing."""
    known = "HEAD" if rev is None else rev
    if found := asked("rev-parse", "--verify", "--quiet", f"{known}^{{commit}}").strip():
        return found
    return next((each.commit for each in repository.experiments() if each.name == rev), None)


def title(commit: str) -> str:
    """What people know a commit by: the name of its experiment, else its hash and the first line of its message."""
    name = next((each.name for each in repository.experiments() if each.commit == commit), None)
    return name or f"{commit[:8]}, “{asked('log', '-1', '--format=%s', commit).strip()}”"

"""What DVC holds of the pipeline: each run of it from end to end, in the workspace, in commits and in experiments.

An execution is known by what dvc.lock records of its tracked stages: their inputs, code, parameters and outputs. Two
revisions that agree in these are one execution, be it under two names. Nothing here knows MLflow, and nothing is
changed, run or fetched: what is not in DVC's cache is reported as not at hand.
"""

import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from headstart import identity, repository
from headstart.params import Params
from headstart.repository import Revision

# libyaml's reader takes a lock of 15 kB in 8 ms, Python's own in 60.
SAFE_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# Names of a sweep's trials begin so; they are not evaluated, and nobody need be told of that.
TRIAL = "sweep-"


@dataclass
class Execution:
    """One run of the pipeline, from end to end or, in an experiment, as far as it went.

    key: 64 hexadecimal digits, of all that its tracked stages read and left.
    stages: stage -> its entry in dvc.lock, for each tracked one that belongs to it.
    lock: the same with the stages that are not tracked.
    revisions: where it is held, oldest first.
    read: a file that Git tracks or the workspace holds -> its content, None if it is not there.
    """

    key: str
    stages: dict[str, dict[str, Any]]
    lock: dict[str, dict[str, Any]]
    read: Callable[[str], bytes | None]
    revisions: list[Revision] = field(default_factory=list)

    @property
    def experiments(self) -> list[str]:
        """Names of the experiments that hold it, oldest first."""
        return list(dict.fromkeys(revision.name for revision in self.revisions if revision.name))

    @property
    def commit(self) -> str | None:
        """The commit that holds it: one of a branch before one of an experiment; None if only the workspace does."""
        of = sorted((r for r in self.revisions if r.commit), key=lambda r: r.name is not None)
        return of[0].commit if of else None

    @property
    def baseline(self) -> str | None:
        """The commit that its first experiment set out from."""
        return next((r.baseline for r in self.revisions if r.baseline), None)

    @property
    def name(self) -> str:
        """What people call it: the experiment, else the commit, else the workspace and the start of its key."""
        commit = self.commit[:7] if self.commit else f"workspace {self.key[:7]}"
        return next(iter(self.experiments), commit)

    @property
    def time(self) -> int:
        """When it was first held, in seconds since 1970."""
        return self.revisions[0].time

    @property
    def outputs(self) -> dict[str, str]:
        """Path -> content of everything that its stages left."""
        return {path: md5 for entry in self.lock.values() for path, md5 in identity.outputs_of_lock(entry).items()}

    @functools.cached_property
    def parameters(self) -> dict[str, Any]:
        """All parameters of the run: params.yaml, and over it what dvc.lock says that the stages were run with."""
        given = yaml.load(self.read("params.yaml") or b"{}", Loader=SAFE_LOADER)  # noqa: S506
        for entry in self.lock.values():
            for key, value in entry.get("params", {}).get("params.yaml", {}).items():
                _put(given, key, value)
        try:
            return Params.model_validate(given).model_dump()
        except ValueError:  # of another version of Headstart
            return dict(given)


def _put(values: dict[str, Any], key: str, value: Any) -> None:
    *sections, last = key.split(".")
    for section in sections:
        values = values.setdefault(section, {})
    values[last] = value


def held(tracked: Sequence[str], *, all_commits: bool = False) -> tuple[list[Execution], list[str]]:
    """All executions that DVC holds, oldest first: the workspace's, the last commit's, every experiment's.

    The workspace and a commit may be on their way, so nothing but a whole execution counts there. An experiment is as
    it will stay: one that ended before the last stage, as a sweep's trials do, is an execution of those it has.

    Args:
        tracked: names of the stages that make an execution, in their order.
        all_commits: those of every commit on every branch as well.

    Returns:
        The executions; and a sentence for each revision that has a dvc.lock but no whole execution.
    """
    revisions = [*_commits(all_commits), *repository.experiments()]
    locks = repository.contents([f"{revision.commit}:./dvc.lock" for revision in revisions])
    states: list[tuple[Revision, bytes | None]] = list(zip(revisions, locks, strict=True))
    file = Path("dvc.lock")
    if file.exists():
        states.append((Revision(None, None, None, int(file.stat().st_mtime)), file.read_bytes()))

    found: dict[str, Execution] = {}
    notes = []
    for revision, text in sorted(states, key=lambda state: (state[0].time, state[0].commit is None)):
        if text is None:
            continue
        lock_of = _parsed(text)
        whole, reason = _ran(lock_of, tracked)
        if reason and not (revision.name or "").startswith(TRIAL):
            where = revision.name or (revision.commit[:7] if revision.commit else "the workspace")
            notes.append(f"{where}: {reason}")
        if reason and not (revision.name and whole):
            continue
        stages = {name: lock_of[name] for name in whole}
        key = of_execution(stages)
        if key not in found:
            # What an experiment has of later stages is that of the commit it set out from.
            lock = {name: entry for name, entry in lock_of.items() if name not in tracked or name in stages}
            found[key] = Execution(key, stages, lock, functools.partial(_read, revision.commit))
        found[key].revisions.append(revision)
    return list(found.values()), notes


def of_execution(stages: Mapping[str, dict[str, Any]]) -> str:
    """The key of an execution, from its tracked stages' entries in dvc.lock."""
    parts = [
        (name, identity.of_lock(entry), identity.of_outputs(identity.outputs_of_lock(entry)))
        for name, entry in stages.items()
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _ran(lock: Mapping[str, Any], tracked: Iterable[str]) -> tuple[list[str], str | None]:
    """The first of the stages that belong to one run; and why the others do not, None if there are none."""
    left = {path: md5 for entry in lock.values() for path, md5 in identity.outputs_of_lock(entry).items()}
    ran: list[str] = []
    for name in tracked:
        if name not in lock:
            return ran, f"{name} has not run yet"
        for dep in lock[name].get("deps", []):
            if left.get(dep["path"], dep.get("md5")) != dep.get("md5"):
                return ran, f"{name} has not run yet on the {dep['path']} that is there now"
        ran.append(name)
    return ran, None


@functools.lru_cache(maxsize=1024)
def _parsed(text: bytes) -> dict[str, Any]:
    try:
        stages: dict[str, Any] = yaml.load(text, Loader=SAFE_LOADER)["stages"]  # noqa: S506
    except (yaml.YAMLError, TypeError, KeyError):  # a merge's conflict, or a lock of an old DVC
        return {}
    return stages


def _commits(all_commits: bool) -> list[Revision]:
    # With a path, git lists the commits that changed it: each state of it is held by one of these.
    those = ["--branches", "--remotes", "--tags", "--full-history", "--", "dvc.lock"] if all_commits else ["-1"]
    listed = {
        line for command in (["-1"], those) for line in repository.asked("log", "--format=%H %ct", *command).split("\n")
    }
    return [Revision(None, commit, None, int(time)) for commit, time in (line.split() for line in listed if line)]


def _read(commit: str | None, path: str) -> bytes | None:
    if commit:
        return repository.content(commit, path)
    file = Path(path)
    return file.read_bytes() if file.is_file() else None


def in_history(commits: Iterable[str]) -> set[str]:
    """Those of the commits that a branch or tag leads to."""
    wanted = set(commits)
    return wanted & set(repository.asked("rev-list", "--branches", "--remotes", "--tags").split()) if wanted else set()


def lay_out(execution: Execution, outputs: Mapping[str, str], folder: Path, cache: Path, *, check: bool = True) -> None:
    """Put outputs of an execution into a folder by their paths, as far as they are at hand and sound.

    Args:
        execution: whose they are.
        outputs: path -> content, as dvc.lock records it.
        folder: is filled; what DVC's cache holds is linked, so it is for reading.
        cache: DVC's, the folder that holds `files/md5`.
        check: whether the content is what it should be: DVC does not look, and a damaged file is not at hand.
    """
    for path, md5 in outputs.items():
        place, stored = folder / path, repository.cached(cache, md5)
        if md5.endswith(".dir"):
            if (members := repository.listing(stored)) is None:
                continue
            sources = {name: repository.cached(cache, each) for name, each in members.items()}
            # A folder appears with all of its files or not at all.
            if all(_sound(source, members[name], check) for name, source in sources.items()):
                for name, source in sources.items():
                    _link(source, place / name)
        elif _sound(stored, md5, check):
            _link(stored, place)
        elif (content := execution.read(path)) is not None and _md5(content) == md5:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)


def _sound(stored: Path, md5: str, check: bool) -> bool:
    return stored.exists() and (not check or identity.md5(stored) == md5)


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _link(source: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(source.resolve())

"""A DVC experiment in a temporary copy: started, watched, stopped, and what it found.

In a copy rather than in the workspace, so that a sweep that is killed leaves the workspace alone, its user can work on,
and several trials run at a time. DVC keeps what a copy ran in its run cache, so nothing is computed twice all the same.
"""

import csv
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from headstart import live, params, repository
from headstart.repository import git
from headstart.stage import UserError
from headstart.sweep.space import changed

# What the trials run up to, and what lies beyond: the look at the test split.
LAST, BEYOND = "fine_tune", "evaluate"
# Seconds that DVC has after Ctrl-C to remove its copy; a stage leaves within three.
PATIENCE = 30
# Where DVC has its temporary copies and a note on each; the last of the states there that is no end.
COPIES, RUNNING = Path(".dvc/tmp/exps/standalone"), 2


class Experiment:
    """One `dvc exp run --temp`, in a process group of its own."""

    def __init__(self, name: str, changes: Mapping[str, Any], folder: Path, last: str, env: Mapping[str, str]) -> None:
        """Start it.

        Args:
            name: of the experiment.
            changes: parameters that differ from params.yaml.
            folder: for what is kept beside the experiment: NAME.log, to which a further start adds, the epochs as they
                come in NAME.jsonl, NAME.lock.
            last: the stage to end with.
            env: further variables.
        """
        self.name, self.log, self.epochs = name, folder / f"{name}.log", folder / f"{name}.jsonl"
        self.epochs.unlink(missing_ok=True)
        settings = [part for key, value in changes.items() for part in ("-S", f"{key}={value}")]
        copied = [part for path in _untracked() for part in ("-C", path)]
        command = ["dvc", "exp", "run", "--temp", "--name", name, *settings, *copied, last]
        lock = _lock(folder, name)
        assert lock is not None, "wait_for was called before"
        with self.log.open("a", encoding="utf-8") as log:
            self.since = log.tell()  # what an earlier start has said lies before
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=[lock],  # held by DVC as long as it lives, also if this process is gone by then
                env={**os.environ, "PYTHONUNBUFFERED": "1", live.FILE: str(self.epochs.resolve()), **env},
            )
        os.close(lock)

    def stop(self) -> None:
        """End it as Ctrl-C would; no experiment comes of it, and its copy is gone."""
        for number in (signal.SIGINT, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, number)
                self.process.wait(PATIENCE)
            except ProcessLookupError:
                return
            except subprocess.TimeoutExpired:
                continue

    def why(self) -> str:
        """The reason of a failure: the sentence of the stage, or the last line of all."""
        said_now = self.log.read_bytes()[self.since :].decode("utf-8", errors="replace")
        lines = [line for line in said_now.splitlines() if line.strip()]
        said = [line for line in lines if line.startswith("error: ")] or lines[-1:] or ["it said nothing"]
        return f"{said[-1].removeprefix('error: ')} (all of it: {self.log})"


def wait_for(folder: Path, name: str) -> None:
    """Wait for an experiment of that name that a killed sweep has left running, and remove what a killed one left."""
    lock = _lock(folder, name)
    if lock is None:
        print(f"{name} is still running, from a sweep that was killed: waiting for it", file=sys.stderr, flush=True)
    while lock is None:
        time.sleep(1)
        lock = _lock(folder, name)
    _clear(name)
    os.close(lock)


def _clear(name: str) -> None:
    """Remove the copy of an experiment whose DVC was killed, and the note by which `dvc exp show` says that it runs."""
    for note in COPIES.glob("run/*/*.run"):
        try:
            said = json.loads(note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if said.get("name") != name or said.get("status", RUNNING) > RUNNING:
            continue
        copy = Path(said.get("root_dir") or "")
        if copy.resolve().parent == COPIES.resolve():
            shutil.rmtree(copy, ignore_errors=True)
        shutil.rmtree(note.parent, ignore_errors=True)


def _lock(folder: Path, name: str) -> int | None:
    lock = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def metrics(name: str, of: str) -> dict[str, Any] | None:
    """The metrics of a stage in an experiment; None if there is no such experiment, or it has none of that stage."""
    ref = _ref(name)
    return None if ref is None else _metrics(ref, of)


def epochs(name: str, best: str = "accuracy") -> list[tuple[int, float]]:
    """Epoch and validation figure of an experiment's fine-tuning, from epoch 0, the head's; what it has of them.

    Without such an experiment those of the commit checked out, see `committed`.

    Args:
        name: of the experiment.
        best: the figure that is followed, see `headstart.training.followed`.
    """
    ref, found = _ref(name) or "HEAD", []
    if (before := _metrics(ref, "train_head")) is not None and f"best_val_{best}" in before:
        found.append((0, float(before[f"best_val_{best}"])))
    table = (repository.content(ref, f"plots/{LAST}.csv") or b"").decode()
    return found + [(int(row["epoch"]), float(row[f"val_{best}"])) for row in csv.DictReader(table.splitlines())]


def remove_other(name: str, changes: Mapping[str, Any]) -> None:
    """Remove an experiment of that name with other parameters: one of a study whose folder was deleted."""
    if (ref := _ref(name)) is None:
        return
    values = yaml.safe_load(git("show", f"{ref}:params.yaml"))
    try:
        # By the schema: DVC writes 1e-07, which YAML reads as text.
        same = params.check(values, ref) == params.check(changed(values, changes), ref)
    except UserError:  # of another version
        same = False
    if not same:
        subprocess.run(["dvc", "exp", "remove", "--quiet", name], check=False)


def committed(of: str) -> dict[str, Any] | None:
    """The metrics of a stage in the commit checked out: what DVC makes of an experiment that changes none."""
    return _metrics("HEAD", of)


def _metrics(rev: str, of: str) -> dict[str, Any] | None:
    found = repository.content(rev, f"metrics/{of}.json")
    return None if found is None else json.loads(found)


def forget_test(name: str) -> None:
    """Take out of an experiment what it has from the commit it started from: the evaluation of another model.

    The experiment's ref gets a commit that differs in that alone; `dvc repro` after `dvc exp apply` evaluates anew.
    """
    ref = _ref(name)
    assert ref is not None
    lock = yaml.safe_load(git("show", f"{ref}:dvc.lock"))
    if BEYOND not in lock["stages"]:
        return
    declared = yaml.safe_load(git("show", f"{ref}:dvc.yaml"))["stages"][BEYOND]
    del lock["stages"][BEYOND]
    outputs = [path for kind in ("metrics", "plots", "outs") for out in declared.get(kind, []) for path in _paths(out)]
    with tempfile.TemporaryDirectory() as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder, "index"))}
        git("read-tree", ref, env=index)
        git("rm", "-r", "--cached", "--quiet", "--ignore-unmatch", "--", *outputs, env=index)
        blob = git("hash-object", "-w", "--stdin", text=yaml.safe_dump(lock, sort_keys=False)).strip()
        git("update-index", "--cacheinfo", f"100644,{blob},dvc.lock", env=index)
        tree = git("write-tree", env=index).strip()
    message = git("log", "-1", "--format=%B", ref)
    by = dict(zip(("NAME", "EMAIL"), git("log", "-1", "--format=%an%n%ae", ref).splitlines(), strict=True))
    people = {f"GIT_{who}_{what}": of for who in ("AUTHOR", "COMMITTER") for what, of in by.items()}
    parents = [part for parent in git("log", "-1", "--format=%P", ref).split() for part in ("-p", parent)]
    commit = git("commit-tree", tree, *parents, text=message, env=people).strip()
    git("update-ref", ref, commit)


def _paths(out: str | dict[str, Any]) -> list[str]:
    return [out] if isinstance(out, str) else list(out)


def _ref(name: str) -> str | None:
    refs = git("for-each-ref", "--format=%(refname)", repository.EXPERIMENTS).split()
    return next((ref for ref in refs if ref.rpartition("/")[2] == name), None)


def _untracked() -> list[str]:
    """Paths in the repository that stages read and that neither git nor DVC brings into a copy: a user's own data."""
    stages = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"].values()
    values = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    made = [Path(path) for stage in stages for out in stage.get("outs", []) for path in _paths(out)]
    found = []
    for path in map(Path, filter(None, dict.fromkeys((values["data"]["path"], values["data"]["images"])))):
        inside = not path.is_absolute() and ".." not in path.parts
        by_dvc = any(part.with_name(f"{part.name}.dvc").exists() for part in (path, *path.parents) if part.name)
        if not inside and not path.is_absolute():
            raise UserError(f"data: {path} is not found from a copy of this folder; give it as {path.resolve()}")
        if not inside or by_dvc or not path.exists() or any(path.is_relative_to(out) for out in made):
            continue
        if not git("ls-files", "--", str(path)):
            found.append(str(path))
    return found

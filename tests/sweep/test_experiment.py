"""What a trial's experiment holds, in a repository that has git's part of one alone."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from headstart import live
from headstart.stage import UserError
from headstart.sweep import experiment

ROOT = Path(__file__).parents[2]


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An experiment as a trial leaves it: fine-tuned anew, with the evaluation of the commit it started from."""
    monkeypatch.chdir(tmp_path)
    Path("dvc.yaml").write_bytes((ROOT / "dvc.yaml").read_bytes())
    Path("params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    lock = {"schema": "2.0", "stages": {"fine_tune": {"cmd": "x"}, "evaluate": {"cmd": "y"}}}
    Path("dvc.lock").write_text(yaml.safe_dump(lock))
    for file in ("metrics/fine_tune.json", "metrics/evaluate.json", "plots/evaluate/roc.csv", "plots/fine_tune.csv"):
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_text("{}")
    for command in (("init", "-q"), ("config", "user.name", "tests"), ("config", "user.email", "tests@localhost")):
        git(*command)
    git("add", "--all")
    git("commit", "-qm", "before")
    baseline = git("rev-parse", "HEAD")
    Path("metrics/fine_tune.json").write_text(json.dumps({"best_val_accuracy": 0.9}))
    git("commit", "-qam", "dvc: commit experiment")
    git("update-ref", f"refs/exps/{baseline[:2]}/{baseline[2:]}/sweep-1-000", "HEAD")
    git("reset", "-q", "--hard", baseline)
    return "sweep-1-000"


def test_a_trial_has_no_evaluation_of_another_model_and_is_otherwise_as_it_was(trial: str) -> None:
    ref = next(line for line in git("for-each-ref", "--format=%(refname)", "refs/exps").split())
    before, workspace = git("rev-parse", ref), git("status", "--porcelain")
    assert experiment.metrics(trial, "evaluate") == {}
    experiment.forget_test(trial)
    assert experiment.metrics(trial, "evaluate") is None
    assert experiment.metrics(trial, "fine_tune") == {"best_val_accuracy": 0.9}
    assert set(git("diff", "--name-only", before, ref).split()) == {
        "dvc.lock", "metrics/evaluate.json", "plots/evaluate/roc.csv",
    }  # fmt: skip
    assert list(yaml.safe_load(git("show", f"{ref}:dvc.lock"))["stages"]) == ["fine_tune"]
    assert git("log", "-1", "--format=%P %an %s", ref) == git("log", "-1", "--format=%P %an %s", before)
    assert git("status", "--porcelain") == workspace
    once = git("rev-parse", ref)
    experiment.forget_test(trial)
    assert git("rev-parse", ref) == once


def test_what_is_not_there_has_no_metrics(trial: str) -> None:
    assert experiment.metrics("sweep-1-001", "fine_tune") is None
    assert experiment.committed("fine_tune") == {}


def test_a_rate_that_yaml_reads_as_text_is_no_other_rate(trial: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """DVC writes 1e-07; compared as it is read, each such trial would be removed after a kill, and run again."""
    removed = []
    monkeypatch.setattr(experiment.subprocess, "run", recording(experiment.subprocess.run, removed))
    ref = next(line for line in git("for-each-ref", "--format=%(refname)", "refs/exps").split())
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(re.sub(r"^lr: \S+", "lr: 1e-07", text, flags=re.MULTILINE))
    git("add", "params.yaml")
    git("update-ref", ref, git("commit-tree", git("write-tree"), "-p", "HEAD", "-m", "with a small rate"))
    experiment.remove_other(trial, {"lr": 1e-7})
    assert removed == []
    experiment.remove_other(trial, {"lr": 1e-6})
    assert removed == [["dvc", "exp", "remove", "--quiet", trial]]


def recording(run: Callable, removed: list) -> Callable:
    """`subprocess.run` that writes down what is asked of DVC instead."""
    return lambda command, **options: removed.append(command) if command[0] == "dvc" else run(command, **options)


def test_an_experiments_epochs_begin_with_the_head(trial: str) -> None:
    ref = next(line for line in git("for-each-ref", "--format=%(refname)", "refs/exps").split())
    Path("metrics/train_head.json").write_text(json.dumps({"best_val_accuracy": 0.5}))
    Path("plots/fine_tune.csv").write_text("epoch,val_loss,val_accuracy\n1,0.7,0.25\n2,0.6,0.75\n")
    git("add", "--all")
    git("update-ref", ref, git("commit-tree", git("write-tree"), "-p", "HEAD", "-m", "with epochs"))
    assert experiment.epochs(trial) == [(0, 0.5), (1, 0.25), (2, 0.75)]


def test_what_a_killed_dvc_left_is_removed_and_nothing_else(trial: str) -> None:
    copies = Path(".dvc/tmp/exps/standalone")
    for number, (name, status) in enumerate((("mine", 2), ("mine", 6), ("other", 2))):
        (copies / f"tmp{number}/data").mkdir(parents=True)
        (copies / f"run/{number}").mkdir(parents=True)
        note = {"name": name, "status": status, "root_dir": str((copies / f"tmp{number}").resolve())}
        (copies / f"run/{number}/{number}.run").write_text(json.dumps(note))
    (copies / "run/3").mkdir()
    (copies / "run/3/3.run").write_text(json.dumps({"name": "mine", "status": 2, "root_dir": str(Path.cwd())}))
    experiment.wait_for(Path(), "mine")
    assert sorted(path.name for path in copies.glob("tmp*")) == ["tmp1", "tmp2"]
    assert sorted(path.name for path in copies.glob("run/*")) == ["1", "2"]
    assert Path("params.yaml").exists()


def test_data_that_a_copy_would_lack_are_handed_on(trial: str) -> None:
    values = yaml.safe_load(Path("params.yaml").read_text())

    def given(path: str) -> list[str]:
        values["data"] |= {"path": path, "images": path}
        Path("params.yaml").write_text(yaml.safe_dump(values))
        return experiment._untracked()

    for name in ("mine", "by_git", "by_dvc"):
        Path(name).mkdir()
        Path(name, "a.png").touch()
    git("add", "by_git")
    Path("by_dvc.dvc").touch()
    assert given("mine") == ["mine"]
    assert given("by_git") == given("by_dvc") == given(str(Path("mine").resolve())) == given("data/fetched/x") == []
    with pytest.raises(UserError, match="is not found from a copy"):
        given("../elsewhere")


def test_epochs_are_read_as_they_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "epochs.jsonl"
    live.tell(1, {"val_accuracy": 0.5})
    assert list(live.read(file)) == []
    monkeypatch.setenv(live.FILE, str(file))
    monkeypatch.setenv("DVC_STAGE", "fine_tune")
    live.tell(1, {"val_accuracy": 0.5})
    with file.open("a") as half:
        half.write('{"stage": "fine_tune", "epo')
    assert list(live.read(file)) == [live.Epoch("fine_tune", 1, {"val_accuracy": 0.5})]


def test_epochs_are_of_the_figure_that_is_followed(trial: str) -> None:
    ref = next(line for line in git("for-each-ref", "--format=%(refname)", "refs/exps").split())
    Path("metrics/train_head.json").write_text(json.dumps({"best_val_loss": 0.9, "best_val_absolute_error": 3}))
    Path("plots/fine_tune.csv").write_text("epoch,val_loss,val_absolute_error\n1,0.7,2\n2,0.6,1\n")
    git("add", "--all")
    git("update-ref", ref, git("commit-tree", git("write-tree"), "-p", "HEAD", "-m", "with scores"))
    assert experiment.epochs(trial, "loss") == [(0, 0.9), (1, 0.7), (2, 0.6)]

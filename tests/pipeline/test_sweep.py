"""Many experiments: queued, and asked for by a sweep that is killed; and the learning rate to begin with."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import numpy as np
import optuna
import pandas as pd
import pytest
import yaml
from mlflow.entities import Run
from PIL import Image

from headstart import identity, live
from tests.pipeline.conftest import Clone

pytestmark = pytest.mark.pipeline


@pytest.fixture
def own(pipeline: Clone, tmp_path: Path) -> Clone:
    """A clone with all data, DVC's cache and experiments of its own; what other tests ran is no longer among them."""
    shutil.copytree(pipeline.folder, tmp_path / "own", symlinks=True)
    clone = Clone(tmp_path / "own")
    clone.ok("dvc", "exp", "remove", "--all-commits")
    return clone


def experiments(clone: Clone) -> dict[str, dict]:
    """What `dvc exp show` has of each experiment, by name."""
    revisions = json.loads(clone.ok("dvc", "exp", "show", "--json"))
    return {found["name"]: found for revision in revisions for found in revision.get("experiments") or []}


def metrics(experiment: dict, of: str) -> dict | None:
    """The metrics of a stage in an experiment; None if it has none."""
    found = experiment["revs"][0]["data"]["metrics"].get(f"metrics/{of}.json")
    return found["data"] if found and "data" in found else None


def names(clone: Clone) -> set[str]:
    return set(clone.ok("dvc", "exp", "list", "--name-only").split())


def unchanged(clone: Clone) -> list[str]:
    """The content of what a run changes in the workspace; DVC writes params.yaml anew where it queues a change."""
    return [
        f"{path.relative_to(clone.folder)} {identity.md5(path)}"
        for folder in ("models", "metrics", "plots", "params.yaml", "dvc.lock", "evaluation")
        for path in sorted([clone.folder / folder, *(clone.folder / folder).rglob("*")])
        if path.is_file()
    ]


def test_queued_experiments_run_side_by_side(own: Clone) -> None:
    before, earlier = unchanged(own), names(own)
    own.ok("dvc", "exp", "run", "--queue", "-S", "lr=1e-3,3e-3", "-S", "trainable_layers=0")
    own.ok("dvc", "queue", "start", "--jobs", "2")
    deadline = time.monotonic() + 540
    while time.monotonic() < deadline and re.search(r"Queued|Running", said := own.ok("dvc", "queue", "status")):
        time.sleep(3)
    assert said.count("Success") == 2, said + "".join(own.run("dvc", "queue", "logs", n).stdout for n in names(own))
    found, there = {}, experiments(own)
    for name in names(own) - earlier:
        ref = next(r for r in own.ok("git", "for-each-ref", "--format=%(refname)").split() if r.endswith(f"/{name}"))
        lock = yaml.safe_load(own.ok("git", "show", f"{ref}:dvc.lock"))["stages"]
        rate = lock["train_head"]["params"]["params.yaml"]["lr"]
        found[float(rate)] = {out["path"]: out["md5"] for out in lock["train_head"]["outs"]}
        assert metrics(there[name], "evaluate") is not None
    assert found.keys() == {1e-3, 3e-3}
    # The rate of the workspace: whoever ran beside it, its head has the same bytes.
    here = yaml.safe_load((own.folder / "dvc.lock").read_text())["stages"]["train_head"]["outs"]
    assert found[1e-3] == {out["path"]: out["md5"] for out in here}
    assert found[3e-3]["models/head"] != found[1e-3]["models/head"]
    assert unchanged(own) == before


# A good rate, and one at which nothing is learnt; no training stops by itself. Of the study's random choices the first
# two fall on the good rate, the third on the other.
EPOCHS = 12
SWEEP = (
    "sweep", "3", "--startup", "1", "--only", "-S", "lr=1e-7,0.01", "-S", f"epochs={EPOCHS}",
    "-S", "head.patience=99", "-S", "fine_tune.patience=99",
)  # fmt: skip


def begin(own: Clone) -> subprocess.Popen[str]:
    """The sweep, to be killed."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "MLFLOW_", "PYTEST_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.Popen(
        [sys.executable, "-m", "headstart", *SWEEP], cwd=own.folder, env={**inherited, "PATH": path},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def await_epoch(own: Clone, trial: int, stage: str, epoch: int) -> Path:
    """Wait until a trial has told an epoch of a stage; its file of epochs."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        for file in (own.folder / ".headstart/sweep").glob(f"*/*-{trial:03d}.jsonl"):
            if any(told.stage == stage and told.epoch >= epoch for told in live.read(file)):
                return file
        time.sleep(0.05)
    raise AssertionError(f"trial {trial} tells no epoch {epoch} of {stage}")


def kill_below(folder: Path) -> int:
    """Kill -9 whatever runs in a folder or below it, as the machine's end would; how many processes."""
    count = 0
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cwd").resolve().is_relative_to(folder.resolve()):
                os.kill(int(entry.name), signal.SIGKILL)
                count += 1
        except OSError:
            continue
    return count


def logged(own: Clone, study: str) -> tuple[Run, dict[str, Run]]:
    """The study's run in MLflow, and those of its trials by their names, one each."""
    client = mlflow.MlflowClient(f"sqlite:///{own.folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("headstart")
    runs = client.search_runs([experiment.experiment_id], f"tags.`headstart.sweep` = '{study}'")
    (parent,) = [run for run in runs if run.data.tags.get("dvc.stage") == "sweep"]
    trials = [run for run in runs if "headstart.trial" in run.data.tags]
    found = {run.data.tags["headstart.trial"]: run for run in trials}
    assert len(found) == len(trials)
    return parent, found


def test_a_sweep_goes_on_after_kills_prunes_and_tests_the_best_alone(own: Clone) -> None:
    before = unchanged(own)
    # The sweep alone is killed: the trial that it leaves running is waited for, and not run again.
    killed = begin(own)
    folder = await_epoch(own, 0, "train_head", 1).parent
    killed.kill()
    killed.communicate()
    first, third = (folder / f"{folder.name}-{trial:03d}.log" for trial in (0, 2))

    # Everything is killed in the middle of the third trial, which the sweep, stopped before, can't have pruned.
    killed = begin(own)
    await_epoch(own, 2, "train_head", 1)
    os.kill(killed.pid, signal.SIGSTOP)
    told = await_epoch(own, 2, "fine_tune", 2)  # an epoch is told before its state is kept
    assert kill_below(own.folder) >= 3  # the sweep, DVC, the stage
    waited, _ = killed.communicate()
    last = max(each.epoch for each in live.read(told) if each.stage == "fine_tune")
    assert last < EPOCHS
    assert f"{folder.name}-000 is still running" in waited
    finished, (_, runs) = first.read_bytes(), logged(own, folder.name)
    assert finished.count(b"Running stage 'fine_tune'") == finished.count(b"Running stage 'train_head'") == 1

    said = own.ok(sys.executable, "-m", "headstart", *SWEEP)
    # The finished trial is as it was; the other has gone on after its last epoch.
    assert first.read_bytes() == finished
    log = third.read_text()
    assert log.count("Running stage 'train_head'") == 1
    assert log.count("Running stage 'fine_tune'") == 2
    gone_on = re.search(r"going on after epoch (\d+)", log)
    assert gone_on, log
    assert int(gone_on[1]) >= 1

    # It is pruned before its last epoch, by validation; the good one has had all of its epochs.
    pruned = re.search(r"trial 2: pruned, no better than the median after epoch (\d+)", said)
    assert pruned, said
    assert 2 <= int(pruned[1]) < EPOCHS
    study = optuna.load_study(study_name=folder.name, storage=f"sqlite:///{folder / 'study.db'}")
    good, same, bad = study.get_trials()
    assert [trial.state.name for trial in (good, same, bad)] == ["COMPLETE", "COMPLETE", "PRUNED"]
    assert (good.params["lr"], same.user_attrs["like"], bad.params["lr"]) == (0.01, 0, 1e-7)
    assert set(good.intermediate_values) == set(range(EPOCHS + 1))
    assert max(bad.intermediate_values) == int(pruned[1])
    assert max(bad.intermediate_values.values()) < good.intermediate_values[2]

    # Trials have validation results alone; the best one is what `dvc exp show` has, and it alone is tested.
    table = pd.read_csv(own.folder / "reports/sweep/trials.csv")
    assert table["state"].tolist() == ["complete", "complete", "pruned"]
    best = f"{folder.name}-{table['trial'].iloc[0]:03d}"
    there = experiments(own)
    assert set(there) == {best, f"{best}-tested"}
    assert metrics(there[best], "fine_tune")["best_val_accuracy"] == pytest.approx(table["val_accuracy"].max())
    assert metrics(there[best], "evaluate") is None
    tested = metrics(there[f"{best}-tested"], "evaluate")
    assert tested is not None
    assert f"accuracy {tested['accuracy']:.3f}" in said
    assert "'fine_tune' is cached - skipping run" in (folder / f"{best}-tested.log").read_text()
    # Nothing is left of the experiment that was killed.
    assert all(found["executor"] is None for found in there.values())
    assert not [path for path in (own.folder / ".dvc/tmp/exps/standalone").iterdir() if path.name.startswith("tmp")]
    assert unchanged(own) == before

    # In MLflow each trial has the one run it began with, whatever was killed, and nothing seems to be running.
    parent, trials = logged(own, folder.name)
    assert {name: run.info.run_id for name, run in trials.items()} == {
        name: run.info.run_id for name, run in runs.items()
    }
    assert {run.data.tags["mlflow.parentRunId"] for run in trials.values()} == {parent.info.run_id}
    assert {name[-3:]: (run.data.tags["optuna.state"], run.info.status) for name, run in trials.items()} == {
        "000": ("complete", "FINISHED"), "002": ("pruned", "KILLED"),
    }  # fmt: skip
    client = mlflow.MlflowClient(f"sqlite:///{own.folder / 'mlflow.db'}")
    assert {"sweep/history.png", "sweep/trials.csv"} <= {
        file.path for file in client.list_artifacts(parent.info.run_id, "sweep")
    }
    assert not client.search_runs([parent.info.experiment_id], "attributes.status = 'RUNNING'")
    own.ok("dvc", "exp", "apply", f"{best}-tested")
    assert json.loads((own.folder / "metrics/evaluate.json").read_text())["accuracy"] == tested["accuracy"]


def test_a_range_that_can_not_be_is_one_sentence(pipeline: Clone) -> None:
    done = pipeline.run(sys.executable, "-m", "headstart", "sweep", "3", "--only", "-S", "lr=0:1:log")
    assert done.returncode == 1
    assert done.stderr == "error: lr: '0:1:log' is given; a range has two numbers, the smaller one first and above 0\n"


def test_a_learning_rate_is_found_and_no_model_is_changed(pipeline: Clone, tmp_path: Path) -> None:
    copy = pipeline.copy(tmp_path / "copy")
    before = unchanged(copy)
    found = {}
    for of in ("head", "fine_tune"):
        said = copy.ok(sys.executable, "-m", "headstart", "find-lr", "--of", of)
        found[of] = float(re.match(r"lr: (\S+)", said)[1])
        curve = pd.read_csv(copy.folder / "reports/find-lr.csv")
        assert (curve["lr"].diff().dropna() > 0).all()
        scale = 0.3 if of == "fine_tune" else 1
        np.testing.assert_allclose(curve["rate"], curve["lr"] * scale)
        assert curve["lr"].iloc[0] < found[of] < curve["lr"].iloc[-1]
        with Image.open(copy.folder / "reports/find-lr.png") as picture:
            assert picture.size[0] > 500
    # What Adam usually wants, an order of magnitude more or less.
    assert 3e-4 < found["head"] < 0.3
    assert 1e-4 < found["fine_tune"] < 0.1
    assert unchanged(copy) == before

"""Many experiments: queued, and asked for by a sweep that is killed; and the learning rate to begin with."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from headstart import identity
from tests.pipeline.conftest import Clone

pytestmark = pytest.mark.pipeline


@pytest.fixture
def own(pipeline: Clone, tmp_path: Path) -> Clone:
    """A clone with all data, DVC's cache and experiments of its own."""
    shutil.copytree(pipeline.folder, tmp_path / "own", symlinks=True)
    return Clone(tmp_path / "own")


def shown(clone: Clone, name: str, of: str) -> dict | None:
    """The metrics of a stage as `dvc exp show` has them; None if it has none."""
    revisions = json.loads(clone.ok("dvc", "exp", "show", "--json"))
    experiments = [found for revision in revisions for found in revision.get("experiments") or []]
    (data,) = [found["revs"][0]["data"] for found in experiments if found["name"] == name]
    found = data["metrics"].get(f"metrics/{of}.json")
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
    before = unchanged(own)
    own.ok("dvc", "exp", "run", "--queue", "-S", "lr=1e-3,3e-3", "-S", "trainable_layers=0")
    own.ok("dvc", "queue", "start", "--jobs", "2")
    deadline = time.monotonic() + 540
    while time.monotonic() < deadline and re.search(r"Queued|Running", said := own.ok("dvc", "queue", "status")):
        time.sleep(3)
    assert said.count("Success") == 2, said + "".join(own.run("dvc", "queue", "logs", n).stdout for n in names(own))
    found = {}
    for name in names(own):
        ref = next(r for r in own.ok("git", "for-each-ref", "--format=%(refname)").split() if r.endswith(f"/{name}"))
        lock = yaml.safe_load(own.ok("git", "show", f"{ref}:dvc.lock"))["stages"]
        rate = lock["train_head"]["params"]["params.yaml"]["lr"]
        found[float(rate)] = {out["path"]: out["md5"] for out in lock["train_head"]["outs"]}
        assert shown(own, name, "evaluate") is not None
    assert found.keys() == {1e-3, 3e-3}
    # The rate of the workspace: whoever ran beside it, its head has the same bytes.
    there = yaml.safe_load((own.folder / "dvc.lock").read_text())["stages"]["train_head"]["outs"]
    assert found[1e-3] == {out["path"]: out["md5"] for out in there}
    assert found[3e-3]["models/head"] != found[1e-3]["models/head"]
    assert unchanged(own) == before


# A head that has hardly learnt, and fine-tuning that mends it, or does nothing for very long.
SWEEP = ("--only", "-S", "fine_tune.lr_scale=1e-3,1e4", "-S", "lr=1e-7", "-S", "epochs=200", "-S", "fine_tune.warmup=0")


@pytest.mark.soak
def test_a_sweep_goes_on_after_a_kill_prunes_and_tests_the_best_alone(own: Clone) -> None:
    before = unchanged(own)
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "MLFLOW_", "PYTEST_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    killed = subprocess.Popen(
        [sys.executable, "-m", "headstart", "sweep", "3", "--startup", "1", *SWEEP], cwd=own.folder,
        env={**inherited, "PATH": path}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert killed.stdout is not None
    assert any(line.startswith("trial 0: ") for line in killed.stdout)
    (folder,) = (own.folder / ".headstart/sweep").iterdir()
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and not list(folder.glob("*-000.jsonl")):
        time.sleep(0.5)
    killed.kill()
    killed.communicate()

    # It left its trial running, which is waited for and not run again.
    said = own.ok(sys.executable, "-m", "headstart", "sweep", "3", "--startup", "1", *SWEEP)
    study = folder.name
    log = (folder / f"{study}-000.log").read_text()
    assert log.count("Running stage 'train_head'") <= 1  # none, where the epochs are the workspace's
    assert log.count("Running stage 'fine_tune'") == 1
    assert re.search(r"trial \d: pruned, no better than the median after epoch \d", said), said

    # Trials have validation results alone; the best one is what `dvc exp show` has, and it alone is tested.
    table = pd.read_csv(own.folder / "reports/sweep/trials.csv")
    assert len(table) == 3
    assert set(table["state"]) == {"complete", "pruned"}
    best = f"{study}-{table['trial'].iloc[0]:03d}"
    complete = {name for name in names(own) if not name.endswith("-tested")}
    assert names(own) - complete == {f"{best}-tested"}
    accuracy = {name: shown(own, name, "fine_tune")["best_val_accuracy"] for name in complete}
    assert accuracy[best] == max(accuracy.values()) == pytest.approx(table["val_accuracy"].max())
    assert all(shown(own, name, "evaluate") is None for name in complete)
    tested = shown(own, f"{best}-tested", "evaluate")
    assert tested is not None
    assert f"accuracy {tested['accuracy']:.3f}" in said
    assert "'fine_tune' is cached - skipping run" in (folder / f"{best}-tested.log").read_text()
    assert unchanged(own) == before

    client = mlflow.MlflowClient(f"sqlite:///{own.folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("headstart")
    runs = client.search_runs([experiment.experiment_id], f"tags.`headstart.sweep` = '{study}'")
    (parent,) = [run for run in runs if run.data.tags.get("dvc.stage") == "sweep"]
    trials = [run for run in runs if run.data.tags.get("headstart.trial")]
    assert {run.data.tags["mlflow.parentRunId"] for run in trials} == {parent.info.run_id}
    assert {run.data.tags["optuna.state"] for run in trials} == {"complete", "pruned"}
    assert {"sweep/history.png", "sweep/trials.csv"} <= {
        file.path for file in client.list_artifacts(parent.info.run_id, "sweep")
    }
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

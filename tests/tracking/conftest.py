"""A small repository with stages named and tracked like ours, which train in no time: for what DVC and MLflow do."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]

# A stage of our names with outputs of our layout. What it learns is a function of lr, and just numbers.
WORK = """
import json, os, sys, zipfile
from pathlib import Path
from types import SimpleNamespace
import numpy as np
from headstart import params, stage, tracking

CLASSES = ["copepod", "diatom"]
INPUT = {"class_name": "InputLayer", "config": {"name": "image", "dtype": "float32", "batch_shape": [None, 8, 8, 3]}}


def prepare(settings, run):
    with stage.whole("data/prepared") as folder:
        np.save(folder / "images.npy", np.arange(300 * 192, dtype=np.uint8).reshape(300, 8, 8, 3))
        lines = [f"{i:03d},{CLASSES[i % 2]},,{('train', 'validation', 'test')[i % 3]}" for i in range(300)]
        (folder / "examples.csv").write_text("id,label,group,split\\n" + "\\n".join(lines) + "\\n")
        (folder / "labels.json").write_text(json.dumps(CLASSES))


def fetch_backbone(settings, run):
    with stage.whole("models/backbone") as folder:
        (folder / "backbone.json").write_text(json.dumps({"name": settings.backbone}))


def network(path, weights):
    with zipfile.ZipFile(path, "w") as file:
        for name, text in (("config.json", json.dumps({"config": {"layers": [INPUT]}})), ("weights", weights)):
            file.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), text)


def train_head(settings, run):
    rows = [(epoch, settings.lr / epoch, 1 - settings.lr / epoch) for epoch in (1, 2)]
    for epoch, loss, accuracy in rows:
        run.epoch(epoch, {"val_loss": loss, "val_accuracy": accuracy})
    with stage.whole("models/head") as folder:
        network(folder / "model.keras", str(settings.lr))
        (folder / "labels.json").write_text(json.dumps(CLASSES))
        (folder / "model.json").write_text("{}")
    lines = [f"{epoch},{loss!r},{accuracy!r}" for epoch, loss, accuracy in rows]
    stage.write("plots/train_head.csv", "epoch,val_loss,val_accuracy\\n" + "\\n".join(lines) + "\\n")
    summary = {"epochs": 2, "best_epoch": 2, "best_val_loss": rows[1][1], "best_val_accuracy": rows[1][2]}
    stage.write("metrics/train_head.json", json.dumps(summary))


def fine_tune(settings, run):
    with stage.whole("models/final") as folder:
        for file in Path("models/head").iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
    stage.write("metrics/fine_tune.json", Path("metrics/train_head.json").read_text())
    stage.write("plots/fine_tune.csv", "epoch,val_loss,val_accuracy\\n")


def evaluate(settings, run):
    rows = [line.split(",") for line in Path("data/prepared/examples.csv").read_text().split()[1:]]
    rows = [(name, label) for name, label, _, split in rows if split == "test"]
    # With an lr of 0.1 every tenth is wrong, with 0.5 every second.
    right = [i % round(1 / settings.lr) != 0 for i in range(len(rows))]
    lines = []
    for (name, label), sure in zip(rows, right):
        p = 0.9 if (label == CLASSES[0]) == sure else 0.1
        lines.append(f"{name},test,{label},{CLASSES[p < 0.5]},{p},{1 - p:.1f}")
    head = "id,split,truth,predicted," + ",".join(f"p_{name}" for name in CLASSES)
    with stage.whole("evaluation") as folder:
        (folder / "predictions.csv").write_text("\\n".join([head, *lines]) + "\\n")
        (folder / "plots").mkdir()
        (folder / "plots/roc.png").write_bytes(b"a picture")
    with stage.whole("plots/evaluate") as folder:
        (folder / "roc.csv").write_text("x,y\\n")
    accuracy = sum(right) / len(right)
    interval = {"accuracy": [accuracy - 0.1, accuracy + 0.1]}
    stage.write("metrics/evaluate.json", json.dumps({"accuracy": accuracy, "roc_auc": None, "interval": interval}))


def main():
    name, settings = sys.argv[1], params.load()
    if name in tracking.STAGES and "UNTRACKED" not in os.environ:
        with tracking.run(name, settings) as run:
            globals()[name](settings, run)
    else:
        globals()[name](settings, SimpleNamespace(epoch=lambda *_: None))


stage.run(main)
"""

STAGES = {
    "prepare": {"params": ["seed"], "outs": ["data/prepared"]},
    "fetch_backbone": {"params": ["backbone"], "outs": ["models/backbone"]},
    "train_head": {
        "deps": ["data/prepared", "models/backbone"],
        "params": ["lr"],
        "outs": ["models/head"],
        "plots": [{"plots/train_head.csv": {"cache": False}}],
        "metrics": [{"metrics/train_head.json": {"cache": False}}],
    },
    "fine_tune": {
        "deps": ["models/head", "metrics/train_head.json"],
        "params": ["lr"],
        "outs": ["models/final"],
        "plots": [{"plots/fine_tune.csv": {"cache": False}}],
        "metrics": [{"metrics/fine_tune.json": {"cache": False}}],
    },
    "evaluate": {
        "deps": ["data/prepared", "models/final", "models/head"],
        "params": ["lr", "evaluate"],
        "outs": ["evaluation"],
        "plots": [{"plots/evaluate": {"cache": False}}],
        "metrics": [{"metrics/evaluate.json": {"cache": False}}],
    },
}


# Stages log nothing, and take no time for it: what is in MLflow later was brought there later.
UNTRACKED = {"UNTRACKED": "yes"}


class Repository:
    """A folder that commands run in, with this interpreter's tools and Headstart's library."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def env(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "MLFLOW_", "PYTEST_"))}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {**kept, "PATH": path, "PYTHONPATH": str(ROOT), **(more or {})}

    def run(self, *command: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.folder, env=self.env(env), capture_output=True, text=True, check=False
        )  # fmt: skip

    def ok(self, *command: str, env: Mapping[str, str] | None = None) -> str:
        done = self.run(*command, env=env)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def headstart(self, *command: str, env: Mapping[str, str] | None = None) -> str:
        return self.ok(sys.executable, "-m", "headstart", *command, env=env)

    def copy(self, folder: Path) -> "Repository":
        """The same state elsewhere, DVC's cache and all."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Repository(folder)

    def commit(self, message: str) -> None:
        self.ok("git", "add", "--all")
        self.ok("git", "commit", "--quiet", "--message", message)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """The repository after its first `dvc repro`, committed, without a run in MLflow; not to be changed."""
    folder = tmp_path_factory.mktemp("small")
    repository = Repository(folder)
    (folder / "work.py").write_text(WORK)
    stages = {
        name: {**stage, "cmd": f"python work.py {name}", "deps": ["work.py", *stage.get("deps", [])]}
        for name, stage in STAGES.items()
    }
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False))
    given = yaml.safe_load((ROOT / "recipes/planktonclas.yaml").read_text(encoding="utf-8"))
    given["lr"], given["evaluate"]["bootstrap"] = 0.5, 200
    (folder / "params.yaml").write_text(yaml.safe_dump(given, sort_keys=False))
    (folder / ".gitignore").write_text("mlflow.db*\nmlartifacts/\n.headstart/\n.*.part/\n__pycache__/\n")
    repository.ok("git", "init", "--quiet", "--initial-branch", "main")
    repository.ok("git", "config", "user.name", "tests")
    repository.ok("git", "config", "user.email", "tests@localhost")
    repository.ok("dvc", "init", "--quiet")
    repository.ok("dvc", "config", "core.analytics", "false")
    repository.commit("the pipeline")
    repository.ok("dvc", "repro", env=UNTRACKED)
    repository.commit("its results")
    return repository


@pytest.fixture
def repository(trained: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A copy to change, and to be in."""
    copy = trained.copy(tmp_path / "repository")
    for name in [name for name in os.environ if name.startswith(("DVC_", "MLFLOW_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(copy.folder)
    return copy

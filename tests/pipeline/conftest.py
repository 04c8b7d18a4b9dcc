"""One real pipeline run, shared by the tests: plankton photographs, real weights, in a clone of the working tree."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
# Small enough for minutes in all; every stage has real work to do.
QUICK = {
    "epochs": 2,
    "trainable_layers": 8,
    "prepare": {"image_size": 96},
    "features": {"views": 2},
    "evaluate": {"bootstrap": 200},
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a file on one worker: the pipeline's run is theirs in common, and takes a minute or two."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


class Clone:
    """A clone that commands run in, with this interpreter's tools and a tracking store of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *command: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command; both of its outputs come back as text."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "MLFLOW_", "PYTEST_"))}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            command,
            cwd=self.folder,
            env={**inherited, "PATH": path, **(env or {})},
            capture_output=True,
            text=True,
            check=False,
        )

    def ok(self, *command: str, env: Mapping[str, str] | None = None) -> str:
        """Run a command that must succeed; its standard output."""
        done = self.run(*command, env=env)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def params(self, changes: dict) -> None:
        """Change parameters in params.yaml, sections key by key."""
        path = self.folder / "params.yaml"
        values = yaml.safe_load(path.read_text())
        for key, value in changes.items():
            values[key] = {**values[key], **value} if isinstance(value, dict) else value
        path.write_text(yaml.safe_dump(values))

    def copy(self, folder: Path) -> "Clone":
        """A copy with all data and models, to run stages in that leave other outputs."""
        shutil.copytree(self.folder, folder, ignore=shutil.ignore_patterns(".dvc", "fetched", "mlartifacts"))
        return Clone(folder)

    def commit(self, message: str) -> None:
        self.ok("git", "add", "--all")
        self.ok("git", "commit", "--quiet", "--allow-empty", "--message", message)


def fresh_clone(folder: Path, recipe: str, changes: dict) -> Clone:
    """A clone of the working tree whose parameters are a recipe with some changed, committed."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("dvc.lock", "metrics/", "plots/")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    clone = Clone(folder)
    (folder / ".dvc" / "plots.html").write_text("{plot_divs}")
    clone.ok("git", "init", "--quiet")
    clone.ok("git", "config", "user.name", "tests")
    clone.ok("git", "config", "user.email", "tests@localhost")
    shutil.copy(folder / "recipes" / f"{recipe}.yaml", folder / "params.yaml")
    clone.params(changes)
    clone.commit("the recipe, made small")
    return clone


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """The pipeline after its first `dvc repro`, committed. Tests leave it as they find it."""
    clone = fresh_clone(tmp_path_factory.mktemp("clone"), "planktonclas", QUICK)
    clone.ok("dvc", "repro", env={"MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL": "1"})  # its stages take under 10 s
    clone.commit("its results")
    return clone

"""Experiments beside each other have a GPU each. The GPUs are pretended: empty files named as their nodes."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from headstart import gpus

ROOT = Path(__file__).parents[1]


@pytest.fixture
def nodes(tmp_path: Path) -> Path:
    folder = tmp_path / "dev"
    folder.mkdir()
    for name in ("nvidia0", "nvidia1", "nvidia2", "nvidia3", "nvidiactl", "nvidia-uvm", "null"):
        (folder / name).touch()
    return folder


@pytest.fixture
def experiments(tmp_path: Path, nodes: Path) -> Iterator[list[subprocess.Popen[str]]]:
    """Start with `experiment`; those still there at the end are ended."""
    running: list[subprocess.Popen[str]] = []
    yield running
    for process in running:
        process.kill()
        process.communicate()


def experiment(running: list[subprocess.Popen[str]], nodes: Path) -> str:
    """What a process in a temporary copy gets; it holds that until it ends."""
    root, copy = nodes.parent / "repository", nodes.parent / f"copy{len(running)}"
    copy.mkdir()
    script = f"from headstart import gpus; gpus.take(nodes={str(nodes)!r}); import os; "
    script += "print(os.environ['CUDA_VISIBLE_DEVICES'], flush=True); input()"
    env = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=copy, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**env, "PYTHONPATH": str(ROOT), "DVC_ROOT": str(root), "DVC_EXP_NAME": copy.name},
    )  # fmt: skip
    running.append(process)
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_each_experiment_has_another_gpu_and_more_of_them_share_evenly(
    nodes: Path, experiments: list[subprocess.Popen[str]]
) -> None:
    assert {experiment(experiments, nodes) for _ in range(4)} == {"0", "1", "2", "3"}
    assert {experiment(experiments, nodes) for _ in range(2)} == {"0", "1"}


def test_a_gpu_is_free_again_however_its_experiment_ends(nodes: Path, experiments: list[subprocess.Popen[str]]) -> None:
    assert [experiment(experiments, nodes) for _ in range(3)] == ["0", "1", "2"]
    experiments[1].kill()
    experiments[1].wait()
    assert experiment(experiments, nodes) == "1"
    assert experiment(experiments, nodes) == "3"


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"DVC_ROOT": "HERE"},
        {"DVC_ROOT": "HERE", "DVC_EXP_NAME": "in the workspace"},
        {"DVC_ROOT": "elsewhere", "DVC_EXP_NAME": "aside", "CUDA_VISIBLE_DEVICES": "2,3"},
        {"DVC_ROOT": "elsewhere", "DVC_EXP_NAME": "aside", "CUDA_VISIBLE_DEVICES": ""},
    ],
)
def test_nothing_is_chosen_for_who_is_alone_or_chose(
    environ: dict[str, str], nodes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = {name: value.replace("HERE", str(tmp_path)) for name, value in environ.items()}
    before = dict(given)
    assert gpus.take(given, nodes) is None
    assert given == before


def test_nothing_is_chosen_where_there_is_one_gpu_or_none(tmp_path: Path, nodes: Path) -> None:
    environ = {"DVC_ROOT": "elsewhere", "DVC_EXP_NAME": "aside"}
    for name in ("nvidia1", "nvidia2", "nvidia3"):
        (nodes / name).unlink()
    assert gpus.take(environ, nodes) is None
    assert gpus.take(environ, tmp_path / "nowhere") is None
    assert not Path("elsewhere").exists()

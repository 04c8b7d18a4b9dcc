"""Kills, interruptions, damage, full disks and absent servers: what is left is whole, and the end is the same."""

import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml

from tests.pipeline.conftest import Clone

pytestmark = pytest.mark.pipeline

# In the order in which DVC runs them.
STAGES = ("fetch_backbone", "prepare", "extract_features", "train_head", "cache_activations", "fine_tune", "evaluate")


def outputs(clone: Clone) -> dict[str, str]:
    """What dvc.lock records of each output: its hash."""
    lock = yaml.safe_load((clone.folder / "dvc.lock").read_text())["stages"]
    return {out["path"]: out["md5"] for entry in lock.values() for out in entry["outs"]}


def fresh(pipeline: Clone, folder: Path) -> Clone:
    """A clone by git, with the fetched data but nothing that a stage made, and a cache of its own."""
    subprocess.run(["git", "clone", "--quiet", str(pipeline.folder), str(folder)], check=True)
    clone = Clone(folder)
    shutil.copytree(pipeline.folder / "data/fetched", folder / "data/fetched")
    shutil.copy(pipeline.folder / ".dvc" / "plots.html", folder / ".dvc")
    return clone


def start(clone: Clone, *command: str, **env: str) -> subprocess.Popen[str]:
    """Start a command in a process group of its own."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "MLFLOW_", "PYTEST_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.Popen(
        command, cwd=clone.folder, env={**inherited, "PATH": path, "PYTHONUNBUFFERED": "1", **env},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def until(process: subprocess.Popen[str], *lines: str) -> bool:
    """Read what it prints as far as one of these lines; False if it ends before."""
    assert process.stdout is not None
    return any(said.startswith(lines) for said in process.stdout)


def below(folder: Path) -> list[int]:
    """Processes that run in a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cwd").resolve() == folder.resolve() and (entry / "stat").read_text().split()[2] != "Z":
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def kill_all(pipeline: Clone, folder: Path, seed: int, rounds: int, stages: Sequence[str] = STAGES) -> int:
    """Kill `dvc repro` in each stage `rounds` times at random moments, then let it end; how many kills it took.

    A stage that was finished before its kill is not run again: it is the next one's turn then.
    """
    draw, kills = random.Random(seed), 0
    clone = fresh(pipeline, folder)
    for at, stage in enumerate(STAGES):
        for _ in range(rounds if stage in stages else 0):
            process = start(clone, "dvc", "repro")
            if until(process, *(f"Running stage '{later}'" for later in STAGES[at:])):
                time.sleep(draw.uniform(0, 3 if stage == "prepare" else 8))
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                kills += 1
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
            locks = folder / ".dvc" / "tmp" / "rwlock"
            if locks.exists() and not locks.read_bytes():  # DVC writes it in place; `make repro` does the same
                locks.unlink()
    clone.ok("dvc", "repro")
    assert outputs(clone) == outputs(pipeline)
    assert not list((folder / ".headstart" / "training").glob("*"))
    assert not [path for path in folder.rglob("*.part") if ".dvc" not in path.parts]
    return kills


def test_a_run_that_is_killed_ends_with_the_same_bits(pipeline: Clone, tmp_path: Path) -> None:
    stages = ("extract_features", "train_head", "fine_tune")
    assert kill_all(pipeline, tmp_path / "clone", seed=0, rounds=1, stages=stages) >= 2


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(1, 7))
def test_many_kills(pipeline: Clone, tmp_path: Path, seed: int) -> None:
    print("kills:", kill_all(pipeline, tmp_path / "clone", seed, rounds=2))


def test_ctrl_c_leaves_at_once_and_nothing_behind(pipeline: Clone, tmp_path: Path) -> None:
    clone = fresh(pipeline, tmp_path / "clone")
    process = start(clone, "dvc", "repro")
    assert until(process, "Running stage 'fetch_backbone'")
    time.sleep(6)
    os.killpg(process.pid, signal.SIGINT)
    pressed = time.monotonic()
    process.communicate(timeout=30)
    assert process.returncode != 0
    assert time.monotonic() - pressed < 15
    assert below(clone.folder) == []
    assert not (clone.folder / "models/backbone").exists()


def test_training_never_sees_the_test_split(pipeline: Clone, tmp_path: Path) -> None:
    copy = pipeline.copy(tmp_path / "copy")
    examples = pd.read_csv(copy.folder / "data/prepared/examples.csv", dtype=str, keep_default_na=False)
    test = examples.index[examples["split"] == "test"]
    images = np.load(copy.folder / "data/prepared/images.npy")
    images[test] = 255 - images[test]
    np.save(copy.folder / "data/prepared/images.npy", images)
    classes = json.loads((copy.folder / "data/prepared/labels.json").read_text())
    examples.loc[test, "label"] = classes[0]
    examples.loc[test, "hash"] = [f"{at:064x}" for at in range(len(test))]
    examples.to_csv(copy.folder / "data/prepared/examples.csv", index=False)
    features = np.load(copy.folder / "data/features/test.npy")
    np.save(copy.folder / "data/features/test.npy", np.full_like(features, np.nan))
    for stage in ("train_head", "cache_activations", "fine_tune"):
        copy.ok(sys.executable, "-m", f"stages.{stage}")
    for made in ("models/head/head.keras", "models/head/model.keras", "models/final/model.keras"):
        assert (copy.folder / made).read_bytes() == (pipeline.folder / made).read_bytes()
    for made in ("metrics/train_head.json", "metrics/fine_tune.json", "plots/fine_tune.csv"):
        assert (copy.folder / made).read_bytes() == (pipeline.folder / made).read_bytes()


@pytest.mark.parametrize(
    ("file", "damage", "stage", "change"),
    [
        ("data/features/train.npy", "truncated", "train_head", {"head": {"patience": 4}}),
        ("models/head/head.keras", "flipped", "fine_tune", {"fine_tune": {"patience": 4}}),
    ],
)
def test_a_damaged_cache_is_noticed_named_and_healed(
    pipeline: Clone, tmp_path: Path, file: str, stage: str, change: dict, damage: str
) -> None:
    """DVC checks a damaged object out without a word; the stage that would use it does not."""
    clone = Clone(tmp_path / "clone")
    shutil.copytree(pipeline.folder, clone.folder, symlinks=True)
    listing = next(
        out for entry in yaml.safe_load((clone.folder / "dvc.lock").read_text())["stages"].values()
        for out in entry["outs"] if Path(file).is_relative_to(out["path"])
    )  # fmt: skip
    cache = clone.folder / ".dvc/cache/files/md5"
    entries = json.loads((cache / listing["md5"][:2] / listing["md5"][2:]).read_text())
    md5 = next(entry["md5"] for entry in entries if Path(listing["path"], entry["relpath"]) == Path(file))
    thing = cache / md5[:2] / md5[2:]
    content = bytearray(thing.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 1
    thing.chmod(0o644)
    thing.write_bytes(content if damage == "flipped" else content[: len(content) // 2])
    thing.chmod(0o444)
    shutil.rmtree(clone.folder / listing["path"])
    clone.run("dvc", "checkout")
    assert (clone.folder / file).stat().st_size == len(thing.read_bytes()), "DVC has noticed by itself"

    clone.params(change)
    done = clone.run("dvc", "repro", stage)
    assert done.returncode != 0
    assert f"error: {listing['path']}: the content is not what dvc.lock records" in done.stderr + done.stdout
    clone.ok("dvc", "repro", stage)
    assert outputs(clone)[listing["path"]] == outputs(pipeline)[listing["path"]]


@contextmanager
def own_disk(folder: Path) -> Iterator[Path]:
    """Put a disk of its own under a folder, with what was in it, and a file that leaves 1 MiB; only root may."""
    kept = folder.with_name(f"{folder.name}-kept")
    folder.rename(kept)
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300m", "tmpfs", folder], check=False).returncode:
        folder.rmdir()
        kept.rename(folder)
        pytest.skip("mounting a disk takes root")
    try:
        shutil.copytree(kept, folder, dirs_exist_ok=True)
        ballast = folder / "ballast"
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(folder).free - 2**20)
        yield ballast
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_a_sentence_and_costs_nothing_finished(pipeline: Clone, tmp_path: Path) -> None:
    copy = pipeline.copy(tmp_path / "copy")
    before = (copy.folder / "data/features/train.npy").read_bytes()
    data = copy.folder / "data"
    copy.params({"features": {"views": 8}})
    with own_disk(data) as ballast:
        done = copy.run(sys.executable, "-m", "stages.extract_features")
        assert done.returncode == 1, done.stderr
        assert "error: " in done.stderr
        assert "the disk is full: free some space" in done.stderr
        assert "Traceback" not in done.stderr
        assert (data / "features/train.npy").read_bytes() == before
        assert not list(data.rglob("*.part"))
        ballast.unlink()
        said = copy.ok(sys.executable, "-m", "stages.extract_features")
        assert re.search(r"train: (\d+) x 8 x 1280, 0 of \d+ views computed", said), "the store lay on another disk"
        subprocess.run(["mount", "-o", "remount,ro", data], check=True)
        done = copy.run(sys.executable, "-m", "stages.extract_features")
        assert done.returncode == 1
        assert "Read-only file system" in done.stderr
        assert "Traceback" not in done.stderr
        assert np.load(data / "features/train.npy").shape[1] == 8


SHORT_OF_MEMORY = """
import resource
import stages.extract_features
from headstart import stage
from headstart.features import engine, extraction
import onnxruntime
mapped = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (mapped + 100 * 2**20,) * 2)
stage.run(stages.extract_features.main)
"""


def test_too_little_memory_is_a_sentence_and_costs_nothing_finished(pipeline: Clone, tmp_path: Path) -> None:
    copy = pipeline.copy(tmp_path / "copy")
    before = (copy.folder / "data/features/train.npy").read_bytes()
    shutil.rmtree(copy.folder / ".headstart" / "features")
    done = copy.run(sys.executable, "-c", SHORT_OF_MEMORY)
    assert done.returncode == 1, done.stderr
    assert "error: there is not enough memory; close other programs, or lower batch_size" in done.stderr
    assert "Traceback" not in done.stderr
    assert (copy.folder / "data/features/train.npy").read_bytes() == before


@pytest.mark.parametrize(
    ("stage", "vanished"),
    [
        ("prepare", "data/fetched"),
        ("extract_features", "data/prepared"),
        pytest.param("train_head", "data/features", marks=pytest.mark.soak),
        pytest.param("cache_activations", "models/backbone", marks=pytest.mark.soak),
        pytest.param("fine_tune", "data/activations", marks=pytest.mark.soak),
        pytest.param("evaluate", "models/final", marks=pytest.mark.soak),
    ],
)
def test_what_vanished_is_named(pipeline: Clone, tmp_path: Path, stage: str, vanished: str) -> None:
    copy = pipeline.copy(tmp_path / "copy")
    shutil.rmtree(copy.folder / vanished, ignore_errors=True)  # a copy has no data/fetched
    done = copy.run(sys.executable, "-m", f"stages.{stage}")
    assert done.returncode == 1, done.stderr
    assert re.search(rf"error: .*{vanished}", done.stderr), done.stderr
    assert "Traceback" not in done.stderr


class Away(BaseHTTPRequestHandler):
    """A tracking server that refuses, dawdles, or dies after some answers; counts what it was asked."""

    mode, asked = "refusing", 0

    def answer(self) -> None:
        type(self).asked += 1
        if self.mode == "slow":
            time.sleep(30)
        self.send_response(503)
        self.end_headers()

    do_GET = do_POST = answer  # noqa: N815

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize("mode", [pytest.param("refusing", marks=pytest.mark.soak), "slow"])
def test_a_tracking_server_in_trouble_costs_seconds(pipeline: Clone, tmp_path: Path, mode: str) -> None:
    copy = pipeline.copy(tmp_path / "copy")
    started = time.monotonic()
    copy.ok(sys.executable, "-m", "stages.train_head")
    alone = time.monotonic() - started
    handler = type("Handler", (Away,), {"mode": mode})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        started = time.monotonic()
        done = copy.run(
            sys.executable, "-m", "stages.train_head",
            env={"MLFLOW_TRACKING_URI": f"http://user:secret@127.0.0.1:{server.server_port}"},
        )  # fmt: skip
        taken = time.monotonic() - started
    finally:
        server.shutdown()
        server.server_close()
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("goes on without tracking") == 1
    assert "secret" not in done.stderr + done.stdout
    assert handler.asked > 0
    assert taken < alone + 25
    assert (copy.folder / "models/head/model.keras").read_bytes() == (
        pipeline.folder / "models/head/model.keras"
    ).read_bytes()


@pytest.mark.soak
def test_two_experiments_at_once_both_end(pipeline: Clone, tmp_path: Path) -> None:
    """They share the store of features, DVC's cache and MLflow's database."""
    clone = Clone(tmp_path / "clone")
    shutil.copytree(pipeline.folder, clone.folder, symlinks=True)
    shutil.rmtree(clone.folder / ".headstart")
    rates = {"one": 0.002, "other": 0.003}
    running = {
        name: start(clone, "dvc", "exp", "run", "--temp", "--name", name, "-S", f"lr={rate}", "-S", "features.views=3")
        for name, rate in rates.items()
    }
    said = {name: process.communicate(timeout=600)[0] for name, process in running.items()}
    assert {name: process.returncode for name, process in running.items()} == dict.fromkeys(rates, 0), said
    refs = clone.ok("git", "for-each-ref", "--format=%(refname)", "refs/exps").split()
    made = {name: next(ref for ref in refs if ref.endswith(f"/{name}")) for name in rates}
    locks = {name: yaml.safe_load(clone.ok("git", "show", f"{ref}:dvc.lock"))["stages"] for name, ref in made.items()}
    for name, rate in rates.items():
        assert locks[name]["train_head"]["params"]["params.yaml"]["lr"] == rate
    assert locks["one"]["extract_features"]["outs"] == locks["other"]["extract_features"]["outs"]
    assert locks["one"]["train_head"]["outs"] != locks["other"]["train_head"]["outs"]


@pytest.mark.soak
def test_a_tracking_server_that_dies_under_way_costs_seconds(pipeline: Clone, tmp_path: Path) -> None:
    copy = pipeline.copy(tmp_path / "copy")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    uri = f"http://127.0.0.1:{port}"
    server = start(
        Clone(tmp_path), sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port),
        "--workers", "1", "--backend-store-uri", f"sqlite:///{tmp_path / 'there.db'}",
        MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",
    )  # fmt: skip
    try:
        client = mlflow.MlflowClient(uri)
        training = None
        for _ in range(120):
            time.sleep(1)
            try:
                if training is None:
                    client.search_experiments()
                    training = start(copy, sys.executable, "-m", "stages.fine_tune", MLFLOW_TRACKING_URI=uri)
                found = client.get_experiment_by_name("headstart")
                if found and client.search_runs([found.experiment_id]):
                    break
            except mlflow.MlflowException:
                continue
        assert training is not None
        assert training.poll() is None, "it ended before the server could die"
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.communicate()
    died = time.monotonic()
    said, _ = training.communicate(timeout=300)
    assert training.returncode == 0, said
    assert said.count("goes on without tracking") == 1
    assert time.monotonic() - died < 120
    made = "models/final/model.keras"
    assert (copy.folder / made).read_bytes() == (pipeline.folder / made).read_bytes()

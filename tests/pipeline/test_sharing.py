"""What a team shares: data and models through a remote, runs through a tracking server on PostgreSQL and S3."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import boto3
import mlflow
import psycopg2
import pytest
import requests

from tests.pipeline.conftest import Clone

pytestmark = pytest.mark.pipeline

# Made up, for a server that takes any.
KEYS = {"AWS_ACCESS_KEY_ID": "someone", "AWS_SECRET_ACCESS_KEY": "something", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture
def own(pipeline: Clone, tmp_path: Path) -> Clone:
    """A clone with all data, and DVC's cache of its own."""
    shutil.copytree(pipeline.folder, tmp_path / "own", symlinks=True)
    return Clone(tmp_path / "own")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def server(command: list[str], url: str, log: Path, env: Mapping[str, str]) -> Iterator[None]:
    """A server in a process group of its own, from when it answers to the end."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with log.open("w") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
            env={**os.environ, "PATH": path, **env},
        )  # fmt: skip
    try:
        for _ in range(240):
            assert process.poll() is None, log.read_text()
            try:
                requests.get(url, timeout=2)
                break
            except requests.ConnectionError:
                time.sleep(0.5)
        else:
            pytest.fail(f"{url} does not answer\n{log.read_text()}")
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def s3(bucket: str, folder: Path) -> Iterator[str]:
    """A server like S3 with one bucket; its address."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    with server(["moto_server", "-H", "127.0.0.1", "-p", str(port)], url, folder / "s3.log", KEYS):
        store(url).create_bucket(Bucket=bucket)
        yield url


def store(url: str):
    return boto3.client(
        "s3", endpoint_url=url, aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"], region_name=KEYS["AWS_DEFAULT_REGION"],
        aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
    )  # fmt: skip


def stored(url: str, bucket: str) -> list[str]:
    pages = store(url).get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return [found["Key"] for page in pages for found in page.get("Contents", [])]


def elsewhere(clone: Clone, folder: Path) -> Clone:
    """What a colleague gets with `git clone`: no data, no model, no cache."""
    subprocess.run(["git", "clone", "--quiet", str(clone.folder), str(folder)], check=True)
    assert not (folder / "models/final").exists()
    return Clone(folder)


def same(one: Clone, other: Clone, name: str) -> bool:
    return (one.folder / name).read_bytes() == (other.folder / name).read_bytes()


def test_a_colleague_pulls_from_a_folder_and_has_nothing_to_run(own: Clone, tmp_path: Path) -> None:
    own.ok("dvc", "remote", "add", "--default", "team", str(tmp_path / "team"))
    own.ok("dvc", "push")
    own.commit("a remote")
    other = elsewhere(own, tmp_path / "other")
    other.ok("dvc", "pull")
    assert same(own, other, "models/final/model.keras")
    said = other.ok("dvc", "repro")
    assert re.findall(r"Running stage '(\w+)'", said) == []
    assert "Data and pipelines are up to date" in said


def test_a_colleague_pulls_from_s3_and_has_nothing_to_run(own: Clone, tmp_path: Path) -> None:
    with s3("team", tmp_path) as url:
        own.ok("dvc", "remote", "add", "--default", "team", "s3://team/headstart")
        own.ok("dvc", "remote", "modify", "team", "endpointurl", url)
        own.commit("a remote")
        own.ok("dvc", "remote", "modify", "--local", "team", "access_key_id", KEYS["AWS_ACCESS_KEY_ID"])
        own.ok("dvc", "remote", "modify", "--local", "team", "secret_access_key", KEYS["AWS_SECRET_ACCESS_KEY"])
        own.ok("dvc", "push")
        assert stored(url, "team")
        assert KEYS["AWS_SECRET_ACCESS_KEY"] not in own.ok("git", "grep", "--cached", "", "--", ".dvc")

        other = elsewhere(own, tmp_path / "other")
        pulled = other.run("dvc", "pull", env=KEYS)
        assert pulled.returncode == 0, pulled.stderr
        assert same(own, other, "models/final/model.keras")
        assert re.findall(r"Running stage '(\w+)'", other.ok("dvc", "repro")) == []


def postgresql_programs() -> Path | None:
    """Where Debian, or the PATH, has initdb and pg_ctl."""
    found = shutil.which("initdb")
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    places = [*debian[-1:], *([Path(found)] if found else [])]
    return places[0].parent if places else None


@contextmanager
def postgresql(programs: Path) -> Iterator[str]:
    """A database server with an empty database; its address. It refuses to be root's, so root hands it on."""
    user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    folder, port = Path(tempfile.mkdtemp(prefix="headstart-postgresql-")), free_port()
    if user:
        shutil.chown(folder, "postgres")
    data = folder / "data"

    def call(program: str, *arguments: str) -> None:
        with (folder.parent / f"{folder.name}.log").open("a+") as log:
            # Output to a file: the server would keep a pipe open.
            done = subprocess.run(
                [*user, programs / program, "-D", data, *arguments], cwd=folder, stdout=log, stderr=subprocess.STDOUT
            )
            log.seek(0)
            assert done.returncode == 0, log.read()

    try:
        call("initdb", "--username", "headstart", "--auth", "trust", "--encoding", "UTF8", "--no-sync")
        call(
            "pg_ctl", "--wait", "--timeout", "60", "--options",
            f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off", "start",
        )  # fmt: skip
        try:
            yield f"postgresql://headstart@127.0.0.1:{port}/postgres"
        finally:
            call("pg_ctl", "--wait", "--mode", "fast", "stop")
    finally:
        shutil.rmtree(folder)
        (folder.parent / f"{folder.name}.log").unlink()


def test_a_team_tracks_on_postgresql_and_s3(own: Clone, tmp_path: Path) -> None:
    programs = postgresql_programs()
    if programs is None:
        pytest.skip("PostgreSQL's initdb and pg_ctl are not here; `apt-get install postgresql` has them")
    own.ok("dvc", "exp", "remove", "--all-commits")  # of the tests that ran in this clone before
    (own.folder / "mlflow.db").unlink()
    shutil.rmtree(own.folder / "mlartifacts")
    port = free_port()
    # The machine that trains knows the server alone: no key of the store, no password of the database.
    uri = f"http://127.0.0.1:{port}"
    tracked = {"MLFLOW_TRACKING_URI": uri}
    with postgresql(programs) as database, s3("runs", tmp_path) as files:
        command = [
            sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
            "--backend-store-uri", database.replace("://", "+psycopg2://"), "--artifacts-destination", "s3://runs",
        ]  # fmt: skip
        env = {**KEYS, "MLFLOW_S3_ENDPOINT_URL": files, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with server(command, f"{uri}/health", tmp_path / "mlflow.log", env):
            done = own.run(sys.executable, "-m", "stages.train_head", env=tracked)
            assert done.returncode == 0, done.stderr
            assert "can't be reached" not in done.stderr, done.stderr + (tmp_path / "mlflow.log").read_text()[-3000:]

            client = mlflow.MlflowClient(uri)
            experiment = client.get_experiment_by_name("headstart")
            (run,) = client.search_runs([experiment.experiment_id], "tags.`dvc.stage` = 'train_head'")
            assert run.info.status == "FINISHED"
            assert run.data.params["lr"] == "0.001"
            assert len({point.step for point in client.get_metric_history(run.info.run_id, "val_loss")}) >= 2
            (model,) = client.search_logged_models([experiment.experiment_id])
            script = f"import mlflow; mlflow.artifacts.download_artifacts('models:/{model.model_id}', dst_path='got')"
            own.ok(sys.executable, "-c", script, env=tracked)
            assert list((own.folder / "got").rglob("*.keras"))

            # What had been computed before the server was there follows, and the training finds its place.
            own.ok(sys.executable, "-m", "headstart", "sync", env=tracked)
            found = client.search_runs([experiment.experiment_id])
            (parent,) = [each for each in found if each.data.tags["dvc.stage"] == "pipeline"]
            its = [each for each in found if each.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
            assert sorted(each.data.tags["dvc.stage"] for each in its) == ["evaluate", "fine_tune", "train_head"]
            assert run.info.run_id in {each.info.run_id for each in its}
            assert len(found) == 4
            assert len(parent.inputs.dataset_inputs) == 3
            (name,) = [each.name for each in client.search_registered_models()]
            assert client.get_model_version_by_alias(name, "champion").run_id == parent.info.run_id
        assert any(name.endswith(".keras") for name in stored(files, "runs"))
        connection = psycopg2.connect(database)
        with connection, connection.cursor() as cursor:
            cursor.execute("select count(*) from metrics where run_uuid = %s", (run.info.run_id,))
            assert cursor.fetchone()[0] > 4
        connection.close()
    assert not (own.folder / "mlartifacts").exists(), "nothing is left on the machine that trained"

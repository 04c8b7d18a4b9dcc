"""Claim: what `mlflow models serve` answers over HTTP is the model's own word; what the way costs is told.

The logged model answers one picture a request on loopback, from 1, 8 and 32 clients at once: requests a second and how
long one takes (median, and what one in a hundred exceeds). The picture comes as its file in base64, which the server
decodes, resizes and looks at in as many views as were evaluated, and for comparison as the numbers of its pixels, one
view, which MLflow parses and copies in Python. The peer is the same network in a loop in one process, a call for each
request, with the same views. `ratio` is requests a second with files from 8
clients over the peer's calls a second: what HTTP, decoding and MLflow's server leave of the network's speed, with
clients and server on the same processors. Beside it, at one client, eight pictures a request.
"""

import base64
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import measure, workshop
from headstart import facts, params
from headstart.stage import UserError

CLIENTS = (1, 8, 32)
# Seconds for the server to come up, and for an answer.
START, ANSWER = 180, 60


def log_model(within: Path) -> Path:
    """Log models/final as fine-tuning does, to a store in a folder; where MLflow left it."""
    from headstart import tracking

    before = dict(os.environ)
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    os.environ["DVC_ROOT"] = str(within)
    try:
        with tracking.run("fine_tune", params.load(workshop.ROOT / "params.yaml")):
            pass  # a run logs at its end what the stage has left
    finally:
        os.environ.clear()
        os.environ.update(before)
    return next(within.rglob("MLmodel")).parent


@contextmanager
def served(model: str, folder: Path, env: dict[str, str] | None = None) -> Iterator[int]:
    """Serve a logged model with one worker on loopback; yields the port, ends the server's own processes afterwards.

    Args:
        model: its address for MLflow, or its folder.
        folder: where to run, and to keep the server's log.
        env: its environment.

    Raises:
        RuntimeError: it does not come up; with the end of its log.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder / "serving.log"
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", model, "--env-manager", "local"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    environment = {**(os.environ if env is None else env), "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}
    # MLflow starts the server by its name, from PATH.
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
    with log.open("w") as output:
        server = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        limit = time.monotonic() + START
        while not _up(port):
            if server.poll() is not None or time.monotonic() > limit:
                raise RuntimeError(f"mlflow models serve does not come up: {log.read_text()[-1500:]}")
            time.sleep(0.2)
        yield port
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def logged(uri: str, stage: str) -> str:
    """The address of the first model in a tracking store that a stage logged."""
    import mlflow

    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("headstart")
    models = reversed(client.search_logged_models([experiment.experiment_id]))
    found = next(each for each in models if client.get_run(each.source_run_id).data.tags["dvc.stage"] == stage)
    return f"models:/{found.model_id}"


def environment(uri: str) -> dict[str, str]:
    """This process' variables, without those of DVC's and MLflow's, for a server that finds its model in a store."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("DVC_", "MLFLOW_"))}
    return {**kept, "MLFLOW_TRACKING_URI": uri}


def _up(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/ping")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def body(examples: np.ndarray | list[str] | list[bytes]) -> bytes:
    """A request for the class probabilities of examples.

    Args:
        examples: the files of pictures, which go as base64; texts; or pictures [b, s, s, 3] as numbers.
    """
    if isinstance(examples, np.ndarray):
        inputs: list[object] = examples.tolist()
    else:
        inputs = [base64.b64encode(each).decode() if isinstance(each, bytes) else each for each in examples]
    return json.dumps({"inputs": inputs}, separators=(",", ":")).encode()


def ask(connection: http.client.HTTPConnection, request: bytes) -> list[list[float]]:
    """The server's answer: probabilities [b, classes].

    Raises:
        RuntimeError: it is none; with what it is.
    """
    connection.request("POST", "/invocations", request, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"the server answers {answer.status}: {content[:500]!r}")
    return json.loads(content)["predictions"]


def load(port: int, request: bytes, clients: int, requests: int) -> dict[str, float]:
    """So many requests from so many clients at once, each with a connection of its own that it keeps.

    Returns:
        Requests a second; milliseconds of a request: p50 and p99.
    """

    def client(count: int) -> list[float]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER)
        taken = [measure.seconds(partial(ask, connection, request)) for _ in range(count)]
        connection.close()
        return taken

    shares = [len(part) for part in np.array_split(np.arange(requests), clients)]
    start = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        taken = [seconds for part in pool.map(client, shares) for seconds in part]
    rate = requests / (time.perf_counter() - start)
    return {
        "requests_per_second": rate,
        "p50_ms": float(np.percentile(taken, 50)) * 1e3,
        "p99_ms": float(np.percentile(taken, 99)) * 1e3,
    }


def main() -> None:
    parser = measure.parser(__doc__)
    parser.add_argument("--requests", type=int, default=120, help="at each number of clients")
    given = parser.parse_args()
    requests = 32 if given.quick else given.requests

    from headstart.backbones.saving import load_model
    from headstart.device import for_inference
    from headstart.features import inputs
    from headstart.inference.model import evaluated_views, seen

    final = workshop.ROOT / "models" / "final" / "model.keras"
    if not final.exists():
        raise UserError(f"{final.relative_to(workshop.ROOT)} is not there; run `make repro` first")
    data = workshop.prepared(1)
    file = (workshop.ROOT / data.of("train").iloc[0]["path"]).read_bytes()
    example, network = inputs.example(data, None), for_inference(load_model(final))
    known = facts.read(final.parent)
    with workshop.folder() as within:
        model = log_model(within)
        taken = {"numbers": example, "file": seen(file, known, evaluated_views(final.parent))}
        bare: dict[str, Callable[[], object]] = {
            name: partial(network.predict_on_batch, views) for name, views in taken.items()
        }
        with served(str(model), within) as port:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER)
            requested = {"numbers": body(example.astype(np.uint8)), "file": body([file])}
            difference = max(
                float(np.abs(ask(connection, request) - network.predict_on_batch(taken[name]).mean(axis=0)).max())
                for name, request in requested.items()
            )
            for request in requested.values():
                load(port, request, 1, 5)  # the first requests set the server up
            for call in bare.values():
                measure.seconds(call)
            found: dict[str, dict[str, float]] = {}
            for clients in CLIENTS:
                for name, request in requested.items():
                    rate = load(port, request, clients, requests)
                    # In turn with the server, which is idle meanwhile.
                    rate["bare_per_second"] = requests / sum(measure.seconds(bare[name]) for _ in range(requests))
                    rate["kilobytes"] = len(request) / 1e3
                    found[f"{name}, {clients} clients"] = rate
            eight = {"numbers": body(np.repeat(example.astype(np.uint8), 8, axis=0)), "file": body([file] * 8)}
            for name, request in eight.items():
                rate = load(port, request, 1, max(4, requests // 8)) | {"kilobytes": len(request) / 1e3}
                found[f"{name}, eight pictures"] = rate
            connection.close()
    ours, peer = found["file, 8 clients"]["requests_per_second"], found["file, 8 clients"]["bare_per_second"]
    measure.report(
        "serving",
        ours=ours,
        peer=peer,
        ratio=ours / peer,
        unit="pictures a second, one a request",
        claims=[
            measure.Claim("difference from the model", difference, "<=", 1e-5),
            measure.Claim(
                "requests with a file over requests with numbers, from 8 clients",
                ours / found["numbers, 8 clients"]["requests_per_second"],
                ">=",
                2.0,
            ),
        ],
        quick=given.quick,
        all=found,
    )


if __name__ == "__main__":
    main()

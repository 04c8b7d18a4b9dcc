"""Claim: what `mlflow models serve` answers over HTTP is the model's own word; what the way costs is told.

The logged model answers one picture a request on loopback, from 1, 8 and 32 clients at once: requests a second and how
long one takes (median, and what one in a hundred exceeds). The peer is the same network in a loop in one process, a
picture in a call. `ratio` is requests a second from 8 clients over the peer's calls a second: what HTTP, JSON and
MLflow's server leave of the network's speed, with clients and server on the same processors. Most of the rest goes into
the numbers' text, which MLflow parses twice and copies once, in Python. Beside it, at one client: a picture as decimal
fractions instead of whole numbers, and eight pictures a request.
"""

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
from headstart import params
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


def _up(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/ping")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def body(pictures: np.ndarray) -> bytes:
    """A request for the class probabilities of pictures [b, s, s, 3], in the numbers that their dtype has."""
    return json.dumps({"inputs": pictures.tolist()}, separators=(",", ":")).encode()


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

    final = workshop.ROOT / "models" / "final" / "model.keras"
    if not final.exists():
        raise UserError(f"{final.relative_to(workshop.ROOT)} is not there; run `make repro` first")
    data = workshop.prepared(1)
    example, network = inputs.example(data, None), for_inference(load_model(final))
    whole = example.astype(np.uint8)
    with workshop.folder() as within:
        model = log_model(within)
        bare: Callable[[], object] = partial(network.predict_on_batch, example)
        expected = network.predict_on_batch(example)
        with served(str(model), within) as port:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER)
            request = body(whole)
            difference = float(np.abs(np.array(ask(connection, request)) - expected).max())
            load(port, request, 1, 5)  # the first requests set the server up
            measure.seconds(bare)
            found: dict[str, dict[str, float]] = {}
            for clients in CLIENTS:
                rate = load(port, request, clients, requests)
                # In turn with the server, which is idle meanwhile.
                rate["bare_per_second"] = requests / sum(measure.seconds(bare) for _ in range(requests))
                found[f"{clients} clients"] = rate
            for name, content in (("fractions", body(example)), ("eight pictures", body(np.repeat(whole, 8, axis=0)))):
                found[name] = load(port, content, 1, max(4, requests // 8)) | {"kilobytes": len(content) / 1e3}
            connection.close()
    found["1 clients"]["kilobytes"] = len(request) / 1e3
    ours, peer = found["8 clients"]["requests_per_second"], found["8 clients"]["bare_per_second"]
    measure.report(
        "serving",
        ours=ours,
        peer=peer,
        ratio=ours / peer,
        unit="pictures a second, one a request",
        claims=[
            measure.Claim("difference from the model", difference, "<=", 1e-5),
        ],
        quick=given.quick,
        all=found,
    )


if __name__ == "__main__":
    main()

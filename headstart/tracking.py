"""MLflow: one run a stage, logged while it runs, tagged with what DVC calls it and with the key of its inputs.

Nothing of a stage's result depends on what happens here, and nothing of a run (its id, its time) enters an output. If
the server is away, the stage goes on without. What a run holds at the end is read from the stage's outputs, so that
`headstart.sync` can log the same later, from what DVC holds; it also gives the runs of one pipeline a parent.
"""

import csv
import json
import logging
import os
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psutil
import yaml

from headstart import identity, live, mlflow_model
from headstart.params import Params

if TYPE_CHECKING:
    import matplotlib.figure

# The stages that have runs.
STAGES = ("train_head", "fine_tune", "evaluate")
# Of MLflow's, by its variables' names without their MLFLOW_.
SETTINGS = {
    # Seconds and tries; its own 120 and 7 would hold a training for minutes when the server is away.
    "HTTP_REQUEST_TIMEOUT": "5",
    "HTTP_REQUEST_MAX_RETRIES": "1",
    "ALLOW_PICKLE_DESERIALIZATION": "false",
    # Seconds between two looks at processor, memory and GPU; at its own 10 a short training would show nothing.
    "SYSTEM_METRICS_SAMPLING_INTERVAL": "5",
    # A run's page needs no advertisement in the log of a stage, and a small file no progress bar.
    "SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "DISABLE_TELEMETRY": "true",
}
# The default store, at the repository's root.
DATABASE = "mlflow.db"
ARTIFACTS = "mlartifacts"
# Set by a sweep for the stages of its trials: the study's name, and the run that theirs are below.
SWEEP, SWEEP_RUN = "HEADSTART_SWEEP", "HEADSTART_SWEEP_RUN"
# The tag by which a trial's run is found again: the name of its experiment.
TRIAL = "headstart.trial"


def _root() -> Path:
    """The repository's root: where the store is also for an experiment that runs in a temporary copy."""
    return Path(os.environ.get("DVC_ROOT", ".")).resolve()


def connect() -> Any:
    """MLflow, imported with our settings and pointed at the store; what the environment says wins."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(f"MLFLOW_{name}", value)
    import mlflow

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    given = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(given or default_store())
    if not given:
        # MLflow sets the variable itself, and nobody could tell any more whether the user did.
        os.environ.pop("MLFLOW_TRACKING_URI", None)
    return mlflow


def default_store() -> str:
    """The store's address where the environment names none."""
    return f"sqlite:///{_root() / DATABASE}"


def experiment(client: Any, name: str) -> str:
    """The id of MLflow's experiment of that name, made if there is none; of the kind whose pages show trainings."""
    from mlflow.exceptions import MlflowException

    place = None if os.environ.get("MLFLOW_TRACKING_URI") else (_root() / ARTIFACTS).as_uri()
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, place, {"mlflow.experimentKind": "custom_model_development"}))
        except MlflowException:  # another stage was quicker
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def address() -> str:
    """Where the store is, without what may be a password in it."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or DATABASE
    try:
        parts = urlsplit(uri)
    except ValueError:
        return "the address in MLFLOW_TRACKING_URI"
    return f"{parts.scheme}://{parts.hostname or ''}" if parts.scheme.startswith("http") else parts.scheme or uri


class Run:
    """An MLflow run that may be absent: each method logs, or does nothing after saying once why."""

    def __init__(self) -> None:
        """Start as absent; `run` makes it present."""
        self.present = False
        self.id = ""

    def _safely(self, log: Callable[[], Any]) -> None:
        if not self.present:
            return
        try:
            log()
        except Exception as error:  # whatever tracking does, the training goes on
            self.present = False
            _say_away(error)

    def metrics(self, values: dict[str, float], epoch: int | None = None) -> None:
        """Log numbers, of an epoch or of the whole run."""
        import mlflow

        self._safely(lambda: mlflow.log_metrics(values, step=epoch))

    def epoch(self, epoch: int, values: dict[str, float]) -> None:
        """Log an epoch's numbers; not those of epoch 0, which are no epoch of training and in no output.

        A sweep that watches is told all of them.
        """
        live.tell(epoch, values)
        if epoch > 0:
            self.metrics(values, epoch)

    def figure(self, figure: "matplotlib.figure.Figure", name: str) -> None:
        """Log a picture under plots/."""
        import mlflow

        self._safely(lambda: mlflow.log_figure(figure, f"plots/{name}"))

    def artifact(self, path: str | Path) -> None:
        """Log a file or folder as it is."""
        import mlflow

        self._safely(lambda: mlflow.log_artifact(str(path)))


def _say_away(error: Exception) -> None:
    print(
        f"note: MLflow at {address()} can't be reached ({type(error).__name__}); the stage goes on without tracking, "
        "and `headstart sync` logs its run when the server is back",
        file=sys.stderr,
    )


@contextmanager
def run(stage: str, settings: Params) -> Iterator[Run]:
    """Open a run for a stage, log the parameters; at the end log what the stage has left, close it as what it was.

    Whatever of the stage's outputs is there by then is logged: numbers, files, the model.
    """
    this = Run()
    this.present = True
    this._safely(lambda: _start(this, stage, settings))
    try:
        yield this
    except BaseException as error:
        ending = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
        this._safely(lambda: _close(ending))
        raise
    this._safely(lambda: _end(this, stage))


def _start(this: Run, stage: str, settings: Params) -> None:
    mlflow = connect()
    client = mlflow.MlflowClient()
    mlflow.set_experiment(experiment_id=experiment(client, settings.tracking.experiment))
    name = os.environ.get("DVC_EXP_NAME")
    tags = {
        "dvc.stage": os.environ.get("DVC_STAGE", stage),
        "dvc.experiment": name,
        "dvc.baseline": os.environ.get("DVC_EXP_BASELINE_REV"),
        "headstart.process": process(),
        "headstart.sweep": os.environ.get(SWEEP),
        "headstart.sweep_run": os.environ.get(SWEEP_RUN),
        "mlflow.parentRunId": os.environ.get(SWEEP_RUN),
        **_inputs(stage),
    }
    started = mlflow.start_run(
        run_name=f"{name} {stage}" if name else stage,
        tags={key: value for key, value in tags.items() if value},
        log_system_metrics=True,
    )
    this.id = started.info.run_id
    mlflow.log_params(parameters(settings.model_dump()))


def _close(ending: str) -> None:
    import mlflow

    mlflow.end_run(ending)


def _end(this: Run, stage: str) -> None:
    import mlflow

    client = mlflow.MlflowClient()
    try:
        outputs = identity.outputs_of_stage(stage)
    except (OSError, KeyError):  # not run as dvc.yaml says, but from a folder of the user's own
        outputs = {}
    if outputs:
        log(client, this.id, stage, Path(), outputs)
        client.set_tag(this.id, "headstart.outputs", identity.of_outputs(outputs))
    _close("FINISHED")


def _inputs(stage: str) -> dict[str, str]:
    """Tags of what a stage is run on: its key, and the data and the backbone by their content."""
    try:
        stages = yaml.safe_load(Path("dvc.lock").read_text(encoding="utf-8"))["stages"]
        tags = sources(stages)
    except (OSError, KeyError, TypeError):
        return {}
    try:
        return {"headstart.key": identity.of_stage(stage), **tags}
    except (OSError, KeyError):  # no stage of dvc.yaml's, as a range test of the rate
        return tags


def sources(lock: Mapping[str, Any]) -> dict[str, str]:
    """Tags of the data and the backbone: their content as the stages in a dvc.lock left it."""
    outputs = {path: md5 for entry in lock.values() for path, md5 in identity.outputs_of_lock(entry).items()}
    tags = {"dvc.data": outputs.get("data/prepared"), "dvc.backbone": outputs.get("models/backbone")}
    return {name: md5.removesuffix(".dir") for name, md5 in tags.items() if md5}


def process() -> str:
    """This process, told apart from every other on any machine."""
    return f"{socket.gethostname()} {os.getpid()} {psutil.Process().create_time():.2f}"


def ended(process: str) -> bool:
    """Whether a process, as `process` names it, was one of this machine's and is no more."""
    host, _, rest = process.partition(" ")
    if host != socket.gethostname() or not rest:
        return False
    number, started = rest.split()
    try:
        return f"{psutil.Process(int(number)).create_time():.2f}" != started
    except psutil.NoSuchProcess:
        return True


def parameters(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested mappings as one, keys joined by dots, as DVC writes them, and values as text."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        flat |= parameters(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": str(value)}
    return flat


def numbers(values: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers in a metrics file by names such as `head_only.interval.accuracy.low`; the undefined are left out."""
    flat: dict[str, float] = {}
    for key, value in values.items():
        # MLflow takes letters, digits and these in a name.
        name = prefix + re.sub(r"[^\w.\- :/]", "_", str(key))
        if isinstance(value, list) and len(value) == 2:
            value = dict(zip(("low", "high"), value, strict=True))
        if isinstance(value, Mapping):
            flat |= numbers(value, f"{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            flat[name] = float(value)
    return flat


def log(
    client: Any, run_id: str, stage: str, folder: Path, outputs: Mapping[str, str], *, when: int | None = None
) -> list[str]:
    """Log what a stage left: its numbers, its model, its other files.

    Args:
        client: MLflow's.
        run_id: of the stage's run, which has its parameters already.
        stage: its name.
        folder: the outputs lie here by their paths, as far as they are at hand; so do the prepared data.
        outputs: path -> content, as DVC records it.
        when: in milliseconds, of the numbers; the epochs are logged as well then. None: now, and the epochs are there.

    Returns:
        Paths of the outputs that were not at hand.
    """
    from mlflow.entities import Metric

    # From a clock that is the outputs' own, so that logging again adds nothing.
    at = int(time.time() * 1000) if when is None else when
    metrics = [Metric(name, value, at, 0) for name, value in final(stage, folder).items()]
    if when is not None:
        metrics += [Metric(name, value, at, epoch) for epoch, name, value in epochs(stage, folder)]
    for first in range(0, len(metrics), 500):
        client.log_batch(run_id, metrics=metrics[first : first + 500])
    missing = []
    for output in outputs:
        path = folder / output
        if output.startswith("plots/") and path.suffix != ".csv":
            continue  # the tables behind DVC's own plots
        if not path.exists():
            missing.append(output)
        elif (path / "model.keras").is_file():
            model(client, run_id, path, folder)
        elif not output.startswith(("metrics/", "plots/")):
            for file in sorted(path.iterdir()) if path.is_dir() else [path]:
                client.log_artifact(run_id, str(file))
    return missing


def final(stage: str, folder: Path) -> dict[str, float]:
    """The numbers in a stage's metrics file; none if it is not there."""
    path = folder / f"metrics/{stage}.json"
    return numbers(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def epochs(stage: str, folder: Path) -> Iterator[tuple[int, str, float]]:
    """Epoch, name and value of each number in a training's table of epochs."""
    path = folder / f"plots/{stage}.csv"
    if not path.is_file():
        return
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            epoch = int(row.pop("epoch"))
            yield from ((epoch, name, float(value)) for name, value in row.items() if value)


def model(client: Any, run_id: str, folder: Path, root: Path) -> str:
    """Make a network a model of a run; one that MLflow holds already is not stored twice. The model's id.

    Args:
        client: MLflow's.
        run_id: of the run that made the network, or made it its own.
        folder: holds model.keras and labels.json.
        root: holds data/prepared, for an example of the input.
    """
    from mlflow.entities import LoggedModelOutput

    md5 = identity.md5(folder / "model.keras")
    run = client.get_run(run_id)
    there = held_model(client, run.info.experiment_id, md5)
    if there is None:
        views = int(run.data.params.get("evaluate.views", 1))
        return mlflow_model.log(run_id, folder, md5, mlflow_model.example(root / "data/prepared"), views)
    client.log_outputs(run_id, [LoggedModelOutput(there, step=0)])
    return there


def held_model(client: Any, experiment_id: str, md5: str) -> str | None:
    """The id of the model with this content in one of MLflow's experiments; None if it has none."""
    found = client.search_logged_models([experiment_id], filter_string=f"tags.`headstart.md5` = '{md5}'")
    whole = [each for each in found if each.status == "READY"]
    return str(min(whole, key=lambda each: each.creation_timestamp).model_id) if whole else None

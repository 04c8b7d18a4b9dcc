"""MLflow: one run a stage, tagged with what DVC calls it. If the server is away, training goes on without.

Nothing of a stage's result depends on what happens here, and nothing of a run (its id, its time) enters an output.
"""

import contextlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from headstart.params import Params

if TYPE_CHECKING:
    import keras
    import matplotlib.figure
    import numpy as np

# Of a request to a tracking server, in seconds and tries; MLflow's own 120 and 7 would hold a training for minutes.
TIMEOUT, RETRIES = "5", "1"
# The default store, at the repository's root.
DATABASE = "mlflow.db"
ARTIFACTS = "mlartifacts"
# What serving the logged model takes.
SERVING = ("keras", "tensorflow", "numpy")


def _root() -> Path:
    """The repository's root: where the store is also for an experiment that runs in a temporary copy."""
    return Path(os.environ.get("DVC_ROOT", ".")).resolve()


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, keys joined by dots, as DVC writes them."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


class Run:
    """An MLflow run that may be absent: each method logs, or does nothing after saying once why."""

    def __init__(self) -> None:
        """Start as absent; `run` makes it present."""
        self.present = False

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
        """Log an epoch's numbers."""
        self.metrics(values, epoch)

    def figure(self, figure: "matplotlib.figure.Figure", name: str) -> None:
        """Log a picture under plots/."""
        import mlflow

        self._safely(lambda: mlflow.log_figure(figure, f"plots/{name}"))

    def artifact(self, path: str | Path) -> None:
        """Log a file or folder as it is."""
        import mlflow

        self._safely(lambda: mlflow.log_artifact(str(path)))

    def model(self, model: "keras.Model", example: "np.ndarray", classes: list[str]) -> None:
        """Log a model with its signature, an input example and the names of its outputs.

        Args:
            model: float32 [b, ...] -> float32 [b, classes].
            example: float32 [1, ...], a real input.
            classes: names of the outputs, in order.
        """
        import mlflow

        def log() -> None:
            model.jit_compile = False  # one picture is not worth XLA's compilation
            output = model.predict_on_batch(example)
            inputs = mlflow.types.TensorSpec(example.dtype, (-1, *(size or -1 for size in model.input_shape[1:])))
            outputs = mlflow.types.TensorSpec(output.dtype, (-1, *output.shape[1:]))
            signature = mlflow.models.ModelSignature(mlflow.types.Schema([inputs]), mlflow.types.Schema([outputs]))
            # MLflow tries the example on the model, and Keras has a progress bar and a warning to say about that.
            with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
                warnings.simplefilter("ignore", UserWarning)
                mlflow.tensorflow.log_model(
                    model,
                    name="model",
                    signature=signature,
                    input_example=example,
                    # Given, so that MLflow does not start a second interpreter to find them out.
                    pip_requirements=[f"{package}=={metadata.version(package)}" for package in SERVING],
                    metadata={"classes": classes},
                )

        self._safely(log)


def _say_away(error: Exception) -> None:
    uri = os.environ.get("MLFLOW_TRACKING_URI", DATABASE)
    # The address without what may be a password in it.
    try:
        parts = urlsplit(uri)
        where = f"{parts.scheme}://{parts.hostname or ''}" if parts.scheme.startswith("http") else parts.scheme or uri
    except ValueError:
        where = "the address in MLFLOW_TRACKING_URI"
    kind = type(error).__name__
    print(f"note: MLflow at {where} can't be reached ({kind}); the stage goes on without tracking", file=sys.stderr)


@contextmanager
def run(stage: str, settings: Params) -> Iterator[Run]:
    """Open a run for a stage, log the parameters, close it at the end as finished or failed."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", TIMEOUT)
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", RETRIES)
    os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    # A run's page needs no advertisement in the log of a stage.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    import mlflow

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    this = Run()
    this.present = True
    this._safely(lambda: _start(mlflow, stage, settings))
    try:
        yield this
    except BaseException:
        this._safely(lambda: mlflow.end_run("FAILED"))
        raise
    this._safely(lambda: mlflow.end_run("FINISHED"))


def _start(mlflow: Any, stage: str, settings: Params) -> None:
    default = "MLFLOW_TRACKING_URI" not in os.environ
    if default:
        mlflow.set_tracking_uri(f"sqlite:///{_root() / DATABASE}")
    name = settings.tracking.experiment
    if mlflow.get_experiment_by_name(name) is None:
        mlflow.create_experiment(name, (_root() / ARTIFACTS).as_uri() if default else None)
    mlflow.set_experiment(name)
    experiment = os.environ.get("DVC_EXP_NAME")
    tags = {
        "dvc.stage": os.environ.get("DVC_STAGE", stage),
        "dvc.experiment": experiment,
        "dvc.baseline": os.environ.get("DVC_EXP_BASELINE_REV"),
    }
    mlflow.start_run(
        run_name=f"{experiment} {stage}" if experiment else stage,
        tags={key: value for key, value in tags.items() if value},
    )
    mlflow.log_params(_flat(settings.model_dump()))

"""MLflow holds what a stage logs; without it the stage goes on."""

import os
from collections.abc import Iterator
from pathlib import Path

import keras
import matplotlib as mpl
import numpy as np
import pytest

from headstart import params, tracking

ROOT = Path(__file__).parents[1]
SETTINGS = params.load(ROOT / "params.yaml")
VARIABLES = [name for name in os.environ if name.startswith(("MLFLOW_", "DVC_"))]

mlflow = pytest.importorskip("mlflow")


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A repository of its own for each test, and MLflow as it was afterwards."""
    mpl.use("Agg")
    for name in VARIABLES:
        monkeypatch.delenv(name)
    # What `tracking.run` sets by default is taken back at the end of the test.
    for name in ("HTTP_REQUEST_TIMEOUT", "HTTP_REQUEST_MAX_RETRIES"):
        monkeypatch.setenv(f"MLFLOW_{name}", "1" if name.endswith("TIMEOUT") else "0")
    for name, value in (("ALLOW_PICKLE_DESERIALIZATION", "false"), ("SUPPRESS_PRINTING_URL_TO_STDOUT", "true")):
        monkeypatch.setenv(f"MLFLOW_{name}", value)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield
    while mlflow.active_run():
        mlflow.end_run()
    mlflow.set_tracking_uri(None)
    if "MLFLOW_RUN_ID" in os.environ:
        monkeypatch.delenv("MLFLOW_RUN_ID")


def runs() -> list:
    return mlflow.search_runs(experiment_names=["headstart"], output_format="list")


# The signature names the input, so MLflow hands Keras a dict where it wants an array, and Keras remarks on that.
@pytest.mark.filterwarnings("ignore:.*The structure of `inputs`:UserWarning")
@pytest.mark.filterwarnings("ignore:Exception encountered when calling Functional:UserWarning")
def test_everything_logged_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_STAGE", "fine_tune")
    monkeypatch.setenv("DVC_EXP_NAME", "bold-move")
    monkeypatch.setenv("DVC_EXP_BASELINE_REV", "abc123")
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3), name="image")
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(image))
    model = keras.Model(image, keras.layers.Dense(2, "softmax")(pooled))
    picture = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3)).astype(np.float32)
    figure = mpl.figure.Figure()
    figure.subplots().plot([1, 2])
    (tmp_path / "predictions.csv").write_text("id\n")

    with tracking.run("fine_tune", SETTINGS) as run:
        for epoch in range(3):
            run.epoch(epoch, {"val_loss": 1 / (epoch + 1)})
        run.metrics({"accuracy": 0.9})
        run.figure(figure, "curve.png")
        run.artifact(tmp_path / "predictions.csv")
        run.model(model, picture[:1], ["functional", "defective"])

    assert (tmp_path / "mlflow.db").is_file()
    (found,) = runs()
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "bold-move fine_tune"
    assert {k: v for k, v in found.data.tags.items() if k.startswith("dvc.")} == {
        "dvc.stage": "fine_tune",
        "dvc.experiment": "bold-move",
        "dvc.baseline": "abc123",
    }
    assert found.data.params["lr"] == str(SETTINGS.lr)
    assert found.data.params["fine_tune.batch_norm"] == "frozen"
    assert found.data.params["data.columns.label"] == "None"
    assert found.data.metrics["accuracy"] == 0.9
    history = mlflow.MlflowClient().get_metric_history(found.info.run_id, "val_loss")
    assert [(m.step, m.value) for m in history] == [(0, 1), (1, 0.5), (2, 1 / 3)]
    names = {
        item.path
        for folder in (None, "plots")
        for item in mlflow.MlflowClient().list_artifacts(found.info.run_id, folder)
    }
    assert {"plots/curve.png", "predictions.csv"} <= names

    (logged,) = mlflow.search_logged_models(output_format="list")
    served = mlflow.pyfunc.load_model(logged.model_uri)
    np.testing.assert_allclose(served.predict(picture), model.predict_on_batch(picture), rtol=1e-5)
    signature = served.metadata.signature
    assert signature.inputs.to_dict()[0]["tensor-spec"] == {"dtype": "float32", "shape": (-1, 8, 8, 3)}
    assert signature.outputs.to_dict()[0]["tensor-spec"] == {"dtype": "float32", "shape": (-1, 2)}
    assert served.metadata.metadata["classes"] == ["functional", "defective"]
    assert served.input_example is not None
    needed = Path(mlflow.pyfunc.get_model_dependencies(logged.model_uri)).read_text()
    assert {line.partition("==")[0] for line in needed.split()} == {"mlflow", *tracking.SERVING}


def test_a_run_outside_of_an_experiment_is_named_after_its_stage() -> None:
    with tracking.run("train_head", SETTINGS):
        pass
    (found,) = runs()
    assert found.info.run_name == "train_head"
    assert {k for k in found.data.tags if k.startswith("dvc.")} == {"dvc.stage"}


def test_a_stage_that_fails_is_a_failed_run_and_its_exception_gets_through() -> None:
    with pytest.raises(ZeroDivisionError), tracking.run("train_head", SETTINGS):
        raise ZeroDivisionError
    (found,) = runs()
    assert found.info.status == "FAILED"


def test_the_address_in_the_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'elsewhere.db'}")
    with tracking.run("train_head", SETTINGS) as run:
        run.metrics({"loss": 1.0})
    assert (tmp_path / "elsewhere.db").is_file()
    assert not (tmp_path / "mlflow.db").exists()
    assert len(runs()) == 1


AWAY = [
    "http://127.0.0.1:9",
    "http://me:secret@127.0.0.1:9/mlflow",
    "postgresql+nothing://me:secret@127.0.0.1:9/x",
    "http://[me:secret@x",
]


@pytest.mark.parametrize("uri", AWAY)
def test_without_a_server_the_stage_goes_on_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], uri: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    trained = []
    with tracking.run("train_head", SETTINGS) as run:
        for epoch in range(3):
            trained.append(epoch)
            run.epoch(epoch, {"loss": 1.0})
        run.figure(mpl.figure.Figure(), "curve.png")
    assert trained == [0, 1, 2]
    said = capsys.readouterr().err
    assert said.count("can't be reached") == 1
    assert "the stage goes on without tracking" in said
    assert "secret" not in said


def test_without_a_server_exceptions_still_get_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", AWAY[0])
    with pytest.raises(ZeroDivisionError), tracking.run("train_head", SETTINGS):
        raise ZeroDivisionError


def test_a_server_that_goes_away_in_between_is_told_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def away(*_: object, **__: object) -> None:
        raise ConnectionError

    with tracking.run("train_head", SETTINGS) as run:
        run.epoch(0, {"loss": 1.0})
        monkeypatch.setattr(mlflow, "log_metrics", away)
        run.epoch(1, {"loss": 1.0})
        run.epoch(2, {"loss": 1.0})
    assert capsys.readouterr().err.count("can't be reached (ConnectionError)") == 1

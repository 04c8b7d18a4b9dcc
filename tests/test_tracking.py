"""MLflow holds what a stage logs; without it the stage goes on."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import keras
import matplotlib as mpl
import numpy as np
import pytest
import yaml

from headstart import identity, mlflow_model, params, tracking
from headstart.backbones.saving import save_model

ROOT = Path(__file__).parents[1]
SETTINGS = params.load(ROOT / "params.yaml")
# Grey ones, so with one channel.
PICTURES = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 1)).astype(np.uint8)
FACTS = {
    "task": "image-classification", "image_size": 8, "resize": "stretch", "channels": 1, "black": 0.0, "white": 1.0,
    "augment": "none", "seed": 0,
}  # fmt: skip
VARIABLES = [name for name in os.environ if name.startswith(("MLFLOW_", "DVC_"))]

mlflow = pytest.importorskip("mlflow")


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A repository of its own for each test, and MLflow as it was afterwards."""
    mpl.use("Agg")
    for name in VARIABLES:
        monkeypatch.delenv(name)
    # What `tracking.connect` sets by default is taken back at the end of the test.
    for name, value in {**tracking.SETTINGS, "HTTP_REQUEST_TIMEOUT": "1", "HTTP_REQUEST_MAX_RETRIES": "0"}.items():
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


@pytest.fixture
def left(tmp_path: Path) -> keras.Model:
    """What a stage has left in the folder: a network, its numbers and pictures; and the data it was trained on."""
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3), name="image")
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(image))
    model = keras.Model(image, keras.layers.Dense(2, "softmax")(pooled))
    for folder in ("models/final", "metrics", "data/prepared", "evaluation/plots"):
        (tmp_path / folder).mkdir(parents=True)
    save_model(model, tmp_path / "models/final/model.keras")
    (tmp_path / "models/final/labels.json").write_text('["functional", "defective"]')
    (tmp_path / "models/final/model.json").write_text(json.dumps(FACTS))
    (tmp_path / "metrics/fine_tune.json").write_text('{"accuracy": 0.9, "n": null, "interval": {"accuracy": [0.8, 1]}}')
    (tmp_path / "evaluation/predictions.csv").write_text("id\n")
    (tmp_path / "evaluation/plots/curve.png").write_bytes(b"")
    np.save(tmp_path / "data/prepared/images.npy", PICTURES)
    (tmp_path / "data/prepared/labels.json").write_text("[]")
    (tmp_path / "data/prepared/examples.csv").write_text("id,hash,split\na,0,test\nb,1,train\n")
    declared = {"outs": ["models/final", "evaluation"], "metrics": [{"metrics/fine_tune.json": {"cache": False}}]}
    (tmp_path / "dvc.yaml").write_text(
        yaml.safe_dump({"stages": {"fine_tune": {"deps": ["data/prepared"], **declared}}})
    )
    (tmp_path / "dvc.lock").write_text("stages: {}")
    (tmp_path / "params.yaml").write_text("{}")
    return model


def test_everything_that_a_stage_left_is_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: keras.Model
) -> None:
    monkeypatch.setenv("DVC_STAGE", "fine_tune")
    monkeypatch.setenv("DVC_EXP_NAME", "bold-move")
    monkeypatch.setenv("DVC_EXP_BASELINE_REV", "abc123")
    with tracking.run("fine_tune", SETTINGS) as run:
        for epoch in range(3):
            run.epoch(epoch, {"val_loss": 1 / (epoch + 1)})

    assert (tmp_path / "mlflow.db").is_file()
    (found,) = runs()
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "bold-move fine_tune"
    assert {k: v for k, v in found.data.tags.items() if k.startswith("dvc.")} == {
        "dvc.stage": "fine_tune",
        "dvc.experiment": "bold-move",
        "dvc.baseline": "abc123",
    }
    assert found.data.tags["headstart.key"] == identity.of_stage("fine_tune")
    assert found.data.params["lr"] == str(SETTINGS.lr)
    assert found.data.params["fine_tune.batch_norm"] == "frozen"
    assert found.data.params["data.columns.label"] == "None"
    assert found.data.metrics == {
        "accuracy": 0.9, "interval.accuracy.low": 0.8, "interval.accuracy.high": 1, "val_loss": 1 / 3
    }  # fmt: skip
    history = mlflow.MlflowClient().get_metric_history(found.info.run_id, "val_loss")
    assert [(m.step, m.value) for m in history] == [(1, 0.5), (2, 1 / 3)]
    names = {
        item.path
        for folder in (None, "plots")
        for item in mlflow.MlflowClient().list_artifacts(found.info.run_id, folder)
    }
    assert names == {"plots", "plots/curve.png", "predictions.csv"}


def test_the_logged_model_is_served_as_it_was_saved(left: keras.Model) -> None:
    with tracking.run("fine_tune", SETTINGS):
        pass
    (logged,) = mlflow.search_logged_models(output_format="list")
    served = mlflow.pyfunc.load_model(logged.model_uri)
    pictures = np.broadcast_to(PICTURES, (2, 8, 8, 3)).astype(np.float32)
    expected = left.predict_on_batch(pictures)
    np.testing.assert_allclose(served.predict(pictures), expected, rtol=1e-5)
    coded = np.array([mlflow_model.encoded(picture) for picture in PICTURES], dtype=object)
    np.testing.assert_allclose(served.predict(coded), expected, rtol=1e-5)
    signature = served.metadata.signature
    assert signature.inputs.to_dict()[0]["tensor-spec"] == {"dtype": "object", "shape": (-1,)}
    assert signature.outputs.to_dict()[0]["tensor-spec"] == {"dtype": "float32", "shape": (-1, 2)}
    assert served.metadata.metadata["classes"] == ["functional", "defective"]
    assert served.metadata.metadata["labels"] == "class"
    np.testing.assert_allclose(served.predict(served.input_example), expected[1:], rtol=1e-5)
    needed = Path(mlflow.pyfunc.get_model_dependencies(logged.model_uri)).read_text()
    assert {line.partition("==")[0] for line in needed.split()} == {"mlflow", *mlflow_model.SERVING}
    # MLflow's own way to the network is open as well.
    network = mlflow.tensorflow.load_model(logged.model_uri)
    np.testing.assert_allclose(network.predict_on_batch(pictures), expected, rtol=1e-5)


def test_the_logged_model_holds_the_code_that_serves_it_and_no_pickle(left: keras.Model) -> None:
    with tracking.run("fine_tune", SETTINGS):
        pass
    (logged,) = mlflow.search_logged_models(output_format="list")
    folder = Path(mlflow.artifacts.download_artifacts(logged.model_uri))
    assert {path.suffix for path in folder.rglob("*") if path.is_file()} == {
        "", ".json", ".keras", ".py", ".txt", ".yaml",
    }  # fmt: skip
    # With no other code of ours, and as MLflow imports it.
    script = f"""
import sys
sys.path[:] = [{str(folder / "code")!r}] + [path for path in sys.path if path not in ("", {str(ROOT)!r})]
from headstart import serving
assert serving.__file__.startswith({str(folder)!r}), serving.__file__
print(serving._load_pyfunc({str(folder / "data")!r}).predict([{mlflow_model.encoded(PICTURES[0])!r}]).tolist())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pictures = np.broadcast_to(PICTURES[:1], (1, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(json.loads(done.stdout), left.predict_on_batch(pictures), rtol=1e-5)


def test_what_serving_imports_is_what_it_requires() -> None:
    """Modules imported at the top of a file, and so always, by the names of their packages."""
    found = set()
    for file in mlflow_model.modules(mlflow_model.LOADER).values():
        if file.name == "hub.py":  # for networks whose layers are keras-hub's
            continue
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            found |= {name.partition(".")[0] for name in names}
    foreign = found - set(sys.stdlib_module_names) - {"headstart"}
    packages = metadata.packages_distributions()
    assert {packages[name][0] for name in foreign - {"mlflow"}} | {"tensorflow"} == set(mlflow_model.SERVING)


def test_a_model_is_stored_once_however_often_it_is_logged(left: keras.Model) -> None:
    for _ in range(2):
        with tracking.run("fine_tune", SETTINGS):
            pass
    (logged,) = mlflow.search_logged_models(output_format="list")
    assert [[output.model_id for output in run.outputs.model_outputs] for run in runs()] == 2 * [[logged.model_id]]


def test_a_run_outside_of_an_experiment_is_named_after_its_stage() -> None:
    with tracking.run("train_head", SETTINGS):
        pass
    (found,) = runs()
    assert found.info.run_name == "train_head"
    assert {k for k in found.data.tags if k.startswith("dvc.")} == {"dvc.stage"}


def test_a_stage_that_is_stopped_by_ctrl_c_is_a_killed_run() -> None:
    with pytest.raises(KeyboardInterrupt), tracking.run("train_head", SETTINGS):
        raise KeyboardInterrupt
    (found,) = runs()
    assert found.info.status == "KILLED"


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
        run.epoch(1, {"loss": 1.0})
        monkeypatch.setattr(mlflow, "log_metrics", away)
        run.epoch(2, {"loss": 1.0})
        run.epoch(3, {"loss": 1.0})
    assert capsys.readouterr().err.count("can't be reached (ConnectionError)") == 1

"""The real pipeline, from the packages of a registry to a tracked model."""

import json
import re
import sys
from pathlib import Path

import keras
import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml

from headstart import identity
from tests.pipeline.conftest import Clone

pytestmark = pytest.mark.pipeline

MEMBERS = {"accuracy", "balanced_accuracy", "f1_macro", "roc_auc", "log_loss", "n"}


def started(output: str) -> list[str]:
    """Names of the stages that DVC says it runs."""
    return re.findall(r"Running stage '(\w+)'", output)


def test_a_fresh_clone_ends_in_metrics_on_the_test_split(pipeline: Clone) -> None:
    metrics = json.loads((pipeline.folder / "metrics/evaluate.json").read_text())
    examples = pd.read_csv(pipeline.folder / "data/prepared/examples.csv", dtype=str, keep_default_na=False)
    assert metrics["n"] == (examples["split"] == "test").sum()
    for model in (metrics, metrics["head_only"]):
        assert model.keys() | {"n"} >= MEMBERS
        low, high = model["interval"]["accuracy"]
        assert low <= model["accuracy"] <= high
    # Six classes of much the same size: a model that learnt nothing is right in a sixth of the cases.
    assert metrics["head_only"]["accuracy"] > 0.5


def test_predictions_are_of_the_test_split_and_belong_to_the_metrics(pipeline: Clone) -> None:
    table = pd.read_csv(pipeline.folder / "evaluation/predictions.csv", dtype={"id": str, "truth": str})
    assert set(table["split"]) == {"test"}
    assert not table["id"].duplicated().any()
    metrics = json.loads((pipeline.folder / "metrics/evaluate.json").read_text())
    assert (table["truth"] == table["predicted"]).mean() == pytest.approx(metrics["accuracy"], abs=1e-6)


def test_the_saved_model_takes_raw_pictures_and_repeats_the_predictions(pipeline: Clone) -> None:
    script = """
import json, numpy as np, pandas as pd, keras
model = keras.saving.load_model("models/final/model.keras", compile=False, safe_mode=True)
classes = json.load(open("models/final/labels.json"))
examples = pd.read_csv("data/prepared/examples.csv", dtype=str, keep_default_na=False)
rows = np.flatnonzero(examples["split"] == "test")
images = np.load("data/prepared/images.npy", mmap_mode="r")[rows]
images = np.broadcast_to(images, (*images.shape[:3], 3)).astype("float32")
single, batch = model.predict(images[:1], verbose=0), model.predict(images, verbose=0)
print(json.dumps([np.abs(batch.sum(1) - 1).max().item(), np.abs(single - batch[:1]).max().item(),
                  [classes[i] for i in batch.argmax(1)], examples["id"][rows].tolist()]))
"""
    done = pipeline.run(sys.executable, "-c", script)
    assert done.returncode == 0, done.stderr
    off_one, off_batch, predicted, ids = json.loads(done.stdout.splitlines()[-1])
    assert off_one < 1e-5
    assert off_batch < 1e-5
    table = pd.read_csv(pipeline.folder / "evaluation/predictions.csv", dtype=str).set_index("id")
    assert table.loc[ids, "predicted"].tolist() == predicted


def test_a_second_repro_runs_nothing(pipeline: Clone) -> None:
    assert started(pipeline.ok("dvc", "repro")) == []


# A dry run names the stages that are touched themselves; what follows from their outputs shows when they have run.
@pytest.mark.parametrize(
    ("file", "stages"),
    [
        ("headstart/evaluation/metrics.py", ["evaluate"]),
        ("headstart/training/loop.py", ["train_head", "fine_tune"]),
        ("headstart/params.py", []),
        ("headstart/tracking.py", []),
        ("headstart/reporting/page.html", []),
    ],
)
def test_editing_code_reruns_only_what_uses_it(pipeline: Clone, file: str, stages: list[str]) -> None:
    path = pipeline.folder / file
    before = path.read_text()
    path.write_text(before + "\n# a remark\n")
    try:
        assert sorted(started(pipeline.ok("dvc", "repro", "--dry"))) == sorted(stages)
    finally:
        path.write_text(before)


@pytest.mark.parametrize(
    ("change", "stages"),
    [
        # The model card names the settings of the trainings.
        ({"lr": 0.01}, ["train_head", "fine_tune", "evaluate"]),
        ({"trainable_layers": 0}, ["cache_activations", "fine_tune", "evaluate"]),
        ({"head": {"hidden": [16]}}, ["train_head"]),
        ({"evaluate": {"bootstrap": 300}}, ["evaluate"]),
        ({"tracking": {"experiment": "another"}}, []),
    ],
)
def test_a_parameter_reruns_only_what_uses_it(pipeline: Clone, change: dict, stages: list[str]) -> None:
    before = (pipeline.folder / "params.yaml").read_text()
    pipeline.params(change)
    try:
        assert sorted(started(pipeline.ok("dvc", "repro", "--dry"))) == sorted(stages)
    finally:
        (pipeline.folder / "params.yaml").write_text(before)


def test_mlflow_shows_a_run_for_both_trainings_and_the_evaluation(pipeline: Clone) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{pipeline.folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("headstart")
    runs = {run.data.tags["dvc.stage"]: run for run in client.search_runs([experiment.experiment_id])}
    assert {"train_head", "fine_tune", "evaluate"} <= runs.keys()
    for name in ("train_head", "fine_tune"):
        run = runs[name]
        assert run.info.status == "FINISHED"
        assert run.data.params["lr"] == "0.001"
        history = client.get_metric_history(run.info.run_id, "val_loss")
        assert len({point.step for point in history}) >= 2
    accuracy = json.loads((pipeline.folder / "metrics/evaluate.json").read_text())["accuracy"]
    assert runs["evaluate"].data.metrics["accuracy"] == pytest.approx(accuracy)
    pictures = {file.path for file in client.list_artifacts(runs["evaluate"].info.run_id, "plots")}
    assert {"plots/roc.png", "plots/confusion.png"} <= pictures


def test_mlflow_predicts_a_real_picture_with_the_logged_model(pipeline: Clone) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{pipeline.folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("headstart")
    model = next(
        m for m in client.search_logged_models([experiment.experiment_id])
        if client.get_run(m.source_run_id).data.tags["dvc.stage"] == "fine_tune"
    )  # fmt: skip
    image = np.load(pipeline.folder / "data/prepared/images.npy", mmap_mode="r")[:1]
    image = np.broadcast_to(image, (*image.shape[:3], 3))
    (pipeline.folder / "data/picture.json").write_text(json.dumps({"inputs": image.tolist()}))
    uri = f"sqlite:///{pipeline.folder / 'mlflow.db'}"
    done = pipeline.run(
        "mlflow", "models", "predict", "--model-uri", f"models:/{model.model_id}", "--env-manager", "local",
        "--content-type", "json", "--input-path", "data/picture.json", "--output-path", "data/answer.json",
        env={"MLFLOW_TRACKING_URI": uri, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (probabilities,) = json.loads((pipeline.folder / "data/answer.json").read_text())["predictions"]
    assert sum(probabilities) == pytest.approx(1, abs=1e-5)
    for name in ("picture.json", "answer.json"):
        (pipeline.folder / "data" / name).unlink()


def test_an_experiment_with_another_rate_trains_again_and_is_tagged(pipeline: Clone) -> None:
    output = pipeline.ok("dvc", "exp", "run", "--name", "slower", "-S", "lr=1e-5")
    assert sorted(started(output)) == ["evaluate", "fine_tune", "train_head"]
    client = mlflow.MlflowClient(f"sqlite:///{pipeline.folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("headstart")
    runs = client.search_runs([experiment.experiment_id], "tags.`dvc.experiment` = 'slower'")
    assert {run.data.tags["dvc.stage"] for run in runs} == {"train_head", "fine_tune", "evaluate"}
    assert all(float(run.data.params["lr"]) == 1e-5 for run in runs)
    baseline = pipeline.ok("git", "rev-parse", "HEAD").strip()
    assert {run.data.tags["dvc.baseline"] for run in runs} == {baseline}
    said = pipeline.ok(sys.executable, "-m", "headstart", "compare", "HEAD", "slower")
    assert re.search(r"accuracy +0\.\d{4} +0\.\d{4} +[+-]0\.\d{4} .*(differs|within the noise)", said)
    pipeline.ok("git", "checkout", "--quiet", "--force", "HEAD")
    pipeline.ok("dvc", "checkout", "--force")


def test_training_goes_on_without_the_tracking_server_and_says_so_once(pipeline: Clone) -> None:
    head = pipeline.folder / "models/head/head.keras"
    before = head.read_bytes()
    server = "http://someone:secret@127.0.0.1:9"
    done = pipeline.run("dvc", "repro", "--force", "--single-item", "train_head", env={"MLFLOW_TRACKING_URI": server})
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert said.count("can't be reached") == 1
    assert "secret" not in said
    assert head.read_bytes() == before, "the same seed and machine give the same bytes"


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("lr=-1", "lr: -1 is given"),
        ("epochs=ten", "epochs: 'ten' is given"),
        ("backbone=ResNet5", "there is no 'ResNet5'; did you mean ResNet50?"),
        ("trainable_layers=1000", "trainable_layers: 1000 is given, but EfficientNetLite0 has 98 layers"),
    ],
)
def test_a_wrong_value_is_one_sentence(pipeline: Clone, setting: str, sentence: str) -> None:
    done = pipeline.run("dvc", "exp", "run", "--temp", "-S", setting)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert sentence in said
    assert "Traceback" not in said


def test_the_graph_is_the_one_that_was_designed(pipeline: Clone) -> None:
    dot = pipeline.ok("dvc", "dag", "--dot")
    edges = set(re.findall(r'"(\w+)" -> "(\w+)"', dot))
    assert {
        ("fetch_data", "prepare"),
        ("prepare", "extract_features"),
        ("fetch_backbone", "extract_features"),
        ("extract_features", "train_head"),
        ("cache_activations", "fine_tune"),
        ("train_head", "fine_tune"),
        ("fine_tune", "evaluate"),
    } <= edges


def test_a_run_has_the_same_key_from_its_files_as_from_the_lock(
    pipeline: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pipeline.folder)
    lock = yaml.safe_load(Path("dvc.lock").read_text())["stages"]
    keys = {name: identity.of_lock(entry) for name, entry in lock.items()}
    assert keys == {name: identity.of_stage(name) for name in lock}
    assert len(set(keys.values())) == 8


def test_every_stage_says_what_it_is_for(pipeline: Clone) -> None:
    listed = pipeline.ok("dvc", "stage", "list")
    assert len(listed.splitlines()) == 8
    assert "Outputs" not in listed, "without a desc, DVC lists a stage's outputs instead"


def stage(clone: Clone, name: str, backend: str = "tensorflow") -> str:
    """Run a stage as dvc would; what it printed."""
    done = clone.run(sys.executable, "-m", f"stages.{name}", env={"KERAS_BACKEND": backend})
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_fine_tuning_without_its_cache_gives_the_same_bytes(pipeline: Clone, tmp_path: Path) -> None:
    copy = pipeline.copy(tmp_path / "copy")
    copy.params({"features": {"views": 1}})
    found = []
    for cache in ("on", "off"):
        # As `-S fine_tune.cache=off` leaves it, which YAML 1.1 reads as false.
        file = copy.folder / "params.yaml"
        file.write_text(re.sub(r"\n  cache: .*", f"\n  cache: {cache}", file.read_text()))
        said = stage(copy, "cache_activations")
        assert ("fine_tune.cache is off" in said) == (cache == "off")
        assert (copy.folder / "data/activations/train.npy").exists() == (cache == "on")
        stage(copy, "fine_tune")
        found.append(
            [(copy.folder / name).read_bytes() for name in ("models/final/model.keras", "plots/fine_tune.csv")]
        )
    assert found[0] == found[1]


def test_jax_runs_training_and_evaluation(pipeline: Clone, tmp_path: Path) -> None:
    copy = pipeline.copy(tmp_path / "copy")
    for name in ("train_head", "fine_tune", "evaluate"):
        stage(copy, name, "jax")
    metrics = json.loads((copy.folder / "metrics/evaluate.json").read_text())
    assert metrics["head_only"]["accuracy"] > 0.4
    assert metrics["log_loss"] != json.loads((pipeline.folder / "metrics/evaluate.json").read_text())["log_loss"]


def test_a_further_picture_is_the_only_one_that_is_embedded(pipeline: Clone, tmp_path: Path) -> None:
    copy = pipeline.copy(tmp_path / "copy")
    first = re.findall(r"(\d+) of (\d+) views computed", stage(copy, "extract_features"))
    assert [computed for computed, _ in first] == ["0"] * 3
    prepared = copy.folder / "data/prepared"
    images = np.load(prepared / "images.npy")
    examples = pd.read_csv(prepared / "examples.csv", dtype=str, keep_default_na=False)
    new = examples[examples["split"] == "train"].iloc[:1].assign(id="new", hash=f"{1:064x}")
    np.save(prepared / "images.npy", np.concatenate([images, 255 - images[:1]]))
    pd.concat([examples, new]).to_csv(prepared / "examples.csv", index=False)
    before = np.load(copy.folder / "data/features/train.npy")
    said = stage(copy, "extract_features")
    found = re.findall(r"(\d+) of (\d+) views computed", said)
    assert found[0] == ("2", str(int(first[0][1]) + 2))
    assert found[1:] == first[1:]
    after = np.load(copy.folder / "data/features/train.npy")
    np.testing.assert_array_equal(after[:-1], before)
    assert (after[-1] != before[0]).any()


def test_with_nothing_to_unfreeze_the_heads_model_goes_on_without_keras(pipeline: Clone, tmp_path: Path) -> None:
    copy = pipeline.copy(tmp_path / "copy")
    copy.params({"trainable_layers": 0})
    stage(copy, "cache_activations")
    # A backend that does not exist: whoever imports Keras fails.
    assert "the head's model goes on" in stage(copy, "fine_tune", "none")
    assert (copy.folder / "models/final/model.keras").read_bytes() == (
        copy.folder / "models/head/model.keras"
    ).read_bytes()
    stage(copy, "evaluate")
    found = json.loads((copy.folder / "metrics/evaluate.json").read_text())
    assert found["accuracy"] == found["head_only"]["accuracy"]

    # The embeddings stand for the pictures: the whole network says the same of them.
    network = keras.saving.load_model(copy.folder / "models/final/model.keras")
    predictions = pd.read_csv(copy.folder / "evaluation/predictions.csv", dtype={"id": str})
    examples = pd.read_csv(copy.folder / "data/prepared/examples.csv", dtype=str)
    rows = examples.index[examples["split"] == "test"]
    images = np.load(copy.folder / "data/prepared/images.npy", mmap_mode="r")[rows]
    said = network.predict(np.broadcast_to(images, (*images.shape[:3], 3)).astype(np.float32), verbose=0)
    np.testing.assert_allclose(said, predictions.filter(like="p_"), atol=1e-4)

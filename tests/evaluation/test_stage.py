"""The stage on a small prepared folder, with networks that are functions and tracking that writes down."""

import json
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml

from headstart.evaluation.attribution import Explained
from headstart.stage import UserError
from stages import evaluate

ROOT = Path(__file__).parents[2]
CLASSES = ["NA", "01"]  # names that a careless reader would take for nothing and for a number


class Network:
    """Probability of the second class: brightness, or the embedding's first number."""

    def __init__(self, outputs=2):
        self.outputs = outputs
        self.seen = set()

    def predict_on_batch(self, batch):
        self.seen.add(batch.shape)
        score = batch.reshape(len(batch), -1).mean(axis=1) / (255 if batch.ndim == 4 else 1)
        return np.stack([1 - score] + [score / (self.outputs - 1)] * (self.outputs - 1), axis=1)


def explained(network, shown, towards, against, additive):
    """A heat map that says nothing."""
    assert (towards != against).all()
    return Explained([{} for _ in shown], {"pictures": shown, "evidence": np.zeros((len(shown), 2, 2), np.float16)})


@pytest.fixture
def logged(tmp_path, monkeypatch):
    """A prepared repository to evaluate in; yields what tracking was given."""
    rng = np.random.default_rng(0)
    n = 90
    truth = rng.integers(0, 2, n)
    split = np.array(["test", "train", "validation"])[np.arange(n) % 3]
    for folder in ("data/prepared", "data/features"):
        (tmp_path / folder).mkdir(parents=True)
    bright = np.clip(80 + 90 * truth + rng.normal(0, 40, n), 0, 255).astype(np.uint8)
    np.save(tmp_path / "data/prepared/images.npy", np.tile(bright[:, None, None, None], (1, 8, 8, 1)))
    for model in ("final", "head"):
        (tmp_path / "models" / model).mkdir(parents=True)
        (tmp_path / "models" / model / "model.keras").write_text(model)
    for name in ("test", "validation"):
        np.save(tmp_path / f"data/features/{name}.npy", rng.random((30, 1, 4)).astype(np.float32))
    (tmp_path / "data/prepared/labels.json").write_text(json.dumps(CLASSES))
    (tmp_path / "data/prepared/source.json").write_text("{}")
    splits = {
        split: {"examples": 30, "classes": dict.fromkeys(CLASSES, 15)} for split in ("train", "validation", "test")
    }
    counted = {"examples": 90, "quarantined": 0, "conflicting_labels": 0, "splits": splits}
    backbone = {"name": "Tiny", "embedding": 4, "image_size": 8, "source": "made up", "licence": "MIT", "remark": ""}
    for path, content in (("metrics/prepare.json", counted), ("models/backbone/backbone.json", backbone)):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(json.dumps(content))
    (tmp_path / "plots").mkdir()
    for name in ("train_head", "fine_tune"):
        (tmp_path / f"plots/{name}.csv").write_text("epoch,learning_rate,loss,accuracy,val_loss,val_accuracy\n")
    examples = pd.DataFrame({"id": [f"{i:03d}" for i in range(n)], "path": "", "hash": "0" * 64, "group": ""})
    examples["label"] = [CLASSES[t] for t in truth]
    examples["split"] = split
    examples.to_csv(tmp_path / "data/prepared/examples.csv", index=False)
    settings = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    settings["evaluate"]["views"] = 1
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    seen = SimpleNamespace(runs=[], networks={})

    @contextmanager
    def run(stage, settings):
        seen.runs.append(stage)
        yield SimpleNamespace()

    def network(path):
        return seen.networks.setdefault(path.as_posix(), Network())

    monkeypatch.setattr(evaluate.tracking, "run", run)
    monkeypatch.setattr(evaluate, "load_model", network)
    monkeypatch.setattr(evaluate, "for_inference", lambda network: network)
    monkeypatch.setitem(evaluate.attribution.EXPLAIN, "image-classification", explained)
    return seen


def test_the_test_split_alone_is_scored_and_everything_is_written(logged, capsys):
    evaluate.main()
    said = json.loads(Path("metrics/evaluate.json").read_text())
    table = pd.read_csv("evaluation/predictions.csv", dtype=str, keep_default_na=False)
    assert said["n"] == len(table) == 30
    assert set(table["split"]) == {"test"}
    assert json.loads(Path("evaluation/inference.json").read_text()) == {"views": 1}
    assert list(table["id"]) == [f"{i:03d}" for i in range(0, 90, 3)]
    assert (table["truth"] == table["predicted"]).mean() == pytest.approx(said["accuracy"], abs=1e-6)
    assert said["accuracy"] > 0.7
    assert Path("plots/evaluate/reliability/head_only.csv").is_file()
    assert logged.runs == ["evaluate"]
    names = ["calibration", "confusion", "learning", "mistakes", "precision_recall", "reliability", "roc"]
    assert sorted(path.name for path in Path("evaluation/plots").iterdir()) == [f"{name}.png" for name in names]
    assert Path("evaluation/MODEL_CARD.md").is_file()
    assert Path("reports/index.html").is_file()
    assert f"{said['accuracy']:.4f}" in capsys.readouterr().out


def test_the_mistakes_that_are_kept_are_the_test_splits_own(logged):
    evaluate.main()
    table = pd.read_csv("evaluation/predictions.csv", dtype=str, keep_default_na=False).set_index("id")
    wrong = json.loads(Path("evaluation/mistakes.json").read_text())
    assert len(wrong) == (table["truth"] != table["predicted"]).sum() > 0
    with np.load("evaluation/mistakes.npz", allow_pickle=False) as arrays:
        pictures = arrays["pictures"]
    images = np.load("data/prepared/images.npy")
    for row, picture in zip(wrong, pictures, strict=True):
        assert (table.loc[row["id"], ["truth", "predicted"]] == [row["truth"], row["predicted"]]).all()
        assert (picture == images[int(row["id"])]).all()


def test_the_temperature_is_fitted_on_the_validation_split(logged):
    evaluate.main()
    before = json.loads(Path("metrics/evaluate.json").read_text())
    assert before["calibration"]["validation_examples"] == 30
    # Validation pictures of which nothing can be told: the model is far too sure of them.
    images = np.load("data/prepared/images.npy")
    images[2::3] = np.random.default_rng(1).choice([2, 250], (30, 1, 1, 1)).astype(np.uint8)
    np.save("data/prepared/images.npy", images)
    evaluate.main()
    after = json.loads(Path("metrics/evaluate.json").read_text())
    assert after["calibration"]["temperature"] > 2 * before["calibration"]["temperature"]
    assert after["calibration"]["nll"]["before"] == before["calibration"]["nll"]["before"]
    assert after["accuracy"] == before["accuracy"]


def test_a_page_that_cannot_be_written_costs_no_results(logged, monkeypatch, capsys):
    def fail(*_):
        raise RuntimeError("no ink")

    monkeypatch.setattr(evaluate.page, "render", fail)
    evaluate.main()
    assert "no ink" in capsys.readouterr().err
    assert Path("metrics/evaluate.json").is_file()
    assert Path("evaluation/MODEL_CARD.md").is_file()
    assert not Path("reports/index.html").exists()


def test_a_model_without_mistakes_leaves_an_empty_list(logged):
    perfect = Network()
    truth = pd.read_csv("data/prepared/examples.csv", dtype=str, keep_default_na=False)["label"].map(CLASSES.index)
    images = np.load("data/prepared/images.npy")
    images[:] = (40 + 170 * truth.to_numpy()).astype(np.uint8)[:, None, None, None]
    np.save("data/prepared/images.npy", images)
    logged.networks["models/final/model.keras"] = perfect
    evaluate.main()
    assert json.loads(Path("evaluation/mistakes.json").read_text()) == []
    assert not Path("evaluation/mistakes.npz").exists()
    assert "every test example is predicted rightly" in Path("reports/index.html").read_text()


def test_a_grey_data_set_reaches_the_network_in_colour(logged):
    evaluate.main()
    assert {shape[1:] for shape in logged.networks["models/final/model.keras"].seen} == {(8, 8, 3)}


def test_a_second_run_writes_the_same_bytes(logged):
    def written():
        evaluate.main()
        files = [*Path("plots").rglob("*.csv"), *Path("evaluation").rglob("*.*"), *Path("metrics").iterdir()]
        return {file: file.read_bytes() for file in files}

    assert written() == written()


def test_a_model_of_other_classes_is_named_in_a_sentence(logged):
    logged.networks["models/final/model.keras"] = Network(outputs=3)
    with pytest.raises(UserError, match=r"models/final/model\.keras has 3 outputs, the data have 2 classes"):
        evaluate.main()


def test_features_of_another_split_are_named_in_a_sentence(logged):
    np.save("data/features/test.npy", np.zeros((5, 1, 4), np.float32))
    with pytest.raises(
        UserError, match=r"data/features/test\.npy has 5 rows of 1 views, the test split 30 examples of 1"
    ):
        evaluate.main()


def test_a_diverged_model_is_named_in_a_sentence(logged):
    diverged = Network()
    diverged.predict_on_batch = lambda batch: np.full((len(batch), 2), np.nan)
    logged.networks["models/final/model.keras"] = diverged
    with pytest.raises(UserError, match=r"models/final/model\.keras: .* smaller lr"):
        evaluate.main()


def test_a_final_model_that_is_the_heads_is_scored_on_the_embeddings(logged):
    Path("models/final/model.keras").write_text("head")
    evaluate.main()
    # The whole network is asked about its mistakes alone.
    assert logged.networks["models/final/model.keras"].seen == set()
    said = json.loads(Path("metrics/evaluate.json").read_text())
    assert said["accuracy"] == said["head_only"]["accuracy"]

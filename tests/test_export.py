"""Exports are compared before they are left behind. All formats, on a trained network: tests/pipeline/test_use.py."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from sklearn.datasets import load_digits

from headstart import export
from headstart.commands.export import main
from headstart.stage import UserError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a small network, and real digits as its prepared data."""
    import keras

    from headstart.backbones.saving import save_model

    digits, labels = load_digits(return_X_y=True)
    pictures = (digits.reshape(-1, 8, 8, 1) * 15.9).astype(np.uint8)[:60]
    for folder in ("data/prepared", "models/final"):
        (tmp_path / folder).mkdir(parents=True)
    np.save(tmp_path / "data/prepared/images.npy", pictures)
    examples = pd.DataFrame({"id": range(60), "label": labels[:60], "split": ["train", "validation"] * 30})
    examples.to_csv(tmp_path / "data/prepared/examples.csv", index=False)
    classes = [str(digit) for digit in range(10)]
    inputs = keras.Input((8, 8, 3), name="image")
    outputs = keras.layers.Dense(10, activation="softmax")(keras.layers.GlobalAveragePooling2D()(inputs))
    save_model(keras.Model(inputs, outputs), tmp_path / "models/final/model.keras")
    for name, content in {
        "data/prepared/labels": classes,
        "models/final/labels": classes,
        "models/final/model": {},
    }.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, catch_exceptions=False)


def test_an_export_that_computes_something_else_is_not_left_behind(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnx = export.FORMATS["onnx"]

    def off(path: Path) -> export.Run:
        run = onnx.start(path)
        return lambda given: run(given) + 0.01

    def broken(*_: object) -> None:
        raise RuntimeError("cannot do that")

    run("--format", "onnx", "--out", "out")
    assert (here / "out/model.onnx").exists()
    (here / "out/mine.txt").write_text("kept")
    monkeypatch.setitem(export.FORMATS, "onnx", onnx._replace(start=off))
    monkeypatch.setitem(export.FORMATS, "litert", export.FORMATS["litert"]._replace(write=broken))
    found = list(export.export(Path("models/final"), Path("out"), ["onnx", "litert"], int8=False))
    assert [type(row) for row in found] == [export.Found, export.Failed, export.Failed]
    assert "differ from Keras' by up to 1.0e-02" in export.table(found[1])
    assert "RuntimeError: cannot do that" in export.table(found[2])
    assert {path.name for path in (here / "out").iterdir()} == {"mine.txt", "labels.json", "model.json"}
    with pytest.raises(UserError, match="not exported: onnx"):
        run("--format", "onnx", "--out", "out")


def test_what_is_missing_is_told(here: Path) -> None:
    with pytest.raises(UserError, match=r"models/other holds no model\.keras"):
        run("--model", "models/other")
    (here / "data/prepared/examples.csv").unlink()
    with pytest.raises(UserError, match="data/prepared is not there"):
        run()


def test_pictures_are_spread_over_their_split() -> None:
    assert export.spread(5, 10).tolist() == [0, 1, 2, 3, 4]
    assert export.spread(100, 3).tolist() == [0, 50, 99]


def test_any_number_of_pictures_is_answered_in_calls_of_one_size() -> None:
    seen = []

    def network(batch: np.ndarray) -> np.ndarray:
        seen.append(len(batch))
        return batch[:, 0, 0, :1]

    pictures = np.arange(70, dtype=np.float32).reshape(70, 1, 1, 1)
    np.testing.assert_array_equal(export.in_batches(network, pictures)[:, 0], np.arange(70))
    assert seen == [32, 32, 32]


def test_a_network_of_texts_is_of_one_length_where_a_converter_takes_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LiteRT has no operations of its own for Gemma's attention to any number of tokens."""
    import keras
    from tokenizers import Tokenizer, models, pre_tokenizers

    from headstart.backbones.saving import save_model
    from headstart.backbones.table import TABLE
    from headstart.backbones.text import Ids, bare, embedding_network
    from tests.backbones.test_text import SMALL

    options = tuple((key, SMALL.get(key, value)) for key, value in TABLE["Gemma3_270M"].options)
    entry = TABLE["Gemma3_270M"]._replace(options=options)
    embedding = embedding_network(bare(entry), Ids(0, None), "mean", "gemma")
    network = keras.Model(embedding.input, keras.layers.Dense(2, activation="softmax")(embedding.output))
    lines = [f"{'good' if n % 2 else 'bad'} film {'very ' * (n % 7)}" for n in range(12)]
    words = {word: n for n, word in enumerate(["[PAD]", "[UNK]", *dict.fromkeys(" ".join(lines).split())])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    for folder in ("data/prepared", "models/final"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "labels.json").write_text('["bad", "good"]')
    np.save(tmp_path / "data/prepared/texts.npy", np.frombuffer("".join(lines).encode(), np.uint8))
    np.save(tmp_path / "data/prepared/ends.npy", np.cumsum([[len(line)] for line in lines], axis=0))
    examples = pd.DataFrame({"id": range(12), "label": ["bad", "good"] * 6, "split": ["train", "validation"] * 6})
    examples.to_csv(tmp_path / "data/prepared/examples.csv", index=False)
    save_model(network, tmp_path / "models/final/model.keras")
    tokenizer.save(str(tmp_path / "models/final/tokenizer.json"))
    (tmp_path / "models/final/model.json").write_text('{"padding": 0, "max_tokens": 12}')
    monkeypatch.chdir(tmp_path)

    said = run("--format", "litert", "--out", "out")
    *_, found, told = said.output.splitlines()
    assert found.endswith("  12 tokens alone")
    assert float(found.split()[3]) <= export.TOLERANCE
    assert "how a text becomes an input (tokenizer.json, INPUT.md)" in told
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "labels.json", "model.json", "tokenizer.json", "INPUT.md", "model.tflite",
    }  # fmt: skip
    # Pictures exported to the same place are no texts.
    (tmp_path / "models/final/tokenizer.json").unlink()
    with pytest.raises(UserError, match="models/final is a model of pictures, and data/prepared holds texts"):
        run("--format", "litert", "--out", "out")

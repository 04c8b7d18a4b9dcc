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

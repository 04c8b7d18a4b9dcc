"""A saved model is nothing but the model: the same bytes from every process, and no code."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from headstart.backbones.saving import load_model, save_model

ROOT = Path(__file__).parents[2]
# A network with what the pipeline's have: convolution, normalisation, a shortcut, a head that is a network of its own.
BUILD = """
import sys, pathlib, keras, numpy as np
from headstart.backbones.saving import load_model, save_model
keras.utils.set_random_seed(1)
x = image = keras.Input((8, 8, 3), name="image")
x = keras.layers.Conv2D(4, 3, padding="same", kernel_regularizer="l2", name="conv")(x)
x = keras.layers.Add(name="add")([x, keras.layers.BatchNormalization(name="norm")(x)])
embedding = keras.Input((4,), name="embedding")
head = keras.Model(embedding, keras.layers.Dense(2, "softmax", name="out")(embedding), name="head")
model = keras.Model(image, head(keras.layers.GlobalAveragePooling2D(name="pool")(x)), name="whole")
model.compile("adam", "mse", jit_compile=False)
picture = np.random.default_rng(0).random((2, 8, 8, 3)).astype(np.float32)
model.train_on_batch(picture, np.eye(2)[[0, 0]] * 0 + 0.5)
folder = pathlib.Path(sys.argv[1])
if len(sys.argv) > 2:
    print(load_model(pathlib.Path(sys.argv[2])).predict_on_batch(picture).tolist())
save_model(model, folder / "model.keras")
print(model.predict_on_batch(picture).tolist())
"""


def in_a_fresh_process(*arguments: object) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", BUILD, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "TF_DETERMINISTIC_OPS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_same_model_is_the_same_file_and_predicts_the_same_elsewhere(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    (predicted,) = in_a_fresh_process(tmp_path / "first")
    reloaded, again = in_a_fresh_process(tmp_path / "second", tmp_path / "first/model.keras")
    assert (tmp_path / "first/model.keras").read_bytes() == (tmp_path / "second/model.keras").read_bytes()
    assert predicted == again == reloaded
    assert [path.name for path in (tmp_path / "first").iterdir()] == ["model.keras"]


def test_training_state_is_not_part_of_the_file(tmp_path: Path) -> None:
    inputs, embedding = keras.Input((4,)), keras.Input((100,))
    head = keras.Model(embedding, keras.layers.Dense(100)(embedding), name="head")
    model = keras.Model(inputs, head(keras.layers.Dense(100)(inputs)))
    save_model(model, tmp_path / "before.keras")
    save_model(head, tmp_path / "head_before.keras")
    head.compile("adam", "mse", jit_compile=False)
    head.train_on_batch(np.ones((1, 100)), np.ones((1, 100)))
    save_model(model, tmp_path / "after.keras")
    save_model(head, tmp_path / "head_after.keras")
    for kind in ("", "head_"):
        before, after = ((tmp_path / f"{kind}{when}.keras").stat().st_size for when in ("before", "after"))
        assert abs(after - before) < 100  # Adam's slots would make three of it


def test_a_model_that_brings_code_is_refused(tmp_path: Path) -> None:
    inputs = keras.Input((2,))
    keras.Model(inputs, keras.layers.Lambda(lambda x: x * 2)(inputs)).save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match=r"[Ll]ambda"):
        load_model(tmp_path / "model.keras")

"""Frozen layers on ONNX Runtime compute what Keras does, or Keras computes them."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import onnx
import pytest

from headstart.backbones import build, cut, export, reference, table
from headstart.backbones.graph import cut as cut_at
from headstart.backbones.graph import separators, unfrozen
from headstart.features import engine

ROOT = Path(__file__).parents[2]
SIZE = 64


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `fetch_backbone` leaves for a small EfficientNet-Lite0 with random weights."""
    folder = tmp_path_factory.mktemp("models") / "backbone"
    folder.mkdir()
    keras.utils.set_random_seed(0)
    entry = table.find("EfficientNetLite0")
    network = build.embedding_network(build.bare(entry, SIZE), entry, "EfficientNetLite0")
    facts = {"name": "EfficientNetLite0", "input": {"kind": "picture", "size": SIZE}, "engine": "onnxruntime"}
    export.write(network, facts, folder, onnx=True)
    return folder


@pytest.fixture
def copy(backbone: Path, tmp_path: Path) -> Path:
    """A copy of it, to spoil."""
    return shutil.copytree(backbone, tmp_path / "backbone")


def cuts(backbone: Path) -> list[str]:
    graph = engine.read_graph(backbone)
    return [cut_at(graph, n) for n in (0, 20)] + [separators(graph)[1]]


PICTURES = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_engines_compute_what_keras_does_at_every_cut(backbone: Path, name: str) -> None:
    names = cuts(backbone)
    assert len(set(names)) == 3
    for at in names:
        fast, slow = engine.load(backbone, at, name, "float32"), engine.load(backbone, at, "keras", "float32")
        assert (fast.name, slow.name) == (name, "keras")
        assert fast.error <= engine.TOLERANCE["float32"]
        found, expected = fast.run(PICTURES), slow.run(PICTURES)
        assert found.dtype == expected.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3 * np.abs(expected).max(), err_msg=at)


@pytest.mark.parametrize("name", ["onnxruntime", "openvino", "keras"])
def test_a_pictures_row_has_the_same_bits_whatever_is_computed_beside_it(backbone: Path, name: str) -> None:
    running = engine.load(backbone, cuts(backbone)[1], name, "float32")
    pictures = np.random.default_rng(0).integers(0, 256, (70, SIZE, SIZE, 3), dtype=np.uint8)
    rows = running.run(pictures)
    order = np.random.default_rng(1).permutation(70)
    np.testing.assert_array_equal(running.run(pictures[order]), rows[order])
    np.testing.assert_array_equal(running.run(pictures[:1].astype(np.float32)), rows[:1])


@pytest.mark.parametrize("name", ["openvino", "keras"])
def test_bfloat16_is_a_choice_and_close(backbone: Path, name: str) -> None:
    exact = engine.load(backbone, "embedding", "keras", "float32")
    rough = engine.load(backbone, "embedding", name, "bfloat16")
    assert (rough.name, rough.precision) == (name, "bfloat16")
    found, expected = rough.run(PICTURES), exact.run(PICTURES)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=engine.TOLERANCE["bfloat16"] * np.abs(expected).max())
    assert rough.identity != exact.identity


def test_onnx_runtime_says_that_it_has_no_bfloat16(backbone: Path, caplog: pytest.LogCaptureFixture) -> None:
    running = engine.load(backbone, "embedding", "onnxruntime", "bfloat16")
    assert (running.name, running.precision) == ("onnxruntime", "float32")
    assert "ONNX Runtime has no bfloat16 on a CPU" in caplog.text


@pytest.mark.parametrize(
    ("wanted", "precision", "on_gpu", "chosen"),
    [
        ("auto", "auto", False, ("onnxruntime", "float32")),
        ("auto", "auto", True, ("keras", "bfloat16")),
        ("auto", "float32", True, ("keras", "float32")),
        ("auto", "bfloat16", False, ("openvino", "bfloat16")),
        ("onnxruntime", "auto", True, ("onnxruntime", "float32")),
        ("keras", "auto", False, ("keras", "float32")),
    ],
)
def test_what_is_left_to_us_depends_on_the_machine(
    monkeypatch: pytest.MonkeyPatch, wanted: str, precision: str, on_gpu: bool, chosen: tuple[str, str]
) -> None:
    monkeypatch.setattr(engine, "gpu", lambda: on_gpu)
    assert engine.choose({"engine": "onnxruntime"}, wanted, precision) == chosen


def test_auto_takes_what_the_table_names(backbone: Path, copy: Path) -> None:
    assert engine.load(backbone, "embedding", "auto", "auto").name == "onnxruntime"
    facts = json.loads((copy / "backbone.json").read_text())
    (copy / "backbone.json").write_text(json.dumps(facts | {"engine": "keras"}))
    assert engine.load(copy, "embedding", "auto", "auto").name == "keras"


@pytest.mark.parametrize("spoil", [lambda x: x * 1.01, lambda x: np.full_like(x, np.nan)], ids=["off", "nan"])
def test_an_engine_that_computes_something_else_is_replaced_and_told(
    copy: Path, caplog: pytest.LogCaptureFixture, spoil: object
) -> None:
    samples = dict(np.load(copy / "reference.npz"))
    np.savez(copy / "reference.npz", **samples | {"embedding": spoil(samples["embedding"])})
    assert engine.load(copy, "embedding", "onnxruntime", "float32").name == "keras"
    ours = [r.getMessage() for r in caplog.records if r.name.startswith("headstart")]
    assert [said.partition(" by ")[0] for said in ours] == ["onnxruntime differs from Keras"]
    assert "at embedding: Keras runs the frozen layers" in caplog.text


def test_a_network_without_onnx_file_runs_on_keras_and_says_so(copy: Path, caplog: pytest.LogCaptureFixture) -> None:
    (copy / "backbone.onnx").unlink()
    assert engine.load(copy, "embedding", "auto", "auto").name == "keras"
    assert "there is no ONNX file of EfficientNetLite0" in caplog.text


def test_an_engine_that_fails_is_replaced_and_told(copy: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = onnx.load(copy / "backbone.onnx")
    node = next(node for node in model.graph.node if node.op_type == "Conv")
    node.op_type = "Unheard"
    onnx.save(model, copy / "backbone.onnx")
    for name in ("onnxruntime", "openvino"):
        caplog.clear()
        running = engine.load(copy, "embedding", name, "float32")
        assert (running.name, running.error) == ("keras", 0)
        (said,) = [r.getMessage() for r in caplog.records if r.name.startswith("headstart")]
        assert said.startswith(f"{name} fails at embedding, Keras runs the frozen layers: ")
        assert "\n" not in said


def test_a_gpu_that_keras_can_not_use_is_told_and_left_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(engine.Path, "glob", lambda self, pattern: iter([self / "nvidia0"]))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    engine.gpu.cache_clear()
    try:
        assert engine.choose({"engine": "onnxruntime"}, "auto", "auto") == ("onnxruntime", "float32")
    finally:
        engine.gpu.cache_clear()
    assert caplog.text.count("Keras can't use this machine's GPU") == 1


def test_onnx_runtime_serves_without_tensorflow(backbone: Path) -> None:
    code = f"""
import sys, pathlib, numpy as np, stages
from headstart.features import engine, extraction, views
running = engine.load(pathlib.Path({str(backbone)!r}), "embedding", "auto", "auto")
shape = running.run(np.zeros((2, {SIZE}, {SIZE}, 3), np.uint8)).shape
print(running.name, shape, {{"tensorflow", "keras"}} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "onnxruntime (2, 1280) set()\n"


def test_the_graph_that_is_left_is_the_networks(backbone: Path) -> None:
    graph = engine.read_graph(backbone)
    network = keras.saving.load_model(backbone / "backbone.keras", compile=False)
    assert graph == cut.graph(network)
    assert unfrozen(graph, 2) == ["top_conv", "top_bn"]


def test_a_network_that_flips_to_bgr_can_be_written_and_read(tmp_path: Path) -> None:
    """The flip is an operation and no layer; VGG and ResNet50 begin with it."""
    image = keras.Input((SIZE, SIZE, 3), name="image")
    x = keras.layers.Conv2D(4, 3, strides=4, name="conv")(build.preprocess(image, "caffe"))
    network = keras.Model(image, keras.layers.GlobalAveragePooling2D(name="embedding")(x), name="flipped")
    facts = {"name": "flipped", "input": {"kind": "picture", "size": SIZE}, "engine": "onnxruntime"}
    export.write(network, facts, tmp_path, onnx=True)
    pictures = reference.images(SIZE)
    assert [engine.load(tmp_path, "embedding", wanted, "float32").name for wanted in ("auto", "keras")] == [
        "onnxruntime",
        "keras",
    ]
    for at in separators(engine.read_graph(tmp_path))[1:]:
        found, expected = (engine.load(tmp_path, at, wanted, "float32").run(pictures) for wanted in ("auto", "keras"))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3 * np.abs(expected).max(), err_msg=at)


def test_references_notice_a_difference_anywhere() -> None:
    images = reference.images(SIZE)
    assert images.shape == (2, SIZE, SIZE, 3)
    assert images.std() > 50
    np.testing.assert_array_equal(images, reference.images(SIZE))
    assert len(set(reference.sample(np.arange(100_000)))) == reference.SAMPLED

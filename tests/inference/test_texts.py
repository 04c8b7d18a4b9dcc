"""`headstart predict` with a model of texts: one that looks for the word "good"."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from headstart.commands.predict import main

WORDS = {"[PAD]": 0, "[UNK]": 1, "bad": 2, "good": 3, "film": 4}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to run in, with the model where `predict` looks for it."""
    folder = tmp_path / "models" / "final"
    folder.mkdir(parents=True)
    nodes = [
        helper.make_node("Equal", ["tokens", "good"], ["found"]),
        helper.make_node("Cast", ["found"], ["found_float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["found_float", "axes"], ["second"], keepdims=1),
        helper.make_node("Sub", ["one", "second"], ["first"]),
        helper.make_node("Concat", ["first", "second"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "good",
        [helper.make_tensor_value_info("tokens", TensorProto.INT32, ["batch", "length"])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 2])],
        [
            numpy_helper.from_array(np.array(3, np.int32), "good"),
            numpy_helper.from_array(np.array([1]), "axes"),
            numpy_helper.from_array(np.array([1], np.float32), "one"),
        ],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(made, folder / "model.onnx")
    tokenizer = Tokenizer(models.WordLevel(WORDS, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "labels.json").write_text(json.dumps(["negative", "positive"]))
    facts = {"task": "text-classification", "augment": "none", "seed": 0, "padding": 0, "max_tokens": 20}
    (folder / "model.json").write_text(json.dumps(facts))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def predicted(*arguments: str, stdin: bytes | None = None) -> dict[str, str | None]:
    """Name -> class, or None for what could not be read."""
    done = CliRunner().invoke(main, [*arguments, "--format", "jsonl"], input=stdin)
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {row["file"]: row.get("predicted") for row in rows}


def test_lines_files_and_folders_of_texts(here: Path) -> None:
    said = predicted("-", stdin="A good film\n\na bad one — bäd\n".encode())
    assert list(said.values()) == ["positive", "negative"]
    (here / "reviews/old").mkdir(parents=True)
    (here / "reviews/one.txt").write_text("GOOD!")
    (here / "reviews/old/two.txt").write_bytes("déjà vu, bad".encode("cp1252"))
    (here / "reviews/empty.txt").write_text(" \n")
    said = predicted("reviews")
    assert said == {"reviews/one.txt": "positive", "reviews/old/two.txt": "negative", "reviews/empty.txt": None}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("films.csv", 'text,year\n"good, long",1999\n"bad, ""short""",2001\n'),
        ("films.tsv", "review\tlabel\nso good\tpositive\nso bad\tnegative\n"),
        ("only.csv", "text\ngood, and long\nbad, and short\n"),
        ("films.jsonl", '{"text": "good"}\n{"text": "bad"}\n'),
    ],
)
def test_a_tables_texts_are_found(here: Path, name: str, content: str) -> None:
    (here / name).write_text(content)
    assert list(predicted(name).values()) == ["positive", "negative"]


def test_texts_of_any_length_go_together(here: Path) -> None:
    lines = ["good", "film " * 500, "film " * 10 + "good", "bad"] * 10
    said = predicted("-", stdin="\n".join(lines).encode())
    assert list(said.values()) == ["positive", "negative", "positive", "negative"] * 10

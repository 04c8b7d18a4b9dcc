"""Vocabularies of every form as one tokenizer.json, held against the libraries that they come from."""

import json
from pathlib import Path

import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from headstart.backbones import tokenizing
from headstart.backbones.table import TABLE, Vocabulary
from headstart.stage import UserError

BARE = Vocabulary(("<pad>",))


def trained(texts: list[str], folder: Path, **how: object) -> bytes:
    """A SentencePiece model, learned from these texts."""
    (folder / "texts.txt").write_text("\n".join(texts), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "texts.txt"), model_prefix=str(folder / "spm"), pad_id=3, minloglevel=2, **how
    )
    return (folder / "spm.model").read_bytes()


@pytest.mark.parametrize(
    "how",
    [
        {"model_type": "unigram", "vocab_size": 600, "normalization_rule_name": "nmt_nfkc_cf"},  # ALBERT, DeBERTa
        {
            "model_type": "bpe", "vocab_size": 900, "byte_fallback": True, "normalization_rule_name": "identity",
            "add_dummy_prefix": False, "remove_extra_whitespaces": False,
        },  # Gemma
    ],
    ids=["unigram", "bpe"],
)  # fmt: skip
def test_sentencepieces_ids(texts: list[str], tmp_path: Path, how: dict[str, object]) -> None:
    proto = trained(texts, tmp_path, **how)
    theirs = sentencepiece.SentencePieceProcessor(model_proto=proto)
    ours = Tokenizer.from_str(tokenizing.marked(tokenizing.pieces(proto), BARE).to_str())
    for text in [*texts, "Ünknown  Δ words — “quoted” 日本", " edges ", "x"]:
        found, expected = ours.encode(text).ids, theirs.encode(text)
        if found != expected:  # "---" is as likely "--" and "-" as "-" and "--": the same pieces, in another order
            assert how["model_type"] == "unigram", text
            assert theirs.decode(found) == theirs.decode(expected), text
            assert sorted(found) == sorted(expected), text


def test_other_files_are_no_sentencepiece_model() -> None:
    with pytest.raises(UserError, match="the SentencePiece model can't be read"):
        tokenizing.pieces(b"\xff\xff\xff")


@pytest.mark.parametrize("lower_case", [True, False])
def test_words_for_networks_that_know_capitals_or_do_not(tmp_path: Path, lower_case: bool) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "Café", "cafe", "##s", "!"]
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": lower_case}))
    made = tokenizing.of_folder(tmp_path, TABLE["BertBase"].vocabulary)
    assert made.encode("Cafés!").tokens == ["[CLS]", "cafe" if lower_case else "Café", "##s", "!", "[SEP]"]
    assert made.encode("CAFÉ").tokens == ["[CLS]", "cafe" if lower_case else "[UNK]", "[SEP]"]
    assert tokenizing.padding(made, TABLE["BertBase"].vocabulary) == 0


def test_robertas_marks(tmp_path: Path) -> None:
    words = ["<s>", "<pad>", "</s>", "<unk>", "a", "b", "Ġ", "Ġb"]
    (tmp_path / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\nĠ b\n", encoding="utf-8")
    made = tokenizing.of_folder(tmp_path, TABLE["RobertaBase"].vocabulary)
    assert made.encode("a b").tokens == ["<s>", "a", "Ġb", "</s>"]
    assert made.encode("a", "b").tokens == ["<s>", "a", "</s>", "</s>", "b", "</s>"]
    assert tokenizing.padding(made, TABLE["RobertaBase"].vocabulary) == 1


def test_a_tokenizer_of_the_librarys_own_loses_its_cutting_and_padding_alone(tmp_path: Path) -> None:
    theirs = tokenizing.alphabet(TABLE["BertBase"].vocabulary)
    theirs.enable_truncation(2)
    theirs.enable_padding(length=9)
    theirs.save(str(tmp_path / "tokenizer.json"))
    made = tokenizing.of_folder(tmp_path, TABLE["BertBase"].vocabulary)
    assert made.encode("abc").tokens == ["[CLS]", "a", "b", "c", "[SEP]"]


@given(st.text())
def test_without_a_vocabulary_each_byte_is_a_token(text: str) -> None:
    made = tokenizing.alphabet(BARE)
    found = made.encode(text)
    assert len(found.ids) == len(text.encode("utf-8", "replace"))
    assert made.decode(found.ids) == text


@pytest.mark.parametrize(
    ("split", "parts"),
    [
        ("gpt-2", ["It", "'s", "Ġ2024", "Ġ", "ĠOK", "!"]),
        ("smollm", ["It", "'s", "Ġ", "2", "0", "2", "4", "Ġ", "ĠOK", "!"]),
        ("llama-bpe", ["It", "'s", "Ġ", "202", "4", "Ġ", "ĠOK", "!"]),
        ("qwen2", ["It", "'s", "Ġ", "2", "0", "2", "4", "Ġ", "ĠOK", "!"]),
    ],
)
def test_numbers_are_parted_as_each_family_does(split: str, parts: list[str]) -> None:
    steps = tokenizing.pre_tokenizers.Sequence(tokenizing.SPLITS[split])
    assert [part for part, _ in steps.pre_tokenize_str("It's 2024  OK!")] == parts


def test_a_folder_without_words_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no vocabulary; looked for tokenizer\.json, vocab\.txt"):
        tokenizing.of_folder(tmp_path, BARE)


def test_a_vocabulary_without_the_networks_marks_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("a\n[UNK]\n")
    with pytest.raises(UserError, match=r"lacks the token \[CLS\]"):
        tokenizing.of_folder(tmp_path, TABLE["BertBase"].vocabulary)
    with pytest.raises(UserError, match=r"has no token to pad with: <pad>"):
        tokenizing.padding(tokenizing.word_pieces(["[UNK]"], True), BARE)

"""Texts become token ids in buckets: cut where they are too long, padded to their bucket's length."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from headstart import facts
from headstart.data.prepared import Prepared, Texts
from headstart.features import inputs, tokens
from headstart.features.engine import Engine
from headstart.features.extraction import Extractor
from headstart.features.inputs import Cached, CachedByBucket, Tokens, caches
from headstart.features.views import half
from headstart.stage import UserError

WORDS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", *(f"w{n}" for n in range(50))]
PADDING = 0


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network's folder, as far as tokenizing needs it: whole words, a mark before and behind."""
    folder = tmp_path_factory.mktemp("backbone")
    tokenizer = Tokenizer(models.WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    facts = {"input": {"kind": "tokens", "padding": PADDING, "max_tokens": 64}}
    (folder / "backbone.json").write_text(json.dumps(facts))
    return folder


def packed(*rows: tuple[str, ...]) -> Texts:
    content = "".join(part for row in rows for part in row).encode()
    ends = np.cumsum([len(part.encode()) for row in rows for part in row]).reshape(len(rows), -1)
    return Texts(np.frombuffer(content, np.uint8), ends)


def sentence(words: int) -> str:
    return " ".join(f"w{n % 50}" for n in range(words))


def source(backbone: Path, *lengths: int, max_tokens: int = 48) -> Tokens:
    texts = packed(*((sentence(n),) for n in lengths))
    return Tokens(texts, pd.DataFrame(index=range(len(lengths))), tokens.of_backbone(backbone, max_tokens))


def test_a_batch_is_padded_to_its_bucket_and_too_long_texts_are_cut(backbone: Path) -> None:
    made = source(backbone, 3, 20, 14, 46, 47, 300)
    assert made.buckets.tolist() == [16, 24, 16, 48, 48, 48]
    assert made.lengths.tolist() == [5, 22, 16, 48, 48, 48]
    assert made.cut.tolist() == [False] * 4 + [True] * 2
    batch = made(np.array([0, 2]), np.array([0, 0]))
    assert batch.dtype == np.int32
    assert batch.tolist() == [[1, 4, 5, 6, 2, *[PADDING] * 11], [1, *range(4, 18), 2]]
    long = made(np.array([5]), np.array([0]))[0].tolist()
    assert long == [1, *range(4, 50), 2], "the marks stay"
    assert made.counts() == {"texts": 6, "cut": 2, "tokens": 187}


def test_the_network_may_take_fewer_tokens_than_asked_for(backbone: Path) -> None:
    assert tokens.of_backbone(backbone, 1000).max_tokens == 64
    assert tokens.of_backbone(backbone, 10).max_tokens == 10


def test_pairs_are_one_input(backbone: Path) -> None:
    made = Tokens(packed(("w0 w1", "w2")), pd.DataFrame(index=[0]), tokens.of_backbone(backbone, 48))
    assert made(np.array([0]), np.array([0]))[0, :7].tolist() == [1, 4, 5, 2, 6, 2, PADDING]


def test_texts_of_the_same_tokens_are_the_same_to_the_network(backbone: Path) -> None:
    texts = packed(("w0  w1",), ("w0 w1",), ("w1 w0",), (sentence(46),), (sentence(60),))
    made = Tokens(texts, pd.DataFrame(index=range(5)), tokens.of_backbone(backbone, 48))
    assert made.hashes[0] == made.hashes[1] != made.hashes[2]
    assert made.hashes[3] == made.hashes[4], "cut off, they do not differ"
    assert made.hashes[3] != source(backbone, 46, max_tokens=32).hashes[0], "what is left depends on max_tokens"


@given(st.lists(st.integers(1, 4096), min_size=1, max_size=20), st.integers(8, 4096))
def test_a_bucket_holds_its_texts_and_is_no_longer_than_allowed(lengths: list[int], most: int) -> None:
    given = np.minimum(lengths, most)
    found = tokens.buckets(given, most)
    assert (found >= given).all()
    assert (found <= most).all()
    assert (found < np.maximum(2 * given, 17)).all()


def test_what_lies_beside_a_trained_model_makes_the_same_tokens(backbone: Path, tmp_path: Path) -> None:
    vocabulary = tokens.of_backbone(backbone, 20)
    assert tokens.of_model(tmp_path) is None, "a model of pictures has none"
    (tmp_path / "inputs.json").write_text("{}")
    known = tokens.save(vocabulary, tmp_path)
    facts.write(tmp_path, task="text-classification", augment="none", seed=0, prepared=tmp_path, **known)
    again = tokens.of_model(tmp_path)
    assert again is not None
    assert (again.padding, again.max_tokens) == (PADDING, 20)
    texts = [(sentence(n),) for n in (1, 30)]
    np.testing.assert_array_equal(tokens.tokenize(again, texts, 20), tokens.tokenize(vocabulary, texts, 20))


def test_the_example_of_a_model_is_the_first_training_text(backbone: Path) -> None:
    examples = pd.DataFrame({"split": ["test", "train", "train"], "hash": ""})
    prepared = Prepared(examples, packed(("w1",), ("w2",), ("w3",)), ["a", "b"])
    found = inputs.example(prepared, tokens.of_backbone(backbone, 48))
    assert found[0, :4].tolist() == [1, 6, 2, PADDING]


def states(batch: np.ndarray) -> np.ndarray:
    """Stands for frozen layers: [b, tokens] -> [b, tokens, 2], a hidden state and the mask."""
    return np.stack([batch * 0.5, batch != PADDING], axis=-1).astype(np.float32)


LENGTHS = (3, 40, 14, 3, 20, 5, 200, 18)


def test_activations_go_to_a_file_for_each_bucket_and_come_back_by_row(backbone: Path, tmp_path: Path) -> None:
    made = source(backbone, *LENGTHS)
    engine = Engine("test", "float32", 0.0, {"network": "test"}, states)
    extract = Extractor(engine, augment="none", seed=0, dtype="float16", within=tmp_path / "store")
    said = extract.activate(made, tmp_path / "train.npy", 1)
    assert "train-16: 4 x 1 x 16 x 2" in said
    assert "train-16: 4 x 1 x 16 x 2, 3 of 4 views computed" in said, "two texts are the same"
    files = caches(tmp_path / "train.npy", made.buckets)
    assert sorted(path.name for path in tmp_path.glob("*.npy")) == ["train-16.npy", "train-24.npy", "train-48.npy"]
    kept = CachedByBucket({b: Cached(np.load(path, mmap_mode="r")) for b, path in files.items()}, made.buckets)
    kept.warm()
    for _, rows in inputs.members(made.buckets):
        numbers = np.zeros(len(rows), int)
        expected = half(states(made(rows, numbers))).astype(np.float32)
        np.testing.assert_array_equal(kept(rows, numbers), expected)
        again = inputs.ThroughFrozen(made, states)(rows[::-1], numbers)
        np.testing.assert_array_equal(kept(rows[::-1], numbers), again)


def test_embeddings_of_all_buckets_are_one_array_in_the_order_of_the_texts(backbone: Path, tmp_path: Path) -> None:
    made = source(backbone, *LENGTHS)
    engine = Engine("test", "float32", 0.0, {"network": "test"}, lambda batch: states(batch).sum(axis=1))
    extract = Extractor(engine, augment="none", seed=0, dtype="float32", within=tmp_path / "store")
    extract.embed(made, tmp_path / "train.npy", 1)
    stored = np.load(tmp_path / "train.npy")
    assert stored.shape == (8, 1, 2)
    assert stored[:, 0, 1].tolist() == made.lengths.tolist()
    assert "0 of 8 views computed" in extract.embed(made, tmp_path / "again.npy", 1)


def test_texts_are_no_pictures() -> None:
    with pytest.raises(UserError, match="data/prepared holds texts"):
        _ = Prepared(pd.DataFrame(), packed(("a",)), []).images


def test_words_are_told_from_marks_and_from_one_text_of_a_pair_to_the_other(backbone: Path) -> None:
    found = tokens.pieces(tokens.of_backbone(backbone, 48), ("w0 w1", "w2"))
    assert found.ids.tolist() == [1, 4, 5, 2, 6, 2]
    assert found.words == [None, 0, 1, None, 2, None]
    assert found.shown == ["w0", "w1", "w2"]

"""A text network's vocabulary as a `tokenizer.json` of the Rust library `tokenizers`, whatever form it comes in.

What is written turns a text, or two, into the ids that the network takes, with its marks at their places, and neither
cuts nor pads. Needs no Keras.
"""

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from headstart.backbones.table import Marks
from headstart.stage import UserError

# Where a vocabulary lies in a folder: in Hugging Face's layout, in that of keras-hub.
WORDS = ("vocab.txt", "assets/tokenizer/vocabulary.txt")
PAIRS = (("vocab.json", "merges.txt"), ("assets/tokenizer/vocabulary.json", "assets/tokenizer/merges.txt"))
PIECES = ("spiece.model", "spm.model", "tokenizer.model", "assets/tokenizer/vocabulary.spm")


def of_folder(folder: Path, marks: Marks) -> Tokenizer:
    """The tokenizer of a network's folder, by its own tokenizer.json if it has one in this library's format.

    Raises:
        UserError: it holds no vocabulary of a known form, or one without the marks.
    """
    own = folder / "tokenizer.json"
    if own.is_file() and "model" in json.loads(own.read_text(encoding="utf-8")):
        tokenizer = Tokenizer.from_file(str(own))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer if tokenizer.post_processor and _marks(tokenizer) else marked(tokenizer, marks)
    for name in WORDS:
        if (folder / name).is_file():
            words = (folder / name).read_text(encoding="utf-8").splitlines()
            return marked(wordpiece(words, _lower_case(folder)), marks)
    raise UserError(
        f"features.weights: {folder} holds no vocabulary; looked for tokenizer.json, {', '.join(WORDS)}, "
        f"{', '.join(' with '.join(pair) for pair in PAIRS)}, {', '.join(PIECES)}"
    )


def _marks(tokenizer: Tokenizer) -> bool:
    return tokenizer.num_special_tokens_to_add(False) > 0


def _lower_case(folder: Path) -> bool:
    """Whether the network knows lower-case letters alone, by its configuration."""
    for name in ("tokenizer_config.json", "tokenizer.json"):
        if (folder / name).is_file():
            config: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
            config = config.get("config", config)
            for key in ("do_lower_case", "lowercase"):
                if key in config:
                    return bool(config[key])
    return True


def wordpiece(words: list[str], lower_case: bool) -> Tokenizer:
    """BERT's way: words and punctuation, the former in pieces of which all but the first begin with ##.

    Accents go if, and only if, capitals do.
    """
    ids = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lower_case)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def alphabet(marks: Marks) -> Tokenizer:
    """A tokenizer without a vocabulary, for networks without pretrained weights: each byte is a token."""
    names = dict.fromkeys((*marks.padding[:1], *(mark for mark in (marks.first, marks.last) if mark)))
    tokens = [*names, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate(tokens)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return marked(tokenizer, marks)


def marked(tokenizer: Tokenizer, marks: Marks) -> Tokenizer:
    """The tokenizer, its marks made special and put where they belong.

    Raises:
        UserError: its vocabulary lacks one.
    """
    there = [mark for mark in (marks.first, marks.last) if mark]
    missing = [mark for mark in there if tokenizer.token_to_id(mark) is None]
    if missing:
        raise UserError(f"features.weights: the vocabulary lacks the token {missing[0]}, which this backbone needs")
    tokenizer.add_special_tokens([*there, *(mark for mark in marks.padding if tokenizer.token_to_id(mark) is not None)])
    if there:
        first = [f"{marks.first}:0"] if marks.first else []
        last = [f"{marks.last}:0"] if marks.last else []
        behind = [f"{marks.last}:1"] if marks.last else []
        tokenizer.post_processor = processors.TemplateProcessing(
            single=[*first, "$A:0", *last],
            pair=[*first, "$A:0", *last, *(behind if marks.twice else []), "$B:1", *behind],
            special_tokens=[(mark, tokenizer.token_to_id(mark)) for mark in there],
        )
    return tokenizer


def padding(tokenizer: Tokenizer, marks: Marks) -> int:
    """Id of the token that fills a batch.

    Raises:
        UserError: the vocabulary has none of those that may.
    """
    for mark in marks.padding:
        if (number := tokenizer.token_to_id(mark)) is not None:
            return int(number)
    raise UserError(f"features.weights: the vocabulary has no token to pad with: {', '.join(marks.padding)}")

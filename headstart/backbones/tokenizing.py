"""A text network's vocabulary as a `tokenizer.json` of the Rust library `tokenizers`, whatever form it comes in.

What is written turns a text, or two, into the ids that the network takes, with its marks at their places, and neither
cuts nor pads. Needs no Keras.
"""

import json
from pathlib import Path
from typing import Any

from sentencepiece import sentencepiece_model_pb2
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from headstart.backbones.table import Split, Vocabulary
from headstart.stage import UserError

# Where a vocabulary lies in a folder: in Hugging Face's layout, in that of keras-hub.
WORDS = ("vocab.txt", "assets/tokenizer/vocabulary.txt")
PAIRS = (("vocab.json", "merges.txt"), ("assets/tokenizer/vocabulary.json", "assets/tokenizer/merges.txt"))
PIECES = ("spiece.model", "spm.model", "tokenizer.model", "assets/tokenizer/vocabulary.spm")
CONFIGURATIONS = ("tokenizer_config.json", "tokenizer.json")
FILES = (*WORDS, *(name for pair in PAIRS for name in pair), *PIECES, *CONFIGURATIONS)

# The parts between which no bytes are merged: as the authors of Llama 3 and of Qwen 2 publish them with their
# vocabularies; GPT-2's is the library's own, and SmolLM's parts digits first.
_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPLITS: dict[Split, list[pre_tokenizers.PreTokenizer]] = {
    "gpt-2": [pre_tokenizers.ByteLevel(add_prefix_space=False)],
    "smollm": [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)],
    "llama-bpe": [
        pre_tokenizers.Split(Regex(_LLAMA3), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ],
    "qwen2": [
        pre_tokenizers.Split(Regex(_LLAMA3.replace("{1,3}", "")), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ],
}
# sentencepiece_model.proto: TrainerSpec.ModelType; SentencePiece.Type of words that match no text, and of its owner's.
_UNIGRAM, _BPE = 1, 2
_UNKNOWN, _CONTROL, _USER_DEFINED = 2, 3, 4


def of_folder(folder: Path, vocabulary: Vocabulary) -> Tokenizer:
    """The tokenizer of a network's folder, by its own tokenizer.json if it has one in this library's format.

    Raises:
        UserError: it holds no vocabulary of a known form, or one without the tokens that the network needs.
    """
    own = folder / "tokenizer.json"
    if own.is_file() and "model" in json.loads(own.read_text(encoding="utf-8")):
        made = Tokenizer.from_file(str(own))
        made.no_truncation()
        made.no_padding()
        return made if made.num_special_tokens_to_add(False) else marked(made, vocabulary)
    for name in WORDS:
        if (folder / name).is_file():
            words = (folder / name).read_text(encoding="utf-8").splitlines()
            return marked(word_pieces(words, _lower_case(folder)), vocabulary)
    for name, merges in PAIRS:
        if (folder / name).is_file() and (folder / merges).is_file():
            ids: dict[str, int] = json.loads((folder / name).read_text(encoding="utf-8"))
            lines = (folder / merges).read_text(encoding="utf-8").split("\n")
            pairs = [line.split(" ") for line in lines if line and not line.startswith("#version")]
            made = byte_pairs(ids, [(left, right) for left, right in pairs], vocabulary.split)
            return marked(made, vocabulary)
    for name in PIECES:
        if (folder / name).is_file():
            return marked(pieces((folder / name).read_bytes()), vocabulary)
    raise UserError(
        f"features.weights: {folder} holds no vocabulary; looked for tokenizer.json, {', '.join(WORDS)}, "
        f"{', '.join(' with '.join(pair) for pair in PAIRS)}, {', '.join(PIECES)}"
    )


def _lower_case(folder: Path) -> bool:
    """Whether the network knows lower-case letters alone, by its configuration."""
    for name in CONFIGURATIONS:
        if (folder / name).is_file():
            config: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
            config = config.get("config", config)
            for key in ("do_lower_case", "lowercase"):
                if key in config:
                    return bool(config[key])
    return True


def word_pieces(words: list[str], lower_case: bool) -> Tokenizer:
    """BERT's way: words and punctuation, the former in pieces of which all but the first begin with ##.

    Accents go if, and only if, capitals do.

    Args:
        words: by id.
        lower_case: whether capitals become small letters.
    """
    ids = {word: number for number, word in enumerate(words)}
    unknown = "[UNK]"
    made = Tokenizer(models.WordPiece(ids, unk_token=unknown, max_input_chars_per_word=100))
    made.normalizer = normalizers.BertNormalizer(lowercase=lower_case)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    return made


def byte_pairs(words: list[str] | dict[str, int], merges: list[tuple[str, str]], split: Split) -> Tokenizer:
    """GPT-2's way: a text's bytes, merged pair by pair.

    Args:
        words: by id, or their ids.
        merges: pairs of words that become one, the most frequent first.
        split: how a text is parted before.
    """
    ids = words if isinstance(words, dict) else {word: number for number, word in enumerate(words)}
    # Llama 3 takes a part that is a word as it is, though no merges may lead to it.
    made = Tokenizer(models.BPE(ids, merges, ignore_merges=split == "llama-bpe"))
    made.pre_tokenizer = pre_tokenizers.Sequence(SPLITS[split])
    made.decoder = decoders.ByteLevel()
    return made


def pieces(proto: bytes) -> Tokenizer:
    """SentencePiece's two ways, by the content of its model file: the likeliest pieces, or pairs merged.

    Raises:
        UserError: the file is damaged, or of a third way.
    """
    model = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]  # made when it is imported
    try:
        model.ParseFromString(proto)
    except Exception as error:  # protobuf's DecodeError derives from nothing narrower
        raise UserError(f"features.weights: the SentencePiece model can't be read: {error}") from None
    how, kind = model.normalizer_spec, model.trainer_spec.model_type
    if kind not in (_UNIGRAM, _BPE):
        raise UserError(f"features.weights: the SentencePiece model is of type {kind}; read are unigram and BPE")
    words = [(piece.piece, piece.score) for piece in model.pieces]
    unknown = next(number for number, piece in enumerate(model.pieces) if piece.type == _UNKNOWN)
    if kind == _UNIGRAM:
        made = Tokenizer(models.Unigram(words, unknown, byte_fallback=model.trainer_spec.byte_fallback))
    else:
        ids = {word: number for number, (word, _) in enumerate(words)}
        made = Tokenizer(
            models.BPE(
                ids, _merges(words), unk_token=words[unknown][0], fuse_unk=True,
                byte_fallback=model.trainer_spec.byte_fallback,
            )
        )  # fmt: skip
    steps: list[normalizers.Normalizer] = []
    if how.precompiled_charsmap:
        steps.append(normalizers.Precompiled(how.precompiled_charsmap))
    if how.remove_extra_whitespaces:
        steps += [normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
    made.normalizer = normalizers.Sequence(steps)
    # Unigram looks for the best parting of each word by itself; pairs are merged across a whole text.
    prefix = "always" if how.add_dummy_prefix else "never"
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=prefix, split=kind == _UNIGRAM)
    made.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme=prefix)])
    by_type = {
        kind: [piece.piece for piece in model.pieces if piece.type == kind] for kind in (_CONTROL, _USER_DEFINED)
    }
    made.add_special_tokens(by_type[_CONTROL])
    made.add_tokens(by_type[_USER_DEFINED])
    return made


def _merges(words: list[tuple[str, float]]) -> list[tuple[str, str]]:
    """The merges that SentencePiece's BPE does without stating them: any two words that make one, by its score."""
    ids = {word: number for number, (word, _) in enumerate(words)}
    found = []
    for word, score in words:
        halves = ((word[:i], word[i:]) for i in range(1, len(word)))
        found += [
            (-score, ids[left], ids[right], left, right) for left, right in halves if left in ids and right in ids
        ]
    return [(left, right) for *_, left, right in sorted(found)]


def alphabet(vocabulary: Vocabulary) -> Tokenizer:
    """A tokenizer without words, for networks without pretrained weights: each byte is a token."""
    names = [*vocabulary.padding[:1], *(mark for mark in (vocabulary.first, vocabulary.last) if mark)]
    words = [*dict.fromkeys(names), *sorted(pre_tokenizers.ByteLevel.alphabet())]
    return marked(byte_pairs(words, [], "gpt-2"), vocabulary)


def marked(made: Tokenizer, vocabulary: Vocabulary) -> Tokenizer:
    """The tokenizer, its marks put where they belong.

    Raises:
        UserError: its vocabulary lacks one.
    """
    marks = [mark for mark in (vocabulary.first, vocabulary.last) if mark]
    if missing := [mark for mark in marks if made.token_to_id(mark) is None]:
        raise UserError(f"features.weights: the vocabulary lacks the token {missing[0]}, which this backbone needs")
    made.add_special_tokens([mark for mark in (*marks, *vocabulary.padding) if made.token_to_id(mark) is not None])
    if marks:
        first = [f"{vocabulary.first}:0"] if vocabulary.first else []
        last = [f"{vocabulary.last}:0"] if vocabulary.last else []
        end = [f"{vocabulary.last}:1"] if vocabulary.last else []
        made.post_processor = processors.TemplateProcessing(
            single=[*first, "$A:0", *last],
            pair=[*first, "$A:0", *last, *(end if vocabulary.twice else []), "$B:1", *end],
            special_tokens=[(mark, made.token_to_id(mark)) for mark in marks],
        )
    return made


def padding(made: Tokenizer, vocabulary: Vocabulary) -> int:
    """Id of the token that fills a batch.

    Raises:
        UserError: the vocabulary has none of those that may.
    """
    for mark in vocabulary.padding:
        if (number := made.token_to_id(mark)) is not None:
            return int(number)
    raise UserError(f"features.weights: the vocabulary has no token to pad with: {', '.join(vocabulary.padding)}")

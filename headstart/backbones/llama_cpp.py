"""Reading a decoder of the Llama kind, with its words, out of a GGUF file of llama.cpp, whatever it was rounded to.

Knows keras-hub's names for such a network's weights; needs no Keras.
"""

from pathlib import Path
from typing import Any, NamedTuple

import gguf
import numpy as np
from tokenizers import Tokenizer

from headstart.backbones import tokenizing
from headstart.backbones.table import Vocabulary
from headstart.stage import UserError

# gguf.TokenType: those that stand for no text (<|im_start|>), and words that an owner added.
_CONTROL, _USER_DEFINED = 3, 4


class Decoder(NamedTuple):
    """What a file holds.

    options: of keras-hub's LlamaBackbone.
    variables: path of each of its weights -> float32 values.
    tokenizer: its words.
    """

    options: dict[str, Any]
    variables: dict[str, np.ndarray]
    tokenizer: Tokenizer


def read(path: Path, vocabulary: Vocabulary) -> Decoder:
    """Read such a file.

    Args:
        path: of the file.
        vocabulary: which of its words are marks.

    Raises:
        UserError: not a GGUF file, not of the Llama kind, incomplete, or with words of an unknown kind.
    """
    try:
        reader = gguf.GGUFReader(path)
    except (ValueError, OSError, IndexError, KeyError) as error:
        raise UserError(f"features.weights: {path.name} can't be read as GGUF: {error}") from None
    if (kind := _field(reader, path, "general.architecture")) != "llama":
        raise UserError(f"features.weights: {path.name} holds a network of the kind {kind}; llama is what is read")
    tokenizer = _tokenizer(reader, path, vocabulary)
    options = {
        "vocabulary_size": tokenizer.get_vocab_size(),
        "num_layers": _field(reader, path, "llama.block_count"),
        "num_query_heads": _field(reader, path, "llama.attention.head_count"),
        "num_key_value_heads": _field(reader, path, "llama.attention.head_count_kv"),
        "hidden_dim": _field(reader, path, "llama.embedding_length"),
        "intermediate_dim": _field(reader, path, "llama.feed_forward_length"),
        "rope_max_wavelength": _field(reader, path, "llama.rope.freq_base"),
        "layer_norm_epsilon": _field(reader, path, "llama.attention.layer_norm_rms_epsilon"),
        "tie_word_embeddings": True,  # the way from hidden states back to tokens is not ours
    }
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    if "rope_freqs.weight" in tensors:
        raise UserError(
            f"features.weights: {path.name} stretches its positions (Llama 3.1 and later), which is not read"
        )

    def of(name: str) -> np.ndarray:
        if name not in tensors:
            raise UserError(f"features.weights: {path.name} lacks the tensor {name}")
        # gguf gives what was a matrix in PyTorch as [out, in].
        return gguf.dequantize(tensors[name].data, tensors[name].tensor_type).astype(np.float32)

    width, heads, pairs = (options[name] for name in ("hidden_dim", "num_query_heads", "num_key_value_heads"))
    variables = {
        "token_embedding/embeddings": of("token_embd.weight"),
        "sequence_output_layernorm/scale": of("output_norm.weight"),
    }
    for number in range(options["num_layers"]):
        ours, theirs = f"transformer_layer_{number}", f"blk.{number}"
        attention = f"{ours}/self_attention"
        variables |= {
            f"{ours}/self_attention_layernorm/scale": of(f"{theirs}.attn_norm.weight"),
            f"{ours}/feedforward_layernorm/scale": of(f"{theirs}.ffn_norm.weight"),
            f"{attention}/query/kernel": _heads(_rotated(of(f"{theirs}.attn_q.weight"), heads), heads),
            f"{attention}/key/kernel": _heads(_rotated(of(f"{theirs}.attn_k.weight"), pairs), pairs),
            f"{attention}/value/kernel": _heads(of(f"{theirs}.attn_v.weight"), pairs),
            f"{attention}/attention_output/kernel": of(f"{theirs}.attn_output.weight").T.reshape(heads, -1, width),
            f"{ours}/feedforward_gate_dense/kernel": of(f"{theirs}.ffn_gate.weight").T,
            f"{ours}/feedforward_intermediate_dense/kernel": of(f"{theirs}.ffn_up.weight").T,
            f"{ours}/feedforward_output_dense/kernel": of(f"{theirs}.ffn_down.weight").T,
        }
    return Decoder(options, variables, tokenizer)


def _rotated(weight: np.ndarray, heads: int) -> np.ndarray:
    """A head's rows in the order for rotating its two halves against each other, as keras-hub does.

    llama.cpp rotates neighbours; this undoes `permute` of its convert_hf_to_gguf.py.
    """
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def _heads(weight: np.ndarray, heads: int) -> np.ndarray:
    """[heads * size, in] -> [in, heads, size]."""
    return weight.T.reshape(weight.shape[1], heads, -1)


def _tokenizer(reader: gguf.GGUFReader, path: Path, vocabulary: Vocabulary) -> Tokenizer:
    kind, split = (_field(reader, path, f"tokenizer.ggml.{name}") for name in ("model", "pre"))
    if kind != "gpt2" or split not in tokenizing.SPLITS:
        raise UserError(
            f"features.weights: the words in {path.name} are of the kind {kind}, {split}; "
            f"read are gpt2 with {', '.join(tokenizing.SPLITS)}"
        )
    tokens: list[str] = _field(reader, path, "tokenizer.ggml.tokens")
    merges = [merge.split(" ") for merge in _field(reader, path, "tokenizer.ggml.merges")]
    made = tokenizing.byte_pairs(tokens, [(left, right) for left, right in merges], split)
    types = _field(reader, path, "tokenizer.ggml.token_type")
    made.add_special_tokens([token for token, kind in zip(tokens, types, strict=True) if kind == _CONTROL])
    made.add_tokens([token for token, kind in zip(tokens, types, strict=True) if kind == _USER_DEFINED])
    return tokenizing.marked(made, vocabulary)


def _field(reader: gguf.GGUFReader, path: Path, name: str) -> Any:
    field = reader.get_field(name)
    if field is None:
        raise UserError(f"features.weights: {path.name} does not say its {name}")
    return field.contents()

"""A tiny GPT-2 of random weights in Hugging Face's layout; GPT-2's own weights are out of reach here."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

WIDTH, HEADS, LAYERS, POSITIONS, WORDS = 16, 4, 3, 64, 400


def weights() -> dict[str, np.ndarray]:
    """Random weights, large enough for every one to matter, under the names of Hugging Face's GPT-2."""
    rng = np.random.default_rng(0)

    def some(*shape: int, around: float = 0.0) -> np.ndarray:
        return rng.normal(around, 0.3, shape).astype(np.float32)

    made = {"wte.weight": some(WORDS, WIDTH), "wpe.weight": some(POSITIONS, WIDTH)}
    for i in range(LAYERS):
        for norm in ("ln_1", "ln_2"):
            made |= {f"h.{i}.{norm}.weight": some(WIDTH, around=1.0), f"h.{i}.{norm}.bias": some(WIDTH)}
        for dense, inner, outer in [
            ("attn.c_attn", WIDTH, 3 * WIDTH),
            ("attn.c_proj", WIDTH, WIDTH),
            ("mlp.c_fc", WIDTH, 4 * WIDTH),
            ("mlp.c_proj", 4 * WIDTH, WIDTH),
        ]:
            made |= {f"h.{i}.{dense}.weight": some(inner, outer), f"h.{i}.{dense}.bias": some(outer)}
    return made | {"ln_f.weight": some(WIDTH, around=1.0), "ln_f.bias": some(WIDTH)}


def write(folder: Path, texts: list[str]) -> None:
    """Write the folder, with words learned from texts."""
    learned = Tokenizer(models.BPE())
    learned.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=WORDS, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
    )
    learned.train_from_iterator(texts, trainer)
    assert learned.get_vocab_size() == WORDS
    learned.model.save(str(folder))  # vocab.json and merges.txt
    config = {
        "model_type": "gpt2",
        "vocab_size": WORDS,
        "n_layer": LAYERS,
        "n_head": HEADS,
        "n_embd": WIDTH,
        "n_positions": POSITIONS,
        "resid_pdrop": 0.1,
    }
    (folder / "config.json").write_text(json.dumps(config))
    save_file(weights(), folder / "model.safetensors", metadata={"format": "pt"})

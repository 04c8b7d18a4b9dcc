"""Text networks of every kind in the table: what keras-hub computes, in one flat graph that can be parted."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart import device
from headstart.backbones import cut, text
from headstart.backbones.graph import cut as cut_at
from headstart.backbones.graph import separators, unfrozen
from headstart.backbones.saving import load_model, save_model
from headstart.backbones.table import TABLE, Backbone, Pooling

TEXTS = {name: entry for name, entry in TABLE.items() if entry.kind == "text"}
PADDING, SEPARATOR = 3, 5
IDS = text.Ids(PADDING, SEPARATOR)
WORDS, LAYERS = 50, 3
# What the options of an entry become, so that a network of its kind takes no memory.
SMALL = {
    "vocabulary_size": WORDS,
    "vocab_size": WORDS,
    "num_layers": LAYERS,
    "num_heads": 2,
    "num_attention_heads": 2,
    "num_query_heads": 2,
    "num_key_value_heads": 1,
    "hidden_dim": 8,
    "intermediate_dim": 16,
    "embedding_dim": 4,
    "head_dim": 4,
    "max_sequence_length": 32,
    "max_position_embeddings": 32,
    "sliding_window_size": 8,
    "rope_layer_enabled_list": [True, False, True],
    "layer_types": ["full_attention"] * LAYERS,
}
# The first entry of each kind, and those whose options make another network of it.
KINDS = [*{entry.builder: name for name, entry in reversed(TEXTS.items())}.values(), "Gemma2_2B"]
# Beyond a tenth of a second each: outlines of a hundred operations and more.
GIANTS = [name for name, entry in TEXTS.items() if dict(entry.options)["num_layers"] > 12]


def small(entry: Backbone) -> keras.Model:
    """A network of the entry's kind, with random weights that leave none without effect."""
    options = {key: SMALL.get(key, value) if value is not None else None for key, value in entry.options}
    keras.utils.set_random_seed(0)
    bare = text.bare(entry._replace(options=tuple(options.items())))
    rng = np.random.default_rng(0)
    bare.set_weights([weight + rng.normal(0, 0.2, weight.shape) for weight in bare.get_weights()])
    return bare


@pytest.fixture(scope="module", params=KINDS)
def network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[keras.Model, Any]:
    """A small network of each kind after save and load, and the library's."""
    entry = TEXTS[request.param]
    bare = small(entry)
    made = text.embedding_network(bare, IDS, entry.pooling, request.param)
    file: Path = tmp_path_factory.mktemp(request.param) / "backbone.keras"
    save_model(made, file)
    graph, made = cut.graph(made), load_model(file)
    assert cut.graph(made) == graph
    return made, bare


def ids(*lengths: int) -> np.ndarray:
    """Texts of seeded ids, with a separator at their end, padded to the longest."""
    rng = np.random.default_rng(lengths)
    rows = np.full((len(lengths), max(lengths)), PADDING, np.int32)
    for row, length in zip(rows, lengths, strict=True):
        row[: length - 1] = rng.integers(6, WORDS, length - 1)
        row[length - 1] = SEPARATOR
    return rows


def hidden(bare: Any, tokens: np.ndarray, segments: np.ndarray | None = None) -> np.ndarray:
    """What the library computes, [b, tokens, d]."""
    given = {"token_ids": tokens, "padding_mask": (tokens != PADDING).astype(np.int32)}
    if "segment_ids" in bare.input:
        given["segment_ids"] = np.zeros_like(tokens) if segments is None else segments
    output = bare(given)
    return np.asarray(output["sequence_output"] if isinstance(output, dict) else output)


def pooled(states: np.ndarray, tokens: np.ndarray, pooling: Pooling) -> np.ndarray:
    lengths = (tokens != PADDING).sum(1)
    how = {"mean": lambda x, n: x[:n].mean(0), "cls": lambda x, n: x[0], "last": lambda x, n: x[n - 1]}[pooling]
    return np.stack([how(row, length) for row, length in zip(states, lengths, strict=True)])


def test_it_computes_what_its_library_does(network: tuple[keras.Model, Any]) -> None:
    ours, bare = network
    tokens = ids(9, 4, 1)
    expected = pooled(hidden(bare, tokens), tokens, TEXTS[ours.name].pooling)
    assert np.abs(expected[0] - expected[1]).max() > 1e-2  # the text reaches the embedding
    found = np.asarray(ours(tokens))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


def test_padding_does_not_change_an_embedding(network: tuple[keras.Model, Any]) -> None:
    ours, _ = network

    @settings(max_examples=10, deadline=None)
    @given(st.lists(st.integers(2, 12), min_size=1, max_size=4), st.integers(0, 5))  # of 1 alone Keras warns
    def unchanged(lengths: list[int], more: int) -> None:
        tokens = ids(*lengths)
        padded = np.pad(tokens, ((0, 0), (0, more)), constant_values=PADDING)
        alone = np.concatenate(
            [np.asarray(ours(row[None, :length])) for row, length in zip(tokens, lengths, strict=True)]
        )
        np.testing.assert_allclose(np.asarray(ours(padded)), alone, rtol=0, atol=1e-4)

    unchanged()


def test_in_two_parts_it_computes_the_same(network: tuple[keras.Model, Any]) -> None:
    ours, _ = network
    graph = cut.graph(ours)
    tokens = ids(9, 4, 1)
    whole = np.asarray(ours(tokens))
    assert len([name for name in separators(graph) if name.startswith("state_")]) >= LAYERS
    for at in separators(graph)[:-1]:
        middle = np.asarray(cut.lower(ours, at)(tokens))
        if at.startswith("state_"):
            np.testing.assert_array_equal(middle[..., -1], tokens != PADDING)
            middle = middle.astype(np.float16)
        tolerance = 1e-1 if middle.dtype == np.float16 else 1e-5
        np.testing.assert_allclose(np.asarray(cut.tail(ours, at)(middle)), whole, rtol=0, atol=tolerance, err_msg=at)


def test_just_the_layers_asked_for_can_be_trained(network: tuple[keras.Model, Any]) -> None:
    ours, _ = network
    graph = cut.graph(ours)
    for number in range(len(graph.weighted) + 1):
        cut.unfreeze(ours, unfrozen(graph, number))
        asked = graph.weighted[len(graph.weighted) - number :]
        weights = [weight for name in asked for weight in ours.get_layer(name).weights]
        # SmolLM3 keeps the frequencies of its rotation, which no training changes, among its weights.
        expected = {weight.path for weight in weights if weight.name != "inv_freq"}
        assert {weight.path for weight in ours.trainable_weights} == expected
    cut.unfreeze(ours, [])


def test_the_top_block_alone_is_cut_below_it(network: tuple[keras.Model, Any]) -> None:
    ours, _ = network
    graph = cut.graph(ours)
    blocks = [name for name in graph.weighted if name.endswith(tuple("0123456789"))]
    if len(blocks) == 1:  # ALBERT's one block is all of them: below it are just the embeddings
        assert cut_at(graph, blocks[0]) == "state_0"
    else:
        assert len(blocks) == LAYERS
        assert [cut_at(graph, name) for name in blocks] == [f"state_{number}" for number in range(LAYERS)]


def test_it_computes_in_bfloat16_all_through(network: tuple[keras.Model, Any]) -> None:
    ours, _ = network
    tokens = ids(9, 4, 1)
    exact = np.asarray(ours(tokens))
    device.compute_in(ours, "bfloat16")
    try:
        rough = np.asarray(ours(tokens))
        parts = [part for layer in ours.layers for part in layer._flatten_layers() if part.weights]
        assert {part.compute_dtype for part in parts} == {"bfloat16"}
    finally:
        device.compute_in(ours, "float32")
    assert rough.dtype == np.float32
    assert 0 < np.abs(rough - exact).max() < 0.2 * np.abs(exact).max()
    np.testing.assert_array_equal(np.asarray(ours(tokens)), exact)


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_pooling_is_a_choice(pooling: Pooling) -> None:
    bare = small(TEXTS["BertTiny"])
    tokens = ids(9, 4)
    found = text.embedding_network(bare, IDS, pooling, "net")(tokens)
    np.testing.assert_allclose(found, pooled(hidden(bare, tokens), tokens, pooling), rtol=0, atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_a_text_without_a_token_has_a_finite_embedding(pooling: Pooling) -> None:
    found = text.embedding_network(small(TEXTS["GPT2"]), IDS, pooling, "net")(np.full((1, 4), PADDING, np.int32))
    assert np.isfinite(found).all()
    if pooling != "cls":
        assert not np.asarray(found).any()


def test_the_second_of_two_texts_is_another_segment() -> None:
    bare = small(TEXTS["BertTiny"])
    tokens = np.int32([[9, 8, 7, SEPARATOR, 9, 8, SEPARATOR, PADDING]])
    segments = np.int32([[0, 0, 0, 0, 1, 1, 1, 0]])
    found = text.embedding_network(bare, IDS, "mean", "net")(tokens)
    expected = pooled(hidden(bare, tokens, segments), tokens, "mean")
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert np.abs(pooled(hidden(bare, tokens), tokens, "mean") - expected).max() > 1e-2


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.soak] if n in GIANTS else []) for n in TEXTS])
def test_the_tables_sizes_are_the_published_ones(name: str) -> None:
    """By the number of weights that keras-hub states; and the graph can be made, with a cut below each block."""
    entry = TEXTS[name]
    with keras.StatelessScope(initialize_variables=False):
        bare = text.bare(entry)
        graph = cut.graph(text.flat(bare, IDS, entry.pooling))
    keras.utils.clear_session(free_memory=False)  # else Keras makes up for the variables in the next scope
    if entry.weights.startswith("preset:"):
        assert bare.count_params() == type(bare).presets[entry.weights[7:]]["metadata"]["params"]
    assert f"state_{dict(entry.options)['num_layers'] - 1}" in separators(graph)
    assert next(iter(graph.reads)) == "tokens"
    assert list(graph.reads)[-1] == "embedding"


def test_its_names_do_not_depend_on_what_was_built_before() -> None:
    bare = small(TEXTS["Gemma3_270M"])
    first, second = (text.flat(bare, IDS, "last") for _ in range(2))
    assert cut.graph(first)._replace(name="") == cut.graph(second)._replace(name="")


def test_every_line_is_complete() -> None:
    for name, entry in TEXTS.items():
        assert entry.licence, name
        assert entry.vocabulary.padding, name
        assert entry.weights.startswith(("package:", "preset:")), name
        assert bool(entry.sha256 and entry.file) == entry.weights.startswith("package:"), name

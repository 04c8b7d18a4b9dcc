"""Claim: texts are embedded faster in batches of about one length, on our engine, than padded to the longest in Keras.

Texts a second of the text network as `extract_features` runs it (tokenized, by bucket, on the engine that
`features.engine: auto` chooses) and of keras-hub's own network, `predict` on ids that were tokenized and padded to the
maximum beforehand, with the same pooling behind it. In turn, on the same texts: short ones and long ones.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import measure, workshop
from headstart.backbones.graph import cut
from headstart.data.prepared import Prepared, Texts
from headstart.features import engine, tokens
from headstart.features.inputs import Tokens, members

RECIPES = {"tweets": "vader", "news": "bbc-news"}
# As many as the network was trained on.
MAX_TOKENS = 256
BATCH_SIZE = 32


def main() -> None:
    parser = measure.parser(__doc__)
    parser.add_argument("--texts", type=int, default=512, help="of each set")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    n, rounds = (64, 1) if given.quick else (given.texts, given.rounds)
    rates: dict[str, dict[str, Any]] = {}
    with workshop.folder() as within:
        path = workshop.text_backbone(within)
        for name, recipe in RECIPES.items():
            (within / name).mkdir()
            rates[name] = texts(path, workshop.texts(recipe, within / name), n, rounds)
            print(name, measure.rounded(rates[name]), flush=True)
    first = rates["tweets"]
    measure.report(
        "text_features",
        **{key: first[key] for key in ("ours", "peer", "ratio")},
        unit="texts/s",
        claims=[
            measure.Claim("ratio of tweets", rates["tweets"]["ratio"], ">=", 2.0),
            measure.Claim("ratio of news", rates["news"]["ratio"], ">=", 1.0),
            measure.Claim("difference", max(rate["difference"] for rate in rates.values()), "<=", 1e-4),
        ],
        quick=given.quick,
        all=rates,
    )


def texts(path: Path, data: Prepared, n: int, rounds: int) -> dict[str, Any]:
    """Texts a second of both sides on the first so many training texts."""
    import keras_hub

    from headstart.backbones import table, text_weights

    network = engine.load(path, cut(engine.read_graph(path), 0), "auto", "float32")
    vocabulary = tokens.of_backbone(path, MAX_TOKENS)
    there = data.contents
    assert isinstance(there, Texts)
    examples = data.of("train").head(n)
    source = Tokens(there, examples, vocabulary)

    def ours() -> np.ndarray:
        made = Tokens(there, examples, vocabulary)
        found: np.ndarray | None = None
        for _, rows in members(made.buckets):
            for start in range(0, len(rows), engine.BATCH):
                part = rows[start : start + engine.BATCH]
                output = network.run(made(part, np.zeros(len(part), int)))
                found = np.zeros((len(made.buckets), output.shape[1]), np.float32) if found is None else found
                found[part] = output
        assert found is not None
        return found

    peer_network: Any = text_weights.load(table.find(workshop.TEXT_DEFAULT), None, None)[0]
    assert isinstance(peer_network, keras_hub.models.BertBackbone)
    ids = tokens.tokenize(vocabulary, [there[row] for row in examples.index], MAX_TOKENS)
    mask = (ids != vocabulary.padding).astype(np.int32)
    inputs = {"token_ids": ids, "padding_mask": mask, "segment_ids": np.zeros_like(ids)}

    def peer() -> np.ndarray:
        hidden = peer_network.predict(inputs, batch_size=BATCH_SIZE, verbose=0)["sequence_output"]
        return (hidden * mask[..., None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)

    sides: dict[str, Callable[[], object]] = {"ours": ours, "peer": partial(peer)}
    difference = float(np.abs(ours() - peer()).max())
    taken = measure.in_turn(sides, rounds)
    return {
        "ours": len(examples) / taken["ours"],
        "peer": len(examples) / taken["peer"],
        "ratio": taken["peer"] / taken["ours"],
        "difference": difference,
        "engine": network.name,
        "texts": len(examples),
        "median_tokens": float(np.median(source.lengths)),
        "max_tokens": MAX_TOKENS,
    }


if __name__ == "__main__":
    main()

"""Claim: an epoch of fine-tuning a text network on cached hidden states is a fraction of one through all of it.

Seconds of an epoch of the top blocks and the head, fed from the cache by bucket as `fine_tune` does it, and of the
whole network and head with the same blocks frozen, the usual way in Keras: `model.fit` on ids padded to the maximum.
The same texts, batch size, optimizer; neither validates. In turn, for one cut and then for several `trainable_layers`.
"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import measure, workshop
from benchmarks.fine_tune_epoch import BATCH_SIZE, release, subset
from headstart.data.prepared import Prepared, Texts

RECIPE, MAX_TOKENS = "bbc-news", 128
TOP, CURVE = 2, (1, 3, 4)


def main() -> None:
    parser = measure.parser(__doc__)
    parser.add_argument("--texts", type=int, default=320, help="training texts of BBC News")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    n, rounds = (32, 1) if given.quick else (given.texts, given.rounds)
    curve = []
    with workshop.folder() as within:
        path = workshop.text_backbone(within)
        (within / "data").mkdir()
        data = subset(workshop.texts(RECIPE, within / "data"), n)
        for trainable in (TOP, *(CURVE[:1] if given.quick else CURVE)):
            curve.append(epoch(path, data, trainable, rounds))
            release()
            print(measure.rounded(curve[-1]), flush=True)
    first = curve[0]
    measure.report(
        "text_fine_tune_epoch",
        **{key: first[key] for key in ("ours", "peer", "ratio")},
        unit="seconds",
        claims=[measure.Claim("ratio", first["ratio"], ">=", 1.5)],
        quick=given.quick,
        texts=n,
        cut=first["cut"],
        curve=curve,
    )


def epoch(path: Path, data: Prepared, trainable: int, rounds: int) -> dict[str, Any]:
    """Median seconds of an epoch of both sides."""
    from headstart.features import engine, tokens
    from headstart.features.extraction import Extractor
    from headstart.features.inputs import Cached, CachedByBucket, caches, fresh
    from headstart.training.batches import Batches

    at, tail, whole, targets = workshop.sides(path, data, trainable)
    vocabulary = tokens.of_backbone(path, MAX_TOKENS)
    source = fresh(data, "train", "none", 0, vocabulary)
    there = data.contents
    assert isinstance(there, Texts)
    ids = tokens.tokenize(vocabulary, [there[row] for row in data.of("train").index], MAX_TOKENS)
    with workshop.folder() as within:
        extract = Extractor(
            engine.load(path, at, "auto", "float32"), augment="none", seed=0, dtype="float16", within=within / "store"
        )
        extract.activate(source, within / "train.npy", 1)
        files = caches(within / "train.npy", source.buckets)
        cache = CachedByBucket({b: Cached(np.load(f, mmap_mode="r")) for b, f in files.items()}, source.buckets)
        batches = Batches(cache, targets, batch_size=BATCH_SIZE, seed=0)
        taken = measure.in_turn(
            {
                "ours": partial(tail.fit, batches, epochs=1, shuffle=False, verbose=0),
                "peer": partial(whole.fit, ids, targets, batch_size=BATCH_SIZE, epochs=1, verbose=0),
            },
            rounds,
        )
    return {"trainable_layers": trainable, "cut": at, **taken, "ratio": taken["peer"] / taken["ours"]}


if __name__ == "__main__":
    main()

"""Claim: an epoch of fine-tuning on cached activations is a fraction of one through the whole network.

Seconds of an epoch of tail and head, fed from the cache as `fine_tune` does it, and of the whole network and head with
the same layers frozen, the usual way in Keras: `model.fit` on the pictures in memory. Same pictures, batch size,
optimizer; neither validates. In turn, for one cut and then for several `trainable_layers`.
"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import measure, workshop
from headstart.backbones import table
from headstart.data.prepared import Prepared

# The fifth of EfficientNet-Lite0's seven stages begins with this layer.
STAGE5 = "block5a_expand_conv"
CURVE = (10, 20, 32, 50, "block6a_expand_conv", "block4a_expand_conv", "block3a_expand_conv")
BATCH_SIZE = 32


def main() -> None:
    parser = measure.parser(__doc__)
    parser.add_argument("--pictures", type=int, default=640, help="training pictures of the default data")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    n, rounds = (32, 1) if given.quick else (given.pictures, given.rounds)
    data = subset(workshop.prepared(), n)
    with workshop.folder() as within:
        path = workshop.backbone(workshop.DEFAULT, table.find(workshop.DEFAULT).size, within)
        curve = []
        for trainable in (STAGE5, *(CURVE[:1] if given.quick else CURVE)):
            curve.append(epoch(path, data, trainable, rounds))
            release()
            print(measure.rounded(curve[-1]), flush=True)
    first = curve[0]
    measure.report(
        "fine_tune_epoch",
        **{key: first[key] for key in ("ours", "peer", "ratio")},
        unit="seconds",
        claims=[measure.Claim("ratio", first["ratio"], ">=", 3.5)],
        quick=given.quick,
        pictures=n,
        cut=first["cut"],
        curve=curve,
    )


def release() -> None:
    """Let go of the networks before the next ones: TensorFlow keeps what it traced until it is told."""
    import gc

    import keras

    keras.backend.clear_session()
    gc.collect()


def subset(data: Prepared, n: int) -> Prepared:
    """The first so many training pictures."""
    return data._replace(examples=data.of("train").head(n))


def epoch(path: Path, data: Prepared, trainable: int | str, rounds: int) -> dict[str, Any]:
    """Median seconds of an epoch of both sides."""
    from headstart.features.inputs import Cached
    from headstart.features.views import as_rgb
    from headstart.training.batches import Batches

    at, tail, whole, targets = workshop.sides(path, data, trainable)
    pictures = as_rgb(data.images[data.of("train").index]).astype(np.float32)

    with workshop.folder() as within:
        cache = workshop.activations(path, at, data, 1, within)
        batches = Batches(Cached(cache), targets, batch_size=BATCH_SIZE, seed=0)
        taken = measure.in_turn(
            {
                "ours": partial(tail.fit, batches, epochs=1, shuffle=False, verbose=0),
                "peer": partial(whole.fit, pictures, targets, batch_size=BATCH_SIZE, epochs=1, verbose=0),
            },
            rounds,
        )
    return {"trainable_layers": trainable, "cut": at, **taken, "ratio": taken["peer"] / taken["ours"]}


if __name__ == "__main__":
    main()

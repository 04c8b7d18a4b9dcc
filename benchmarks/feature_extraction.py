"""Claim: frozen layers run faster on our engine than in plain Keras, and on nearly the best engine there is.

Pictures a second of `headstart.features.engine` as `features.engine: auto` chooses it, of Keras' `model.predict` as a
user calls it, and of every engine by itself, in turn on the same pictures, for each seed backbone.
"""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import measure, workshop
from headstart.backbones import table
from headstart.backbones.graph import cut
from headstart.features import engine

# The seed backbones; any other of the table by `--networks`.
NETWORKS = (
    *("EfficientNetLite0", "VGG16", "VGG19", "ResNet50", "InceptionV3"),
    *("MobileNet", "MobileNetV2", "EfficientNetB0"),
)
ENGINES = ("onnxruntime", "openvino", "keras")
# Seconds of `predict` that a round's pictures should take, and bounds of their number.
ROUND, FEWEST, MOST = 3.0, 32, 256


def main() -> None:
    parser = measure.parser(__doc__)
    parser.add_argument(
        "--networks", nargs="+", default=list(NETWORKS), choices=tuple(table.TABLE), help="of the table"
    )
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    rates: dict[str, dict[str, Any]] = {}
    names = [workshop.DEFAULT, "MobileNetV2"] if given.quick else given.networks
    for name in names:
        with workshop.folder() as within:
            real = name == workshop.DEFAULT and not given.quick
            size = 64 if given.quick else table.find(name).size
            path = workshop.backbone(name, size, within, None if real else "random")
            found = network(path, size, 1 if given.quick else given.rounds)
        rates[name] = {**found, "weights": "its own" if real else "random"}
        print(name, measure.rounded(rates[name]), flush=True)

    first = rates[names[0]]
    measure.report(
        "feature_extraction",
        **{key: first[key] for key in ("ours", "peer", "ratio")},
        unit="pictures/s",
        claims=claims(rates),
        quick=given.quick,
        network=names[0],
        all=rates,
    )


def claims(rates: dict[str, dict[str, Any]]) -> list[measure.Claim]:
    """What is claimed of these networks, each bound with its worst case."""

    def least(key: str, names: Iterable[str]) -> tuple[str, float]:
        worst = min(names, key=lambda name: rates[name][key])
        return f"{key} of {worst}, the least," if len(rates) > 1 else f"{key} of {worst}", rates[worst][key]

    made = [measure.Claim(*least("ratio", rates), ">=", 1.0), measure.Claim(*least("share_of_best", rates), ">=", 0.9)]
    if workshop.DEFAULT in rates:
        default = rates[workshop.DEFAULT]["ratio"]
        made.insert(0, measure.Claim(f"ratio of {workshop.DEFAULT}", default, ">=", 3.3))
    return made


def network(path: Path, size: int, rounds: int) -> dict[str, Any]:
    """One backbone's pictures a second."""
    from headstart.backbones.saving import load_model

    at = cut(engine.read_graph(path), 0)
    ours = engine.load(path, at, "auto", "float32")
    plain = load_model(path / "backbone.keras")
    pictures = np.random.default_rng(0).integers(0, 256, (MOST, size, size, 3), np.uint8)

    def predict(x: np.ndarray) -> object:
        return plain.predict(x, batch_size=32, verbose=0)

    sides: dict[str, Callable[[np.ndarray], object]] = {"ours": ours.run, "peer": predict}
    for name in ENGINES:
        # Where an engine can't run the network, or computes something else, Keras stands in for it.
        tried = engine.load(path, at, name, "float32")
        if name == tried.name != ours.name:
            sides[name] = tried.run
    few = pictures[:FEWEST].astype(np.float32)
    predict(few)
    wanted = ROUND / measure.seconds(lambda: predict(few))
    n = FEWEST if rounds == 1 else int(np.clip(wanted, 1, MOST // FEWEST)) * FEWEST
    # An engine gets them as they lie in data/prepared, Keras as it would turn them itself.
    shown = {name: pictures[:n].astype(np.float32) if name == "peer" else pictures[:n] for name in sides}
    taken = measure.in_turn({name: partial(side, shown[name]) for name, side in sides.items()}, rounds)
    rate = {name: n / time for name, time in taken.items()}
    # Our engine's own name stands for it: beside itself it would measure nothing but noise.
    engines = {name: rate["ours" if name == ours.name else name] for name in ENGINES if name in (*rate, ours.name)}
    best = max(engines, key=lambda name: engines[name])
    return {
        "ours": rate["ours"],
        "peer": rate["peer"],
        "ratio": rate["ours"] / rate["peer"],
        "engine": ours.name,
        **engines,
        "best": best,
        "share_of_best": rate["ours"] / engines[best],
        "size": size,
        "pictures": n,
    }


if __name__ == "__main__":
    main()

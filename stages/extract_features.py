"""Embed every example and view through the frozen backbone: data/features/."""

import json
from pathlib import Path

from headstart import params, stage
from headstart.backbones.graph import cut
from headstart.data.prepared import load
from headstart.features import engine, views
from headstart.features.extraction import Extractor
from headstart.features.inputs import fresh, vocabulary_of


def main() -> None:
    settings = params.load()
    given = settings.features
    shown = {"train": given.views, "validation": 1, "test": settings.evaluate.views}
    for key, count in (("features.views", given.views), ("evaluate.views", shown["test"])):
        views.check(given.augment, count, key)
    backbone = Path("models/backbone")
    prepared = load("data/prepared", ["hash", "split"])
    vocabulary = vocabulary_of(prepared, backbone, settings.data.max_tokens)
    network = engine.load(backbone, cut(engine.read_graph(backbone), 0), given.engine, given.precision)
    print(f"the frozen layers run on {network}")
    extract = Extractor(network, augment=given.augment, seed=settings.seed, dtype="float32")
    with stage.whole("data/features") as folder:
        counts = {}
        for split, count in shown.items():
            source = fresh(prepared, split, given.augment, settings.seed, vocabulary)
            print(extract.embed(source, folder / f"{split}.npy", count))
            counts[split] = source.counts()
        if vocabulary:
            stage.write(folder / "tokens.json", json.dumps(counts, indent=1) + "\n")
            n, many = (sum(of[key] for of in counts.values()) for key in ("texts", "cut"))
            print(f"{many:,} of {n:,} texts ({many / n:.1%}) are cut off at {vocabulary.max_tokens} tokens")


if __name__ == "__main__":
    stage.run(main)

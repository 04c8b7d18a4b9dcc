"""Embed every picture and view through the frozen backbone: data/features/."""

from pathlib import Path

from headstart import params, stage
from headstart.backbones.graph import cut
from headstart.data.prepared import load
from headstart.features import engine, views
from headstart.features.extraction import Extractor


def main() -> None:
    settings = params.load()
    given = settings.features
    shown = {"train": given.views, "validation": 1, "test": settings.evaluate.views}
    for key, count in (("features.views", given.views), ("evaluate.views", shown["test"])):
        views.check(given.augment, count, key)
    backbone = Path("models/backbone")
    prepared = load("data/prepared")
    network = engine.load(backbone, cut(engine.read_graph(backbone), 0), given.engine, given.precision)
    print(f"the frozen layers run on {network}")
    extract = Extractor(network, augment=given.augment, seed=settings.seed, dtype="float32")
    with stage.whole("data/features") as folder:
        for split, count in shown.items():
            print(extract(prepared.images, prepared.of(split), folder / f"{split}.npy", count))


if __name__ == "__main__":
    stage.run(main)

"""Embed every picture and view through the frozen backbone: data/features/."""

from pathlib import Path

from headstart import params, stage
from headstart.backbones.graph import cut
from headstart.data.prepared import load
from headstart.features import engine, views
from headstart.features.extraction import extract


def main() -> None:
    settings = params.load()
    given = settings.features
    views.check(given.augment, given.views)
    backbone = Path("models/backbone")
    prepared = load("data/prepared")
    network = engine.load(backbone, cut(engine.read_graph(backbone), 0), given.engine)
    print(f"the frozen layers run on {network.name}; relative error against Keras {network.error:.1e}")
    with stage.whole("data/features") as folder:
        for split in ("train", "validation", "test"):
            extract(
                prepared.images,
                prepared.of(split),
                network,
                folder / f"{split}.npy",
                views=given.views if split == "train" else 1,
                augment=given.augment,
                seed=settings.seed,
                dtype="float32",
            )


if __name__ == "__main__":
    stage.run(main)

"""Keep what enters the lowest unfrozen layer, for every training and validation picture and view: data/activations/."""

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
    graph = engine.read_graph(backbone)
    at = cut(graph, settings.trainable_layers)
    none = settings.trainable_layers == 0 or at == next(iter(graph.reads))
    with stage.whole("data/activations") as folder:
        (folder / "cut.txt").write_text("none\n" if none else f"{at}\n")
        if none:
            print(f"trainable_layers is {settings.trainable_layers}: there is nothing to keep")
            return
        prepared = load("data/prepared")
        network = engine.load(backbone, at, given.engine)
        print(f"the layers up to {at} run on {network.name}; relative error against Keras {network.error:.1e}")
        for split in ("train", "validation"):
            shape = extract(
                prepared.images,
                prepared.of(split),
                network,
                folder / f"{split}.npy",
                views=given.views if split == "train" else 1,
                augment=given.augment,
                seed=settings.seed,
                dtype="float16",
            )
            print(f"{split}: {' x '.join(map(str, shape))}")


if __name__ == "__main__":
    stage.run(main)

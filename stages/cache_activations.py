"""Keep what enters the lowest unfrozen layer, for every training and validation picture and view: data/activations/."""

import json
import shutil
import time
from pathlib import Path

import numpy as np

from headstart import params, stage
from headstart.backbones.graph import cut
from headstart.data.prepared import Prepared, load
from headstart.features import caching, engine, views
from headstart.features.extraction import Extractor


def main() -> None:
    settings = params.load()
    given, cache = settings.features, settings.fine_tune.cache
    views.check(given.augment, given.views, "features.views")
    backbone = Path("models/backbone")
    graph = engine.read_graph(backbone)
    at = cut(graph, settings.trainable_layers)
    prepared = load("data/prepared")
    shown = {"train": given.views, "validation": 1}
    network = None
    if settings.trainable_layers == 0 or at == next(iter(graph.reads)):
        print(f"trainable_layers is {settings.trainable_layers}: there is nothing to keep")
    elif cache == "off":
        print("fine_tune.cache is off: fine-tuning computes the frozen layers' output in every epoch")
    else:
        network = engine.load(backbone, at, given.engine, given.precision)
        print(f"the layers up to {at} run on {network}")
        weighed = weigh(network, prepared, shown)
        print(f"a cache of activations: {weighed.why}")
        if cache == "auto" and not weighed.worth:
            print("fine_tune.cache is auto: none is made")
            network = None

    with stage.whole("data/activations") as folder:
        stage.write(folder / "activations.json", json.dumps({"cut": at, "cached": network is not None}) + "\n")
        if network is None:
            return
        extract = Extractor(network, augment=given.augment, seed=settings.seed, dtype="float16")
        for split, count in shown.items():
            print(extract(prepared.images, prepared.of(split), folder / f"{split}.npy", count))


def weigh(network: engine.Engine, prepared: Prepared, shown: dict[str, int]) -> caching.Weighed:
    """Measure the frozen layers on one batch, and weigh."""
    batch = np.zeros((engine.BATCH, *prepared.images.shape[1:3], 3), np.uint8)
    row = network.run(batch)[0]
    start = time.perf_counter()
    network.run(batch)
    seconds = (time.perf_counter() - start) / len(batch)
    counts = {split: len(prepared.of(split)) for split in shown}
    free = shutil.disk_usage(".").free
    rows = sum(counts[split] * shown[split] for split in shown)
    return caching.weigh(rows, sum(counts.values()), row.size * 2, seconds, free)


if __name__ == "__main__":
    stage.run(main)

"""Keep what enters the lowest unfrozen layer, for every training and validation example and view: data/activations/."""

import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from headstart import params, stage
from headstart.backbones.graph import cut
from headstart.data.prepared import load
from headstart.features import caching, engine, views
from headstart.features.extraction import Extractor
from headstart.features.inputs import Fresh, fresh, vocabulary_of


def main() -> None:
    settings = params.load()
    given, cache = settings.features, settings.fine_tune.cache
    views.check(given.augment, given.views, "features.views")
    backbone = Path("models/backbone")
    graph = engine.read_graph(backbone)
    at = cut(graph, settings.trainable_layers)
    prepared = load("data/prepared", ["hash", "split"])
    shown = {"train": given.views, "validation": 1}
    network, sources = None, {}
    if settings.trainable_layers == 0 or at == next(iter(graph.reads)):
        print(f"trainable_layers is {settings.trainable_layers}: there is nothing to keep")
    elif cache == "off":
        print("fine_tune.cache is off: fine-tuning computes the frozen layers' output in every epoch")
    else:
        network = engine.load(backbone, at, given.engine, given.precision)
        print(f"the layers up to {at} run on {network}")
        vocabulary = vocabulary_of(prepared, backbone, settings.data.max_tokens)
        sources = {split: fresh(prepared, split, given.augment, settings.seed, vocabulary) for split in shown}
        weighed = weigh(network, sources, shown)
        print(f"a cache of activations: {weighed.why}")
        if cache == "auto" and not weighed.worth:
            print("fine_tune.cache is auto: none is made")
            network = None

    with stage.whole("data/activations") as folder:
        stage.write(folder / "activations.json", json.dumps({"cut": at, "cached": network is not None}) + "\n")
        if network is None:
            return
        extract = Extractor(network, augment=given.augment, seed=settings.seed, dtype="float16")
        for split, source in sources.items():
            print(extract.activate(source, folder / f"{split}.npy", shown[split]))
            if source.buckets.any():
                np.save(folder / f"{split}-buckets.npy", source.buckets)


def weigh(network: engine.Engine, sources: Mapping[str, Fresh], shown: Mapping[str, int]) -> caching.Weighed:
    """Measure the frozen layers on one batch of each bucket, and weigh the mean of them."""
    rows, row_bytes, seconds = 0, 0.0, 0.0
    for bucket in np.unique(np.concatenate([source.buckets for source in sources.values()])):
        split = max(sources, key=lambda name: (sources[name].buckets == bucket).sum())
        places = np.flatnonzero(sources[split].buckets == bucket)
        batch = sources[split](np.resize(places, engine.BATCH), np.zeros(engine.BATCH, int))
        row = network.run(batch)[0]
        start = time.perf_counter()
        network.run(batch)
        taken = (time.perf_counter() - start) / len(batch)
        count = sum(int((source.buckets == bucket).sum()) * shown[name] for name, source in sources.items())
        rows, row_bytes, seconds = rows + count, row_bytes + count * row.size * 2, seconds + count * taken
    examples = sum(len(source.buckets) for source in sources.values())
    free = shutil.disk_usage(".").free
    return caching.weigh(rows, examples, round(row_bytes / rows), seconds / rows, free)


if __name__ == "__main__":
    stage.run(main)

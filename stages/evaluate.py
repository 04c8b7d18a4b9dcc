"""Score the final model and the head alone on the test split: metrics, plots, evaluation/ and the page."""

import filecmp
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from headstart import params, stage, tracking
from headstart.backbones.saving import load_model
from headstart.data.prepared import load
from headstart.device import for_inference
from headstart.evaluation import attribution, kinds, outcome, prediction, report
from headstart.features import tokens
from headstart.features.inputs import Cached, Source, fresh
from headstart.reporting import page

# Examples at a time. On a CPU, EfficientNetB0 takes 64 pictures of 300 pixels a side no faster than 8,
# and three times the memory.
BATCH = 16


def main() -> None:
    settings = params.load()
    with tracking.run("evaluate", settings):
        evaluate(settings)


def evaluate(settings: params.Params) -> None:
    """Predict, judge, write."""
    prepared, kind = load("data/prepared"), kinds.of(settings.data.labels)
    test, truth, classes = prepared.of("test"), prepared.targets("test"), prepared.classes
    embeddings, views = np.load("data/features/test.npy", mmap_mode="r"), settings.evaluate.views
    if embeddings.shape[:2] != (len(test), views):
        raise stage.UserError(
            f"data/features/test.npy has {len(embeddings)} rows of {embeddings.shape[1]} views, "
            f"the test split {len(test)} examples of {views}; `dvc repro` makes them fit"
        )
    vocabulary = tokens.of_model(Path("models/final"))
    contents = {
        split: fresh(prepared, split, settings.features.augment, settings.seed, vocabulary)
        for split in ("test", "validation")
    }
    kept = Cached(np.load("data/features/validation.npy", mmap_mode="r"))
    head_only, validation = predicted("models/head/head.keras", classes, (Cached(embeddings), views), (kept, 1))
    final = head_only
    # Without fine-tuning the final model is the head's, and what lies below the head has been through it already.
    if not filecmp.cmp("models/final/model.keras", "models/head/model.keras", shallow=False):
        final, validation = predicted(
            "models/final/model.keras", classes, (contents["test"], views), (contents["validation"], 1)
        )
    models = {"final": final.mean(axis=1), "head_only": head_only.mean(axis=1)}
    looks = (prepared.targets("validation"), validation[:, 0]), (truth, final[:, 0])
    found = outcome.judge(
        kind, test, truth, models, looks, classes, resamples=settings.evaluate.bootstrap, seed=settings.seed
    )
    shown = contents["test"].originals(found.wrong["row"].to_numpy(int))
    explained = explain(settings.task, kind, shown, found.wrong, classes)
    with stage.whole("evaluation") as folder:
        outcome.write(folder, found, explained, outcome.gather(settings, found))
    with stage.whole("plots/evaluate") as folder:
        outcome.write_tables(folder, found.tables)
    stage.write("metrics/evaluate.json", json.dumps(found.metrics, indent=1) + "\n")
    page.try_to_write()
    print(report.summary(found.metrics, kind.FIGURES))


def predicted(path: str, classes: list[str], *asked: tuple[Source, int]) -> list[NDArray[np.float32]]:
    """The saved network's answers [examples, views, classes] for each of (inputs, views)."""
    network = for_inference(load_model(Path(path)))
    found = []
    for inputs, views in asked:
        try:
            probabilities = prediction.predict(
                network.predict_on_batch, inputs, len(inputs.buckets),
                views=views, batch_size=BATCH, buckets=inputs.buckets, title=f"predict, {Path(path).parent.name}",
            )  # fmt: skip
        except ValueError as error:
            raise stage.UserError(f"{path}: {error}") from error
        if probabilities.shape[2] != len(classes):
            raise stage.UserError(f"{path} has {probabilities.shape[2]} outputs, the data have {len(classes)} classes")
        found.append(probabilities)
    return found


def explain(task: str, kind: kinds.Kind, shown: Any, wrong: pd.DataFrame, classes: list[str]) -> attribution.Explained:
    """What in the mistakes spoke for them; there may be no mistake."""
    if not len(wrong):
        return attribution.Explained([], {})
    network = for_inference(load_model(Path("models/final/model.keras")))
    return attribution.EXPLAIN[task](network, shown, *kind.directions(wrong, classes), kind.additive)


if __name__ == "__main__":
    stage.run(main)

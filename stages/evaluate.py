"""Score the final model and the head alone on the test split: metrics/evaluate.json, plots, predictions."""

import filecmp
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart import params, stage, tracking
from headstart.backbones.saving import load_model
from headstart.data.prepared import load
from headstart.device import for_inference
from headstart.evaluation import figures, prediction, report
from headstart.features.inputs import Cached, OnTheFly

# Examples at a time. On a CPU, EfficientNetB0 takes 64 pictures of 300 pixels a side no faster than 8,
# and three times the memory.
BATCH = 16


def main() -> None:
    settings = params.load()
    with tracking.run("evaluate", settings):
        evaluate(settings)


def evaluate(settings: params.Params) -> None:
    """Predict, judge, write."""
    prepared = load("data/prepared")
    test, truth, classes = prepared.of("test"), prepared.targets("test"), prepared.classes
    # An example without a group is one of its own, whatever the others are called.
    groups = [f"group {g}" if g else f"example {i}" for g, i in zip(test["group"], test["id"], strict=True)]
    embeddings, views = np.load("data/features/test.npy", mmap_mode="r"), settings.evaluate.views
    if embeddings.shape[:2] != (len(test), views):
        raise stage.UserError(
            f"data/features/test.npy has {len(embeddings)} rows of {embeddings.shape[1]} views, "
            f"the test split {len(test)} examples of {views}; `dvc repro` makes them fit"
        )
    pictures = OnTheFly(prepared.images, test, settings.features.augment, settings.seed)
    head_only = predicted("models/head/head.keras", Cached(embeddings), len(test), views, classes)
    # Without fine-tuning the final model is the head's, and what lies below the head has been through it already.
    if filecmp.cmp("models/final/model.keras", "models/head/model.keras", shallow=False):
        final = head_only
    else:
        final = predicted("models/final/model.keras", pictures, len(test), views, classes)
    models = {"final": final, "head_only": head_only}
    said = report.report(truth, **models, groups=groups, resamples=settings.evaluate.bootstrap, seed=settings.seed)

    with stage.whole("evaluation") as folder:
        report.predictions(test, classes, models["final"]).to_csv(folder / "predictions.csv", index=False)
        # For MLflow's pages, whenever it is told of them.
        (folder / "plots").mkdir()
        for name, figure in figures.figures(truth, models, classes).items():
            figure.savefig(folder / "plots" / f"{name}.png")
    with stage.whole("plots/evaluate") as folder:
        for name, table in report.plots(truth, models, classes).items():
            (folder / name).parent.mkdir(exist_ok=True)
            table.to_csv(folder / name, index=False)
    stage.write("metrics/evaluate.json", json.dumps(said, indent=1) + "\n")
    print(report.summary(said))


def predicted(path: str, inputs: Cached, examples: int, views: int, classes: list[str]) -> NDArray[np.float32]:
    """The saved network's probabilities, a row per example and a column per class."""
    network = for_inference(load_model(Path(path)))
    try:
        found = prediction.predict(
            network.predict_on_batch, inputs, examples,
            views=views, batch_size=BATCH, title=f"predict, {Path(path).parent.name}",
        )  # fmt: skip
    except ValueError as error:
        raise stage.UserError(f"{path}: {error}") from error
    if found.shape[1] != len(classes):
        raise stage.UserError(f"{path} has {found.shape[1]} outputs, the data have {len(classes)} classes")
    return found


if __name__ == "__main__":
    stage.run(main)

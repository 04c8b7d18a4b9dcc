"""Score the final model and the head alone on the test split: metrics/evaluate.json, plots, predictions."""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from headstart import params, stage, tracking
from headstart.backbones.saving import load_model
from headstart.data.prepared import load
from headstart.evaluation import figures, prediction, report

# Examples at a time. On a CPU, EfficientNetB0 takes 64 pictures of 300 pixels a side no faster than 8,
# and three times the memory.
BATCH = 16


def main() -> None:
    settings = params.load()
    prepared = load("data/prepared")
    test, truth, classes = prepared.of("test"), prepared.targets("test"), prepared.classes
    # An example without a group is one of its own, whatever the others are called.
    groups = [f"group {g}" if g else f"example {i}" for g, i in zip(test["group"], test["id"], strict=True)]
    embeddings = np.load("data/features/test.npy", mmap_mode="r")[:, 0]
    if len(embeddings) != len(test):
        raise stage.UserError(
            f"data/features/test.npy has {len(embeddings)} rows, the test split {len(test)} examples; "
            "`dvc repro` makes them fit"
        )
    models = {
        "final": predicted("models/final/model.keras", prepared.images, test.index.to_numpy(), classes),
        "head_only": predicted("models/head/head.keras", embeddings, np.arange(len(test)), classes),
    }
    said = report.report(truth, **models, groups=groups, resamples=settings.evaluate.bootstrap, seed=settings.seed)

    with stage.whole("evaluation") as folder:
        report.predictions(test, classes, models["final"]).to_csv(folder / "predictions.csv", index=False)
    with stage.whole("plots/evaluate") as folder:
        for name, table in report.plots(truth, models, classes).items():
            (folder / name).parent.mkdir(exist_ok=True)
            table.to_csv(folder / name, index=False)
    stage.write("metrics/evaluate.json", json.dumps(said, indent=1) + "\n")
    with tracking.run("evaluate", settings) as run:
        run.metrics(report.flat(said))
        for name, figure in figures.figures(truth, models, classes).items():
            run.figure(figure, f"{name}.png")
        run.artifact("evaluation/predictions.csv")
    print(report.summary(said))


def predicted(path: str, examples: NDArray[Any], rows: NDArray[np.integer], classes: list[str]) -> NDArray[np.float32]:
    """The saved network's probabilities of these rows of pictures or embeddings, a column per class."""
    network = load_model(Path(path))
    if keras.backend.backend() == "tensorflow" and not keras.distribution.list_devices("gpu"):
        network.jit_compile = False  # XLA, which Keras chooses by itself, is the slower way on a CPU

    def probabilities(batch: NDArray[Any]) -> NDArray[np.float32]:
        return network.predict_on_batch(prediction.colour(batch) if batch.ndim == 4 else batch)

    try:
        found = prediction.predict(probabilities, examples, rows, BATCH, f"predict, {Path(path).parent.name}")
    except ValueError as error:
        raise stage.UserError(f"{path}: {error}") from error
    if found.shape[1] != len(classes):
        raise stage.UserError(f"{path} has {found.shape[1]} outputs, the data have {len(classes)} classes")
    return found


if __name__ == "__main__":
    stage.run(main)

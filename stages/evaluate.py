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
from headstart.evaluation import attribution, calibration, card, figures, mistakes, prediction, report
from headstart.features.inputs import Cached, OnTheFly
from headstart.reporting import page

# Examples at a time. On a CPU, EfficientNetB0 takes 64 pictures of 300 pixels a side no faster than 8,
# and three times the memory.
BATCH = 16


def main() -> None:
    settings = params.load()
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
    pictures = {
        split: OnTheFly(prepared.images, prepared.of(split), settings.features.augment, settings.seed)
        for split in ("test", "validation")
    }
    n, aside = len(test), len(prepared.of("validation"))
    kept = Cached(np.load("data/features/validation.npy", mmap_mode="r"))
    head_only, validation = predicted(
        "models/head/head.keras", classes, (Cached(embeddings), n, views), (kept, aside, 1)
    )
    final = head_only
    # Without fine-tuning the final model is the head's, and what lies below the head has been through it already.
    if not filecmp.cmp("models/final/model.keras", "models/head/model.keras", shallow=False):
        final, validation = predicted(
            "models/final/model.keras", classes, (pictures["test"], n, views), (pictures["validation"], aside, 1)
        )
    models = {"final": final.mean(axis=1), "head_only": head_only.mean(axis=1)}
    said = report.report(truth, **models, groups=groups, resamples=settings.evaluate.bootstrap, seed=settings.seed)
    # One look, as whoever asks the saved model about a picture has.
    plain = final[:, 0]
    said["calibration"], scaled = calibration.report((prepared.targets("validation"), validation[:, 0]), (truth, plain))
    reliability: report.Models = {"before": plain, "after": scaled}

    wrong = mistakes.most_confident(test, truth, models["final"], classes)
    explained = explain(settings.task, prepared.images[test.index[wrong["row"]]], wrong, classes)
    tables = report.plots(truth, models, classes) | report.calibration_plots(truth, reliability)
    facts = card.Facts(
        knobs={
            "task": settings.task, "backbone": settings.backbone, "lr": settings.lr, "batch_size": settings.batch_size,
            "epochs": settings.epochs, "optimizer": settings.optimizer, "trainable_layers": settings.trainable_layers,
            "seed": settings.seed,
        },
        views=views, metrics=said, classes=tables["classes.csv"], prepared=read("metrics/prepare.json"),
        source=read("data/prepared/source.json"), backbone=read("models/backbone/backbone.json"),
    )  # fmt: skip
    with stage.whole("evaluation") as folder:
        report.predictions(test, classes, models["final"]).to_csv(folder / "predictions.csv", index=False)
        # So that `headstart predict` looks at a picture as it was looked at here.
        (folder / "inference.json").write_text(json.dumps({"views": views}) + "\n")
        stage.write(folder / "mistakes.json", mistakes.listed(wrong, explained.rows))
        if explained.arrays:
            np.savez(folder / "mistakes.npz", **explained.arrays)  # type: ignore[arg-type]  # allow_pickle, NumPy thinks
        stage.write(folder / "MODEL_CARD.md", card.card(facts))
    with stage.whole("plots/evaluate") as folder:
        for name, table in tables.items():
            (folder / name).parent.mkdir(exist_ok=True)
            table.to_csv(folder / name, index=False)
    stage.write("metrics/evaluate.json", json.dumps(said, indent=1) + "\n")
    shown = page.try_to_write()
    with tracking.run("evaluate", settings) as run:
        run.metrics(report.flat(said))
        drawn = figures.figures(truth, models, classes)
        drawn["calibration"] = figures.reliability(truth, reliability, classes)
        drawn["mistakes"] = figures.mistakes(wrong, explained.arrays)
        drawn["learning"] = figures.learning({n: pd.read_csv(f"plots/{n}.csv") for n in ("train_head", "fine_tune")})
        for name, figure in drawn.items():
            run.figure(figure, f"{name}.png")
        for path in ("evaluation/predictions.csv", "evaluation/MODEL_CARD.md", *shown):
            run.artifact(path)
    print(report.summary(said))


def predicted(path: str, classes: list[str], *asked: tuple[Cached, int, int]) -> list[NDArray[np.float32]]:
    """The saved network's probabilities [examples, views, classes] for each of (inputs, examples, views)."""
    network = for_inference(load_model(Path(path)))
    found = []
    for inputs, examples, views in asked:
        try:
            probabilities = prediction.predict(
                network.predict_on_batch, inputs, examples,
                views=views, batch_size=BATCH, title=f"predict, {Path(path).parent.name}",
            )  # fmt: skip
        except ValueError as error:
            raise stage.UserError(f"{path}: {error}") from error
        if probabilities.shape[2] != len(classes):
            raise stage.UserError(f"{path} has {probabilities.shape[2]} outputs, the data have {len(classes)} classes")
        found.append(probabilities)
    return found


def explain(task: str, shown: NDArray[Any], wrong: pd.DataFrame, classes: list[str]) -> attribution.Explained:
    """What in the mistakes spoke for them; there may be no mistake."""
    if not len(wrong):
        return attribution.Explained([], {})
    network = for_inference(load_model(Path("models/final/model.keras")))
    number = {name: i for i, name in enumerate(classes)}
    towards, against = (wrong[column].map(number).to_numpy(np.int64) for column in ("predicted", "truth"))
    return attribution.EXPLAIN[task](network, shown, towards, against)


def read(path: str) -> dict[str, Any]:
    """What an earlier stage noted."""
    found: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    return found


if __name__ == "__main__":
    stage.run(main)

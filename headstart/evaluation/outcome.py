"""What comes of an evaluation, and how it lies on disk: evaluation/ and plots/evaluate/.

Refuses to know how models are judged: that is the label kind's.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from headstart import stage
from headstart.evaluation import card, figures, mistakes, report
from headstart.evaluation.attribution import Explained
from headstart.evaluation.kinds import Kind, Known
from headstart.params import Params


class Outcome(NamedTuple):
    """What is found, before it is written.

    metrics: the content of metrics/evaluate.json.
    tables: of plots/evaluate/, by file name.
    pictures: for MLflow's pages.
    predictions: the final model's, a row per example of the test split.
    wrong: its mistakes, as `mistakes` of the label kind.
    """

    metrics: dict[str, Any]
    tables: dict[str, pd.DataFrame]
    pictures: dict[str, Figure]
    predictions: pd.DataFrame
    wrong: pd.DataFrame


def judge(
    kind: Kind,
    test: pd.DataFrame,
    truth: NDArray[Any],
    models: Mapping[str, NDArray[np.floating]],
    looks: tuple[Known, Known],
    classes: Sequence[str],
    *,
    resamples: int,
    seed: int,
) -> Outcome:
    """Hold the models' answers on the test split against the truth.

    Args:
        kind: of the labels.
        test: the test split's examples: id, split, label, group ("" where there is none).
        truth: of them, as the label kind has it.
        models: final and head_only -> answers [n, k], means over the views.
        looks: truth and the final model's answers to one look, as whoever asks the saved model about a picture has,
            on the validation split and on the test split.
        classes: names of the outputs.
        resamples, seed: of the bootstrap.

    Raises:
        ValueError: as the kind's `counters`.
    """
    # An example without a group is one of its own, whatever the others are called.
    groups = [f"group {g}" if g else f"example {i}" for g, i in zip(test["group"], test["id"], strict=True)]
    said = report.report(truth, **models, groups=groups, resamples=resamples, seed=seed, kind=kind)
    calibration, tables, pictures = kind.calibration(*looks, classes)
    if calibration:
        said["calibration"] = calibration
    final = models["final"]
    return Outcome(
        said,
        kind.tables(truth, models, classes) | tables,
        kind.figures(truth, models, classes) | dict(pictures),
        kind.predictions(test, classes, final),
        kind.mistakes(test, truth, final, classes),
    )


def gather(settings: Params, found: Outcome) -> card.Facts:
    """The facts of the model card: what was found here, and what earlier stages noted."""

    def read(path: str) -> dict[str, Any]:
        noted: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
        return noted

    knobs = {
        "task": settings.task, "backbone": settings.backbone, "lr": settings.lr, "batch_size": settings.batch_size,
        "epochs": settings.epochs, "optimizer": settings.optimizer, "trainable_layers": settings.trainable_layers,
        "seed": settings.seed,
    }  # fmt: skip
    return card.Facts(
        knobs=knobs,
        views=settings.evaluate.views, metrics=found.metrics, classes=found.tables["classes.csv"],
        prepared=read("metrics/prepare.json"), source=read("data/prepared/source.json"),
        backbone=read("models/backbone/backbone.json"), labels=settings.data.labels,
    )  # fmt: skip


def write(folder: Path, found: Outcome, explained: Explained, facts: card.Facts) -> None:
    """Write evaluation/: predictions, mistakes, model card, pictures.

    Args:
        folder: to write to.
        found: what was found.
        explained: its mistakes.
        facts: of the model card.
    """
    found.predictions.to_csv(folder / "predictions.csv", index=False)
    # So that `headstart predict` looks at a picture as it was looked at here.
    (folder / "inference.json").write_text(json.dumps({"views": facts.views}) + "\n")
    stage.write(folder / "mistakes.json", mistakes.listed(found.wrong, explained.rows))
    if explained.arrays:
        np.savez(folder / "mistakes.npz", **explained.arrays)  # type: ignore[arg-type]  # allow_pickle, NumPy thinks
    stage.write(folder / "MODEL_CARD.md", card.card(facts))
    # For MLflow's pages, whenever it is told of them.
    trainings = {name: pd.read_csv(f"plots/{name}.csv") for name in ("train_head", "fine_tune")}
    common = {"mistakes": figures.mistakes(found.wrong, explained.arrays), "learning": figures.learning(trainings)}
    (folder / "plots").mkdir()
    for name, figure in (found.pictures | common).items():
        figure.savefig(folder / "plots" / f"{name}.png")


def write_tables(folder: Path, tables: Mapping[str, pd.DataFrame]) -> None:
    """Write plots/evaluate/: the tables behind DVC's plots."""
    for name, table in tables.items():
        (folder / name).parent.mkdir(exist_ok=True)
        table.to_csv(folder / name, index=False)

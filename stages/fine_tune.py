"""Unfreeze the upper layers and train them with the head: models/final/."""

import json
import os
import shutil
from pathlib import Path

from headstart import facts, identity, params, stage, tracking
from headstart.data.prepared import load
from headstart.training import followed


def main() -> None:
    settings = params.load()
    if settings.trainable_layers == 0:
        pass_on(settings)
    else:
        fine_tune(settings)


def pass_on(settings: params.Params) -> None:
    """Make the head's model the final one: nothing is left to train, and Keras need not start for that."""
    kind = facts.read(Path("models/head")).get("labels", "class")
    head = json.loads(Path("metrics/train_head.json").read_text())
    summary = {**head, "epochs": 0, "best_epoch": 0}
    with tracking.run("fine_tune", settings):
        with stage.whole("models/final") as folder:
            for file in sorted(Path("models/head").iterdir()):
                if file.name != "head.keras":
                    shutil.copyfile(file, folder / file.name)
        stage.write("metrics/fine_tune.json", json.dumps(summary, indent=1) + "\n")
        stage.write("plots/fine_tune.csv", ",".join(followed.OF_LABELS[kind].columns()) + "\n")
    print("trainable_layers is 0: the head's model goes on")


def fine_tune(settings: params.Params) -> None:
    """Train, and write the whole network."""
    if not settings.fine_tune.deterministic:
        os.environ["TF_DETERMINISTIC_OPS"] = "0"  # TensorFlow reads it at its first operation, see stages/__init__.py
    from headstart.training import fine_tuning, loop, outputs
    from headstart.training.checkpoint import Checkpoint

    prepared, checkpoint = load("data/prepared"), Checkpoint("fine_tune", identity.of_stage("fine_tune"))
    with tracking.run("fine_tune", settings) as run:
        network, history = fine_tuning.fine_tune(settings, prepared, run.epoch, checkpoint)
        summary = outputs.write("fine_tune", "models/final", {"model.keras": network}, settings, prepared, history)
        checkpoint.remove()
    print(loop.table("fine-tuning", history, followed.OF_LABELS[prepared.labels]))
    if summary["best_epoch"] == 0:
        print("fine-tuning did no better on the validation split: the head's model goes on")


if __name__ == "__main__":
    stage.run(main)

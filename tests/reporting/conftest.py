"""What the pipeline would leave of a run with made-up predictions, as files by their paths: no Keras, no DVC."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from headstart.evaluation import calibration, classification, mistakes, report

ROOT = Path(__file__).parents[2]
PATHS = ("data/fetched", "data/prepared", "models/backbone", "data/features", "data/activations", "models/final")


def outputs(
    names: list[str],
    *,
    n: int = 120,
    skill: float = 1.5,
    seed: int = 0,
    only: int | None = None,
    trainable_layers: int = 8,
    tokens: bool = False,
) -> dict[str, bytes]:
    """Path -> content of what a run leaves that a page shows.

    Args:
        names: of the classes.
        n: test examples.
        skill: how far the true class stands out; infinite: no mistakes.
        only: the one class that the test split holds.
        trainable_layers: 0 leaves fine-tuning without epochs.
        tokens: mistakes are texts.
    """
    rng = np.random.default_rng(seed)
    k = len(names)
    truth = np.arange(n) % k if only is None else np.full(n, only)

    def predicted(skill: float) -> np.ndarray:
        logits = rng.normal(size=(n, k))
        logits[np.arange(n), truth] += min(skill, 50)
        odds = np.exp(logits)
        return odds / odds.sum(axis=1, keepdims=True)

    models = {"final": predicted(skill)}
    models["head_only"] = models["final"] if trainable_layers == 0 else predicted(skill * 0.7)
    said = report.report(truth, **models, groups=None, resamples=50, seed=0)
    said["calibration"], scaled = calibration.report((truth, models["final"]), (truth, models["final"]))
    tables = classification.tables(truth, models, names)
    tables |= calibration.plots(truth, {"before": models["final"], "after": scaled})
    examples = pd.DataFrame({"id": [f"<i>{i}" for i in range(n)], "split": "test", "label": [names[t] for t in truth]})
    wrong = mistakes.most_confident(examples, truth, models["final"], names)
    rows = [{"tokens": [["good", 0.4], ["<b>bad", -0.9]]} if tokens else {} for _ in range(len(wrong))]
    counts = {name: int((truth == i).sum()) for i, name in enumerate(names)}
    splits = {split: {"examples": n, "classes": counts} for split in ("train", "validation", "test")}
    prepared = {"examples": 3 * n, "quarantined": 2, "repeated_pictures": 0, "near_copies": 4, "conflicting_labels": 1}
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params["trainable_layers"] = trainable_layers
    history = pd.DataFrame(
        {
            "epoch": [1, 2, 3], "learning_rate": 0.1, "loss": [0.9, 0.5, 0.4], "accuracy": [0.5, 0.7, 0.8],
            "val_loss": [0.8, 0.6, 0.7], "val_accuracy": [0.6, 0.7, 0.7],
        }
    )  # fmt: skip
    tuned = {"epochs": 3, "best_epoch": 2, "best_val_loss": 0.6, "best_val_accuracy": 0.7}
    outs = [{"path": path, "md5": f"{at:032x}", "size": 10**7 * at} for at, path in enumerate(PATHS, start=1)]
    lock = {"stages": {"all": {"cmd": "", "outs": outs}}}
    source = {"source": "package:a==1", "name": "a", "licence": "CC-BY-NC-SA-4.0", "sha256": "ab" * 32}
    backbone = {
        "name": "EfficientNetLite0", "image_size": 224, "embedding": 1280, "remark": "", "licence": "Apache-2.0",
        "source": "package:b==2", "sha256": "cd" * 32,
    }  # fmt: skip
    predictions = classification.predictions(examples, names, models["final"])
    files = {
        "params.yaml": yaml.safe_dump(params),
        "dvc.lock": yaml.safe_dump(lock),
        "requirements.lock": "keras==3.15.1 \\\nnumpy==2.4.6 ; python_full_version < '3.12' \\\nx==1 \\\n",
        "metrics/evaluate.json": json.dumps(said),
        "metrics/prepare.json": json.dumps(prepared | {"splits": splits}),
        "metrics/train_head.json": json.dumps(tuned),
        "metrics/fine_tune.json": json.dumps(tuned if trainable_layers else tuned | {"epochs": 0, "best_epoch": 0}),
        "plots/train_head.csv": history.to_csv(index=False),
        "plots/fine_tune.csv": (history if trainable_layers else history.iloc[:0]).to_csv(index=False),
        "data/prepared/source.json": json.dumps(source),
        "data/prepared/examples.csv": examples.assign(group="").to_csv(index=False),
        "data/activations/activations.json": json.dumps({"cut": "x", "cached": trainable_layers != 0}),
        "models/backbone/backbone.json": json.dumps(backbone),
        "evaluation/predictions.csv": predictions.to_csv(index=False),
        "evaluation/mistakes.json": mistakes.listed(wrong, rows),
    }
    files |= {f"plots/evaluate/{name}": table.to_csv(index=False) for name, table in tables.items()}
    found = {path: text.encode() for path, text in files.items()}
    if len(wrong) and not tokens:
        packed = io.BytesIO()
        pictures = rng.integers(0, 256, (len(wrong), 20, 20, 1)).astype(np.uint8)
        np.savez(packed, pictures=pictures, evidence=rng.normal(size=(len(wrong), 3, 3)).astype(np.float16))
        found["evaluation/mistakes.npz"] = packed.getvalue()
    return found


@pytest.fixture
def leave() -> Callable[..., dict[str, bytes]]:
    return outputs

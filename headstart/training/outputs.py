"""What a training leaves: the model's folder, its metrics and its curves. Both training stages write the same."""

import json
from collections.abc import Mapping
from pathlib import Path

import keras
import pandas as pd

from headstart import facts, stage
from headstart.backbones.saving import save_model
from headstart.data.prepared import Prepared
from headstart.features import inputs, tokens
from headstart.params import Params
from headstart.training import followed, loop


def write(
    name: str,
    into: str,
    networks: Mapping[str, keras.Model],
    settings: Params,
    prepared: Prepared,
    history: pd.DataFrame,
) -> dict[str, float]:
    """Write all of it, each whole or not at all.

    Args:
        name: of the stage.
        into: the model's folder.
        networks: by the names of their files.
        settings, prepared: what they were trained with and on.
        history: of the training, as `loop.fit` gives it.

    Returns:
        The metrics.
    """
    summary = loop.summary(history, followed.OF_LABELS[prepared.labels])
    vocabulary = inputs.vocabulary_of(prepared, Path("models/backbone"), settings.data.max_tokens)
    with stage.whole(into) as folder:
        known = tokens.save(vocabulary, folder)
        for file, network in networks.items():
            save_model(network, folder / file)
        (folder / "labels.json").write_text(json.dumps(prepared.classes, indent=1) + "\n")
        facts.write(folder, task=settings.task, augment=settings.features.augment, seed=settings.seed, **known)
    stage.write(f"metrics/{name}.json", json.dumps(summary, indent=1) + "\n")
    stage.write(f"plots/{name}.csv", loop.curves(history))
    return summary

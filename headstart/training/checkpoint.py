"""The state of a training after each epoch, so that one that was killed goes on as if nothing had happened.

It lies beside the stages' outputs, which DVC deletes before a stage runs, in a file named by a key of everything the
training depends on: another parameter never finds it, and a training that finishes removes it. It may be deleted at any
time. Keras' own BackupAndRestore knows neither what other callbacks remember nor which epoch was the best.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

# States of trainings that nobody went on with; older ones go when a new one is begun.
MOST = 4


def folder() -> Path:
    """Where all states lie: in the repository that DVC names, also for an experiment in a temporary copy."""
    return Path(os.environ.get("DVC_ROOT", ".")).resolve() / ".headstart" / "training"


class State(NamedTuple):
    """What a training is after an epoch.

    record: numbers and names, as JSON has them.
    groups: named lists of arrays: weights, the optimizer's variables.
    """

    record: dict[str, Any]
    groups: dict[str, list[np.ndarray]]


class Checkpoint:
    """The one file of a training."""

    def __init__(self, name: str, key: str, within: Path | None = None) -> None:
        """Name it; nothing is written yet.

        Args:
            name: of the stage.
            key: of all that it depends on.
            within: the folder of all states, if not the usual one.
        """
        # Variables of another backend have another order and other random states.
        digest = hashlib.sha256(f"{key} {keras.backend.backend()}".encode()).hexdigest()[:16]
        self.path = (within or folder()) / f"{name}-{digest}.safetensors"

    def save(self, record: Mapping[str, Any], groups: Mapping[str, Sequence[np.ndarray]]) -> None:
        """Keep the state, whole or not at all."""
        arrays = {
            f"{group}/{at:05d}": np.asarray(array, order="C")
            for group, members in groups.items()
            for at, array in enumerate(members)
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        aside = self.path.with_suffix(f".{os.getpid()}.part")
        save_file(arrays, aside, {"record": json.dumps(record), "sha256": _digest(arrays)})
        aside.replace(self.path)

    def load(self) -> State | None:
        """The state that was kept; None if there is none, or if it was damaged."""
        try:
            with safe_open(self.path, "numpy") as file:
                arrays = {name: file.get_tensor(name) for name in sorted(file.keys())}
                said = file.metadata() or {}
        except (OSError, SafetensorError):
            return None
        if said.get("sha256") != _digest(arrays):
            return None
        groups: dict[str, list[np.ndarray]] = {}
        for name, array in arrays.items():
            groups.setdefault(name.partition("/")[0], []).append(array)
        return State(json.loads(said["record"]), groups)

    def remove(self) -> None:
        """Forget this state, and those of the oldest trainings that nobody went on with."""
        self.path.unlink(missing_ok=True)
        there = sorted(self.path.parent.glob("*.safetensors"), key=lambda path: path.stat().st_mtime)
        for path in [*there[:-MOST], *self.path.parent.glob(f"*.{os.getpid()}.part")]:
            path.unlink(missing_ok=True)


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()

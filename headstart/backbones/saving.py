"""Keras models as files that hold nothing but the model: the same model gives the same bytes."""

import json
import zipfile
from pathlib import Path

import keras

# The earliest moment that a zip archive can state.
_NO_TIME = (1980, 1, 1, 0, 0, 0)


def save_model(model: keras.Model, path: Path) -> None:
    """Save without optimizer, and without the moment of saving, which Keras writes in two places.

    Args:
        model: compiled or not.
        path: ends in `.keras`; appears whole or not at all.
    """
    aside = path.with_name(f".{path.stem}.part.keras")
    final = path.with_name(f".{path.name}.part")
    model.save(aside, include_optimizer=False)
    with zipfile.ZipFile(aside) as source, zipfile.ZipFile(final, "w") as target:
        for name in sorted(source.namelist()):
            content = source.read(name)
            if name == "metadata.json":
                content = json.dumps({**json.loads(content), "date_saved": ""}).encode()
            target.writestr(zipfile.ZipInfo(name, _NO_TIME), content)
    aside.unlink()
    final.replace(path)


def load_model(path: Path) -> keras.Model:
    """Load a model that holds no code: Lambda layers and the like are refused."""
    return keras.saving.load_model(path, compile=False, safe_mode=True)

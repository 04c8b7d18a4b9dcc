"""Keras models as files that hold nothing but the model: the same model gives the same bytes."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras

# The earliest moment that a zip archive can state.
_NO_TIME = (1980, 1, 1, 0, 0, 0)


def save_model(model: keras.Model, path: Path) -> None:
    """Save without optimizer, and without what differs from run to run: the time of day and memory addresses.

    Args:
        model: compiled or not.
        path: ends in `.keras`; appears whole or not at all.
    """
    aside = path.with_name(f".{path.stem}.part.keras")
    final = path.with_name(f".{path.name}.part")
    # For .keras files Keras 3.15 ignores include_optimizer=False. In a clone no network inside is compiled; the clone
    # itself is, if the model was, so what is saved is a new one around its layers.
    clone = plain(model)
    keras.Model(clone.input, clone.output, name=model.name).save(aside)
    with zipfile.ZipFile(aside) as source, zipfile.ZipFile(final, "w") as target:
        for name in sorted(source.namelist()):
            content = source.read(name)
            if name == "metadata.json":
                content = json.dumps({**json.loads(content), "date_saved": ""}).encode()
            elif name == "config.json":
                content = json.dumps(_renumbered(json.loads(content), {})).encode()
            elif name == "model.weights.h5":
                content = _unnumbered(content)
            target.writestr(zipfile.ZipInfo(name, _NO_TIME), content)
    aside.unlink()
    final.replace(path)


def plain(model: keras.Model) -> keras.Model:
    """A copy of the model, LoRA's factors merged into the kernels that they belong to."""

    def without_factors(operation: Any) -> Any:
        config = {key: value for key, value in operation.get_config().items() if not key.startswith("lora_")}
        return operation.__class__.from_config(config)

    clone = keras.models.clone_model(model, clone_function=without_factors)
    for layer, copy in zip(model.layers, clone.layers, strict=True):
        values = {id(weight): weight for weight in layer.variables if not weight.name.startswith("lora_")}
        for part in layer._flatten_layers():
            if getattr(part, "lora_enabled", False):
                if isinstance(part, keras.layers.Embedding):
                    values[id(part._embeddings)] = part.embeddings
                else:
                    values[id(part._kernel)] = part.kernel
        for value, variable in zip(values.values(), copy.variables, strict=True):
            variable.assign(value)
    return clone


def _renumbered(config: Any, seen: dict[int, int]) -> Any:
    """The same configuration, with shared objects numbered as they come instead of by memory address."""
    if isinstance(config, dict):
        return {
            key: seen.setdefault(value, len(seen)) if key == "shared_object_id" else _renumbered(value, seen)
            for key, value in config.items()
        }
    if isinstance(config, list):
        return [_renumbered(value, seen) for value in config]
    return config


def _unnumbered(weights: bytes) -> bytes:
    """A weights file without the names of the layers inside of layers, which Keras counts over the session.

    Nothing reads them: a weight is found by its path. A file that has none is left as it is; another is written anew,
    for HDF5 keeps the bytes of what is overwritten.
    """
    with h5py.File(io.BytesIO(weights)) as source:
        inside: dict[str, str] = {}

        def look(path: str, thing: Any) -> None:
            parts = path.split("/")
            if parts[-1] == "vars" and any(part.startswith("_") for part in parts):  # a layer's attribute
                inside[path] = parts[-2]

        source.visititems(look)
        if not inside:
            return weights
        made = io.BytesIO()
        with h5py.File(made, "w") as target:
            target.attrs.update(source.attrs)

            def write(path: str, thing: Any) -> None:
                copy = (
                    target.create_group(path)
                    if isinstance(thing, h5py.Group)
                    else target.create_dataset(path, data=thing[()])
                )
                copy.attrs.update({**thing.attrs, **({"name": inside[path]} if path in inside else {})})

            source.visititems(write)
        return made.getvalue()


def load_model(path: Path) -> keras.Model:
    """Load a model that holds no code: Lambda layers and the like are refused."""
    if zipfile.is_zipfile(path):  # else Keras says what is wrong
        with zipfile.ZipFile(path) as archive:
            if b'"keras_hub' in archive.read("config.json"):
                from headstart.backbones import hub  # noqa: F401  # its layers become known to Keras; slow: not for all
    return keras.saving.load_model(path, compile=False, safe_mode=True)

"""A saved network as MLflow keeps models: the file itself, with what MLflow needs to know in order to serve it.

MLflow's own way loads the network, saves it again and tries it out, which takes TensorFlow and seconds. Here the bytes
that DVC tracks go in as they are, and everything about them is read from the file: Keras is not imported. The layout is
that of MLflow's flavour `tensorflow` (https://mlflow.org/docs/latest/ml/model: "MLmodel file", "Model signature").
"""

import json
import platform
import shutil
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import yaml

# The module is MLflow's flavour: `Model.log` looks for its `save_model`.
FLAVOR = "tensorflow"
# What serving a model takes; `keras-hub` where the network's layers are its own.
SERVING = ("keras", "tensorflow", "numpy")


def log(run_id: str, folder: Path, md5: str, example: np.ndarray | None) -> str:
    """Log the network in a folder as a model of a run; the model's id.

    Args:
        run_id: of a run that has its parameters already, which the model takes over.
        folder: holds model.keras, and labels.json with the names of its outputs.
        md5: of model.keras; the model is tagged with it.
        example: a batch of one real input, or None.
    """
    import sys

    from mlflow.models import Model

    logged = Model.log(
        artifact_path=None,
        flavor=sys.modules[__name__],
        flavor_name=FLAVOR,
        name="model",
        run_id=run_id,
        tags={"headstart.md5": md5},
        metadata={"classes": classes(folder)},
        validate_serving_input=False,
        network=folder / "model.keras",
        input_example=example,
    )
    return str(logged.model_id)


def save_model(path: str, mlflow_model: Any, network: Path, input_example: np.ndarray | None, **_: object) -> None:
    """Write the model's folder, as `mlflow.models.Model.log` asks of a flavour.

    Args:
        path: of a folder that is not there yet.
        mlflow_model: `mlflow.models.Model`, to be completed.
        network: a `.keras` file; labels.json lies beside it.
        input_example: a batch of one real input, or None.
    """
    from mlflow import pyfunc, types
    from mlflow.models import ModelSignature
    from mlflow.models.utils import _save_example

    target = Path(path)
    (target / "data").mkdir(parents=True)
    config = configuration(network)
    outputs = types.TensorSpec(np.dtype("float32"), (-1, len(classes(network.parent))))
    mlflow_model.signature = ModelSignature(
        types.Schema([types.TensorSpec(*spec) for spec in inputs(config)]), types.Schema([outputs])
    )
    if input_example is not None:
        _save_example(mlflow_model, input_example, path)
    shutil.copyfile(network, target / "data" / "model.keras")
    (target / "data" / "keras_module.txt").write_text("tensorflow.keras")
    (target / "data" / "save_format.txt").write_text("keras")

    needed = requirements(json.dumps(config))
    python, pip = platform.python_version(), metadata.version("pip") if _installed("pip") else None
    (target / "requirements.txt").write_text("\n".join(needed))
    conda = [f"python={python}", f"pip<={pip}" if pip else "pip", {"pip": needed}]
    _yaml(target / "conda.yaml", {"channels": ["conda-forge"], "dependencies": conda, "name": "mlflow-env"})
    _yaml(target / "python_env.yaml", {"python": python, "dependencies": ["-r requirements.txt"]})

    mlflow_model.add_flavor(
        FLAVOR, code=None, data="data", model_type="keras", save_format="keras",
        keras_version=metadata.version("keras"),
    )  # fmt: skip
    pyfunc.add_to_model(
        mlflow_model, loader_module="mlflow.tensorflow", data="data",
        conda_env="conda.yaml", python_env="python_env.yaml",
    )  # fmt: skip
    mlflow_model.model_size_bytes = network.stat().st_size
    mlflow_model.save(str(target / "MLmodel"))


def configuration(network: Path) -> dict[str, Any]:
    """The network's structure, as the `.keras` file describes it."""
    with zipfile.ZipFile(network) as file:
        content: dict[str, Any] = json.loads(file.read("config.json"))
    return content


def inputs(config: dict[str, Any]) -> list[tuple[np.dtype[Any], tuple[int, ...], str | None]]:
    """Type, shape (-1: any number) and name of each input of a functional network; a single one goes without a name.

    With a name, MLflow would hand Keras a mapping where it wants an array.
    """
    layers = [layer for layer in config["config"]["layers"] if layer["class_name"] == "InputLayer"]
    found = []
    for layer in layers:
        given = layer["config"]
        shape = (-1, *(-1 if size is None else int(size) for size in given["batch_shape"][1:]))
        found.append((np.dtype(given["dtype"]), shape, given["name"] if len(layers) > 1 else None))
    return found


def classes(folder: Path) -> list[str]:
    """Names of the network's outputs, in order."""
    names: list[str] = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    return names


def requirements(config: str) -> list[str]:
    """Pins of what serving takes, as installed here."""
    packages = ["mlflow", *SERVING, *(["keras-hub"] if "keras_hub" in config else [])]
    return [f"{package}=={metadata.version(package)}" for package in packages if _installed(package)]


def example(prepared: Path, model: Path) -> np.ndarray | None:
    """The first training example, as the network takes it; None where there are none.

    Args:
        prepared: the folder that `prepare` writes, or what of it is at hand.
        model: the network's folder, with its vocabulary if it has one.
    """
    from headstart.data.prepared import load
    from headstart.features import inputs, tokens

    try:
        return inputs.example(load(prepared), tokens.of_model(model))
    except (OSError, IndexError, KeyError):  # not at hand, or of another version
        return None


def _installed(package: str) -> bool:
    try:
        return bool(metadata.version(package))
    except metadata.PackageNotFoundError:
        return False


def _yaml(path: Path, content: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(content, sort_keys=False))

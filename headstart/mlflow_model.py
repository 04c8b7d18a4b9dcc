"""A saved network as MLflow keeps models: the file itself, with what MLflow needs to know in order to serve it.

MLflow's own way loads the network, saves it again and tries it out, which takes TensorFlow and seconds. Here the bytes
that DVC tracks go in as they are, and everything about them is read from the file: Keras is not imported. The layout is
that of MLflow's flavour `tensorflow` (https://mlflow.org/docs/latest/ml/model: "MLmodel file", "Model signature").

It is served by headstart/serving.py, which goes in with what it imports: pictures' files or texts are the input.
Nothing in there is a pickle.
"""

import ast
import base64
import io
import json
import platform
import shutil
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from headstart import facts

# The module is MLflow's flavour: `Model.log` looks for its `save_model`.
FLAVOR = "tensorflow"
# What serving a model takes; `keras-hub` where the network's layers are its own.
SERVING = (
    "keras", "tensorflow", "numpy", "charset-normalizer", "h5py", "ImageHash", "MarkupSafe", "pandas", "pillow",
    "pydantic", "PyYAML", "scipy", "tokenizers", "tqdm",
)  # fmt: skip
LOADER = "headstart.serving"


def log(run_id: str, folder: Path, md5: str, example: np.ndarray | None, views: int = 1) -> str:
    """Log the network in a folder as a model of a run; the model's id.

    Args:
        run_id: of a run that has its parameters already, which the model takes over.
        folder: holds model.keras, and labels.json with the names of its outputs.
        md5: of model.keras; the model is tagged with it.
        example: a batch of one real input, or None.
        views: of a picture, whose probabilities are averaged.
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
        metadata={"classes": classes(folder), "labels": facts.read(folder).get("labels", "class")},
        validate_serving_input=False,
        network=folder / "model.keras",
        input_example=example,
        views=views,
    )
    return str(logged.model_id)


def save_model(
    path: str, mlflow_model: Any, network: Path, input_example: np.ndarray | None, views: int = 1, **_: object
) -> None:
    """Write the model's folder, as `mlflow.models.Model.log` asks of a flavour.

    Args:
        path: of a folder that is not there yet.
        mlflow_model: `mlflow.models.Model`, to be completed.
        network: a `.keras` file; labels.json lies beside it, and model.json and tokenizer.json where they are needed.
        input_example: a batch of one real input, or None.
        views: of a picture, whose probabilities are averaged.
    """
    from mlflow import pyfunc, types
    from mlflow.models import ModelSignature
    from mlflow.models.utils import _save_example

    target = Path(path)
    (target / "data").mkdir(parents=True)
    config = configuration(network)
    outputs = types.TensorSpec(np.dtype("float32"), (-1, len(classes(network.parent))))
    # An array of objects: what is in them is checked by who knows better than MLflow.
    taken = types.TensorSpec(np.dtype("O"), (-1,))
    mlflow_model.signature = ModelSignature(types.Schema([taken]), types.Schema([outputs]))
    if input_example is not None:
        _save_example(mlflow_model, input_example, path)
    shutil.copyfile(network, target / "data" / "model.keras")
    for name in ("labels.json", "tokenizer.json"):
        if (network.parent / name).exists():
            shutil.copyfile(network.parent / name, target / "data" / name)
    known = json.dumps(facts.read(network.parent) | {"views": views}, indent=1)
    (target / "data" / facts.NAME).write_text(known + "\n", encoding="utf-8")
    for name, file in modules(LOADER).items():
        (target / "code" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target / "code" / name)
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
        mlflow_model, loader_module=LOADER, data="data", code="code",
        conda_env="conda.yaml", python_env="python_env.yaml",
    )  # fmt: skip
    mlflow_model.model_size_bytes = network.stat().st_size
    mlflow_model.save(str(target / "MLmodel"))


def configuration(network: Path) -> dict[str, Any]:
    """The network's structure, as the `.keras` file describes it."""
    with zipfile.ZipFile(network) as file:
        content: dict[str, Any] = json.loads(file.read("config.json"))
    return content


def modules(name: str) -> dict[str, Path]:
    """The files of one of our modules and of all that it imports of ours, by their places in a folder of code."""
    root, found = Path(__file__).parent, {}
    left = [name]
    while left:
        *parts, last = left.pop().split(".")[1:] or ["__init__"]
        place = root.joinpath(*parts, last)
        file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        where = f"{root.name}/{file.relative_to(root).as_posix()}"
        if where in found or not file.exists():  # not a module, but a name in one
            continue
        found[where] = file
        left += [".".join([root.name, *parts[:depth]]) for depth in range(len(parts) + 1)]
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
            left += [each for each in names if each.partition(".")[0] == root.name]
    return found


def classes(folder: Path) -> list[str]:
    """Names of the network's outputs, in order."""
    names: list[str] = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    return names


def requirements(config: str) -> list[str]:
    """Pins of what serving takes, as installed here."""
    packages = ["mlflow", *SERVING, *(["keras-hub"] if "keras_hub" in config else [])]
    return [f"{package}=={metadata.version(package)}" for package in packages if _installed(package)]


def example(prepared: Path) -> np.ndarray | None:
    """The first training example as an input of the served model, object [1] or [1, 2]; None where there are none.

    Args:
        prepared: the folder that `prepare` writes, or what of it is at hand.
    """
    from headstart.data.prepared import load

    try:
        data = load(prepared)
        first = data.contents[int(data.of("train").index[0])]
    except (OSError, IndexError, KeyError):  # not at hand, or of another version
        return None
    taken: str | list[str] = encoded(first) if isinstance(first, np.ndarray) else first[0]
    if isinstance(first, tuple) and len(first) > 1:
        taken = list(first)
    return np.array([taken], dtype=object)


def encoded(picture: np.ndarray) -> str:
    """A picture, uint8 [s, s, 1 or 3], as the served model takes one: the bytes of a PNG file, in base64."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode("ascii")


def _installed(package: str) -> bool:
    try:
        return bool(metadata.version(package))
    except metadata.PackageNotFoundError:
        return False


def _yaml(path: Path, content: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(content, sort_keys=False))

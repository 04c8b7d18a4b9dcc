"""What the benchmarks work on: a backbone's folder, the default data, a clone to run stages in, a tail on its cache."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import yaml

from headstart import params
from headstart.backbones import table
from headstart.data.prepared import Prepared, load
from headstart.stage import UserError

if TYPE_CHECKING:
    import keras

ROOT = Path(__file__).parents[1]
DEFAULT = "EfficientNetLite0"
TEXT_DEFAULT = "AllMiniLML6"


@contextmanager
def folder() -> Iterator[Path]:
    """A folder that is gone afterwards."""
    with TemporaryDirectory(prefix="headstart-bench-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def backbone(name: str, size: int, within: Path, weights: str | None = None) -> Path:
    """A backbone's folder, as `fetch_backbone` writes it, and with an ONNX file whatever its table entry names.

    The pipeline's own is taken if it is this one with these weights.

    Args:
        name: of the table.
        size: of a picture's side.
        within: where to make it.
        weights: None for its own, or `random`.
    """
    made = ROOT / "models" / "backbone"
    if weights is None and (made / "backbone.json").exists():
        facts = json.loads((made / "backbone.json").read_text())
        if (facts["name"], facts.get("image_size"), facts["source"]) == (name, size, table.find(name).weights):
            return made
    from headstart.backbones import build, export
    from headstart.backbones import weights as loading

    entry = table.find(name)
    bare, provenance = loading.load(entry, size, weights, None)
    network = build.embedding_network(bare, entry, name)
    facts = {"name": name, "image_size": size, "engine": entry.engine, **provenance._asdict()}
    facts["input"] = {"kind": "picture", "size": size}
    facts |= {"embedding": network.output_shape[1], "preprocessing": entry.preprocessing}
    (within / name).mkdir()
    export.write(network, facts, within / name, onnx=True)
    return within / name


def prepared(examples: int | None = None) -> Prepared:
    """The default data, as `prepare` left them in this repository; a smoke test takes the first of each split alone."""
    path = ROOT / "data" / "prepared"
    if not (path / "examples.csv").exists():
        raise UserError(f"{path.relative_to(ROOT)} is not there; run `make repro` first")
    data = load(path)
    if examples is None:
        return data
    return data._replace(examples=data.examples.groupby("split", sort=False).head(examples))


class Clone(NamedTuple):
    """A copy of this repository's files, in which commands run with this interpreter's tools, apart from the original.

    folder: where it is.
    """

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """What a command gets, without settings of DVC's and MLflow's that lead out of the clone."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("DVC_", "MLFLOW_", "TF_"))}
        bin_folder = Path(sys.executable).parent
        return {**kept, "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"}

    def run(self, *command: str) -> str:
        """Run a command; its standard output.

        Raises:
            RuntimeError: it failed; with the end of what it said.
        """
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {(done.stderr.strip() or done.stdout.strip())[-1500:]}")
        return done.stdout

    def stage(self, name: str) -> None:
        """Run a stage, without DVC."""
        self.run("python", "-m", f"stages.{name}")

    def params(self, changes: Mapping[str, Any]) -> None:
        """Change parameters in params.yaml, sections key by key."""
        path = self.folder / "params.yaml"
        values = yaml.safe_load(path.read_text())
        for key, value in changes.items():
            values[key] = {**values[key], **value} if isinstance(value, dict) else value
        path.write_text(yaml.safe_dump(values))

    def take(self, name: str) -> bool:
        """Copy one of this repository's outputs, if it is there."""
        if not (ROOT / name).is_dir():
            return False
        shutil.copytree(ROOT / name, self.folder / name)
        return True

    def git(self) -> None:
        """Make it a git repository of one commit."""
        self.run("git", "init", "--quiet")
        self.run("git", "config", "user.name", "benchmarks")
        self.run("git", "config", "user.email", "benchmarks@localhost")
        self.commit("the clone")

    def commit(self, message: str) -> None:
        """Commit everything."""
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--allow-empty", "--message", message)


def clone(within: Path) -> Clone:
    """Copy what git tracks or would, without the results of this repository's own pipeline."""
    into = within / "clone"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("dvc.lock", "metrics/", "plots/")):
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, into / name)
    if (into / ".dvc").is_dir():
        (into / ".dvc" / "plots.html").write_text("{plot_divs}")  # made by `make setup`, named in .dvc/config
    return Clone(into)


def activations(path: Path, at: str, data: Prepared, views: int, within: Path) -> np.ndarray:
    """Write the cache of the training split at a cut, as `cache_activations` does, and map it.

    Args:
        path: of the backbone.
        at: the cut.
        data: whose training split to take.
        views: of each picture.
        within: an empty folder for the file and the store.
    """
    from headstart.features import engine
    from headstart.features.extraction import Extractor
    from headstart.features.inputs import fresh

    extract = Extractor(
        engine.load(path, at, "auto", "float32"), augment="dihedral", seed=0, dtype="float16", within=within / "store"
    )
    extract.activate(fresh(data, "train", "dihedral", 0, None), within / "train.npy", views)
    shutil.rmtree(within / "store")
    return np.load(within / "train.npy", mmap_mode="r")


def text_backbone(within: Path) -> Path:
    """The folder of the default text network, as `fetch_backbone` writes it."""
    from headstart.backbones import export, kinds

    entry = table.find(TEXT_DEFAULT)
    settings = params.load(ROOT / "params.yaml")
    fetched = kinds.text(settings, entry)
    facts = {"name": TEXT_DEFAULT, "engine": entry.engine, **fetched.facts, **fetched.provenance._asdict()}
    folder = within / TEXT_DEFAULT
    folder.mkdir()
    export.write(fetched.network, facts, folder, onnx=True)
    for name, content in fetched.files.items():
        (folder / name).write_text(content, encoding="utf-8")
    return folder


def texts(recipe: str, within: Path) -> Prepared:
    """The data of a recipe, fetched and prepared."""
    made = clone(within)
    shutil.copy(ROOT / "recipes" / f"{recipe}.yaml", made.folder / "params.yaml")
    for stage in ("fetch_data", "prepare"):
        made.stage(stage)
    return load(made.folder / "data" / "prepared")


class Sides(NamedTuple):
    """Two trainings of the same layers, compiled, with the same weights.

    at: the cut.
    tail: what lies above it with a head, for what was cached there.
    whole: the whole network with a head, the usual way in Keras.
    targets: of the training split.
    """

    at: str
    tail: "keras.Model"
    whole: "keras.Model"
    targets: np.ndarray


def sides(path: Path, data: Prepared, trainable: int | str) -> Sides:
    """Set up both, with the optimizer of `fine_tune`.

    Args:
        path: of the backbone.
        data: whose classes and training split to take.
        trainable: layers, as in params.yaml.
    """
    import keras

    from headstart import tasks
    from headstart.backbones import cut as parting
    from headstart.backbones.graph import cut, unfrozen
    from headstart.backbones.saving import load_model
    from headstart.features import engine
    from headstart.training import networks, optimization

    task, k = tasks.of(data), len(data.classes)
    graph = engine.read_graph(path)
    at, names = cut(graph, trainable), unfrozen(graph, trainable)

    def parts() -> tuple[keras.Model, keras.Model, dict[str, Any]]:
        keras.utils.set_random_seed(0)
        base = load_model(path / "backbone.keras")
        parting.unfreeze(base, names)
        head = networks.head(base.output_shape[1], k, [], 0.0, task)
        optimizer = optimization.optimizer("adamw", 3e-4, weight_decay=1e-4, clip_norm=1.0)
        return base, head, {"optimizer": optimizer, "loss": task.loss(), "metrics": task.metrics()}

    base, head, settings = parts()
    tail = networks.on_top(parting.tail(base, at), head, "tail")
    networks.compile_for_device(tail, **settings)
    base, head, settings = parts()
    whole = networks.on_top(base, head, "whole")
    whole.compile(**settings)
    return Sides(at, tail, whole, task.targets(data.targets("train"), k))

"""What the stages leave behind: nothing that runs code when it is read, nothing that differs from run to run."""

import io
import pickletools
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.pipeline.conftest import Clone

pytestmark = pytest.mark.pipeline


def is_pickle(content: bytes) -> bool:
    """Whether a pickle machine would take it: protocol 2 and later begin with their number, all end with a stop."""
    if not (content[:1] == b"\x80" and content[1:2] in b"\2\3\4\5"):
        return False
    try:
        return any(True for _ in pickletools.genops(content))
    except ValueError:
        return False


def contents(path: Path) -> dict[str, bytes]:
    """The file, or the members of an archive."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as file:
            return {f"{path}!{name}": file.read(name) for name in file.namelist()}
    return {str(path): path.read_bytes()}


def test_no_output_holds_a_pickle(pipeline: Clone) -> None:
    seen = 0
    for folder in ("data/prepared", "data/features", "data/activations", "models", "evaluation", "mlartifacts"):
        for path in (path for path in (pipeline.folder / folder).rglob("*") if path.is_file()):
            for name, content in contents(path).items():
                assert not is_pickle(content), name
                assert not name.endswith((".pkl", ".pickle", ".joblib")), name
                if name.endswith(".npy"):
                    np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
                if name.endswith("config.json") and path.suffix == ".keras":
                    assert '"Lambda"' not in content.decode()
                seen += 1
    assert seen > 20


def test_outputs_hold_no_times_paths_or_run_ids(pipeline: Clone) -> None:
    said = subprocess.run(
        ["git", "log", "-1", "--format=%as"], cwd=pipeline.folder, capture_output=True, text=True, check=True
    ).stdout.strip()
    runs = {path.name for path in (pipeline.folder / "mlartifacts").rglob("*") if len(path.name) == 32}
    hidden = [str(pipeline.folder), str(Path.home()), said, *runs]
    lock = yaml.safe_load((pipeline.folder / "dvc.lock").read_text())["stages"]
    for out in (out["path"] for stage in lock.values() for out in stage["outs"] if out["path"] != "data/fetched"):
        root = pipeline.folder / out
        for path in [root] if root.is_file() else [path for path in root.rglob("*") if path.is_file()]:
            for name, content in contents(path).items():
                for text in hidden:
                    assert text.encode() not in content, f"{name} holds {text}"

"""What the stages leave behind: nothing that runs code when it is read, nothing that differs from run to run."""

import io
import json
import pickletools
import subprocess
import sys
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


def test_the_page_and_the_card_of_a_run_say_what_its_metrics_say(pipeline: Clone) -> None:
    metrics = json.loads((pipeline.folder / "metrics/evaluate.json").read_text())
    page = (pipeline.folder / "reports/index.html").read_text()
    card = (pipeline.folder / "evaluation/MODEL_CARD.md").read_text()
    assert f'id="accuracy">{100 * metrics["accuracy"]:.1f} %<' in page
    assert f"temperature of {metrics['calibration']['temperature']:.3f}" in page
    low, high = metrics["interval"]["accuracy"]
    assert f"| accuracy | {metrics['accuracy']:.3f} [{low:.3f}, {high:.3f}] |" in card
    lock = yaml.safe_load((pipeline.folder / "dvc.lock").read_text())["stages"]
    recorded = {out["path"]: out["md5"] for stage in lock.values() for out in stage["outs"]}
    for path in ("data/prepared", "models/backbone", "models/final"):
        assert recorded[path] in page
    listed = json.loads((pipeline.folder / "evaluation/mistakes.json").read_text())
    assert (
        page.count('<figure class="mistake">')
        == len(listed)
        == min(24, round(metrics["n"] * (1 - metrics["accuracy"])))
    )
    assert not pipeline.ok("git", "status", "--porcelain", "--", "reports")


def test_a_page_of_a_commit_is_the_page_of_its_run(pipeline: Clone) -> None:
    made = pipeline.folder / ".dvc/tmp/page.html"
    pipeline.ok(sys.executable, "-m", "headstart", "report", "--rev", "HEAD", "--into", str(made))
    shown, again = (pipeline.folder / "reports/index.html").read_text(), made.read_text()
    made.unlink()
    # Everything below the lines about names and comparisons comes out of DVC's cache as it came out of the stage.
    assert "base64" in again
    assert again.partition("<h2>Learning</h2>")[2] == shown.partition("<h2>Learning</h2>")[2]
    refused = pipeline.run(sys.executable, "-m", "headstart", "report", "--rev", "nowhere")
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: nowhere: there is no such revision")

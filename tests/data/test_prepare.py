"""The two stages that bring data in, run as DVC runs them, on real data."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.datasets import load_digits

from headstart import stage
from headstart.data.prepared import load
from stages import fetch_data, prepare

ROOT = Path(__file__).parents[2]

Stage = Callable[..., None]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """Runs a stage in an empty folder with params.yaml, changed as given."""
    monkeypatch.chdir(tmp_path)

    def run(main: Callable[[], None], **data: object) -> None:
        content = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
        content["data"] |= {"source": None, "threshold": None, "classes": None} | data
        content["prepare"]["image_size"] = 32
        Path("params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
        stage.run(main)

    return run


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_per_class_is_prepared(
    run: Stage, plankton: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(plankton, tmp_path / "mine")
    (tmp_path / "mine/Tripos/broken.png").write_bytes(b"no picture")
    run(prepare.main, path="mine")
    said = capsys.readouterr()
    assert "note: 1 examples set aside" in said.err
    assert "Noctilucales" in said.out
    folder = tmp_path / "data/prepared"
    examples = pd.read_csv(folder / "examples.csv", keep_default_na=False)
    images = np.load(folder / "images.npy", mmap_mode="r")
    labels = json.loads((folder / "labels.json").read_text())
    assert list(examples.columns) == ["id", "path", "hash", "label", "group", "near", "split"]
    assert images.shape == (105, 32, 32, 3)
    # With these a picture that comes later is decoded as those were.
    survey = json.loads((folder / "inputs.json").read_text())
    assert survey == {"image_size": 32, "resize": "stretch", "channels": 3, "black": 0, "white": 1}
    assert set(examples["label"]) == set(labels)
    assert len(labels) == 6
    assert (pd.crosstab(examples["label"], examples["split"]) > 0).all(axis=None)
    assert (examples["path"] == "mine/" + examples["id"]).all()
    assert str(tmp_path) not in (folder / "examples.csv").read_text()
    summary = json.loads((tmp_path / "metrics/prepare.json").read_text())
    assert (summary["examples"], summary["quarantined"]) == (105, 1)
    assert (folder / "quarantine.csv").read_text() == (
        "id,path,reason\nTripos/broken.png,mine/Tripos/broken.png,not a picture of a known kind\n"
    )
    page = (tmp_path / "reports/data.html").read_text()
    assert all(f"<b>{label} " in page for label in labels)
    assert "Tripos/broken.png<td>not a picture of a known kind" in page
    assert page.count("<img ") >= 6 * 3
    assert "http" not in page, "the page needs no network"
    first = contents(folder) | contents(tmp_path / "reports")
    run(prepare.main, path="mine")
    assert contents(folder) | contents(tmp_path / "reports") == first


def test_an_npz_is_prepared(run: Stage, tmp_path: Path) -> None:
    images, labels = load_digits(return_X_y=True)
    np.savez(tmp_path / "digits.npz", images=images.reshape(-1, 8, 8), labels=labels)
    run(prepare.main, path="digits.npz")
    stored = np.load(tmp_path / "data/prepared/images.npy")
    assert stored.shape == (1797, 32, 32, 1)
    assert stored.max() > 128  # sixteen greys, spread over the range
    assert json.loads((tmp_path / "data/prepared/labels.json").read_text()) == [str(digit) for digit in range(10)]
    whole, part = (load(tmp_path / "data/prepared", columns) for columns in (None, ["hash", "split"]))
    assert list(part.examples) == ["hash", "split"]
    assert part.of("test").equals(whole.of("test")[["hash", "split"]])


def test_copies_share_a_split_and_given_splits_that_part_them_stop(
    run: Stage, plankton: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(plankton, tmp_path / "mine")
    picture = sorted((tmp_path / "mine/Tripos").iterdir())[0]
    shutil.copy(picture, picture.with_name("copy.jpg"))
    shutil.copy(picture, tmp_path / "mine/Noctilucales/contradiction.jpg")
    run(prepare.main, path="mine")
    assert "1 pictures have the same pixels and different labels" in capsys.readouterr().err
    examples = pd.read_csv(tmp_path / "data/prepared/examples.csv", keep_default_na=False)
    assert examples.groupby("hash")["split"].nunique().max() == 1
    assert "contradiction.jpg" in (tmp_path / "reports/data.html").read_text()

    root = tmp_path / "given"
    for name, split in zip(examples["id"], examples["split"], strict=True):
        target = root / (
            "train" if name.endswith("copy.jpg") else "test" if name == f"Tripos/{picture.name}" else split
        )
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tmp_path / "mine" / name, target / name)
    with pytest.raises(
        SystemExit, match=r"given splits part \d sets .* in test and .* in train, the same pixels.*data.on_leak"
    ):
        run(prepare.main, path="given")
    run(prepare.main, path="given", on_leak="move")
    moved = pd.read_csv(tmp_path / "data/prepared/examples.csv", keep_default_na=False)
    assert set(moved.loc[moved["hash"] == moved.set_index("id").loc["train/Tripos/copy.jpg", "hash"], "split"]) == {
        "test"
    }
    run(prepare.main, path="given", on_leak="warn")
    assert "the test split tells less than it seems" in capsys.readouterr().err


def test_a_mistake_is_one_line_and_leaves_what_was_there(run: Stage, plankton: Path, tmp_path: Path) -> None:
    run(prepare.main, path=str(plankton))
    before = contents(tmp_path / "data")
    for change in ({"path": "nowhere"}, {"path": "params.yaml"}):
        with pytest.raises(SystemExit, match=r"^error: data.path: [^\n]+$"):
            run(prepare.main, **change)
    assert contents(tmp_path / "data") == before


def test_nothing_to_fetch_leaves_an_empty_folder_for_dvc(
    run: Stage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(fetch_data.main, path="mine")
    assert capsys.readouterr().out == "nothing to fetch: data.source is null\n"
    assert list(contents(tmp_path / "data/fetched")) == ["SOURCE.json"]


def test_these_stages_need_no_tensorflow() -> None:
    code = "import sys, stages.prepare, stages.fetch_data; print({'keras', 'tensorflow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"

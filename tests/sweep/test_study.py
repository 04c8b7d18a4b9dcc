"""Which trials belong to one study."""

from pathlib import Path

import pytest
import yaml

from headstart.sweep.space import changed, space
from headstart.sweep.study import key

ROOT = Path(__file__).parents[2]
RANGES = {"lr": "1e-4:1e-2:log", "head.dropout": "0:0.5"}


@pytest.fixture
def values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    """The parameters, in a folder with the graph, a file of its code, and data of the user's own."""
    monkeypatch.chdir(tmp_path)
    Path("dvc.yaml").write_bytes((ROOT / "dvc.yaml").read_bytes())
    for file in ("stages/fine_tune.py", "stages/evaluate.py", "pictures/cat/1.png"):
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_text(file)
    found = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    return changed(found, {"data.path": "pictures", "data.images": "pictures"})


def test_what_makes_trials_incomparable_makes_another_study(values: dict) -> None:
    first = key(space(RANGES, values), values)
    others = [
        key(space({**RANGES, "lr": "1e-4:1e-1:log"}, values), values),
        key(space(RANGES, values), changed(values, {"seed": 1})),
        key(space(RANGES, values), changed(values, {"head.patience": 9})),
    ]
    for file in ("stages/fine_tune.py", "pictures/cat/1.png"):
        before = Path(file).read_text()
        Path(file).write_text("another")
        others.append(key(space(RANGES, values), values))
        Path(file).write_text(before)
    assert len({first, *others}) == 6


def test_what_no_trial_depends_on_leaves_the_study_as_it_is(values: dict) -> None:
    first = key(space(RANGES, values), values)
    Path("stages/evaluate.py").write_text("another")
    # What varies has a value in params.yaml that no trial sees.
    for change in ({"lr": 0.5}, {"head.dropout": 0.1}, {"evaluate.bootstrap": 100}, {"tracking.experiment": "other"}):
        assert key(space(RANGES, values), changed(values, change)) == first

"""Figures over seeds, and two experiments side by side."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from headstart import compare, seeds
from headstart.stage import UserError


def found(accuracy: float, head: float) -> dict:
    return {
        "accuracy": accuracy,
        "balanced_accuracy": accuracy,
        "roc_auc": None,
        "head_only": {"accuracy": head},
        "gain": {"accuracy": accuracy - head},
    }


def test_seeds_are_summed_up_by_mean_range_and_interval() -> None:
    values = [0.8, 0.9, 0.85]
    lines = seeds.summary([found(value, 0.75) for value in values]).splitlines()
    assert lines[0].split() == ["seed", "0", "seed", "1", "seed", "2", "mean", "range", "95", "%"]
    accuracy = next(line for line in lines if line.split()[0] == "accuracy")
    low, high = stats.ttest_1samp(values, 0).confidence_interval()
    assert "0.800  0.900  0.850 0.850 0.800-0.900" in accuracy
    assert f"[{low:.3f}, {high:.3f}]" in accuracy
    assert not any("ROC" in line for line in lines), "where a seed has none, there is no mean"
    assert "[0.750, 0.750]" in next(line for line in lines if "head only" in line)


def test_the_workspace_is_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("params.yaml", "dvc.lock", "metrics/evaluate.json", "plots/evaluate/roc.csv"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(name)
    monkeypatch.setattr(seeds.subprocess, "run", lambda *command, **given: None)

    def interrupted() -> None:
        with seeds.workspace_kept():
            Path("params.yaml").write_text("seed: 3")
            Path("plots/evaluate/roc.csv").unlink()
            Path("metrics/new.json").write_text("{}")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    there = {path.relative_to(tmp_path).as_posix(): path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    assert there == {name: name for name in there}
    assert len(there) == 4


def predictions(seed: int, sharp: float, n: int = 300) -> pd.DataFrame:
    """Two classes; the sharper, the more are right."""
    rng = np.random.default_rng(seed)
    truth = np.random.default_rng(0).integers(0, 2, n)
    p = 1 / (1 + np.exp(-sharp * (2 * truth - 1) - rng.normal(size=n)))
    names = np.array(["no", "yes"])
    return pd.DataFrame({"id": [str(at) for at in range(n)], "truth": names[truth], "p_no": 1 - p, "p_yes": p})


def test_a_better_model_differs_and_its_twin_does_not() -> None:
    table, n = compare.compare({"A": predictions(1, 0.3), "B": predictions(2, 1.5)}, {}, resamples=500, seed=0)
    assert n == 300
    assert table["differs"].all()
    assert (table.set_index("figure").loc["accuracy", "difference"]) > 0.1
    text = compare.said(table, n)
    assert text.startswith("300 test examples")
    assert "differs" in text
    table, n = compare.compare({"A": predictions(1, 1.0), "B": predictions(3, 1.0)}, {}, resamples=500, seed=0)
    assert not table["differs"].any()
    assert "within the noise" in compare.said(table, n)


def test_what_cannot_be_compared_is_a_sentence() -> None:
    one = predictions(1, 1)
    for other, message in (
        (one[:200], "tested on 300 examples, B on 200, 200 of them the same"),
        (one.assign(id=one["id"] + "x"), "0 of them the same"),
        (one.rename(columns={"p_no": "p_nay"}), "the same classes"),
        (one.assign(truth="no"), "the same labels"),
    ):
        with pytest.raises(UserError, match=message):
            compare.compare({"A": one, "B": other}, {}, resamples=10, seed=0)


def test_the_summary_takes_what_evaluate_writes() -> None:
    said = json.loads((Path(__file__).parents[1] / "metrics/evaluate.json").read_text())
    assert len(seeds.summary([said, said]).splitlines()) == 1 + 5


def test_other_label_kinds_are_summed_up_by_their_own_figures() -> None:
    found = [
        {"r2": r2, "mae": 1.5, "spearman": 0.9, "head_only": {"r2": 0.5}, "gain": {"r2": r2 - 0.5, "interval": [0, 1]}}
        for r2 in (0.6, 0.7)
    ]
    lines = seeds.summary(found).splitlines()
    assert len(lines) == 1 + 5
    assert "R²" in lines[1]
    assert "0.600  0.700 0.650" in lines[1]

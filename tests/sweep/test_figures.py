"""The pictures of a study."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from PIL import Image

from headstart.sweep import figures, study
from headstart.training.followed import OF_LABELS

SPACE: dict[str, BaseDistribution] = {
    "lr": FloatDistribution(1e-4, 1e-2, log=True),
    "optimizer": CategoricalDistribution(["adamw", "sgd"]),
    "epochs": CategoricalDistribution([8]),
}


def made(n: int) -> optuna.Study:
    """A study in which sgd is worse, and the rate counts for less."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    found = optuna.create_study(direction="maximize", study_name="sweep-test")
    for number in range(n):
        found.sampler = optuna.samplers.RandomSampler(seed=number)
        trial = found.ask(SPACE)
        if number % 5 == 4:
            found.tell(trial, state=optuna.trial.TrialState.PRUNED)
            continue
        value = 0.9 - 0.2 * (trial.params["optimizer"] == "sgd") - 0.01 * abs(np.log10(trial.params["lr"]) + 3)
        trial.set_user_attr("best_val_loss", 1 - value)
        trial.set_user_attr("best_epoch", 3)
        found.tell(trial, round(value, 2))
    return found


def test_every_picture_is_drawn_and_pyplot_is_as_it_was(tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    assert set(figures.write(made(12), tmp_path)) == {"history", "slice", "parallel", "importances"}
    for name in ("history", "slice", "parallel", "importances"):
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert min(picture.size) > 300
            assert len(np.unique(np.asarray(picture.convert("L")))) > 20, "it is not blank"
    from matplotlib import pyplot as plt

    assert plt.get_fignums() == []
    assert {k: v for k, v in mpl.rcParams.items() if k != "backend"} == {
        k: v for k, v in before.items() if k != "backend"
    }


def test_a_study_of_one_trial_or_none_has_what_can_be_drawn(tmp_path: Path) -> None:
    assert figures.write(made(0), tmp_path) == []
    assert figures.write(made(1), tmp_path) == ["history"]


def test_the_table_has_the_best_first_and_among_equals_the_lower_loss() -> None:
    found = made(12)
    table = study.trials(found)
    assert table["trial"].iloc[0] == study.winner(found).number
    complete = table[table["state"] == "complete"]
    order = list(zip(-complete["val_accuracy"], complete["val_loss"], complete["trial"], strict=True))
    assert order == sorted(order)
    assert pd.isna(table["val_accuracy"].iloc[-1]), "a pruned trial has no result"


def test_of_scores_the_lowest_loss_is_the_best() -> None:
    found = optuna.create_study(direction="minimize", study_name="sweep-scores")
    for loss in (0.5, 0.3, 0.4):
        trial = found.ask(SPACE)
        trial.set_user_attr("best_val_loss", loss)
        trial.set_user_attr("best_epoch", 1)
        found.tell(trial, loss)
    its = OF_LABELS["score"]
    assert study.winner(found, its).number == 1
    table = study.trials(found, its)
    assert table["val_loss"].tolist() == [0.3, 0.4, 0.5]
    tested = {
        "r2": 0.6,
        "interval": {"r2": [0.5, 0.7]},
        "head_only": {"r2": 0.4},
        "gain": {"r2": 0.2, "interval": [0, 1]},
    }
    assert "r2 0.600 [0.500, 0.700], head only 0.400" in study.summary(table, "best", tested, its)

import io
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from headstart.evaluation import figures


@pytest.mark.parametrize("k", [2, 6, 40])
def test_all_four_pictures_are_drawn_for_any_number_of_classes(simulate, k):
    truth, p = simulate(200, k)
    labels = [f"a rather long class name, {i}" for i in range(k)]
    drawn = figures.figures(truth, {"final": p, "head_only": p[:, ::-1]}, labels)
    assert list(drawn) == ["confusion", "roc", "precision_recall", "reliability"]
    for figure in drawn.values():
        file = io.BytesIO()
        figure.savefig(file, format="png")
        assert np.asarray(Image.open(file).convert("L")).std() > 10  # not a blank sheet


def test_both_models_are_named_with_the_areas_that_the_metrics_have(simulate):
    truth, p = simulate(200, 2)
    figure = figures.roc(truth, {"final": p, "head_only": p[:, ::-1]}, ["no", "yes"])
    names = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    area = figures.curves.roc(truth, p)[1].area
    assert names == ["chance", f"final, {area:.3f}", f"head only, {1 - area:.3f}"]


def test_the_worst_classes_are_the_ones_named(simulate):
    truth, p = simulate(400, 6)
    p = p.copy()
    p[:, 4] = np.random.default_rng(0).random(400)
    figure = figures.roc(truth, {"final": p}, list("abcdef"))
    names = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert names[2].startswith("e, ")


def test_a_test_split_of_one_class_still_has_its_pictures():
    p = np.array([[0.2, 0.8], [0.7, 0.3]])
    for figure in figures.figures(np.array([1, 1]), {"final": p}, ["no", "yes"]).values():
        figure.savefig(io.BytesIO(), format="png")


def test_drawing_leaves_no_window_toolkit_behind(simulate):
    truth, p = simulate(50, 2)
    before = "matplotlib.pyplot" in sys.modules
    figures.figures(truth, {"final": p}, ["no", "yes"])
    assert ("matplotlib.pyplot" in sys.modules) == before


def test_class_names_are_text_even_if_they_look_like_formulas_or_private(simulate):
    truth, p = simulate(100, 3)
    for figure in figures.figures(truth, {"final": p}, ["US$_a$", "_hidden", "ok^"]).values():
        figure.savefig(io.BytesIO(), format="png")
    legend = figures.figures(truth, {"final": p}, ["a$", "_b", "c"])["roc"].axes[0].get_legend()
    assert len(legend.get_texts()) == 5  # chance, the three classes, the mean


@pytest.mark.parametrize("m", [0, 1, 7])
def test_mistakes_are_drawn_however_many_there_are(m):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"truth": ["US$_a$"] * m, "predicted": ["_b" * 40] * m, "probability": [0.9] * m})
    arrays = {
        "pictures": rng.integers(0, 256, (m, 32, 32, 1)).astype(np.uint8),
        "evidence": np.zeros((m, 3, 3), np.float16),
    }
    file = io.BytesIO()
    figures.mistakes(table, arrays if m else {}).savefig(file, format="png")
    assert np.asarray(Image.open(file).convert("L")).std() > 10


def test_a_training_without_epochs_is_left_out_of_the_curves():
    history = pd.DataFrame({"epoch": [1, 2], "loss": [1.0, 0.5], "accuracy": [0.5, 0.7], "val_loss": [1.1, 0.6]})
    history["val_accuracy"] = [0.4, 0.6]
    figure = figures.learning({"train_head": history, "fine_tune": history.iloc[:0]})
    assert [axes.get_title() for axes in figure.axes] == ["train head: loss", "train head: accuracy"]
    figure.savefig(io.BytesIO(), format="png")

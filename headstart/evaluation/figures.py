"""The plots as pictures for MLflow: confusion matrix, ROC, precision-recall, reliability, mistakes, learning curves.

Refuses to know where they go, and keeps no state between calls (no pyplot). Colours are Okabe & Ito's, which
stay apart for colour-blind readers; models differ in line style as well.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import CenteredNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from headstart.evaluation import curves
from headstart.evaluation.metrics import checked

Models = Mapping[str, NDArray[np.floating]]  # model -> probabilities [n, k]

_COLOURS = ("#0072B2", "#D55E00", "#56B4E9", "#000000")
_WORST = ("#E69F00", "#CC79A7", "#009E73")
_STYLES = ("-", "--", "-.", ":")
_CELLS = 20  # classes above which numbers in a confusion matrix, or names of curves, are no longer legible


def figures(truth: NDArray[np.integer], models: Models, labels: Sequence[str]) -> dict[str, Figure]:
    """Name -> picture, of all four; the first model is the one whose confusion matrix and classes are shown.

    Args:
        truth: int [n].
        models: name -> float [n, k].
        labels: class names, by column.

    Raises:
        ValueError: as `metrics.checked`.
    """
    literal = [_literal(label) for label in labels]
    return {
        "confusion": confusion(truth, models, literal),
        "roc": roc(truth, models, labels),
        "precision_recall": precision_recall(truth, models, labels),
        "reliability": reliability(truth, models, literal),
    }


def confusion(truth: NDArray[np.integer], models: Models, labels: Sequence[str]) -> Figure:
    """The first model's counts, shaded by share of the true class: the diagonal shows each class's recall."""
    name, probabilities = next(iter(models.items()))
    truth, probabilities = checked(truth, probabilities)
    k = len(labels)
    counts = np.zeros((k, k), dtype=int)
    np.add.at(counts, (truth, probabilities.argmax(axis=1)), 1)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = float(np.clip(2.8 + 0.5 * k, 4.4, 13))
    figure = Figure(figsize=(side + 0.8, side), layout="constrained", dpi=120)
    axes = figure.add_subplot()
    image = axes.imshow(share, cmap="cividis", vmin=0, vmax=1)
    figure.colorbar(image, label="share of the true class", fraction=0.046, pad=0.03)
    small = 10 if k <= 8 else 8 if k <= _CELLS else 5
    axes.set_xticks(range(k), labels, rotation=45 if k > 2 else 0, ha="right" if k > 2 else "center", fontsize=small)
    axes.set_yticks(range(k), labels, fontsize=small)
    axes.set(xlabel="predicted", ylabel="true", title=f"Confusion matrix, {_spoken(name)}, n = {len(truth)}")
    if k <= _CELLS:
        for row, column in zip(*np.nonzero(counts), strict=True):
            shade = "black" if share[row, column] > 0.5 else "white"
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=shade, fontsize=small)
    return figure


def roc(truth: NDArray[np.integer], models: Models, labels: Sequence[str]) -> Figure:
    """Each model's curve (the mean over classes, if more than two), and thinly the first model's classes."""
    return roc_curves({name: curves.roc(truth, p) for name, p in models.items()}, labels, _of(labels))


def roc_curves(found: Mapping[str, Mapping[int, curves.Curve]], labels: Sequence[str], of: str) -> Figure:
    """ROC curves by model and class; `of` ends the title."""
    figure, axes = _square("false-positive rate", "true-positive rate", f"ROC{of}")
    axes.plot([0, 1], [0, 1], color="0.6", lw=1, ls=":", label="chance")
    _draw(axes, found, [_literal(label) for label in labels], corner=True, area="area under the curve")
    return figure


def precision_recall(truth: NDArray[np.integer], models: Models, labels: Sequence[str]) -> Figure:
    """As `roc`; guessing reaches the share of positives, the dotted line (a mean over classes)."""
    found = {name: curves.precision_recall(truth, p) for name, p in models.items()}
    positives = [float(np.mean(np.asarray(truth) == c)) for c in next(iter(found.values()))]
    return recall_curves(found, labels, _of(labels), float(np.mean(positives)) if positives else None)


def recall_curves(
    found: Mapping[str, Mapping[int, curves.Curve]], labels: Sequence[str], of: str, chance: float | None
) -> Figure:
    """Precision over recall by model and class; `of` ends the title, `chance` is the precision of guessing."""
    figure, axes = _square("recall", "precision", f"Precision–recall{of}")
    if chance is not None:
        axes.axhline(chance, color="0.6", lw=1, ls=":", label="chance")
    _draw(axes, found, [_literal(label) for label in labels], corner=False, area="average precision")
    return figure


def reliability(truth: NDArray[np.integer], models: Models, labels: Sequence[str]) -> Figure:
    """Observed share by predicted probability, with 95 % intervals; below it how often each is given."""
    figure = Figure(figsize=(5.4, 6.2), layout="constrained", dpi=120)
    axes, below = figure.subplots(2, 1, height_ratios=[4, 1], sharex=True)
    _plain(axes)
    _plain(below)
    axes.plot([0, 1], [0, 1], color="0.6", lw=1, ls=":", label="ideal")
    for i, (name, probabilities) in enumerate(models.items()):
        _, given = checked(truth, probabilities)
        table = curves.reliability(truth, given)
        colour, style = _COLOURS[i % len(_COLOURS)], _STYLES[i % len(_STYLES)]
        x, y = table["predicted"], table["observed"]
        spread = np.clip([y - table["low"], table["high"] - y], 0, None)
        axes.errorbar(
            x,
            y,
            yerr=spread,
            color=colour,
            ls=style,
            marker="o",
            ms=4,
            lw=1.6,
            elinewidth=0.8,
            label=_spoken(name),
        )
        shown = given[:, 1] if len(labels) == 2 else given.max(axis=1)
        below.hist(shown, bins=list(np.linspace(0, 1, 21)), histtype="step", color=colour, ls=style, lw=1.4)
    what = f"probability of {labels[1]}" if len(labels) == 2 else "probability of the predicted class"
    axes.set(ylabel="observed share", title="Reliability", ylim=(-0.02, 1.02), xlim=(-0.02, 1.02))
    below.set(xlabel=what, ylabel="examples")
    below.yaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False)
    return figure


def scatter(truth: NDArray[np.floating], models: Mapping[str, NDArray[np.floating]], name: str) -> Figure:
    """Each model's scores over the true ones; on the dotted line they are the same.

    Args:
        truth: float [n].
        models: name -> float [n].
        name: of the scores.
    """
    figure = Figure(figsize=(6.4, 5.6), layout="constrained", dpi=120)
    axes = figure.add_subplot()
    _plain(axes)
    every = np.concatenate([truth, *models.values()])
    ends = [float(every.min()), float(every.max())]
    axes.plot(ends, ends, color="0.6", lw=1, ls=":", label="ideal")
    for i, (model, answers) in reversed(list(enumerate(models.items()))):  # the first on top
        axes.plot(truth, answers, ls="", marker="ox"[i % 2], ms=4, alpha=0.6, color=_COLOURS[i], label=_spoken(model))
    axes.set(xlabel=f"true {_literal(name)}", ylabel="predicted", title=f"Predicted and true, n = {len(truth)}")
    axes.legend(frameon=False)
    return figure


def mistakes(table: pd.DataFrame, arrays: Mapping[str, NDArray[Any]]) -> Figure:
    """The pictures that were predicted wrongly, each beside itself under its heat map.

    Args:
        table: as `mistakes.most_confident` gives it.
        arrays: as `attribution.pictures` does; a kind of content without pictures has none.
    """
    if "pictures" not in arrays:
        figure = Figure(figsize=(4, 1), dpi=110)
        figure.text(0.5, 0.5, "no pictures to show", ha="center", va="center")
        return figure
    side, columns = arrays["pictures"].shape[1], min(4, len(table))
    rows, gap = -(-len(table) // columns), side // 5  # above each picture, for its line
    # One sheet, because matplotlib takes seconds to lay two dozen axes out.
    sheet = np.full((rows * (side + gap), columns * (2 * side + gap), 3), 255, np.uint8)
    figure = Figure(figsize=(3.2 * columns, 1.6 * rows), dpi=110)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    for at, row in enumerate(table.to_dict("records")):
        down, across = (at // columns) * (side + gap) + gap, (at % columns) * (2 * side + gap)
        picture = np.broadcast_to(arrays["pictures"][at], (side, side, 3))
        sheet[down : down + side, across : across + 2 * side] = np.tile(picture, (1, 2, 1))
        heat = arrays["evidence"][at].astype(np.float64)
        axes.imshow(
            heat, cmap="PuOr_r", norm=CenteredNorm(halfrange=max(float(np.abs(heat).max()), 1e-9)), alpha=0.55,
            interpolation="bilinear", extent=(across + side, across + 2 * side, down + side, down), zorder=1,
        )  # fmt: skip
        sure = f" {row['probability']:.2f}" if "probability" in row else ""
        said = f"{row['predicted']}{sure}, labelled {row['truth']}"
        said = _literal(said if len(said) < 50 else f"{said[:47]}…")
        axes.text(across, down - gap / 4, said, fontsize=7)
    axes.imshow(sheet, zorder=0, extent=(0, sheet.shape[1], sheet.shape[0], 0))
    axes.set(xlim=(0, sheet.shape[1]), ylim=(sheet.shape[0], 0))
    return figure


def learning(histories: Mapping[str, pd.DataFrame]) -> Figure:
    """The loss and what else was followed by epoch, a row for each training that had epochs.

    Args:
        histories: name -> epoch, loss, accuracy or another figure, val_loss, val_accuracy.
    """
    shown = {name: history for name, history in histories.items() if len(history)}
    figure = Figure(figsize=(8.4, 3.0 * max(1, len(shown))), layout="constrained", dpi=120)
    grid = figure.subplots(max(1, len(shown)), 2, squeeze=False)
    for (name, history), row in zip(shown.items(), grid, strict=False):
        for axes, kind in zip(row, curves.followed(history), strict=True):
            _plain(axes)
            for i, (column, label) in enumerate(((kind, "training"), (f"val_{kind}", "validation"))):
                axes.plot(history["epoch"], history[column], color=_COLOURS[i], ls=_STYLES[i], marker=".", label=label)
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.set(xlabel="epoch", ylabel=_spoken(kind), title=f"{_spoken(name)}: {_spoken(kind)}")
        row[0].legend(frameon=False)
    return figure


def _literal(label: str) -> str:
    """A class name for matplotlib, where `$` starts a formula and a leading `_` hides a legend's entry."""
    label = label.replace("$", r"\$")
    return f" {label}" if label.startswith("_") else label


def _spoken(name: str) -> str:
    return name.replace("_", " ")


def _of(labels: Sequence[str]) -> str:
    return f" of {_literal(labels[1])}" if len(labels) == 2 else ", one class against the rest"


def _plain(axes: Axes) -> None:
    axes.grid(color="0.9", lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _square(x: str, y: str, title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7.4, 5.2), layout="constrained", dpi=120)
    axes = figure.add_subplot(aspect="equal", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel=x, ylabel=y, title=title)
    _plain(axes)
    return figure, axes


def _draw(
    axes: Axes,
    models: Mapping[str, Mapping[int, curves.Curve]],
    labels: Sequence[str],
    *,
    corner: bool,
    area: str,
) -> None:
    """The models' mean curves with their areas; thinly the first model's classes, its worst by name."""
    # A ROC curve starts in the corner, even where it rises at once.
    x = [0.0, *curves.GRID] if corner else list(curves.GRID)

    def line(curve: curves.Curve, **look: Any) -> None:
        axes.plot(x, [0.0, *curve.rates] if corner else curve.rates, **look)

    classes = next(iter(models.values()))
    if len(classes) > 1:
        # Twenty colours can't be told apart, and which classes are worst is what one wants to know.
        worst = sorted(classes, key=lambda c: classes[c].area)[: len(_WORST)]
        others = [c for c in classes if c not in worst]
        for c in others:
            line(classes[c], color="0.7", lw=0.8, label="other classes" if c == others[0] else None)
        for c, colour in zip(worst, _WORST, strict=False):
            line(classes[c], color=colour, lw=1.2, label=f"{labels[c]}, {classes[c].area:.3f}")
    for i, (name, of) in enumerate(models.items()):
        if of:
            curve = curves.mean(of)
            label = f"{_spoken(name)}{', mean' if len(of) > 1 else ''}, {curve.area:.3f}"
            line(curve, color=_COLOURS[i % len(_COLOURS)], ls=_STYLES[i % len(_STYLES)], lw=2.2, label=label)
    if not classes:
        axes.text(0.5, 0.5, "one class only: nothing to rank", ha="center", backgroundcolor="white")
        return
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5), title=area, alignment="left")

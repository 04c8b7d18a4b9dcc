"""What an evaluation says: the metrics file, the summary for a terminal.

Refuses to know where these are written. Numbers are rounded to six digits, so that files of equal results are
equal.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.evaluation import classification
from headstart.evaluation.declared import Figures
from headstart.evaluation.intervals import bootstrap, interval
from headstart.evaluation.kinds import Kind


def _bounds(figures: Figures, figure: str, values: NDArray[np.float64]) -> list[float | None]:
    """[low, high]: DVC's tables make a column of every number, but leave lists out."""
    return [figures.rounded(figure, bound) for bound in interval(values) or (None, None)]


def report(
    truth: NDArray[Any],
    final: NDArray[np.floating],
    head_only: NDArray[np.floating],
    *,
    groups: Sequence[object] | None,
    resamples: int,
    seed: int,
    kind: Kind = classification,
) -> dict[str, Any]:
    """The metrics file: the final model's figures with 95 % intervals, the same of the head alone, the gain.

    `gain` is the final model's primary figure (the accuracy, where a label is one class) less the head-only model's,
    with its paired-bootstrap interval: where that holds 0, the test split does not show that fine-tuning helped. An
    interval is [low, high]. A figure that the test split leaves undefined, such as `roc_auc` where it has one class, is
    None and has no interval.

    Args:
        truth: int [n], or what the label kind has instead.
        final: float [n, k], likewise.
        head_only: float [n, k], likewise.
        groups: as in `intervals.bootstrap`.
        resamples: behind each interval.
        seed: of the resamples.
        kind: of the labels.

    Raises:
        ValueError: as the kind's `counters`.
    """
    models, figures = {"final": final, "head_only": head_only}, kind.FIGURES
    drawn = bootstrap(truth, models, groups=groups, resamples=resamples, seed=seed, kind=kind)

    def judged(name: str) -> dict[str, Any]:
        found = kind.scores(truth, models[name])
        intervals = {f: _bounds(figures, f, drawn[name][f]) for f in figures.names if found[f] is not None}
        return {f: figures.rounded(f, found[f]) for f in figures.names} | {"interval": intervals}

    said = {**judged("final"), "n": len(truth), "head_only": judged("head_only")}
    first = figures.primary
    after, before = said[first], said["head_only"][first]
    said["gain"] = {
        first: None if after is None or before is None else figures.rounded(first, after - before),
        "interval": _bounds(figures, first, drawn["final"][first] - drawn["head_only"][first]),
    }
    return said


def summary(said: Mapping[str, Any], figures: Figures = classification.FIGURES) -> str:
    """The report as a table for a terminal: figures with intervals, the final model beside the head alone."""

    def cell(of: Mapping[str, Any], figure: str) -> str:
        if of[figure] is None:
            return "undefined"
        return "{:.4f}  [{:.4f}, {:.4f}]".format(of[figure], *of["interval"][figure])

    rows = [(f"test split, n = {said['n']}", "final model  [95 %]", "head only  [95 %]")]
    rows += [(figure, cell(said, figure), cell(said["head_only"], figure)) for figure in figures.names]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "─" * (sum(widths) + 4))
    gain, first = said["gain"], figures.primary
    if gain[first] is not None:
        lines.append("gain in {}: {:+.4f}  [{:+.4f}, {:+.4f}]".format(first, gain[first], *gain["interval"]))
    return "\n".join(lines)

"""Optuna's pictures of a study, as PNG files. Optuna draws with pyplot; what it changes there is changed back."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from matplotlib.ticker import MaxNLocator, NullFormatter
from optuna.visualization import matplotlib as drawn


def write(study: optuna.Study, folder: Path, named: str = "validation accuracy") -> list[str]:
    """Write the pictures that a study is far enough for; their names. `named` is what its trials are judged by.

    history.png: each trial and the best so far. slice.png: each parameter against the result. parallel.png: whole
    trials. importances.png: how much of the result's variance each parameter explains (fANOVA, Hutter et al. 2014);
    from four trials up, and only if they differ.
    """
    folder.mkdir(parents=True, exist_ok=True)
    complete = study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE])
    names = sorted({name for trial in complete for name in trial.params})
    varied = [name for name in names if len({trial.params[name] for trial in complete}) > 1]
    pictures: dict[str, Callable[[], Any]] = {}
    if complete:
        pictures["history"] = lambda: drawn.plot_optimization_history(study, target_name=named)
    if varied:
        pictures["slice"] = lambda: drawn.plot_slice(study, params=varied, target_name=named)
    if len(varied) > 1:
        pictures["parallel"] = lambda: drawn.plot_parallel_coordinate(study, params=varied, target_name=named)
    if len(complete) >= 4 and varied and len({trial.value for trial in complete}) > 1:
        pictures["importances"] = lambda: _importances(study, varied, named)
    for name, draw in pictures.items():
        with _pyplot() as plt:
            axes = draw()
            figure = np.ravel(axes)[0].figure
            for each in figure.axes:
                if each.get_xscale() == "log":  # where a decade fills the axis, Optuna's labels lie on each other
                    each.xaxis.set_minor_formatter(NullFormatter())
                elif name == "history":
                    each.xaxis.set_major_locator(MaxNLocator(integer=True))
            figure.set_size_inches(max(7, 2.6 * len(varied)) if name == "slice" else 9, 4.5)
            figure.savefig(folder / f"{name}.png", dpi=120, bbox_inches="tight")
            plt.close(figure)
    return list(pictures)


def _importances(study: optuna.Study, varied: list[str], named: str) -> Any:
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return drawn.plot_param_importances(study, evaluator=evaluator, params=varied, target_name=named)


@contextmanager
def _pyplot() -> Iterator[Any]:
    """Pyplot without a screen, its settings put back afterwards."""
    import matplotlib as mpl

    before = mpl.get_backend()
    with mpl.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna: that these are experimental
        from matplotlib import pyplot as plt

        plt.switch_backend("Agg")
        try:
            yield plt
        finally:
            plt.switch_backend(before)

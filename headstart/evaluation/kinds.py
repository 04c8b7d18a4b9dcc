"""How models of a label kind are judged: one module each, all with the same functions."""

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from headstart.evaluation.declared import Figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Known = tuple[NDArray[Any], NDArray[np.floating]]  # truth and answers


class Counters(Protocol):
    """One model's answers, ready for weights."""

    def figures(self, weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Each figure [b] under the weights [n, b], NaN where it is undefined."""


class Kind(Protocol):
    """The functions that an evaluation asks for.

    Truth is as `Prepared.targets` has it, answers are float [n, k] as the model gives them.
    """

    @property
    def FIGURES(self) -> Figures:  # noqa: N802  # a constant of a module
        """What models are judged by."""

    def scores(self, truth: Any, answers: Any) -> dict[str, float | None]:
        """Each figure; None where it is undefined."""

    def counters(self, truth: Any, answers: Any) -> Counters:
        """The same under weights, for the bootstrap."""

    def predictions(self, examples: pd.DataFrame, labels: Sequence[str], answers: Any) -> pd.DataFrame:
        """A table of id, split, truth, predicted and what else there is to an answer."""

    def read_predictions(self, table: pd.DataFrame) -> tuple[list[str], NDArray[Any], NDArray[np.float64]]:
        """Names of the classes, truth and answers out of such a table, which may hold text."""

    def tables(self, truth: Any, models: Any, labels: Sequence[str]) -> dict[str, pd.DataFrame]:
        """File name -> table, for `dvc plots`: the same files for every kind, without rows where they mean nothing."""

    def calibration(
        self, validation: Any, test: Any, labels: Sequence[str]
    ) -> tuple[dict[str, Any], dict[str, pd.DataFrame], Mapping[str, "Figure"]]:
        """Of one look at each example: what is said of it, empty where there is no such thing; tables; pictures."""

    def figures(self, truth: Any, models: Any, labels: Sequence[str]) -> dict[str, "Figure"]:
        """Name -> picture."""

    def mistakes(self, examples: pd.DataFrame, truth: Any, answers: Any, labels: Sequence[str]) -> pd.DataFrame:
        """Those most worth looking at: row, id, truth, predicted, and what else there is."""

    def directions(self, table: pd.DataFrame, labels: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Of each mistake, the outputs that spoke for it and against it; -1: none, see `attribution`."""

    def additive(self, answers: Any) -> NDArray[np.float64]:
        """Answers [b, k] as scores whose differences mean something."""


def of(labels: str) -> Kind:
    """The functions for a label kind."""
    from headstart.evaluation import classification, multi_label, score

    known: dict[str, ModuleType] = {"class": classification, "multi": multi_label, "score": score}
    found: Any = known[labels]
    kind: Kind = found
    return kind

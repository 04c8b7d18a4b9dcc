"""What models are judged by, by label kind: the figures in words, and the one that decides.

Stated without the libraries that compute them, for those who only read what an evaluation has written.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Figures(NamedTuple):
    """The figures of a label kind.

    names: name in the metrics file -> in words, in the order in which they are shown.
    primary: the one that models are told apart by.
    short: what a sentence calls it.
    lower: of which less is better.
    in_unit: that are in the data's own unit: six significant digits of them are kept, of the others six decimals.
    percent: whether the primary figure is spoken of in percent.
    seeds: that are shown over seeds, besides the primary one.
    hub: name -> what Hugging Face's metrics call it.
    """

    names: Mapping[str, str]
    primary: str
    short: str
    lower: frozenset[str]
    in_unit: frozenset[str]
    percent: bool
    seeds: tuple[str, ...]
    hub: Mapping[str, str]

    def rounded(self, figure: str, value: float | None) -> float | None:
        """A value as it is written."""
        if value is None:
            return None
        return float(f"{value:.6g}") if figure in self.in_unit else round(float(value), 6)

    def shown(self, figure: str, value: float) -> str:
        """A value as it is shown."""
        return f"{value:.4g}" if figure in self.in_unit else f"{value:.3f}"


# By `data.labels`.
OF_LABELS = {
    "class": Figures(
        {
            "accuracy": "accuracy",
            "balanced_accuracy": "balanced accuracy",
            "f1_macro": "F1, mean of classes",
            "roc_auc": "ROC AUC",
            "log_loss": "log loss",
        },
        "accuracy", "accuracy", frozenset({"log_loss"}), frozenset(), True, ("balanced_accuracy", "roc_auc"),
        {"accuracy": "accuracy", "f1_macro": "f1", "roc_auc": "roc_auc"},
    ),
    "multi": Figures(
        {
            "average_precision": "average precision, mean of classes",
            "roc_auc_macro": "ROC AUC, mean of classes",
            "roc_auc_micro": "ROC AUC, all pairs of example and class",
            "f1_macro": "F1, mean of classes",
            "f1_micro": "F1, all pairs of example and class",
            "exact_match": "all classes right",
        },
        "average_precision", "average precision", frozenset(), frozenset(), False,
        ("roc_auc_macro", "f1_macro", "exact_match"),
        {"f1_macro": "f1", "roc_auc_macro": "roc_auc"},
    ),
    "score": Figures(
        {
            "r2": "R², share of the variance explained",
            "mae": "mean absolute error",
            "rmse": "root mean squared error",
            "pearson": "Pearson's correlation",
            "spearman": "Spearman's correlation of ranks",
        },
        "r2", "R²", frozenset({"mae", "rmse"}), frozenset({"mae", "rmse"}), False, ("mae", "spearman"),
        {"r2": "r_squared", "mae": "mae", "pearson": "pearsonr", "spearman": "spearmanr"},
    ),
}  # fmt: skip


def kind_of(params: Mapping[str, Any]) -> str:
    """The label kind by the content of a params.yaml, which may be of a time when there was one kind."""
    return str(params.get("data", {}).get("labels", "class"))


def primary_of(metrics: Mapping[str, Any]) -> str:
    """The primary figure of a metrics file, which states the gain in it."""
    return next((name for name in metrics.get("gain", {}) if name != "interval"), OF_LABELS["class"].primary)

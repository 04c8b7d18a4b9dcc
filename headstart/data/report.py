"""The page about the data: reports/data.html. One file that shows everything by itself, in any browser, offline.

Knows the tables that `prepare` made; what a picture or a text looks like here is told it.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup

from headstart.data.labels import Counted, counts
from headstart.data.storing import About
from headstart.data.tables import SPLITS

# How much of each kind is shown; what is left out is counted.
CLASSES, OF_A_CLASS, SETS, OF_A_SET, LINES = 60, 8, 24, 6, 200


def page(
    examples: pd.DataFrame,
    show: Callable[[int, str], Markup],
    labels: Counted,
    quarantine: pd.DataFrame,
    conflicts: Sequence[Sequence[str]],
    notes: Sequence[str],
    *,
    about: About,
    many: str,
    same: str,
    near: str,
) -> str:
    """The page as HTML.

    Args:
        examples: id, path, hash, label, group, near, split.
        show: the HTML of an example, by its row and id.
        labels: by what they are counted.
        quarantine: id, path, reason.
        conflicts: ids of examples with the same content and different labels.
        notes: what the user was told.
        about: what there is to say of the contents.
        many: what examples are called.
        same: what examples of the same content have.
        near: how it was found which are nearly the same.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    counted = counts(labels, examples["split"], SPLITS)
    table = {
        str(name): dict(zip(SPLITS, row, strict=True))
        for name, row in zip(labels.names, counted.to_numpy().tolist(), strict=True)
    }
    largest = max(sum(row.values()) for row in table.values())
    row_of = {name: at for at, name in enumerate(examples["id"])}

    def shown(ids: Sequence[str]) -> list[dict[str, Any]]:
        rows = [row_of[name] for name in ids]
        return [
            {"id": name, "label": examples["label"].iloc[row], "split": examples["split"].iloc[row],
             "shown": show(row, name)}
            for name, row in zip(ids, rows, strict=True)
        ]  # fmt: skip

    bars = [
        {
            "name": name,
            "counts": table[name],
            "total": sum(table[name].values()),
            "widths": {split: 100 * n / largest for split, n in table[name].items()},
            "some": shown(_some(examples, labels, name)),
        }
        for name in labels.names[:CLASSES]
    ]
    copies = _sets(examples, "hash")
    alike = [ids for ids in _sets(examples, "near") if len(set(examples["hash"].iloc[[row_of[i] for i in ids]])) > 1]
    return environment.get_template("report.html").render(
        splits=SPLITS,
        labels=labels,
        total={split: int((examples["split"] == split).sum()) for split in SPLITS},
        examples=len(examples),
        groups=int(examples["group"].dropna().nunique()),
        bars=bars,
        more_classes=len(labels.names) - len(bars),
        about=about,
        many=many,
        same=same,
        near=near,
        copies=[{"n": len(ids), "shown": shown(ids[:OF_A_SET])} for ids in copies[:SETS]],
        more_copies=max(0, len(copies) - SETS),
        alike=[{"n": len(ids), "shown": shown(ids[:OF_A_SET])} for ids in alike[:SETS]],
        more_alike=max(0, len(alike) - SETS),
        conflicts=[shown(ids[:OF_A_SET]) for ids in conflicts[:SETS]],
        more_conflicts=max(0, len(conflicts) - SETS),
        quarantine=quarantine.head(LINES).to_dict("records"),
        more_quarantine=max(0, len(quarantine) - LINES),
        notes=notes,
    )


def _some(examples: pd.DataFrame, labels: Counted, name: str) -> list[str]:
    """Training examples that count for a name, evenly spread; the test split is not for looking at."""
    ids = examples.loc[np.array([name in of for of in labels.of]) & (examples["split"] == "train"), "id"]
    return list(ids.iloc[np.unique(np.linspace(0, len(ids) - 1, min(OF_A_CLASS, len(ids))).astype(int))])


def _sets(examples: pd.DataFrame, column: str) -> list[list[str]]:
    """Ids of the examples that agree in a column, a list for each value that is there more than once; largest first."""
    several = examples[examples[column].notna() & examples[column].duplicated(keep=False)]
    found = [list(ids) for _, ids in several.groupby(column, sort=False)["id"]]
    return sorted(found, key=lambda ids: -len(ids))

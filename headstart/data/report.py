"""The page about the data: reports/data.html. One file that shows everything by itself, in any browser, offline.

Knows tables and pixels that `prepare` made; decides nothing.
"""

import base64
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from PIL import Image

from headstart.data.tables import SPLITS

THUMBNAIL = 72  # pixels
# How much of each kind is shown; what is left out is counted.
CLASSES, PICTURES, SETS, OF_A_SET, LINES, SIZES = 60, 8, 24, 6, 200, 8


def page(
    examples: pd.DataFrame,
    images: np.ndarray,
    classes: Sequence[str],
    quarantine: pd.DataFrame,
    sizes: Mapping[tuple[int, int], int],
    conflicts: Sequence[Sequence[str]],
    notes: Sequence[str],
) -> str:
    """The page as HTML.

    Args:
        examples: id, path, hash, label, group, near, split.
        images: uint8 [n, s, s, c]; row i belongs to example i.
        classes: names, in their order.
        quarantine: id, path, reason.
        sizes: how many pictures had which width and height before they were made squares.
        conflicts: ids of examples with the same pixels and different labels.
        notes: what the user was told.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    counts = pd.crosstab(examples["label"], examples["split"]).reindex(index=list(classes), columns=list(SPLITS))
    counts = counts.fillna(0).astype(int)
    table = {
        str(name): dict(zip(SPLITS, row, strict=True))
        for name, row in zip(classes, counts.to_numpy().tolist(), strict=True)
    }
    largest = max(sum(row.values()) for row in table.values())
    row_of = {name: at for at, name in enumerate(examples["id"])}

    def shown(ids: Sequence[str]) -> list[dict[str, Any]]:
        rows = [row_of[name] for name in ids]
        return [
            {"id": name, "label": examples["label"].iloc[row], "split": examples["split"].iloc[row],
             "picture": _picture(images[row])}
            for name, row in zip(ids, rows, strict=True)
        ]  # fmt: skip

    bars = [
        {
            "name": name,
            "counts": table[name],
            "total": sum(table[name].values()),
            "widths": {split: 100 * n / largest for split, n in table[name].items()},
            "pictures": shown(_some(examples, name)),
        }
        for name in list(classes)[:CLASSES]
    ]
    same = _sets(examples, "hash")
    near = [ids for ids in _sets(examples, "near") if len(set(examples["hash"].iloc[[row_of[i] for i in ids]])) > 1]
    return environment.get_template("report.html").render(
        splits=SPLITS,
        total=counts.sum().to_dict(),
        examples=len(examples),
        groups=int(examples["group"].dropna().nunique()),
        bars=bars,
        more_classes=len(classes) - len(bars),
        channels="grey" if images.shape[-1] == 1 else "colour",
        side=images.shape[1],
        sizes=sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[:SIZES],
        more_sizes=max(0, len(sizes) - SIZES),
        same=[{"n": len(ids), "shown": shown(ids[:OF_A_SET])} for ids in same[:SETS]],
        more_same=max(0, len(same) - SETS),
        near=[{"n": len(ids), "shown": shown(ids[:OF_A_SET])} for ids in near[:SETS]],
        more_near=max(0, len(near) - SETS),
        conflicts=[shown(ids[:OF_A_SET]) for ids in conflicts[:SETS]],
        more_conflicts=max(0, len(conflicts) - SETS),
        quarantine=quarantine.head(LINES).to_dict("records"),
        more_quarantine=max(0, len(quarantine) - LINES),
        notes=notes,
    )


def _some(examples: pd.DataFrame, label: str) -> list[str]:
    """Training examples of a class, evenly spread; the test split is not for looking at."""
    ids = examples.loc[(examples["label"] == label) & (examples["split"] == "train"), "id"]
    return list(ids.iloc[np.unique(np.linspace(0, len(ids) - 1, min(PICTURES, len(ids))).astype(int))])


def _sets(examples: pd.DataFrame, column: str) -> list[list[str]]:
    """Ids of the examples that agree in a column, a list for each value that is there more than once; largest first."""
    several = examples[examples[column].notna() & examples[column].duplicated(keep=False)]
    found = [list(ids) for _, ids in several.groupby(column, sort=False)["id"]]
    return sorted(found, key=lambda ids: -len(ids))


def _picture(pixels: np.ndarray) -> str:
    """A small JPEG as a data URI."""
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    picture.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    data = BytesIO()
    picture.save(data, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode()

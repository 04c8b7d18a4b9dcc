"""The epochs of a training as they come, for whoever watches it: lines of JSON in the file that HEADSTART_LIVE names.

Unlike a tracking server it is always there, and unlike an output it is there before the stage has ended.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

# The variable that names the file; nothing is written without it.
FILE = "HEADSTART_LIVE"


class Epoch(NamedTuple):
    """What a training was after an epoch."""

    stage: str
    epoch: int
    numbers: dict[str, float]


def tell(epoch: int, numbers: dict[str, float]) -> None:
    """Write down an epoch of the stage that DVC runs; a training that goes on tells its earlier epochs once more."""
    if path := os.environ.get(FILE):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(
                json.dumps({"stage": os.environ.get("DVC_STAGE", ""), "epoch": epoch, "numbers": numbers}) + "\n"
            )


def read(path: Path) -> Iterator[Epoch]:
    """The epochs told so far; a line that is still being written is left for the next time."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            yield Epoch(**json.loads(line))

"""What must be known to use a model, beside it in `model.json`: its task, and how an example becomes its input.

Refuses to know what the facts mean: `prepare` left them, headstart/inference.py acts on them.
"""

import json
from pathlib import Path
from typing import Any

NAME = "model.json"


def write(folder: Path, *, task: str, augment: str, seed: int, prepared: Path = Path("data/prepared")) -> None:
    """Write the facts of a model trained on the prepared data.

    Args:
        folder: of the model.
        task: what it was trained for.
        augment, seed: what views of an example are made with.
        prepared: folder of the data; its `inputs.json` says how a raw example became a row there.
    """
    inputs = json.loads((prepared / "inputs.json").read_text(encoding="utf-8"))
    facts = {"task": task, **inputs, "augment": augment, "seed": seed}
    (folder / NAME).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def read(folder: Path) -> dict[str, Any]:
    """The facts beside a model.

    Raises:
        OSError: there are none.
    """
    return json.loads((folder / NAME).read_text(encoding="utf-8"))

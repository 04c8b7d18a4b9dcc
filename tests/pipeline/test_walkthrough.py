"""docs/walkthrough.md, followed by the letter."""

import shutil
import sys

import pytest

from tests.pipeline.conftest import ROOT, Clone
from tests.pipeline.walkthrough import differs, on_page

pytestmark = pytest.mark.pipeline

# The command stands in .venv where `make setup` ran; here the clone's own is meant.
COMMAND = f'exec 2>&1; headstart() {{ "{sys.executable}" -m headstart "$@"; }}; '


def test_every_command_of_the_walkthrough_does_what_the_page_says(pipeline: Clone) -> None:
    before = set(pipeline.folder.iterdir())
    try:
        for step in on_page(ROOT / "docs" / "walkthrough.md"):
            done = pipeline.run("bash", "-c", COMMAND + step.command, env={"COLUMNS": "120"})
            difference = differs(step.output, done.stdout.replace(str(pipeline.folder), "…"), step.varies)
            assert difference is None, f"$ {step.command}\n{difference}"
    finally:
        for path in set(pipeline.folder.iterdir()) - before:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        pipeline.run("dvc", "exp", "remove", "lower")
        pipeline.ok("git", "checkout", "--quiet", "--force", "HEAD")
        pipeline.ok("dvc", "checkout", "--force")

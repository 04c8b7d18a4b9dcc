"""docs/walkthrough.md, followed by the letter."""

import shutil

import pytest

from tests.pipeline.conftest import ROOT, Clone
from tests.pipeline.walkthrough import command_line, differs, on_page

pytestmark = pytest.mark.pipeline


def test_every_command_of_the_walkthrough_does_what_the_page_says(pipeline: Clone) -> None:
    before = set(pipeline.folder.iterdir())
    try:
        for step in on_page(ROOT / "docs" / "walkthrough.md"):
            done = pipeline.run(*command_line(step))
            difference = differs(step.output, done.stdout.replace(str(pipeline.folder), "…"), step.varies)
            assert difference is None, f"$ {step.command}\n{difference}"
    finally:
        for path in set(pipeline.folder.iterdir()) - before:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        pipeline.run("dvc", "exp", "remove", "lower")
        pipeline.ok("git", "checkout", "--quiet", "--force", "HEAD")
        pipeline.ok("dvc", "checkout", "--force")

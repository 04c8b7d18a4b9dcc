"""The page with a newcomer's commands: how it is compared. That it holds is shown in tests/pipeline."""

import re
from pathlib import Path

import pytest

from headstart.__main__ import COMMANDS
from tests.pipeline.walkthrough import Step, differs, on_page, steps

ROOT = Path(__file__).parents[1]

PAGE = """
Some words.

```console
$ echo 1
1
$ long \\
>   command
two
lines
```

<!-- not run: it takes an hour -->
```console
$ sleep 3600
```

<!-- varies: memory, disk -->
```console
$ doctor
memory 1 GiB
```

    $ indented, no block
"""


def test_commands_and_their_outputs_are_found() -> None:
    assert steps(PAGE) == [
        Step("echo 1", "1\n"),
        Step("long command", "two\nlines\n"),
        Step("doctor", "memory 1 GiB\n", ("memory", "disk")),
    ]


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        ("accuracy  0.8846\n", "accuracy 0.9\n"),
        ("a\n…\nd\n", "a\nb\nc\nd\n"),
        ("a\n…\nd\n", "a\nd\n"),
        ("wrote … files\n", "wrote many small files\n"),
        ("commit 91e40d8\n", "commit 8145b30e\n"),
        ("| --- |\n", "| -------- |\n"),
        ("a\n\nb\n", "a\nb\n"),
        ("gain -0.01 [-1e-05, +2]\n", "gain +0.5 [0, 1]\n"),
        ("a.b (c) [d]*\n", "a.b (c) [d]*\n"),
    ],
)
def test_numbers_hashes_and_widths_may_differ(expected: str, found: str) -> None:
    assert differs(expected, found) is None


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        ("accuracy 1\n", "precision 1\n"),
        ("a\n", "a\nb\n"),
        ("a\nb\n", "a\n"),
        ("a\n…\nd\n", "a\nb\n"),
        ("a.b\n", "axb\n"),
    ],
)
def test_words_may_not(expected: str, found: str) -> None:
    assert differs(expected, found)


def test_lines_that_vary_are_compared_by_their_first_word() -> None:
    assert differs("  memory  24 GiB\n", "! memory 1 TiB, full\n", ("memory",)) is None
    assert differs("  memory  24 GiB\n", "  disk 1\n", ("memory",))


def test_the_page_is_a_tour_of_real_commands() -> None:
    page = on_page(ROOT / "docs" / "walkthrough.md")
    assert len(page) > 8
    named = {name for step in page for name in re.findall(r"headstart ([a-z][a-z-]+)", step.command)}
    assert named <= set(COMMANDS)
    assert {"predict", "export", "compare", "doctor", "recipes"} <= named

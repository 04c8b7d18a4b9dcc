"""What every stage shares: a user's mistake is one sentence, an output is whole or absent, libraries keep quiet.

Knows nothing of data, networks or tracking.
"""

import os
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


class UserError(Exception):
    """Something the user can mend. The message names the file or key, what was found, what is allowed, what to do."""


def run(main: Callable[[], None]) -> None:
    """Run a stage's `main`; print a `UserError` as one sentence and exit with 1, without a traceback."""
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped")
    except OSError as error:
        if os.environ.get("HEADSTART_DEBUG"):
            traceback.print_exc()
        where = f"{error.filename}: " if error.filename else ""
        sys.exit(f"error: {where}{error.strerror or error}")


@contextmanager
def whole(output: str | Path) -> Iterator[Path]:
    """Yield an empty folder beside `output` to write to; rename it to `output` at the end, or drop it on an error.

    A reader therefore never meets a half-written output, whatever moment the stage is killed at.
    """
    output = Path(output)
    aside = output.with_name(f".{output.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        yield aside
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    if output.is_dir():
        shutil.rmtree(output)
    aside.replace(output)


def write(output: str | Path, text: str) -> None:
    """Write a text file whole: aside first, then renamed."""
    output = Path(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    aside = output.with_name(f".{output.name}.part")
    aside.write_text(text, encoding="utf-8")
    aside.replace(output)

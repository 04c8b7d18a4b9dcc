"""What every stage shares: a user's mistake is one sentence, an output is whole or absent, libraries keep quiet.

Knows nothing of data, networks or tracking.
"""

import errno
import os
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from headstart import damage

# Seconds that a stage has to leave after Ctrl-C. What it writes appears whole or not at all, so it may end anywhere.
GRACE = 3.0
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class UserError(Exception):
    """Something the user can mend. The message names the file or key, what was found, what is allowed, what to do."""


def run(main: Callable[[], None]) -> None:
    """Run a stage's `main`; print a `UserError` as one sentence and exit with 1, without a traceback."""
    before = signal.signal(signal.SIGINT, _interrupted)
    try:
        # Set by DVC, which has brought dvc.lock up to date by then. Who starts a stage by hand may have changed things.
        if (name := os.environ.get("DVC_STAGE")) and (damaged := damage.check(name)):
            raise UserError(damaged)
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped")
    except MemoryError:
        sys.exit("error: there is not enough memory; close other programs, or lower batch_size or prepare.image_size")
    except OSError as error:
        if os.environ.get("HEADSTART_DEBUG"):
            traceback.print_exc()
        where = f"{error.filename}: " if error.filename else ""
        hint = ""
        # NumPy says of a file that could not be written whole how much of it was, without the system's reason.
        if error.errno in FULL or "requested and" in str(error):
            hint = "; the disk is full: free some space, then `dvc repro` goes on, nothing finished is lost"
        sys.exit(f"error: {where}{error.strerror or error}{hint}")
    finally:
        signal.signal(signal.SIGINT, before)


def _interrupted(signum: int, frame: object) -> None:
    """Leave, and be gone in seconds: libraries swallow the exception, or finish something long before it counts."""
    last = threading.Timer(GRACE, lambda: os._exit(128 + signum))
    last.daemon = True
    last.start()
    raise KeyboardInterrupt


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

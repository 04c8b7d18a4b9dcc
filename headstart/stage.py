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

# Seconds that a stage has to leave after Ctrl-C. What it writes appears whole or not at all, so it may end anywhere.
GRACE = 3.0
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_MEMORY = (
    "there is not enough memory; close other programs, or lower batch_size, prepare.image_size or data.max_tokens"
)
# How TensorFlow, JAX, CUDA, ONNX Runtime, OpenVINO and pandas say so, each with an exception of its own or of no kind.
OF_MEMORY = (
    "oom when allocating", "resource_exhausted", "out of memory", "bad_alloc", "allocaterawinternal",
    "failed to allocate memory", "unable to allocate",
)  # fmt: skip


class UserError(Exception):
    """Something the user can mend. The message names the file or key, what was found, what is allowed, what to do."""


def run(main: Callable[[], None]) -> None:
    """Run a stage's `main`; print a `UserError` as one sentence and exit with 1, without a traceback."""
    from headstart import damage  # which needs this module's UserError

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
    except OSError as error:
        if os.environ.get("HEADSTART_DEBUG"):
            traceback.print_exc()
        where = f"{error.filename}: " if error.filename else ""
        hint = ""
        # NumPy says of a file that could not be written whole how much of it was, without the system's reason.
        if error.errno in FULL or "requested and" in str(error):
            hint = "; the disk is full: free some space, then `dvc repro` goes on, nothing finished is lost"
        sys.exit(f"error: {NO_MEMORY if error.errno == errno.ENOMEM else f'{where}{error.strerror or error}{hint}'}")
    except Exception as error:
        if not lacks_memory(error):
            raise
        sys.exit(f"error: {NO_MEMORY}")
    finally:
        signal.signal(signal.SIGINT, before)


def lacks_memory(error: Exception) -> bool:
    """Whether memory was lacking, the machine's or the GPU's."""
    return isinstance(error, MemoryError) or any(words in str(error).lower() for words in OF_MEMORY)


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

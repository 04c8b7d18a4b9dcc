"""Silence for TensorFlow's start: lines on processors and missing GPUs that a user can't act on."""

import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


@contextmanager
def stderr_held_back() -> Iterator[None]:
    """Hold back what C++ code writes to the standard error; show it if an exception comes of it."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


class _TensorFlow(MetaPathFinder):
    """Finds TensorFlow as usual, but has it load with the standard error held back.

    TF_CPP_MIN_LOG_LEVEL alone does not do: TensorFlow 2.21 writes its first lines before it reads it.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def quietly(module: ModuleType) -> None:
            with stderr_held_back():
                execute(module)

        spec.loader.exec_module = quietly  # type: ignore[method-assign]
        return spec


def tensorflow() -> None:
    """Make a later import of TensorFlow silent."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.meta_path.insert(0, _TensorFlow())

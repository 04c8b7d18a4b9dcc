"""What a stage's run depends on, as one key: the same inputs, code and parameters give the same key.

It is made of what dvc.yaml declares and equals what dvc.lock records of the run, so that it can be told before a stage
runs, while it runs and from the lock long afterwards. What the run left has a key of its own, for a stage that is run
again on the same inputs may leave other bits: on another kind of processor, say.
"""

import functools
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import yaml

# What .dvcignore leaves out of every folder.
LEFT_OUT = "__pycache__"


def of_stage(name: str) -> str:
    """64 hexadecimal digits: the key of a stage as its inputs are now, in the current folder.

    Raises:
        OSError: a dependency is not there, or can't be read.
    """
    declared = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"][name]
    given = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    params = {key: _value(given, key) for key in declared.get("params", [])}
    paths = [re.sub(r"\$\{(.+?)\}", lambda key: str(_value(given, key[1])), path) for path in declared["deps"]]
    return _key({path: md5(Path(path)) for path in paths}, params)


def of_lock(entry: dict[str, Any]) -> str:
    """The key of the run that an entry of dvc.lock's `stages` records."""
    deps = {dep["path"]: dep["md5"] for dep in entry.get("deps", [])}
    return _key(deps, entry.get("params", {}).get("params.yaml", {}))


def outputs_of_stage(name: str) -> dict[str, str]:
    """Path -> content of each output, metrics and plots included, as it is now, in the current folder.

    Raises:
        OSError: an output is not there, or can't be read.
    """
    declared = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"][name]
    entries = [entry for kind in ("outs", "metrics", "plots") for entry in declared.get(kind, [])]
    # An entry with settings, such as `cache: false`, is a mapping from the path to these.
    paths = [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]
    return {path: md5(Path(path)) for path in paths}


def outputs_of_lock(entry: dict[str, Any]) -> dict[str, str]:
    """Path -> content of each output that an entry of dvc.lock's `stages` records."""
    return {out["path"]: out["md5"] for out in entry.get("outs", [])}


def of_outputs(outputs: dict[str, str]) -> str:
    """64 hexadecimal digits: the key of what a run left."""
    return hashlib.sha256(json.dumps(outputs, sort_keys=True).encode()).hexdigest()


def md5(path: Path) -> str:
    """The content of a file or folder as DVC records it; that of a folder ends in `.dir`."""
    if not path.is_dir():
        state = path.stat()
        return _content(path.resolve(), state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino)
    files = sorted(
        (file.relative_to(path).as_posix(), file)
        for file in path.rglob("*")
        if file.is_file() and LEFT_OUT not in file.parts
    )
    listed = json.dumps([{"md5": md5(file), "relpath": name} for name, file in files], sort_keys=True)
    return hashlib.md5(listed.encode(), usedforsecurity=False).hexdigest() + ".dir"


# A stage looks at its inputs more than once: for damage, for its checkpoint's name, for its run's key.
@functools.lru_cache(maxsize=4096)
def _content(path: Path, *state: int) -> str:
    """The md5 of a file, read once as long as its size, times and inode stay the same."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _value(params: dict[str, Any], key: str) -> Any:
    value: Any = params
    for part in key.split("."):
        value = value[part]
    return value


def _key(deps: dict[str, str], params: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps({"deps": deps, "params": params}, sort_keys=True).encode()).hexdigest()

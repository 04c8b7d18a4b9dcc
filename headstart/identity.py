"""What a stage's run depends on, as one key: the same inputs, code and parameters give the same key.

It is made of what dvc.yaml declares and equals what dvc.lock records of the run, so that it can be told before a stage
runs, while it runs and from the lock long afterwards.
"""

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


def md5(path: Path) -> str:
    """The content of a file or folder as DVC records it; that of a folder ends in `.dir`."""
    if not path.is_dir():
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    files = sorted(
        (file.relative_to(path).as_posix(), file)
        for file in path.rglob("*")
        if file.is_file() and LEFT_OUT not in file.parts
    )
    listed = json.dumps([{"md5": md5(file), "relpath": name} for name, file in files], sort_keys=True)
    return hashlib.md5(listed.encode(), usedforsecurity=False).hexdigest() + ".dir"


def _value(params: dict[str, Any], key: str) -> Any:
    value: Any = params
    for part in key.split("."):
        value = value[part]
    return value


def _key(deps: dict[str, str], params: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps({"deps": deps, "params": params}, sort_keys=True).encode()).hexdigest()

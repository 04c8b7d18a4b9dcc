"""Inputs that are not what dvc.lock records: noticed before a stage uses them, moved away, and so made anew.

DVC trusts its cache: what it checks out it takes to be sound, and a damaged object reaches the stages like any other.
"""

import shutil
from pathlib import Path
from typing import Any

import yaml

from headstart import identity, repository

ASIDE = Path(".dvc/tmp/damaged")


def check(stage: str) -> str | None:
    """Compare a stage's inputs, as far as other stages made them, with dvc.lock; move away what differs.

    Args:
        stage: its name.

    Returns:
        None, or a sentence: what is damaged, where it is now, what to do.
    """
    lock = Path("dvc.lock")
    if not lock.exists():
        return None
    stages = yaml.safe_load(lock.read_text(encoding="utf-8"))["stages"]
    deps = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"][stage]["deps"]
    outs = [out for entry in stages.values() for out in entry.get("outs", [])]
    damaged = []
    for out in outs:
        used = [dep for dep in deps if Path(dep).is_relative_to(out["path"])]
        if used and Path(out["path"]).exists() and identity.md5(Path(out["path"])) != out["md5"]:
            damaged.append(out)
    if not damaged:
        return None
    for out in damaged:
        for path in [*_bad_objects(out), Path(out["path"])]:
            _move(path, ASIDE / path.name)
    names = ", ".join(out["path"] for out in damaged)
    return (
        f"{names}: the content is not what dvc.lock records, so it was damaged or changed by hand; it is in {ASIDE} "
        "now, and `dvc repro` makes it anew (to keep a change made by hand, `dvc commit` it first)"
    )


def _bad_objects(out: dict[str, Any]) -> list[Path]:
    """Files in DVC's cache that belong to an output and whose content is not what their names say."""
    cache = repository.cache_folder()
    names = [out["md5"]]
    if out["md5"].endswith(".dir") and (listing := repository.cached(cache, out["md5"])).exists():
        if (members := repository.listing(listing)) is None:
            return [listing]
        names += members.values()
    there = {name: repository.cached(cache, name) for name in names}
    return [path for name, path in there.items() if path.exists() and identity.md5(path) != name.removesuffix(".dir")]


def _move(path: Path, aside: Path) -> None:
    aside.parent.mkdir(parents=True, exist_ok=True)
    if aside.is_dir():
        shutil.rmtree(aside)
    shutil.move(path, aside)

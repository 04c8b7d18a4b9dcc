"""What this machine and this checkout have, and what is wrong with them: a page of text, each problem with its remedy.

Starts no framework unless asked to: what a GPU is, the system says. Passwords in addresses are not shown.
"""

import configparser
import contextlib
import importlib
import os
import platform
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

# Those whose versions decide whether and how the pipeline runs.
PACKAGES = ("keras", "tensorflow", "keras-hub", "dvc", "mlflow", "numpy", "pandas", "pillow", "onnxruntime", "openvino")
PYTHONS = ((3, 11), (3, 13))
# Gigabytes: below the first the default pipeline does not fit beside its caches; a training takes about the second.
DISK, MEMORY = 5, 4
# Seconds that a server has to answer.
PATIENCE = 1.0


class Line(NamedTuple):
    """A line of the page.

    what: its subject.
    found: what is there.
    remedy: what to do; None if nothing is wrong.
    """

    what: str
    found: str
    remedy: str | None = None


def examine(full: bool = False) -> Iterator[tuple[str, list[Line]]]:
    """The page's sections, as they are found.

    Args:
        full: also start Keras' backend, and ask it what it sees: half a minute.
    """
    yield "Python", [python(), *packages()]
    yield "Machine", [processors(), memory(), disk(), gpu()]
    yield "Pipeline", [parameters(), *dvc(), *stores()]
    yield "Tracking", tracking()
    if full:
        yield "Keras", keras()


def page(sections: Iterator[tuple[str, list[Line]]]) -> Iterator[tuple[str, bool]]:
    """Lines of text, and whether each reports a problem."""
    for title, lines in sections:
        yield f"{title}", False
        for line in lines:
            yield f"  {'!' if line.remedy else ' '} {line.what:16} {line.found}", line.remedy is not None
            if line.remedy:
                yield f"      → {line.remedy}", False


def python() -> Line:
    """The interpreter."""
    found = f"{platform.python_version()}, {sys.prefix}"
    if not PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
        return Line("Python", found, "3.11 to 3.13 is needed: `PYTHON=python3.12 make setup`")
    return Line("Python", found)


def packages(lock: Path = Path("requirements.lock")) -> list[Line]:
    """The key packages' versions, those that the lock does not have marked."""
    pinned = pins(lock.read_text(encoding="utf-8")) if lock.exists() else {}
    there, lines = [], []
    for name in PACKAGES:
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            lines.append(Line(name, "not installed", "`make setup` installs it"))
            continue
        there.append(f"{name} {version}")
        if name in pinned and version not in pinned[name]:
            lines.append(
                Line(
                    name,
                    f"{version}, the lock has {' or '.join(pinned[name])}",
                    "`make setup` installs what the lock has",
                )
            )
    if not pinned:
        lines.append(Line("lock", f"no {lock}", "run in the repository's root"))
    elif not lines:
        there.append("as in the lock")
    rows = [", ".join(there[at : at + 5]) for at in range(0, len(there), 5)]
    return [Line("packages" if at == 0 else "", row) for at, row in enumerate(rows)] + lines


def pins(lock: str) -> dict[str, list[str]]:
    """Package -> versions of a lock file's lines `name==version …`; several where they depend on Python's version."""
    found: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==([^\s;\\]+)", lock, re.MULTILINE):
        found.setdefault(name.lower(), []).append(version)
    return found


def processors() -> Line:
    """Those that this process may use."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    model = platform.machine()
    with contextlib.suppress(OSError):
        if named := re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE):
            model = named[1]
    return Line("processors", f"{usable}, {model}")


def memory() -> Line:
    """The machine's, and what is free of it."""
    try:
        said = Path("/proc/meminfo").read_text()
        total, free = (int(re.search(rf"^{key}:\s+(\d+)", said, re.MULTILINE)[1]) / 2**20 for key in _MEMORY)  # type: ignore[index]
    except (OSError, TypeError):
        return Line("memory", "unknown")
    found = f"{total:.0f} GiB, {free:.0f} free"
    if free < MEMORY:
        return Line("memory", found, "close other programs, or lower batch_size or prepare.image_size")
    return Line("memory", found)


_MEMORY = ("MemTotal", "MemAvailable")


def disk() -> Line:
    """What is free where the checkout is."""
    free = shutil.disk_usage(".").free / 2**30
    if free < DISK:
        return Line("disk", f"{free:.1f} GiB free", "free some space; `dvc gc -w` drops outputs of earlier experiments")
    return Line("disk", f"{free:.0f} GiB free")


def gpu() -> Line:
    """What the system says of GPUs, and whether the installed TensorFlow could use one."""
    nodes = [path.name for path in sorted(Path("/dev").glob("nvidia[0-9]*"))]
    if shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
        with contextlib.suppress(subprocess.TimeoutExpired, OSError):
            done = subprocess.run(query, capture_output=True, text=True, check=False, timeout=PATIENCE)
            if done.returncode:
                if nodes:
                    return Line("GPU", f"nvidia-smi fails: {done.stdout.strip()[:100]}", "mend the NVIDIA driver")
            elif cards := [line.strip() for line in done.stdout.splitlines() if line.strip()]:
                return _usable("; ".join(cards))
    return _usable(", ".join(nodes)) if nodes else Line("GPU", "none: training runs on the processors")


def _usable(cards: str) -> Line:
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return Line("GPU", f"{cards}; CUDA_VISIBLE_DEVICES hides it")
    try:
        metadata.version("nvidia-cudnn-cu12")
    except metadata.PackageNotFoundError:
        return Line("GPU", f"{cards}, but TensorFlow is installed without CUDA", "`make setup GPU=1`")
    return Line("GPU", cards)


def parameters(path: Path = Path("params.yaml")) -> Line:
    """Whether they are as they must be."""
    from headstart import params
    from headstart.stage import UserError

    try:
        found = params.load(path)
    except UserError as error:
        return Line("parameters", "wrong", str(error))
    return Line("parameters", f"{found.task}, {found.backbone}, data at {found.data.path}")


def dvc() -> list[Line]:
    """The cache, the remotes, and whether the outputs are there."""
    if not Path(".dvc").is_dir():
        return [Line("DVC", "no .dvc folder here", "run in the repository's root")]
    settings = configparser.ConfigParser()
    for name in ("config", "config.local"):
        with contextlib.suppress(configparser.Error):
            settings.read(Path(".dvc", name))
    cache = Path(settings.get("cache", "dir", fallback="cache"))
    cache = cache if cache.is_absolute() else Path(".dvc", cache)
    lines = [Line("DVC cache", f"{cache}, {_size(cache)}")]
    if (note := Path(".dvc/tmp/rwlock")).exists() and not note.read_bytes().strip():
        lines.append(Line("DVC's locks", f"{note} is empty: DVC was killed while it wrote it", f"remove {note}"))
    remotes = [name for name in settings.sections() if "remote" in name]
    for name in remotes:
        default = settings.get("core", "remote", fallback="") in name
        address = without_password(settings.get(name, "url", fallback="no address"))
        lines.append(
            Line(
                "DVC remote",
                f"{name.strip(chr(39)).partition(' ')[2].strip(chr(34))}: {address}{', default' if default else ''}",
            )
        )
    if not remotes:
        lines.append(Line("DVC remote", "none: results stay on this machine"))
    model = Path("models/final/model.keras")
    if not Path("dvc.lock").exists() or not model.exists():
        lines.append(Line("model", "not trained here yet: `make repro` trains it, `dvc pull` fetches one"))
    else:
        lines.append(Line("model", f"{model}, {_size(model)}"))
    return lines


def stores() -> list[Line]:
    """What the frozen layers computed, and trainings that were stopped."""
    lines = [Line("computed rows", f".headstart/features, {_size(Path('.headstart/features'))}")]
    stopped = [path.name for path in sorted(Path(".headstart/training").glob("*")) if not path.name.startswith(".")]
    if stopped:
        lines.append(Line("stopped trainings", f"{', '.join(stopped)}: `dvc repro` goes on with them"))
    return lines


def tracking() -> list[Line]:
    """Where MLflow's runs are, whether that can be reached, and how many there are."""
    address = os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    lines = [Line("store", without_password(address))]
    parts = urlsplit(address)
    if parts.scheme == "sqlite":
        return [*lines, _database(Path(address.removeprefix("sqlite:///")))]
    if parts.hostname is None:
        return lines
    port = parts.port or {"https": 443, "http": 80, "postgresql": 5432, "mysql": 3306}.get(parts.scheme.split("+")[0])
    if port is not None:
        try:
            socket.create_connection((parts.hostname, port), timeout=PATIENCE).close()
        except OSError as error:
            remedy = "start it, or unset MLFLOW_TRACKING_URI; trainings go on without it"
            return [*lines, Line("server", f"does not answer: {error}", remedy)]
    return [*lines, Line("server", "answers")]


def _database(path: Path) -> Line:
    if not path.exists():
        return Line("runs", "none yet")
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=PATIENCE)) as store:
            ((runs, experiments),) = store.execute(
                "select count(*), count(distinct experiment_id) from runs where lifecycle_stage = 'active'"
            )
    except sqlite3.Error as error:
        return Line("runs", f"{path} can't be read: {error}", f"move {path} away: the next training makes a new one")
    return Line("runs", f"{runs} in {experiments} experiment{'' if experiments == 1 else 's'}, {_size(path)}")


def keras() -> list[Line]:
    """What Keras' backend sees; imports it."""
    name = os.environ.get("KERAS_BACKEND", "tensorflow")
    try:
        module = importlib.import_module("keras")
        devices = module.distribution.list_devices()
    except Exception as error:  # whatever is wrong with an installation, it is said
        return [Line("backend", f"{name} does not start: {type(error).__name__}: {error}", "`make setup`")]
    lines = [Line("backend", f"{module.backend.backend()}, devices: {', '.join(devices)}")]
    if any(Path("/dev").glob("nvidia[0-9]*")) and not any(device.startswith("gpu") for device in devices):
        lines.append(
            Line("GPU", "the backend does not see it", "`make setup GPU=1`; does CUDA_VISIBLE_DEVICES hide it?")
        )
    return lines


def without_password(address: str) -> str:
    """An address without user, password and query, which may hold keys."""
    return re.sub(r"[?#].*$", "", re.sub(r"//[^/@]*@", "//", address))


def _size(path: Path) -> str:
    """Of a file, or of all files below a folder; a file of several names counts once."""
    if not path.exists():
        return "empty"
    files = [path] if path.is_file() else (file for file in path.rglob("*") if file.is_file())
    seen = {(stat.st_dev, stat.st_ino): stat.st_size for stat in map(os.stat, files)}
    size, units = float(sum(seen.values())), ["B", "KB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return f"{size:.3g} {units[0]}"

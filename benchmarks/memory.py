"""Claim: a stage's memory does not grow with the number of pictures.

Peak private memory of `prepare`, `extract_features` and `fine_tune` at 2,000 and at 60,000 pictures of Fashion-MNIST,
handed over as one `.npz` in the MedMNIST layout: the anonymous pages in RAM of the stage's process and of all below it,
sampled every 50 ms (Linux). Mapped files are left out: their pages are the system's, which takes them back at need.
"""

import gzip
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

from benchmarks import measure, workshop

PACKAGED = Path("/usr/share/datasets/fashion-mnist")  # Debian's package dataset-fashion-mnist
STAGES = ("prepare", "extract_features", "train_head", "cache_activations", "fine_tune")
MEASURED = ("prepare", "extract_features", "fine_tune")
EVERY = 0.05
# The smallest side that the backbone takes is enough: the pictures' number is what counts.
PARAMS = {
    "epochs": 1,
    "trainable_layers": 10,
    "data": {
        "source": None,
        "sha256": None,
        "path": "pictures.npz",
        "threshold": None,
        "classes": None,
        "on_leak": "warn",
    },
    "prepare": {"image_size": 32, "train": 0.8, "validation": 0.1, "test": 0.1},
    "features": {"weights": "random", "views": 1, "augment": "none"},
    "fine_tune": {"cache": "on"},
    "evaluate": {"views": 1},
}


def main() -> None:
    parser = measure.parser(__doc__)
    parser.add_argument(
        "--data", type=Path, default=PACKAGED, help="folder of the four idx files, by default %(default)s"
    )
    parser.add_argument("--sizes", type=int, nargs=2, default=[2_000, 60_000], metavar=("FEW", "MANY"))
    given = parser.parse_args()
    few, many = (1_000, 2_000) if given.quick else given.sizes
    images, labels = fashion(given.data)
    peaks: dict[int, dict[str, float]] = {}
    with workshop.folder() as within:
        made = workshop.backbone(workshop.DEFAULT, 32, within, "random")
        for n in (few, many):
            place = within / str(n)
            place.mkdir()
            clone = workshop.clone(place)
            clone.params(PARAMS)
            write(images[:n], labels[:n], clone.folder / "pictures.npz")
            shutil.copytree(made, clone.folder / "models" / "backbone")
            peaks[n] = {stage: peak(clone, stage) for stage in STAGES}
            print(f"{n:,} pictures, MB: {measure.rounded(peaks[n])}", flush=True)
            shutil.rmtree(place)

    found = {
        stage: {"ours": peaks[many][stage], "peer": peaks[few][stage], "ratio": peaks[many][stage] / peaks[few][stage]}
        for stage in STAGES
    }
    worst = max(MEASURED, key=lambda stage: found[stage]["ratio"])
    measure.report(
        "memory",
        **found[worst],
        unit="MB",
        claims=[measure.Claim(f"ratio of {stage}", found[stage]["ratio"], "<=", 1.1) for stage in MEASURED],
        quick=given.quick,
        stage=worst,
        pictures=[many, few],
        all=found,
    )


def fashion(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """All 70,000 pictures, uint8 [n, 28, 28], and labels, uint8 [n]."""
    images, labels = [], []
    for part in ("train", "t10k"):
        with gzip.open(folder / f"{part}-images-idx3-ubyte.gz") as file:
            images.append(np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28))
        with gzip.open(folder / f"{part}-labels-idx1-ubyte.gz") as file:
            labels.append(np.frombuffer(file.read(), np.uint8, offset=8))
    return np.concatenate(images), np.concatenate(labels)


def write(images: np.ndarray, labels: np.ndarray, path: Path) -> None:
    """Write an `.npz` in the MedMNIST layout: four fifths for training, a tenth each for the others."""
    ends = [len(images) * 8 // 10, len(images) * 9 // 10]
    arrays: dict[str, np.ndarray] = {}
    for name, x, y in zip(("train", "val", "test"), np.split(images, ends), np.split(labels, ends), strict=True):
        arrays |= {f"{name}_images": x, f"{name}_labels": y[:, None]}
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]  # a mapping of names to arrays is what it takes


def peak(clone: workshop.Clone, stage: str) -> float:
    """Run a stage; the most megabytes of private memory that it and the processes below it had at one time.

    Raises:
        RuntimeError: it failed.
    """
    most = 0
    with (clone.folder / "said").open("w+") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", f"stages.{stage}"],
            cwd=clone.folder, env=clone.environment, stdout=said, stderr=subprocess.STDOUT,
        )  # fmt: skip
        while process.poll() is None:
            most = max(most, private(process.pid))
            time.sleep(EVERY)
        if process.returncode:
            said.seek(0)
            raise RuntimeError(f"{stage}: {said.read().strip()[-1500:]}")
    return most / 1e6


def private(pid: int) -> int:
    """Bytes of anonymous memory in RAM, of a process and all below it; a process that has ended counts nothing."""
    below: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            # The name, in brackets, may hold anything; the parent is the second field behind it.
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            below.setdefault(parent, []).append(int(entry.name))
    total, waiting = 0, [pid]
    while waiting:
        pid = waiting.pop()
        waiting += below.get(pid, [])
        with suppress(OSError):
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))
    return total


if __name__ == "__main__":
    main()

"""Claim: another experiment with the head costs a small part of a plain Keras script's run.

Wall seconds of `dvc exp run -S lr=…` with `trainable_layers: 0`, in a clone whose pipeline was run once, and of
`plain_keras_head.py`: the same training, validation and test pictures, batch size and epochs, the frozen network called
in the loop. Commands as they are typed, their start included. Ours shows four views of each picture in an epoch where
the script shows one, and ends with intervals, plots and a record in MLflow where it ends with two numbers.

The start is most of ours and little of the script's, so the ratio grows with the epochs: besides the default's there is
one with four times as many, none of them left out by early stopping.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import yaml

from benchmarks import measure, workshop
from headstart.data.prepared import Prepared, load

# A new rate for each round, or DVC would know the result already.
RATES = ("0.002", "0.0005", "0.003", "0.0007", "0.0015", "0.004", "0.0025", "0.0008")
LONGER = 4  # times the epochs
QUICK = 120  # pictures


def main() -> None:
    parser = measure.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="experiments")
    parser.add_argument("--peer-rounds", type=int, default=1, help="runs of the script, minutes each")
    given = parser.parse_args()
    rounds = {"ours": given.rounds, "peer": given.peer_rounds}
    if given.quick:
        rounds = dict.fromkeys(rounds, 1)
    if not 0 < max(rounds.values()) <= len(RATES):
        parser.error(f"1 to {len(RATES)} rounds")
    with workshop.folder() as within:
        clone = workshop.clone(within)
        ready(clone, given.quick)
        data, settings = load(clone.folder / "data" / "prepared"), yaml.safe_load(params(clone).read_text())
        write(data, within / "arrays.npz")
        script = [
            sys.executable, str(Path(__file__).with_name("plain_keras_head.py")),
            str(within / "arrays.npz"), str(clone.folder / "models" / "backbone" / "backbone.keras"),
            "--batch-size", str(settings["batch_size"]),
        ]  # fmt: skip
        curve = [compared(clone, script, settings["epochs"], rounds)]
        if not given.quick:
            curve.append(compared(clone, script, LONGER * settings["epochs"], dict.fromkeys(rounds, 1)))

    first = curve[0]
    measure.report(
        "head_experiment",
        **{key: first[key] for key in ("ours", "peer", "ratio")},
        unit="seconds",
        claims=[measure.Claim("ratio", first["ratio"], ">=", 10)],
        quick=given.quick,
        pictures=len(data.examples),
        curve=curve,
    )


def compared(clone: workshop.Clone, script: list[str], epochs: int, rounds: dict[str, int]) -> dict[str, Any]:
    """Median seconds of both sides, in turn, the parts of the last of ours, and both accuracies on the test split."""
    taken: dict[str, list[float]] = {"ours": [], "peer": []}
    for number, rate in enumerate(RATES[: max(rounds.values())]):
        if number < rounds["ours"]:
            start = time.perf_counter()
            parts = experiment(clone, lr=rate, epochs=epochs, **{"head.patience": epochs})
            taken["ours"].append(time.perf_counter() - start)
            print(f"dvc exp run -S lr={rate}: {taken['ours'][-1]:.1f} s, of it {parts}", flush=True)
            ours = json.loads((clone.folder / "metrics" / "evaluate.json").read_text())["accuracy"]
        if number < rounds["peer"]:
            start = time.perf_counter()
            said = clone.run(*script, "--lr", rate, "--epochs", str(epochs))
            taken["peer"].append(time.perf_counter() - start)
            print(f"plain_keras_head.py: {taken['peer'][-1]:.1f} s", flush=True)
            peer = json.loads(said.splitlines()[-1])["accuracy"]
    seconds = {side: median(times) for side, times in taken.items()}
    accuracies = {"test_accuracy": {"ours": ours, "peer": peer}}
    return {"epochs": epochs, **seconds, "ratio": seconds["peer"] / seconds["ours"], "stages": parts, **accuracies}


def params(clone: workshop.Clone) -> Path:
    """The clone's params.yaml."""
    return clone.folder / "params.yaml"


def ready(clone: workshop.Clone, quick: bool) -> None:
    """Run the clone's pipeline once; what this repository fetched already is not fetched again."""
    clone.git()
    changes: dict[str, Any] = {"trainable_layers": 0}
    there = [stage for stage, out in (("fetch_data", "data/fetched"), ("fetch_backbone", "models/backbone"))
             if clone.take(out)]  # fmt: skip
    if quick:
        changes |= {"epochs": 2, "features": {"views": 2}, "evaluate": {"bootstrap": 200}}
        table = clone.folder / yaml.safe_load(params(clone).read_text())["data"]["path"]
        if table.exists():
            table.write_text("".join(table.read_text().splitlines(keepends=True)[:QUICK]))
    clone.params(changes)
    for stage in there:
        clone.run("dvc", "commit", "--force", stage)
    clone.run("dvc", "repro")
    clone.commit("the pipeline's first run")


def write(data: Prepared, path: Path) -> None:
    """Write the pictures and classes of each split as the plain script takes them."""
    arrays: dict[str, np.ndarray] = {}
    for split, name in (("train", "train"), ("validation", "val"), ("test", "test")):
        arrays |= {f"x_{name}": data.images[data.of(split).index], f"y_{name}": data.targets(split)}
    np.savez(path, **arrays)  # type: ignore[arg-type]  # a mapping of names to arrays is what it takes


def experiment(clone: workshop.Clone, **changes: Any) -> dict[str, float]:
    """Run an experiment; seconds of its parts, by the moments at which DVC says that it starts a stage.

    Raises:
        RuntimeError: it failed.
    """
    parts: dict[str, float] = {}
    lines: list[str] = []
    part, since = "dvc, before", time.perf_counter()
    with subprocess.Popen(
        ["dvc", "exp", "run", *(f"--set-param={key}={value}" for key, value in changes.items())],
        cwd=clone.folder, env=clone.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if line.startswith(("Running stage", "Ran experiment")):
                now = time.perf_counter()
                parts[part] = round(now - since, 1)
                part, since = line.split("'")[1] if line.startswith("Running") else "dvc, after", now
    if process.returncode or len(parts) == 1:
        raise RuntimeError(f"dvc exp run: {''.join(lines).strip()[-1500:]}")
    return {**parts, part: round(time.perf_counter() - since, 1)}


if __name__ == "__main__":
    main()

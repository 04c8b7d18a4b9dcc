"""How much of a figure is luck: the pipeline with several seeds.

Another seed is another split of the data, other first weights and another order of examples. The runs are DVC's
experiments; what the workspace held is there again at the end.
"""

import json
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from headstart import stage
from headstart.evaluation.declared import OF_LABELS, primary_of

# What a run of the pipeline changes and git tracks; outputs come back from DVC's cache.
CHANGED = ("params.yaml", "dvc.lock", "metrics", "plots")


def run(n: int, changes: Sequence[str]) -> str:
    """Run the pipeline with the seeds 0 to n - 1 as experiments, and sum up what they found.

    Args:
        n: two at least.
        changes: `KEY=VALUE` for each parameter to change, as `dvc exp run -S` takes it.

    Raises:
        UserError: a run failed.
    """
    settings = [part for change in changes for part in ("-S", change)]
    found = []
    with workspace_kept():
        for seed in range(n):
            print(f"== seed {seed} of {n}", flush=True)
            done = subprocess.run(["dvc", "exp", "run", "-S", f"seed={seed}", *settings], check=False)
            if done.returncode:
                raise stage.UserError(f"the run with seed {seed} failed, for the reason above")
            found.append(json.loads(Path("metrics/evaluate.json").read_text(encoding="utf-8")))
    return summary(found)


@contextmanager
def workspace_kept() -> Iterator[None]:
    """Put parameters, lock, metrics and outputs back as they were."""
    files = [file for name in CHANGED for file in _files(Path(name))]
    kept = {file: file.read_bytes() for file in files}
    try:
        yield
    finally:
        for file in [file for name in CHANGED for file in _files(Path(name)) if file not in kept]:
            file.unlink()
        for file, content in kept.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        subprocess.run(["dvc", "checkout", "--force", "--quiet"], check=False)


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]


def summary(found: Sequence[dict[str, Any]]) -> str:
    """A column a seed, then mean, range and the 95 % interval of the mean (Student's t) over seeds."""
    rows = []
    first = primary_of(found[0])
    figures = next(of for of in OF_LABELS.values() if of.primary == first)
    shown: dict[str, Callable[[dict[str, Any]], float | None]] = {
        figures.names[first]: lambda of: of[first],
        "head only": lambda of: of["head_only"][first],
        "gain": lambda of: of["gain"][first],
    }
    shown |= {figures.names[figure]: itemgetter(figure) for figure in figures.seeds}
    for name, take in shown.items():
        values = [value for of in found if (value := take(of)) is not None]
        if len(values) < len(found):
            continue
        mean, error = np.mean(values), stats.sem(values)
        low, high = stats.t.interval(0.95, len(values) - 1, loc=mean, scale=error) if error > 0 else (mean, mean)
        rows.append(
            {"": name}
            | {f"seed {seed}": f"{value:.3f}" for seed, value in enumerate(values)}
            | {
                "mean": f"{mean:.3f}",
                "range": f"{min(values):.3f}-{max(values):.3f}",
                "95 %": f"[{low:.3f}, {high:.3f}]",
            }
        )
    return pd.DataFrame(rows).to_string(index=False)

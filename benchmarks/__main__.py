"""Run the benchmarks one after another, each in a process of its own, and write what they found to RESULTS.md.

What they found lies in RESULTS.json beside it as well: of benchmarks that are not run again on the same machine and
versions, the earlier results stay.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from threading import Thread
from typing import Any

from benchmarks import measure

NAMES = ("feature_extraction", "fine_tune_epoch", "head_experiment", "memory", "growth", "data_loading")
LIBRARIES = ("keras", "tensorflow", "onnxruntime", "openvino", "numpy", "dvc", "mlflow")
RESULTS = Path(__file__).with_name("RESULTS.md")
Outcome = dict[str, Any] | str


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all by default")
    parser.add_argument("--quick", action="store_true", help="a smoke test: small sizes, whose numbers mean nothing")
    parser.add_argument("--data", type=Path, help="folder of Fashion-MNIST's idx files, for memory")
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="file to write; by default RESULTS.md beside this"
    )
    given = parser.parse_args()
    if unknown := [name for name in given.names if name not in NAMES]:
        parser.error(f"there is no benchmark {unknown[0]!r}; there are {', '.join(NAMES)}")
    kept = earlier(given.results.with_suffix(".json"), given.quick)
    outcomes: dict[str, Outcome] = {}
    for name in given.names or NAMES:
        arguments = ["--quick"] if given.quick else []
        if name == "memory" and given.data:
            arguments += ["--data", str(given.data)]
        print(f"== {name}", flush=True)
        outcomes[name] = run(name, arguments)
        # After each, so that what was measured stays if a later one is stopped.
        found = {known: {**kept, **outcomes}[known] for known in NAMES if known in kept or known in outcomes}
        content = {"machine": machine(), "quick": given.quick, "outcomes": found}
        given.results.with_suffix(".json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        given.results.write_text(results(found, machine(), given.quick), encoding="utf-8")
    print(f"wrote {given.results}")
    if failed := [name for name, outcome in outcomes.items() if isinstance(outcome, str)]:
        sys.exit(f"failed: {', '.join(failed)}")


def earlier(file: Path, quick: bool) -> dict[str, Outcome]:
    """What an earlier call found on this machine with these versions; nothing if there is none."""
    if not file.exists():
        return {}
    content = json.loads(file.read_text(encoding="utf-8"))
    same = content["machine"] == machine() and content["quick"] == quick
    return content["outcomes"] if same else {}


def run(name: str, arguments: list[str]) -> Outcome:
    """Run a benchmark, showing what it prints as it comes; what it found, or the last line of its error."""
    lines: list[str] = []
    with subprocess.Popen(
        [sys.executable, "-m", f"benchmarks.{name}", *arguments],
        cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        errors: list[str] = []
        reader = Thread(target=lambda: errors.extend(process.stderr or ()))
        reader.start()
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
        reader.join()
    if process.returncode == 0:
        try:
            return measure.parse("".join(lines))
        except ValueError as error:
            return str(error)
    if process.returncode < 0:
        last = f"ended by signal {-process.returncode}"
    else:
        last = next((line.strip() for line in reversed(errors) if line.strip()), f"exit status {process.returncode}")
    print(last, file=sys.stderr, flush=True)
    return last


def machine() -> list[str]:
    """What was measured on: processor, memory, system, versions; nothing that names this very machine."""
    return [
        f"{processor()}, {cores()} cores, {memory()} GB of memory",
        f"{system()}, Python {platform.python_version()}",
        ", ".join(f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES),
    ]


def processor() -> str:
    """The processor's model."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> str:
    """Gigabytes in the machine."""
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.0f}"
    except (AttributeError, ValueError, OSError):
        return "?"


def system() -> str:
    """The operating system's name and version."""
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return f"{platform.system()} {platform.release()}"


def results(outcomes: dict[str, Outcome], machine: list[str], quick: bool) -> str:
    """The results as Markdown: the machine, a line for each claim, then the tables behind them.

    Args:
        outcomes: of each benchmark, the line that it ended with, or its error.
        machine: lines that say what was measured on.
        quick: whether this was a smoke test.
    """
    parts = ["# What was measured\n", "Written by `make bench`; both sides of each line ran in turn in one run.\n"]
    if quick:
        parts.append("**A smoke test on small sizes: the numbers mean nothing.**\n")
    parts.append("".join(f"- {line}\n" for line in machine))
    head = ["benchmark", "ours", "peer", "unit", "ratio", "claim", "found", "met"]
    parts.append(table(head, [row for name, outcome in outcomes.items() for row in summary(name, outcome)]))
    for name, outcome in outcomes.items():
        if isinstance(outcome, str):
            continue
        if "all" in outcome:
            rows = [{"": key, **numbers} for key, numbers in outcome["all"].items()]
            parts.append(f"## {name} ({outcome['unit']})\n\n{records(rows)}")
        if "curve" in outcome:
            parts.append(f"## {name}, the curve ({outcome['unit']})\n\n{records(outcome['curve'])}")
        known = {"name", "ours", "peer", "ratio", "unit", "claims", "quick", "all", "curve"}
        if said := [f"{key}: {plain(value)}" for key, value in outcome.items() if key not in known]:
            parts.append(f"{name}: {'; '.join(said)}\n")
    return "\n".join(parts)


def summary(name: str, outcome: Outcome) -> list[list[str]]:
    """A benchmark's lines in the first table: one for each claim."""
    if isinstance(outcome, str):
        return [[name, "", "", "", "", f"failed: {outcome}", "", "no"]]
    numbers = [name, *(plain(outcome[key]) for key in ("ours", "peer", "unit", "ratio"))]
    rows = []
    for claim in outcome["claims"]:
        rows.append([*numbers, claim["claim"], plain(claim["found"]), "yes" if claim["met"] else "no"])
        numbers = [name, "", "", "", ""]
    return rows


def records(rows: list[dict[str, Any]]) -> str:
    """A table of dictionaries; a key that some lack has an empty cell there."""
    head = list(dict.fromkeys(key for row in rows for key in row))
    return table(head, [[plain(row.get(key, "")) for key in head] for row in rows])


def plain(value: Any) -> str:
    """A value as a cell shows it."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {plain(part)}" for key, part in value.items())
    if isinstance(value, list):
        return ", ".join(map(plain, value))
    if isinstance(value, float) and abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in lines)


if __name__ == "__main__":
    main()

"""What the benchmarks share: arguments, rounds in turn, claims, and the line of JSON that each of them ends with."""

import argparse
import json
import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any, NamedTuple

# Seconds between two sides: an engine's threads wait a moment for more work, at full load, before they sleep.
PAUSE = 0.2


class Claim(NamedTuple):
    """A bound that a found number keeps or misses.

    what: the number's name.
    found: the number.
    sign: <= | >=.
    bound: what is claimed.
    """

    what: str
    found: float
    sign: str
    bound: float

    @property
    def met(self) -> bool:
        """Whether it keeps the bound; not a number never does."""
        return self.found <= self.bound if self.sign == "<=" else self.found >= self.bound

    def __str__(self) -> str:
        return f"{self.what} {self.sign} {self.bound:g}"


def parser(about: str | None) -> argparse.ArgumentParser:
    """A parser with the flag that all benchmarks have."""
    made = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help="a smoke test: small sizes, whose numbers mean nothing")
    return made


def seconds(work: Callable[[], object]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def in_turn(
    sides: Mapping[str, Callable[[], object]],
    rounds: int,
    warm: int = 1,
    before: Mapping[str, Callable[[], object]] | None = None,
) -> dict[str, float]:
    """Median seconds of each side: all sides once a round, each round begun by another one, so that load hits all.

    Args:
        sides: what to call.
        rounds: measured.
        warm: rounds before them that do not count.
        before: what to call before a side, outside its time.
    """
    names = list(sides)
    found: dict[str, list[float]] = {name: [] for name in names}
    for number in range(warm + rounds):
        at = number % len(names)
        for name in names[at:] + names[:at]:
            if before and name in before:
                before[name]()
            time.sleep(PAUSE)
            taken = seconds(sides[name])
            if number >= warm:
                found[name].append(taken)
    return {name: median(times) for name, times in found.items()}


def rounded(value: Any) -> Any:
    """The same with every float, however deep, at four significant digits."""
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(part) for part in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def report(
    name: str, *, ours: float, peer: float, ratio: float, unit: str, claims: list[Claim], quick: bool, **more: Any
) -> None:
    """Print the last line.

    Args:
        name: of the benchmark.
        ours, peer: the two sides, in `unit`.
        ratio: of the two, the way round in which it is claimed.
        unit: of both sides.
        claims: each bound with what was found.
        quick: whether the sizes are those of a smoke test.
        **more: the rest of the line; `all` is {network or stage: {number's name: number}}.
    """
    said = [{"claim": str(claim), "found": claim.found, "met": claim.met} for claim in claims]
    line = {"name": name, "ours": ours, "peer": peer, "ratio": ratio, "unit": unit, "claims": said, **more}
    print(json.dumps(rounded({**line, "quick": quick}), ensure_ascii=False), flush=True)


def parse(output: str) -> dict[str, Any]:
    """What a benchmark's standard output ends with.

    Raises:
        ValueError: its last line is not JSON, or lacks a field that every benchmark has.
    """
    last = next((line for line in reversed(output.splitlines()) if line.strip()), "")
    try:
        found = json.loads(last)
    except json.JSONDecodeError:
        raise ValueError(f"the last line is not JSON: {last[:200]!r}") from None
    needed = {"name", "ours", "peer", "ratio", "unit", "claims"}
    if not isinstance(found, dict) or needed - found.keys():
        raise ValueError(f"the last line lacks {', '.join(sorted(needed - set(found)))}: {last[:200]!r}")
    return found

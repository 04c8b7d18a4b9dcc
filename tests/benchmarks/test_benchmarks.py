import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import __main__ as bench
from benchmarks import measure

ROOT = Path(__file__).parents[2]


def line(capsys, found=2.0, **more):
    claims = [measure.Claim("ratio", found, ">=", 1.5)]
    measure.report("made_up", ours=4.0, peer=2.0, ratio=found, unit="pictures/s", claims=claims, quick=False, **more)
    return capsys.readouterr().out


def test_what_report_prints_is_what_parse_reads(capsys):
    found = measure.parse("a line before\n" + line(capsys, 2.000001, all={"A": {"ours": 4.0}}))
    assert found["ratio"] == 2.0
    assert found["claims"] == [{"claim": "ratio >= 1.5", "found": 2.0, "met": True}]
    assert found["all"] == {"A": {"ours": 4.0}}


def test_a_missed_claim_is_told(capsys):
    assert not measure.parse(line(capsys, 1.4))["claims"][0]["met"]
    assert not measure.Claim("ratio", float("nan"), "<=", 1.0).met


@pytest.mark.parametrize(
    ("output", "said"),
    [("", "not JSON"), ('{"name": "x"}\nthe end\n', "not JSON"), ('{"name": "x", "ours": 1}\n', "lacks claims, peer")],
)
def test_parse_refuses_what_no_benchmark_prints(output, said):
    with pytest.raises(ValueError, match=said):
        measure.parse(output)


def test_sides_take_turns_and_only_measured_rounds_count(monkeypatch):
    monkeypatch.setattr(measure, "PAUSE", 0)
    calls = []
    found = measure.in_turn(
        {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2, before={"b": lambda: calls.append("-")}
    )
    assert calls == ["a", "-", "b", "-", "b", "a", "a", "-", "b"]
    assert set(found) == {"a", "b"}


def test_the_results_name_every_claim_and_every_failure(capsys):
    outcomes = {
        "made_up": measure.parse(line(capsys, all={"A": {"ours": 4.0}, "B": {"ours": 1234.5, "best": "x"}}, cut="add")),
        "missed": measure.parse(line(capsys, 1.4, curve=[{"trainable_layers": 10, "ratio": 1.4}])),
        "broken": "ValueError: a | b",
    }
    text = bench.results(outcomes, ["a processor"], quick=False)
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in text.splitlines() if row.startswith("|")]
    assert rows[2] == ["made_up", "4", "2", "pictures/s", "2", "ratio >= 1.5", "2", "yes"]
    assert rows[3] == ["missed", "4", "2", "pictures/s", "1.4", "ratio >= 1.5", "1.4", "no"]
    assert rows[4] == ["broken", "", "", "", "", "failed: ValueError: a / b", "", "no"]
    assert ["B", "1,234", "x"] in rows
    assert ["10", "1.4"] in rows
    assert "- a processor\n" in text
    assert "made_up: cut: add" in text


def test_the_machine_is_described_without_its_name():
    text = " ".join(bench.machine())
    assert "Python 3." in text
    assert "keras 3." in text
    assert os.uname().nodename not in text or len(os.uname().nodename) < 4


def test_a_benchmark_that_fails_is_told_and_the_others_go_on(tmp_path, monkeypatch, capsys):
    found = measure.parse(line(capsys))
    monkeypatch.setattr(bench, "run", lambda name, _: found if name == "growth" else "KeyError: 'x'")
    file = tmp_path / "RESULTS.md"
    monkeypatch.setattr(sys, "argv", ["benchmarks", "memory", "growth", "--results", str(file)])
    with pytest.raises(SystemExit, match="failed: memory"):
        bench.main()
    assert "| memory |  |  |  |  | failed: KeyError: 'x' |" in file.read_text()
    assert "| growth | 4 |" in file.read_text()


def test_what_is_not_run_again_stays(tmp_path, monkeypatch, capsys):
    file = tmp_path / "RESULTS.md"
    for name, number in (("growth", 2.0), ("memory", 3.0), ("growth", 4.0)):
        found = measure.parse(line(capsys, number))
        monkeypatch.setattr(bench, "run", lambda *_, found=found: found)
        monkeypatch.setattr(sys, "argv", ["benchmarks", name, "--results", str(file)])
        bench.main()
    assert [row[0] for row in map(bench_row, file.read_text().splitlines()) if row[0] in bench.NAMES] == [
        "memory",
        "growth",
    ]
    assert "| growth | 4 | 2 | pictures/s | 4 |" in file.read_text()
    monkeypatch.setattr(bench, "machine", lambda: ["another one"])
    bench.main()
    assert "memory" not in file.read_text()


def bench_row(text):
    return [cell.strip() for cell in text.strip("|").split("|")]


def test_a_failure_ends_with_its_last_line():
    assert "unrecognized arguments: --no-such-flag" in bench.run("growth", ["--no-such-flag"])


def test_a_quick_run_ends_with_its_line(tmp_path):
    file = tmp_path / "RESULTS.md"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "feature_extraction", "--quick", "--results", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-2])
    assert found["name"] == "feature_extraction"
    assert found["quick"]
    assert found["ratio"] == pytest.approx(found["ours"] / found["peer"], rel=0.01)
    assert set(found["all"]) == {"EfficientNetLite0", "MobileNetV2"}
    assert all(numbers["keras"] > 0 for numbers in found["all"].values())
    assert "| feature_extraction |" in file.read_text()

"""The command line as a user meets it: help, completion, recipes, the doctor. What commands do has tests elsewhere."""

import importlib
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from headstart import __main__, doctor, recipes
from headstart.stage import UserError

ROOT = Path(__file__).parents[1]
# Commands must not load these before they know that they need them: every press of tab asks for a command.
HEAVY = ("dvc", "keras", "mlflow", "numpy", "pandas", "sklearn", "tensorflow")


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def run(*arguments: str) -> Result:
    """The command's result; a user's mistake comes as it was raised."""
    return CliRunner().invoke(__main__.main, arguments, prog_name="headstart", catch_exceptions=False)


def test_every_command_is_a_module_and_every_module_a_command() -> None:
    modules = {path.stem.replace("_", "-") for path in (ROOT / "headstart/commands").glob("*.py")} - {"--init--"}
    assert modules == set(__main__.COMMANDS)


@pytest.mark.parametrize("name", __main__.COMMANDS)
def test_every_command_explains_itself_with_an_example(name: str) -> None:
    done = run(name, "--help")
    assert done.exit_code == 0
    assert f"Usage: headstart {name}" in done.output
    assert f"headstart {name}" in done.output.partition("Example")[2]
    assert name in run("--help").output


def test_a_command_answers_without_loading_the_libraries_that_it_may_need() -> None:
    script = (
        "import importlib, sys; from headstart.__main__ import COMMANDS\n"
        "for name in COMMANDS: importlib.import_module('headstart.commands.' + name.replace('-', '_'))\n"
        "print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not set(HEAVY) & set(loaded)


def test_an_unknown_command_is_told_from_known_ones() -> None:
    done = run("predcit")
    assert done.exit_code == 2
    assert "predcit" in done.output


def completed(*words: str) -> list[str]:
    """What the shell offers for the last word."""
    found = ShellComplete(__main__.main, {}, "headstart", "_HEADSTART_COMPLETE")
    return [item.value for item in found.get_completions(list(words[:-1]), words[-1])]


def test_the_shell_completes_commands_options_formats_and_recipes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert completed("predict", "--form") == ["--format"]
    assert completed("predict", "--format", "js") == ["json", "jsonl"]
    assert completed("recipes", "plank") == ["planktonclas"]
    assert completed("export", "--format", "") == ["savedmodel", "onnx", "openvino", "litert", "all"]
    assert completed("--he") == ["--help"]
    # For a command's name none of them is imported.
    monkeypatch.setattr(importlib, "import_module", None)
    assert completed("") == list(__main__.COMMANDS)
    assert completed("comp") == ["compare", "completion"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_bash_takes_the_completion() -> None:
    # As bash calls it: the words in COMP_WORDS, the answer in COMPREPLY.
    script = """
        headstart() { python -m headstart "$@"; }; export -f headstart
        eval "$(headstart completion bash)"
        complete -p headstart
        COMP_WORDS=(headstart recipes plank); COMP_CWORD=2
        _headstart_completion headstart; echo "${COMPREPLY[@]}"
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    folder = {"PYTHONPATH": str(ROOT), "PATH": path}
    done = subprocess.run(
        ["bash", "-c", script], env={**os.environ, **folder}, capture_output=True, text=True, check=False
    )
    assert "-F _headstart_completion headstart" in done.stdout, done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_own_completion(shell: str) -> None:
    assert f"_HEADSTART_COMPLETE={shell}_complete" in run("completion", shell).output


def test_recipes_are_listed_with_what_runs_them_and_printed() -> None:
    listed = run("recipes").output
    for name in recipes.names():
        found = recipes.read(name)
        assert f"{name}  ({found.task}, {found.backbone})" in listed
        assert f"$ cp recipes/{name}.yaml params.yaml && dvc repro" in listed
        assert run("recipes", name).output == (ROOT / f"recipes/{name}.yaml").read_text()
    assert "105 microscope pictures of plankton" in listed
    with pytest.raises(UserError, match=r"no recipe 'plankton'.*did you mean 'planktonclas'"):
        run("recipes", "plankton")


def page(*only: str) -> str:
    """The doctor's page, as far as these subjects go."""
    return "\n".join(
        text for text, _ in doctor.page(doctor.examine()) if not only or any(what in text for what in only)
    )


def test_the_doctor_says_what_there_is_in_this_checkout() -> None:
    said = page()
    for part in ("keras 3.", "as in the lock", "GiB free", "image-classification, EfficientNetLite0", ".dvc/cache"):
        assert part in said
    assert "! parameters" not in said


def test_the_doctor_starts_no_framework() -> None:
    script = "import sys; from headstart import doctor; list(doctor.page(doctor.examine())); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not {"keras", "tensorflow", "mlflow", "dvc"} & set(loaded)


def test_the_doctor_marks_problems_with_what_to_do_and_ends_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("doctor")
    assert done.exit_code == 1
    assert "! lock             no requirements.lock" in done.output
    assert "→ run in the repository's root" in done.output
    assert "! parameters" in done.output
    Path("requirements.lock").write_text("keras==1.0.0 \\\n    --hash=sha256:0\ndvc==0.1 ; python_version < '3'\n")
    said = page()
    assert "the lock has 1.0.0" in said
    assert "the lock has 0.1" in said


def test_the_doctor_knows_what_a_killed_dvc_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".dvc" / "tmp").mkdir(parents=True)
    locks = tmp_path / ".dvc" / "tmp" / "rwlock"
    locks.write_text("{}")
    assert all(line.remedy is None for line in doctor.dvc())
    locks.write_text("")
    assert [line.remedy for line in doctor.dvc() if line.remedy] == ["remove .dvc/tmp/rwlock"]


def test_the_doctor_shows_no_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(".dvc").mkdir()
    Path(".dvc/config").write_text(
        "[core]\n    remote = far\n['remote \"far\"']\n    url = https://me:secret@127.0.0.1/x?key=secret\n"
    )
    Path(".dvc/config.local").write_text("['remote \"far\"']\n    password = secret\n")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://me:secret@127.0.0.1:1/runs")
    said = page()
    assert "secret" not in said
    assert "far: https://127.0.0.1/x, default" in said
    assert "postgresql://127.0.0.1:1/runs" in said
    assert "! server           does not answer" in said


@given(
    user=st.text(st.characters(whitelist_categories=["L", "N"]), min_size=1),
    password=st.text(st.characters(blacklist_categories=["C"], blacklist_characters="/@"), min_size=1),
)
def test_no_address_shows_a_password(user: str, password: str) -> None:
    shown = doctor.without_password(f"https://{user}:{password}@host.example/path?token={password}#{password}")
    assert shown == "https://host.example/path"


def test_the_doctor_counts_runs_and_marks_a_store_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "none yet" in page("runs")
    with sqlite3.connect("mlflow.db") as store:
        store.execute("create table runs (experiment_id int, lifecycle_stage text)")
        store.execute("insert into runs values (1, 'active'), (1, 'active'), (1, 'deleted')")
    store.close()
    assert "2 in 1 experiment," in page("runs")
    Path("mlflow.db").write_text("not a database")
    assert "! runs" in page("runs")

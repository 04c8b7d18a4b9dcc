"""What every stage promises: one sentence for a mistake, outputs that are whole or absent."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from headstart import stage

ROOT = Path(__file__).parents[1]


def test_a_mistake_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    (tmp_path / "params.yaml").write_text(text.replace("\nlr: 0.001", "\nlr: -1"), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "stages.fetch_data"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == "error: params.yaml: lr: -1 is given, it must be greater than 0\n"


def test_a_file_that_can_not_be_read_is_named_without_a_traceback(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"^error: .*nowhere: No such file or directory$"):
        stage.run(lambda: (tmp_path / "nowhere").read_text() and None)


def test_ctrl_c_is_no_traceback() -> None:
    def main() -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit, match=r"^stopped$"):
        stage.run(main)


def test_a_bug_of_ours_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        stage.run(lambda: 1 / 0 and None)


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_the_old_output_and_nothing_half_written(tmp_path: Path, error: type[BaseException]) -> None:
    with stage.whole(tmp_path / "models/head") as folder:
        (folder / "head.txt").write_text("old")
    before = contents(tmp_path)

    def main() -> None:
        with stage.whole(tmp_path / "models/head") as folder:
            (folder / "head.txt").write_text("new")
            assert contents(tmp_path / "models/head") == {"head.txt": "old"}
            raise error

    with pytest.raises(error):
        main()
    assert contents(tmp_path) == before == {"models/head/head.txt": "old"}
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["head"]


def test_success_replaces_the_whole_output(tmp_path: Path) -> None:
    for name in ("first", "second"):
        with stage.whole(tmp_path / "out") as folder:
            (folder / f"{name}.txt").write_text(name)
    assert contents(tmp_path) == {"out/second.txt": "second"}


def test_what_a_killed_stage_left_aside_is_no_part_of_the_next_output(tmp_path: Path) -> None:
    (tmp_path / ".out.part").mkdir()
    (tmp_path / ".out.part/half").write_text("half")
    with stage.whole(tmp_path / "out") as folder:
        (folder / "whole").write_text("whole")
    assert contents(tmp_path) == {"out/whole": "whole"}


def test_a_text_file_is_written_whole_with_its_folder(tmp_path: Path) -> None:
    stage.write(tmp_path / "metrics/a.json", "{}\n")
    stage.write(tmp_path / "metrics/a.json", '{"größe": 1}\n')
    assert (tmp_path / "metrics/a.json").read_bytes().decode() == '{"größe": 1}\n'
    assert len(list((tmp_path / "metrics").iterdir())) == 1


def test_a_text_that_can_not_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    stage.write(tmp_path / "a.txt", "old")
    with pytest.raises(UnicodeEncodeError):
        stage.write(tmp_path / "a.txt", "half \ud800")
    assert (tmp_path / "a.txt").read_text() == "old"


def raising(error: BaseException) -> Callable[[], None]:
    def main() -> None:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "error: there is not enough memory; close other programs"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "error: there is not enough memory"),
        (
            OSError(errno.ENOSPC, "No space left on device", "data/x.npy"),
            "error: data/x.npy: No space .*the disk is full",
        ),
        (OSError("4096 requested and 1024 written"), "error: 4096 requested .*the disk is full"),
        (OSError(errno.EROFS, "Read-only file system", "data"), "error: data: Read-only file system$"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "gone.npy"), "error: gone.npy: No such file"),
    ],
)
def test_what_the_system_refuses_is_one_line(error: BaseException, said: str) -> None:
    with pytest.raises(SystemExit, match=said) as caught:
        stage.run(raising(error))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_a_tensor_that_memory_can_not_hold_is_one_line(backend: str) -> None:
    code = "import keras\nfrom headstart import stage\nstage.run(lambda: keras.ops.zeros((1 << 45,)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False,
        env={**os.environ, "KERAS_BACKEND": backend},
    )  # fmt: skip
    assert done.returncode == 1
    assert "error: there is not enough memory; close other programs, or lower batch_size" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_a_programmers_mistake_keeps_its_traceback() -> None:
    with pytest.raises(ValueError, match="a mistake"):
        stage.run(raising(ValueError("a mistake")))


def test_ctrl_c_ends_a_stage_that_swallows_it() -> None:
    code = (
        "import time\nfrom headstart import stage\nstage.GRACE = 0.5\n"
        "def main():\n"
        "    while True:\n"
        "        try:\n            print('here', flush=True); time.sleep(60)\n"
        "        except BaseException: pass\n"
        "stage.run(main)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130

"""Nothing in the code reads what may run code."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

from headstart.backbones.saving import load_model

ROOT = Path(__file__).parents[1]
CODE = [path for folder in ("headstart", "stages") for path in sorted((ROOT / folder).rglob("*.py"))]
# Calls that turn bytes into running code; what they are given decides for the last two.
FORBIDDEN = {
    "pickle.load", "pickle.loads", "pickle.Unpickler", "joblib.load", "torch.load", "dill.load", "cloudpickle.load",
    "marshal.loads", "shelve.open", "eval", "exec", "os.system", "yaml.load", "yaml.unsafe_load", "pd.read_pickle",
    "keras.layers.Lambda", "layers.Lambda", "keras.config.enable_unsafe_deserialization",
}  # fmt: skip


@pytest.mark.parametrize("path", CODE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_code_reads_what_may_run(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        given = {word.arg: getattr(word.value, "value", None) for word in node.keywords}
        name = ast.unparse(node.func)
        loader = next((ast.unparse(word.value) for word in node.keywords if word.arg == "Loader"), "")
        if name == "yaml.load" and ("SAFE" in loader or loader == "yaml.BaseLoader"):  # this one gives nothing but text
            continue
        assert name not in FORBIDDEN, f"{path}:{node.lineno}: {name}"
        assert given.get("allow_pickle") is not True, f"{path}:{node.lineno}: allow_pickle"
        assert given.get("safe_mode") is not False, f"{path}:{node.lineno}: safe_mode"
        assert given.get("shell") is not True, f"{path}:{node.lineno}: a shell"
        if name.endswith("np.load"):
            # Arrays of our own making are mapped into memory, which pickled ones can't be.
            assert given.get("allow_pickle") is False or "mmap_mode" in given, f"{path}:{node.lineno}: {name}"


def test_a_model_with_code_in_it_is_refused(tmp_path: Path) -> None:
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Lambda(lambda x: x + 1)(inputs))
    model.save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="safe_mode"):
        load_model(tmp_path / "model.keras")


def test_tracking_is_told_not_to_read_pickles() -> None:
    assert '"ALLOW_PICKLE_DESERIALIZATION": "false"' in (ROOT / "headstart/tracking.py").read_text()
    assert '"--host", "127.0.0.1"' in (ROOT / "headstart/commands/ui.py").read_text()


def test_no_file_holds_a_secret() -> None:
    python = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["make", "--no-print-directory", "secrets", f"IN_VENV=PATH={python}"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr

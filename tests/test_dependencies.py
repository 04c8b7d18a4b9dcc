"""dvc.yaml says of each stage what it really reads: too little runs too rarely, too much too often."""

import ast
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
# They check, report and log: nothing of theirs is in any output, so a change in them makes none of the outputs stale.
# headstart/__init__.py holds a docstring alone, stages/__init__.py imports quiet.py to hold back messages, gpus.py
# to choose among GPUs that are all alike.
LOGS = {
    f"headstart/{name}.py"
    for name in (
        "__init__",
        "damage",
        "gpus",
        "identity",
        "live",
        "mlflow_model",
        "params",
        "repository",
        "stage",
        "quiet",
        "tracking",
    )
}
# They show what the outputs hold, on a page that is none itself.
SHOWS = {"headstart/compare.py", "headstart/executions.py"} | {
    path.relative_to(ROOT).as_posix() for path in (ROOT / "headstart/reporting").glob("*.py")
}
EXEMPT = LOGS | SHOWS


def module_file(name: str) -> Path | None:
    """The file of one of our modules; None for anything else, such as a function in one."""
    if name.partition(".")[0] not in {"headstart", "stages"}:
        return None
    path = ROOT.joinpath(*name.split("."))
    return next((p for p in (path / "__init__.py", path.with_suffix(".py")) if p.is_file()), None)


def imports(file: Path) -> set[str]:
    """Names of the modules that a file imports, at its top or in a function; not those just for type checkers."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}: imports here name the whole path"
            found.add(str(node.module))
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(file.read_text(encoding="utf-8")))
    return found


def builders() -> set[str]:
    """Modules that the table of backbones names as text and build.py imports by it."""
    from headstart.backbones.table import TABLE

    return {entry.builder.partition(":")[0] for entry in TABLE.values()}


def closure(script: Path) -> set[str]:
    """Our files that a script imports, directly or not, with the packages that they lie in; relative to the root."""
    seen: set[Path] = set()
    waiting = [script]
    while waiting:
        file = waiting.pop()
        if file in seen:
            continue
        seen.add(file)
        names = imports(file) | (builders() if file == ROOT / "headstart/backbones/build.py" else set())
        parents = {name.rsplit(".", n)[0] for name in names for n in range(1, name.count(".") + 1)}
        waiting += [found for name in names | parents if (found := module_file(name))]
    return {path.relative_to(ROOT).as_posix() for path in seen}


def only_a_docstring(file: str) -> bool:
    body = ast.parse((ROOT / file).read_text(encoding="utf-8")).body
    return all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in body)


def declared(stage: str) -> list[str]:
    return [path for path in STAGES[stage]["deps"] if path.startswith(("headstart", "stages"))]


def covers(path: str, file: str) -> bool:
    return file == path or file.startswith(f"{path}/")


@pytest.fixture(params=STAGES)
def stage(request: pytest.FixtureRequest) -> str:
    return request.param


def used(stage: str) -> set[str]:
    """Files whose change can change the stage's outputs."""
    files = closure(ROOT / f"stages/{stage}.py") - EXEMPT
    return {file for file in files if not (file.endswith("__init__.py") and only_a_docstring(file))}


def test_every_file_that_a_stage_imports_is_declared(stage: str) -> None:
    missing = {file for file in used(stage) if not any(covers(path, file) for path in declared(stage))}
    assert not missing, f"dvc.yaml: {stage} would not run again after a change in {sorted(missing)}"


def test_every_file_or_folder_declared_is_imported(stage: str) -> None:
    # A template is used by the module of its name.
    files = used(stage) | {file.replace(".py", ".html") for file in used(stage)}
    needless = {path for path in declared(stage) if not any(covers(path, file) for file in files)}
    assert not needless, f"dvc.yaml: {stage} would run again after a change in {sorted(needless)}, for nothing"


def test_a_folder_is_declared_only_where_all_of_it_is_used(stage: str) -> None:
    for path in declared(stage):
        if (ROOT / path).is_dir():
            there = {p.relative_to(ROOT).as_posix() for p in (ROOT / path).rglob("*.py")}
            needless = {file for file in there - used(stage) if not only_a_docstring(file)}
            assert not needless, f"dvc.yaml: {stage} declares {path} but does not use {sorted(needless)}"


def test_what_is_exempt_is_there_and_draws_in_nothing_else() -> None:
    assert only_a_docstring("headstart/__init__.py")
    # A logged model has an example beside it, made as the stages that log one make their inputs.
    example = closure(ROOT / "headstart/features/inputs.py")
    for file in LOGS:
        assert closure(ROOT / file) - {"stages/__init__.py"} <= LOGS | example
    # What a page takes from elsewhere is the evaluation's own.
    for file in SHOWS:
        found = closure(ROOT / file) - {"stages/__init__.py"} - EXEMPT
        assert {path for path in found if not only_a_docstring(path)} <= used("evaluate")


def test_each_stage_has_its_script_and_each_script_its_stage() -> None:
    assert {path.stem for path in (ROOT / "stages").glob("*.py")} - {"__init__"} == set(STAGES)
    for name, stage in STAGES.items():
        assert stage["cmd"] == f"python -m stages.{name}"
        assert stage["desc"]


def parameters(stage: str) -> set[str]:
    """`section.key` of each parameter that the stage reads; a bare `section` where it hands all of it on."""
    texts = [(ROOT / file).read_text(encoding="utf-8") for file in used(stage)]
    # The script, and what it hands all parameters to.
    return set().union(*(read_in(text) for text in texts if "settings: Params" in text or "params.load()" in text))


def read_in(text: str) -> set[str]:
    """`section.key` of each parameter that a script or module reads."""
    tree = ast.parse(text)
    known = {"settings": ""}

    def path(node: ast.AST) -> str | None:
        """What an expression stands for: "" for all parameters, "section", "section.key", or None."""
        if ast.unparse(node) == "params.load()":
            return ""
        if isinstance(node, ast.Name):
            return known.get(node.id)
        if isinstance(node, ast.Attribute) and (base := path(node.value)) is not None:
            return f"{base}.{node.attr}".lstrip(".")
        return None

    # Names given to the parameters or a section of them, one at a time or several: `a, b = …, settings.head`.
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            (target,) = node.targets
            pairs = [(target, node.value)]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(target.elts, node.value.elts, strict=True))
            for name, value in pairs:
                if isinstance(name, ast.Name) and (found := path(value)) is not None:
                    known[name.id] = found

    found: set[str] = set()

    def visit(node: ast.AST, logged: bool = False) -> None:
        # Tracking logs all parameters of the run; no output depends on that.
        logged = logged or (isinstance(node, ast.Call) and ast.unparse(node.func) == "tracking.run")
        if isinstance(node, ast.Assign):
            values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
            for value in values:
                if path(value) not in SECTIONS:
                    visit(value, logged)
            return
        name = path(node)
        if name and not logged:
            found.add(name)
            return
        for child in ast.iter_child_nodes(node):
            visit(child, logged)

    visit(tree)
    return found


SECTIONS = {"data", "prepare", "features", "head", "fine_tune", "evaluate", "tracking", ""}


def test_every_parameter_that_a_stage_reads_is_declared(stage: str) -> None:
    names = STAGES[stage].get("params", [])
    missing = {found for found in parameters(stage) if not any(f"{found}.".startswith(f"{name}.") for name in names)}
    if stage == "prepare":
        # It hands the section on to the readers, which leave alone what only fetch_data reads.
        assert {name for name in names if name.startswith("data.")} == {
            f"data.{key}"
            for key in ("path", "images", "labels", "columns", "header", "separator", "threshold", "classes", "on_leak")
        }
        missing -= {"data"}
    assert not missing, f"dvc.yaml: {stage} would not run again after a change of {sorted(missing)}"


def test_every_parameter_declared_is_read(stage: str) -> None:
    found = parameters(stage)
    needless = {
        name
        for name in STAGES[stage].get("params", [])
        if not any(f"{read}.".startswith(f"{name}.") or f"{name}.".startswith(f"{read}.") for read in found)
    }
    assert not needless, f"dvc.yaml: {stage} would run again after a change of {sorted(needless)}, for nothing"

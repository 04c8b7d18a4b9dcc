"""The key of a stage's run: the same from the files as from the lock, another for another input."""

from pathlib import Path

import pytest
import yaml

from headstart import identity


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder/sub").mkdir(parents=True)
    (tmp_path / "folder/b.txt").write_text("b")
    (tmp_path / "folder/sub/a.txt").write_text("a")
    (tmp_path / "here.txt").write_text("c")
    declared = {"cmd": "true", "deps": ["folder", "${data.path}"], "params": ["lr", "data.path", "head"]}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"one": declared}}))
    params = {"lr": 0.1, "data": {"path": "here.txt"}, "head": {"hidden": []}, "other": 1}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    return tmp_path


def test_another_input_is_another_key(repository: Path) -> None:
    first = identity.of_stage("one")
    assert len(first) == 64
    assert identity.of_stage("one") == first
    seen = {first}
    for file, text in (
        ("folder/sub/a.txt", "changed"),
        ("folder/new.txt", ""),
        ("here.txt", "changed"),
        ("params.yaml", (repository / "params.yaml").read_text().replace("0.1", "0.2")),
    ):
        (repository / file).write_text(text)
        seen.add(identity.of_stage("one"))
    assert len(seen) == 5
    (repository / "params.yaml").write_text((repository / "params.yaml").read_text().replace("other: 1", "other: 2"))
    (repository / "folder/__pycache__").mkdir()
    (repository / "folder/__pycache__/left.pyc").write_text("by Python")
    assert identity.of_stage("one") in seen

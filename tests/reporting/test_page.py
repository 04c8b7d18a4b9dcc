"""The page: what it says is what the metrics say, for whatever run; nothing of it comes from elsewhere."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from headstart.reporting import page
from headstart.stage import UserError

ROOT = Path(__file__).parents[2]
Leave = Callable[..., dict[str, bytes]]
FACTS = {"name": "bold-lynx", "commit": "0123456789abcdef", "workspace": False}
# Elements without a closing tag.
VOID = {"meta", "link", "br", "img"}


class Outline(HTMLParser):
    """Reads a page; what is closed must be what was opened last, but for what HTML closes by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.waiting.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        while self.waiting[-1] != tag and self.waiting[-1] in ("td", "th", "tr"):
            self.waiting.pop()
        assert self.waiting.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.waiting:
            self.text.append(data)


def read(html: str) -> Outline:
    outline = Outline()
    outline.feed(html)
    outline.close()
    assert outline.waiting == []
    return outline


def text(html: str) -> str:
    return re.sub(r"\s+", " ", " ".join(read(html).text))


NAMES = {
    "two classes": ["sound", "defective"],
    "six classes": list("abcdef"),
    "many classes": [f"class {i}" for i in range(130)],
    "more than can be drawn": [f"c{i}" for i in range(250)],
    "odd names": ["<script>alert(1)</script>", "NA", '"a" & b', "01", "{{ 7 * 7 }}"],
}


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
def test_any_number_of_classes_makes_a_whole_page(leave: Leave, names: list[str]) -> None:
    files = leave(names, n=max(120, 2 * len(names)))
    html = page.render(files.get, FACTS, None)
    said = text(html)
    for name in names:
        assert name in said
    assert "<script" not in html
    assert [tag for tag, _ in read(html).tags].count("h1") == 1


def test_the_numbers_are_those_of_the_metrics(leave: Leave) -> None:
    files = leave(["sound", "defective"])
    said, metrics = text(page.render(files.get, FACTS, None)), json.loads(files["metrics/evaluate.json"])
    assert f"{100 * metrics['accuracy']:.1f} %" in said
    for of in (metrics, metrics["head_only"]):
        for figure, (low, high) in of["interval"].items():
            assert f"{of[figure]:.3f} [{low:.3f}, {high:.3f}]" in re.sub(r" +", " ", said)
    for kind in ("ece", "nll"):
        for when in ("before", "after"):
            assert f"{metrics['calibration'][kind][when]:.4f}" in said
    assert f"{metrics['calibration']['temperature']:.3f}" in said


def test_the_title_says_task_backbone_and_experiment(leave: Leave) -> None:
    html = page.render(leave(["a", "b"]).get, FACTS, None)
    assert "<title>image classification, EfficientNetLite0, bold-lynx</title>" in html


@pytest.mark.parametrize("k", [2, 40])
def test_nothing_is_loaded_from_elsewhere(leave: Leave, k: int) -> None:
    html = page.render(leave([f"c{i}" for i in range(k)]).get, FACTS, None)
    for _, attributes in read(html).tags:
        for name in ("src", "href", "action", "data", "srcset"):
            if value := attributes.get(name):
                assert value.startswith("data:") or value == "data.html"
    assert "http" not in html.replace("http-equiv", "")
    assert "url(" not in html
    assert "@import" not in html


def test_every_picture_and_chart_says_what_it_shows(leave: Leave) -> None:
    pictures = charts = 0
    for tag, attributes in read(page.render(leave(list("abc")).get, FACTS, None)).tags:
        if tag == "img":
            pictures += 1
            assert "alt" in attributes
        if tag == "svg":
            charts += 1
            assert attributes["role"] == "img"
            assert len(attributes["aria-label"] or "") > 10
    assert pictures == 3 * 24
    assert charts == 4 + 2 + 2


def test_a_run_without_mistakes_says_so(leave: Leave) -> None:
    said = text(page.render(leave(list("abc"), skill=float("inf")).get, FACTS, None))
    assert "None: every test example is predicted rightly" in said
    assert "100.0 %" in said


def test_a_test_split_of_one_class_has_nothing_to_rank(leave: Leave) -> None:
    said = text(page.render(leave(["a", "b"], only=1).get, FACTS, None))
    assert "there is nothing to rank" in said
    assert "undefined" in said


def test_a_run_of_the_head_alone_says_that_nothing_was_unfrozen(leave: Leave) -> None:
    said = text(page.render(leave(["a", "b"], trainable_layers=0).get, FACTS, None))
    assert "Nothing was unfrozen" in said
    assert "Fine-tuning: no epochs" in said


def test_only_a_training_that_helped_nothing_is_said_to_have_helped_nothing(leave: Leave) -> None:
    files = leave(["a", "b"])
    metrics = json.loads(files["metrics/evaluate.json"]) | {"gain": {"accuracy": 0.0, "interval": [0.0, 0.0]}}
    files["metrics/evaluate.json"] = json.dumps(metrics).encode()
    assert "within the noise" in text(page.render(files.get, FACTS, None))
    files["metrics/fine_tune.json"] = json.dumps({"epochs": 3, "best_epoch": 0}).encode()
    assert "did no better on the validation split" in text(page.render(files.get, FACTS, None))


def test_a_text_is_shown_by_its_tokens(leave: Leave) -> None:
    html = page.render(leave(["a", "b"], tokens=True).get, FACTS, None)
    assert "&lt;b&gt;bad" in html
    assert 'class="against"' in html


def test_the_same_run_makes_the_same_page(leave: Leave) -> None:
    files = leave(list("abcdef"))
    assert page.render(files.get, FACTS, None) == page.render(dict(files).get, FACTS, None)


def test_what_is_in_no_cache_leaves_its_section_empty(leave: Leave) -> None:
    files = leave(["a", "b"])
    kept = {path: content for path, content in files.items() if path.startswith(("metrics", "plots", "params"))}
    assert "pull" in text(page.render(kept.get, FACTS, None))


def test_the_caches_are_counted_from_what_the_trainings_did(leave: Leave) -> None:
    files = leave(["a", "b"])
    said = text(page.render(files.get, FACTS, None))
    # 120 examples a split, four views; three epochs of either training, and the validation split before the first.
    computed, used = 120 * 4 + 120 + 120 * 4, 3 * 120 * 4 + 4 * 120 + 120 * 4
    assert f"{computed:,} {used:,} 40 MB" in said
    assert f"{120 * 4 + 120:,} {3 * 120 + 4 * 120:,} 50 MB" in said
    used, computed = used + 3 * 120 + 4 * 120, computed + 120 * 4 + 120
    assert f"spared {used - computed:,} of {used:,}" in said


def compared(monkeypatch: pytest.MonkeyPatch, one: dict[str, bytes], other: dict[str, bytes]) -> dict:
    monkeypatch.setattr(page.held, "reader", lambda rev: other.get)
    found = page.compared(one.get, "this", "0123456789", named="main")
    assert found is not None
    return found


def test_an_equal_run_is_within_the_noise_and_a_better_one_is_not(
    leave: Leave, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = leave(["a", "b"], skill=6), leave(["a", "b"], skill=0.5)
    same, better = compared(monkeypatch, good, good), compared(monkeypatch, good, bad)
    assert not same["rows"]["accuracy"]["differs"]
    assert better["rows"]["accuracy"]["differs"]
    html = page.render(good.get, FACTS, better)
    assert "more than chance" in text(html)
    assert "better" in text(html)
    assert "worse" in text(page.render(bad.get, FACTS, compared(monkeypatch, bad, good)))
    assert "within the noise" in text(page.render(good.get, FACTS, same))


def test_runs_of_other_test_splits_are_named_and_not_compared(leave: Leave, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = leave(["a", "b"]), leave(["a", "b"], n=60)
    found = compared(monkeypatch, one, other)
    assert "another seed or other data are another test split" in text(page.render(one.get, FACTS, found))


def test_changed_parameters_are_named(leave: Leave, monkeypatch: pytest.MonkeyPatch) -> None:
    found = compared(monkeypatch, leave(["a", "b"], trainable_layers=20), leave(["a", "b"]))
    assert found["changed"] == [{"key": "trainable_layers", "before": 8, "after": 20}]


def test_the_same_revision_twice_is_a_sentence() -> None:
    with pytest.raises(UserError, match="given twice"):
        page.write("HEAD", "HEAD")


def test_the_page_needs_neither_tensorflow_nor_keras() -> None:
    code = (
        "import sys, headstart.commands.report; print({'keras', 'tensorflow', 'sklearn', 'mlflow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.fixture
def repository(leave: Leave, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of git and DVC with results committed twice: a worse run, then the one that is there."""
    monkeypatch.chdir(tmp_path)
    for command in (
        "git init -q",
        "git config user.name tests",
        "git config user.email tests@localhost",
        "dvc init -q",
    ):
        subprocess.run(command.split(), check=True)
    for skill, message in ((0.5, "worse"), (6.0, "better")):
        shutil.rmtree(tmp_path / "evaluation", ignore_errors=True)
        for path, content in leave(["a", "b"], skill=skill).items():
            file = tmp_path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        subprocess.run(["git", "add", "."], check=True)
        subprocess.run(["git", "commit", "-qm", message], check=True)
    return tmp_path


def test_a_run_is_compared_with_the_last_commit_of_other_results(repository: Path) -> None:
    assert "“worse”" in text(page.write().read_text())
    # The same results under other bytes are no other results.
    metrics = repository / "metrics/evaluate.json"
    metrics.write_text(json.dumps(json.loads(metrics.read_text()), indent=3))
    subprocess.run(["git", "commit", "-qam", "only laid out anew"], check=True)
    said = text(page.write().read_text())
    assert re.search(r"Against [0-9a-f]{8}, “worse”", said)
    assert "more than chance" in said


def test_a_run_is_compared_with_the_last_experiment_if_that_is_newer(repository: Path, leave: Leave) -> None:
    def commit(skill: float, name: str, later: int) -> None:
        """An experiment of DVC's, as git has it: a reference to a commit on no branch, so many seconds from now."""
        (repository / "metrics/evaluate.json").write_bytes(leave(["a", "b"], skill=skill)["metrics/evaluate.json"])
        dated = {**os.environ, "GIT_COMMITTER_DATE": f"@{int(time.time()) + later} +0000"}
        made = subprocess.run(
            ["git", "stash", "create"], capture_output=True, text=True, check=True, env=dated
        ).stdout.strip()
        head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        subprocess.run(["git", "update-ref", f"refs/exps/{head[:2]}/{head[2:]}/{name}", made], check=True)

    commit(1.0, "pale-ales", 10)
    commit(2.0, "bold-lynx", 20)  # which the workspace holds now
    for rev, against in ((None, "pale-ales"), ("HEAD", "“worse”")):
        said = text(page.write(rev).read_text())
        assert re.search(rf"Against (?:[0-9a-f]{{8}}, )?{against}", said), (rev, said[:500])


def test_a_page_follows_the_workspace_unless_it_is_about_something_else(repository: Path, leave: Leave) -> None:
    assert page.follow()
    assert not page.follow()
    for path, content in leave(["a", "b"], skill=0.5).items():
        (repository / path).write_bytes(content)
    assert page.follow()
    assert not page.follow()
    page.write("HEAD")
    assert not page.follow()


def test_a_page_of_any_commit_is_made_from_what_it_holds(repository: Path) -> None:
    before = text(page.write("HEAD~1", into="before.html").read_text())
    assert "Against" not in before
    assert "commit " in before
    here, there = (text(page.write(rev, "HEAD~1", into="x.html").read_text()) for rev in (None, "HEAD"))
    assert here.partition("accuracy on")[2] == there.partition("accuracy on")[2]


def test_a_revision_that_is_none_is_a_sentence(repository: Path) -> None:
    for rev, against in (("nowhere", None), (None, "nowhere")):
        with pytest.raises(UserError, match=r"^nowhere: there is no such revision"):
            page.write(rev, against)


def test_without_git_there_is_nothing_to_compare_with(
    leave: Leave, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for path, content in leave(["a", "b"]).items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    assert "Against" not in text(page.write().read_text())


def test_a_workspace_without_results_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"metrics/evaluate\.json of the workspace is not there"):
        page.write()

"""MLflow shows what DVC holds, however it came about; once, and nothing else."""

import shutil
import subprocess
import time
from pathlib import Path

import mlflow
import pytest

from headstart import params, stage, sync
from headstart.sweep import experiment
from headstart.sweep.records import Records
from tests.tracking.conftest import UNTRACKED, Repository

pytestmark = [pytest.mark.pipeline, pytest.mark.xdist_group("sync")]

AWAY = {"MLFLOW_TRACKING_URI": "http://someone:secret@127.0.0.1:9"}
STAGES = ["evaluate", "fine_tune", "pipeline", "train_head"]


def client(repository: Repository) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(f"sqlite:///{repository.folder / 'mlflow.db'}")


def runs(repository: Repository, where: str = "") -> list:
    its = client(repository)
    found = its.get_experiment_by_name("headstart")
    return its.search_runs([found.experiment_id], where) if found else []


def named(repository: Repository, name: str) -> dict:
    """Stage -> the run of an execution."""
    found = {r.data.tags["dvc.stage"]: r for r in runs(repository) if r.info.run_name.split()[0] == name}
    assert sorted(found) == STAGES
    return found


def shown(repository: Repository) -> list[tuple]:
    """All that a run says of its execution, run by run: no ids, names, times."""
    its, by_id = client(repository), {run.info.run_id: run for run in runs(repository)}

    def model(run):
        ids = [output.model_id for output in run.outputs.model_outputs] if run.outputs else []
        return tuple(its.get_logged_model(each).tags["headstart.md5"] for each in ids)

    def history(run):
        names = sorted(name for name in run.data.metrics if not name.startswith("system/"))
        points = [(name, its.get_metric_history(run.info.run_id, name)) for name in names]
        return tuple((name, tuple(sorted((p.step, p.value) for p in of))) for name, of in points)

    return sorted(
        (
            run.data.tags["dvc.stage"],
            run.data.tags["headstart.key"],
            by_id[parent].data.tags["headstart.key"] if (parent := run.data.tags.get("mlflow.parentRunId")) else "",
            run.info.status,
            history(run),
            tuple(sorted(run.data.params.items())),
            model(run),
            tuple(sorted((i.dataset.name, i.dataset.digest, i.tags[0].value) for i in run.inputs.dataset_inputs)),
            tuple(sorted(file.path for file in its.list_artifacts(run.info.run_id))),
        )
        for run in by_id.values()
    )


def finished(repository: Repository, experiments: int) -> None:
    """Wait for DVC's queue."""
    until = time.monotonic() + 240
    while time.monotonic() < until:
        said = repository.ok("dvc", "queue", "status")
        if said.count("Success") == experiments:
            return
        assert "Failed" not in said, said + repository.run("dvc", "queue", "logs", said.split()[3]).stdout
        time.sleep(2)
    raise AssertionError(said)


def test_a_sweep_gives_the_same_runs_plainly_queued_elsewhere_and_restored(
    trained: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = ("0.1", "0.2")
    plain, queued, elsewhere = (trained.copy(tmp_path / name) for name in ("plain", "queued", "elsewhere"))
    queued.ok("dvc", "exp", "run", "--queue", "-S", f"lr={','.join(rates)}")
    queued.ok("dvc", "queue", "start", "--jobs", "2")
    for rate in rates:
        plain.ok("dvc", "exp", "run", "-S", f"lr={rate}")
    finished(queued, len(rates))
    for rate in rates:
        elsewhere.ok("dvc", "exp", "run", "--temp", "-S", f"lr={rate}")
    restored = plain.copy(tmp_path / "restored")
    (restored.folder / "mlflow.db").unlink()
    shutil.rmtree(restored.folder / "mlartifacts")
    shutil.rmtree(restored.folder / ".headstart", ignore_errors=True)
    restored.ok("dvc", "exp", "remove", "--all-commits")
    for rate in rates:
        said = restored.ok("dvc", "exp", "run", "-S", f"lr={rate}")
        assert "Running stage" not in said

    ways = {"plain": plain, "queued": queued, "elsewhere": elsewhere, "restored": restored}
    found = {}
    for name, repository in ways.items():
        live = [] if name == "restored" else runs(repository)
        monkeypatch.chdir(repository.folder)
        done = sync.sync()
        # The baseline's stages did not log themselves, nor do those that DVC has in its run cache.
        assert done.adopted == len(live) <= (0 if name == "restored" else 6)
        assert done.adopted >= (0 if name == "restored" else 4)
        assert len(done.logged) == 9 - len(live)
        found[name] = shown(repository)
    assert sorted(run[0] for run in found["plain"]) == sorted(3 * STAGES)
    assert len({run[1] for run in found["plain"]}) == 12
    for name in ways:
        assert found[name] == found["plain"], name


def test_a_second_time_nothing_is_done(repository: Repository) -> None:
    assert len(sync.sync().logged) == 3
    before = {run.info.run_id: run.to_dictionary() for run in runs(repository)}
    again = sync.sync()
    assert (again.held, again.logged, again.notes) == (1, [], [])
    # And if it has to look: the store may have been changed by others.
    (repository.folder / ".headstart/synced.json").unlink()
    looked = sync.sync()
    assert (looked.logged, looked.adopted, looked.repeated, looked.notes) == ([], 0, 0, [])
    assert {run.info.run_id: run.to_dictionary() for run in runs(repository)} == before


def test_every_run_leads_to_its_commit_its_data_and_its_backbone(repository: Repository) -> None:
    sync.sync()
    commit = repository.ok("git", "rev-parse", "HEAD").strip()
    its = named(repository, commit[:7])
    assert {run.info.artifact_uri.partition("/mlartifacts/")[0] for run in its.values()} == {repository.folder.as_uri()}
    lock = (repository.folder / "dvc.lock").read_text()
    for run in its.values():
        tags = run.data.tags
        assert tags["dvc.commit"] == tags["mlflow.source.git.commit"] == commit
        assert f"{tags['dvc.data']}.dir" in lock
        assert f"{tags['dvc.backbone']}.dir" in lock
        assert run.info.status == "FINISHED"
    parent = its["pipeline"]
    assert parent.data.metrics["accuracy"] == 0.5
    assert parent.data.metrics["best_val_loss"] == 0.25
    assert parent.data.params["lr"] == "0.5"
    sets = {each.dataset.name: each.dataset for each in parent.inputs.dataset_inputs}
    assert sorted(sets) == ["planktonclas test", "planktonclas train", "planktonclas validation"]
    assert sets["planktonclas test"].digest == parent.data.tags["dvc.data"]
    assert '"num_rows": 100' in sets["planktonclas test"].profile


def test_a_server_that_was_away_gets_the_run_later(repository: Repository) -> None:
    done = repository.run("dvc", "exp", "run", "--name", "late", "-S", "lr=0.2", env=AWAY)
    assert done.returncode == 0, done.stderr
    assert "`headstart sync` logs its run" in done.stdout + done.stderr
    assert "secret" not in done.stdout + done.stderr
    sync.sync()
    its = named(repository, "late")
    history = client(repository).get_metric_history(its["train_head"].info.run_id, "val_loss")
    assert [(point.step, point.value) for point in history] == [(1, 0.2), (2, 0.1)]
    assert its["train_head"].data.tags["dvc.experiment"] == "late"


def test_a_server_that_is_away_now_is_a_sentence(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in AWAY.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(stage.UserError, match=r"MLflow at http://127\.0\.0\.1 can't be reached") as told:
        sync.sync()
    assert "secret" not in str(told.value)


def test_a_stage_that_two_experiments_share_is_shown_in_both(repository: Repository) -> None:
    repository.ok("dvc", "exp", "run", "--name", "one", "-S", "lr=0.2")
    repository.ok("dvc", "exp", "run", "--name", "two", "-S", "lr=0.2", "-S", "evaluate.bootstrap=300")
    sync.sync()
    one, two = named(repository, "one"), named(repository, "two")
    for name in ("train_head", "fine_tune"):
        assert one[name].info.run_id != two[name].info.run_id
        assert one[name].data.tags["headstart.key"] == two[name].data.tags["headstart.key"]
        assert two[name].data.metrics.items() <= one[name].data.metrics.items()
    assert two["evaluate"].data.params["evaluate.bootstrap"] == "300"
    # The model is stored once.
    models = client(repository).search_logged_models([one["pipeline"].info.experiment_id])
    assert len({model.tags["headstart.md5"] for model in models}) == len(models) == 2


def test_two_names_of_the_same_are_one_run(repository: Repository) -> None:
    repository.ok("dvc", "exp", "run", "--name", "one", "-S", "lr=0.2", env=UNTRACKED)
    repository.ok("dvc", "exp", "run", "--name", "two", "-S", "lr=0.2", env=UNTRACKED)
    sync.sync()
    assert len(runs(repository)) == 8
    assert named(repository, "one")["pipeline"].data.tags["dvc.experiment"] == "one, two"


def test_a_stage_run_again_by_force_is_not_there_twice(repository: Repository) -> None:
    repository.ok("dvc", "exp", "run", "--name", "one", "-S", "lr=0.2")
    repository.ok("dvc", "repro", "--force", "--single-item", "train_head")
    assert len(runs(repository)) == 4
    assert sync.sync().repeated == 1
    assert len(named(repository, "one")) == 4
    assert len(runs(repository)) == 8


def test_a_run_deleted_in_mlflow_comes_back_while_dvc_holds_it(repository: Repository) -> None:
    sync.sync()
    before = shown(repository)
    (parent,) = runs(repository, "tags.`dvc.stage` = 'pipeline'")
    client(repository).delete_run(parent.info.run_id)
    assert sync.sync().adopted == 3
    assert shown(repository) == before
    client(repository).delete_experiment(parent.info.experiment_id)
    sync.sync()
    assert shown(repository) == before


def test_what_became_a_commit_is_named_after_it_and_stays_one_run(repository: Repository) -> None:
    (repository.folder / "params.yaml").write_text(
        (repository.folder / "params.yaml").read_text().replace("lr: 0.5", "lr: 0.2")
    )
    repository.ok("dvc", "repro")
    sync.sync()
    (parent,) = runs(repository, "tags.`dvc.stage` = 'pipeline' and params.lr = '0.2'")
    assert parent.info.run_name == f"workspace {parent.data.tags['headstart.key'][:7]}"
    repository.commit("a better rate")
    sync.sync()
    commit = repository.ok("git", "rev-parse", "HEAD").strip()
    assert named(repository, commit[:7])["pipeline"].info.run_id == parent.info.run_id
    assert len(runs(repository)) == 8


def test_an_experiment_that_was_removed_stays_and_is_marked(repository: Repository) -> None:
    repository.ok("dvc", "exp", "run", "--temp", "--name", "one", "-S", "lr=0.2", env=UNTRACKED)
    assert sync.sync().gone == []
    repository.ok("dvc", "exp", "remove", "one")
    for _ in range(2):
        done = sync.sync()
        assert (done.held, done.gone) == (1, ["one"])
    assert "DVC no longer holds one" in sync.said(done)
    assert named(repository, "one")["pipeline"].data.tags["dvc.held"] == "no"
    # An older commit is still held, though nobody asked for it.
    repository.ok("git", "commit", "--quiet", "--allow-empty", "--message", "nothing")
    assert sync.sync().gone == ["one"]


def test_a_pipeline_that_is_under_way_is_no_execution(repository: Repository) -> None:
    (repository.folder / "params.yaml").write_text(
        (repository.folder / "params.yaml").read_text().replace("lr: 0.5", "lr: 0.2")
    )
    repository.ok("dvc", "repro", "train_head")
    done = sync.sync()
    assert done.held == 1
    assert any(note.startswith("the workspace: fine_tune has not run yet on the ") for note in done.notes)
    assert len(runs(repository)) == 5


def test_an_experiment_that_ended_early_is_shown_as_far_as_it_went(repository: Repository) -> None:
    repository.ok("dvc", "exp", "run", "--temp", "--name", "early", "-S", "lr=0.2", "fine_tune", env=AWAY)
    done = sync.sync()
    assert "early: evaluate has not run yet on the models/final that is there now" in done.notes
    its = {run.data.tags["dvc.stage"]: run for run in runs(repository) if run.info.run_name.startswith("early")}
    assert sorted(its) == ["fine_tune", "pipeline", "train_head"]
    assert its["pipeline"].data.metrics == {"best_epoch": 2, "best_val_loss": 0.1, "best_val_accuracy": 0.9}
    assert its["pipeline"].data.params["lr"] == "0.2"
    commit = repository.ok("git", "rev-parse", "refs/exps/" + ref_of(repository, "early")).strip()
    assert {run.data.tags["dvc.commit"] for run in its.values()} == {commit}
    assert len(client(repository).search_model_versions("name = 'headstart'")) == 1  # it was not evaluated


def ref_of(repository: Repository, name: str) -> str:
    """An experiment's reference below refs/exps/."""
    refs = repository.ok("git", "for-each-ref", "--format=%(refname:lstrip=2)", "refs/exps").split()
    (ref,) = [ref for ref in refs if ref.endswith(f"/{name}")]
    return ref


@pytest.mark.parametrize("away", [False, True])
def test_a_trial_of_a_sweep_is_the_run_that_the_sweep_began(repository: Repository, away: bool) -> None:
    trial, records, env = "sweep-0123-000", None, AWAY
    if not away:
        records = Records("sweep-0123", params.load(), {"lr": "0.1 to 0.5"})
        begun = records.trial(trial, {"lr": 0.2})
        env = records.environment(begun)
    repository.ok("dvc", "exp", "run", "--temp", "--name", trial, "-S", "lr=0.2", "fine_tune", env=env)
    experiment.forget_test(trial)
    if records:
        records.end(begun, "complete")
    # The best trial is evaluated in an experiment of its own, which trains nothing.
    repository.ok("dvc", "exp", "run", "--temp", "--name", f"{trial}-tested", "-S", "lr=0.2", env=env)
    done = sync.sync()
    assert not [note for note in done.notes if note.startswith(f"{trial}: ")]

    its = {run.data.tags["dvc.stage"]: run for run in runs(repository) if run.info.run_name.split()[0] == trial}
    parent = its.pop("pipeline")
    assert sorted(its) == ["fine_tune", "train_head"]
    assert {run.data.tags["mlflow.parentRunId"] for run in its.values()} == {parent.info.run_id}
    assert parent.data.metrics["best_val_loss"] == 0.1
    assert parent.data.tags["dvc.backbone"]
    assert parent.inputs.dataset_inputs
    assert len(named(repository, f"{trial}-tested")) == 4
    if records:
        assert parent.info.run_id == begun
        assert parent.data.tags["mlflow.parentRunId"] == records.run
        assert done.adopted == 3
    before = {run.info.run_id: run.to_dictionary() for run in runs(repository)}
    (repository.folder / ".headstart/synced.json").unlink(missing_ok=True)
    again = sync.sync()
    assert (again.logged, again.adopted, again.repeated) == ([], 0, 0)
    assert {run.info.run_id: run.to_dictionary() for run in runs(repository)} == before


def test_older_commits_are_there_when_asked_for(repository: Repository) -> None:
    repository.ok("dvc", "exp", "run", "--name", "one", "-S", "lr=0.2", env=UNTRACKED)
    repository.commit("its results")
    repository.ok("dvc", "exp", "remove", "--all-commits")
    assert sync.sync().held == 1
    assert sync.sync(all_commits=True).held == 2
    assert len(runs(repository)) == 8


def test_a_run_that_was_killed_is_marked_so(repository: Repository) -> None:
    script = """
import os, signal
from headstart import params, tracking
with tracking.run("train_head", params.load()) as run:
    run.epoch(1, {"val_loss": 1.0})
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert repository.run("python", "-c", script).returncode == -9
    (left,) = runs(repository)
    assert left.info.status == "RUNNING"
    assert sync.sync().killed == 1
    assert client(repository).get_run(left.info.run_id).info.status == "KILLED"
    assert len(runs(repository)) == 5


def test_what_is_not_in_the_cache_is_told_and_comes_later(repository: Repository, tmp_path: Path) -> None:
    cache, aside = repository.folder / ".dvc/cache", tmp_path / "aside"
    cache.rename(aside)
    for name in ("models", "evaluation"):
        shutil.rmtree(repository.folder / name)
    done = sync.sync()
    assert any("models/head not in DVC's cache" in note for note in done.notes)
    commit = repository.ok("git", "rev-parse", "HEAD").strip()[:7]
    its = named(repository, commit)
    assert its["evaluate"].data.metrics["accuracy"] == 0.5
    assert its["train_head"].data.tags["headstart.missing"] == "models/head"
    outputs = its["pipeline"].outputs
    assert not (outputs and outputs.model_outputs)
    aside.rename(cache)
    assert sync.sync().notes == [f"{commit}: version 1 of headstart: champion, for there was none"]
    its = named(repository, commit)
    assert not any("headstart.missing" in run.data.tags for run in its.values())
    assert len(its["pipeline"].outputs.model_outputs) == 1
    assert len(runs(repository)) == 4


def test_a_damaged_model_is_not_logged(repository: Repository) -> None:
    model = repository.folder / "models/final/model.keras"
    md5 = repository.ok("md5sum", str(model)).split()[0]
    stored = repository.folder / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
    stored.chmod(0o644)
    stored.write_bytes(b"damaged")
    notes = sync.sync().notes
    assert any("models/final not in DVC's cache" in note for note in notes)
    assert client(repository).search_logged_models(["1"]) == []


def test_the_champion_is_the_best_beyond_chance(repository: Repository) -> None:
    # Half of the baseline's are wrong, a fifth of these, a tenth of those.
    for name, rate in (("better", "0.2"), ("best", "0.1")):
        repository.ok("dvc", "exp", "run", "--name", name, "-S", f"lr={rate}", env=UNTRACKED)
    said = sync.sync().notes
    assert "better: version 2 of headstart: better than version 1" in said[1]
    its = client(repository)
    verdicts = [version.description for version in its.search_model_versions("name = 'headstart'")]
    assert len(verdicts) == 3
    assert "best: version 3 of headstart: better than version 2" in said[2]
    for alias in ("candidate", "champion"):
        assert str(its.get_model_version_by_alias("headstart", alias).version) == "3"
    parent = named(repository, "best")["pipeline"]
    version = its.get_model_version("headstart", "3")
    assert version.run_id == parent.info.run_id
    assert version.source == f"models:/{parent.outputs.model_outputs[0].model_id}"


def test_a_champion_of_another_test_split_stays(repository: Repository) -> None:
    sync.sync()
    work = repository.folder / "work.py"
    work.write_text(work.read_text().replace("[i % 3]", "[(i + 1) % 3]"))
    repository.ok("dvc", "exp", "run", "--name", "shifted", "-S", "lr=0.1", env=UNTRACKED)
    (note,) = sync.sync().notes
    assert "not comparable with the champion" in note
    its = client(repository)
    aliases = {alias: its.get_model_version_by_alias("headstart", alias) for alias in ("champion", "candidate")}
    assert {alias: str(of.version) for alias, of in aliases.items()} == {"champion": "1", "candidate": "2"}


def test_a_run_that_was_logged_later_names_no_folder_of_this_machine(repository: Repository) -> None:
    sync.sync()
    for run in runs(repository):
        said = {**run.data.tags, **run.data.params}
        assert str(repository.folder) not in "".join(said.values())


def test_a_folder_without_a_pipeline_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(stage.UserError, match=r"no dvc\.yaml here"):
        sync.sync()
    assert not list(tmp_path.iterdir())


def test_a_second_repro_still_runs_nothing(repository: Repository) -> None:
    sync.sync()
    assert "Running stage" not in repository.ok("dvc", "repro")
    assert subprocess.run(["git", "status", "--short"], cwd=repository.folder, capture_output=True).stdout == b""

"""MLflow brought in line with DVC: a run for each execution that DVC holds, its stages' runs as its children.

A stage logs itself while it runs, if it runs and if the server is there. What DVC restored from its run cache, pulled,
or computed while the server was away is logged here from what DVC holds: once, for every run is known by a key of what
its stage read and left (`headstart.executions`). Runs of people's own, and those of what DVC no longer holds, are left
as they are.

pandas and scikit-learn take seconds to import: they are imported where there is something new to log.
"""

import fcntl
import functools
import hashlib
import json
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from headstart import executions, identity, registry, repository, tracking
from headstart.evaluation.declared import OF_LABELS, kind_of
from headstart.executions import Execution
from headstart.stage import UserError

if TYPE_CHECKING:
    import pandas as pd

# The tag `dvc.stage` of the run that stands for a whole execution, and MLflow's own of a child.
PIPELINE, PARENT = "pipeline", "mlflow.parentRunId"
LOCK = Path(".headstart/sync.lock")
# What was in line at the end of the last synchronisation, with the default store: while that is the same, so is MLflow.
SEEN = Path(".headstart/synced.json")
# Split -> MLflow's word for its use; and the splits that a run uses.
CONTEXTS = {"train": "training", "validation": "validation", "test": "testing"}
SPLITS = {
    "train_head": ("train", "validation"),
    "fine_tune": ("train", "validation"),
    "evaluate": ("test",),
    PIPELINE: ("train", "validation", "test"),
}


@dataclass
class Done:
    """What a synchronisation met and did.

    held: how many executions DVC holds.
    logged: names of the runs that were logged from what DVC holds.
    adopted: how many runs that stages had logged themselves found their place.
    repeated: how many runs told the same once more, and were removed.
    killed: how many runs had been left open by a process that is no more.
    open: how many runs are going on, or may be.
    missing: how many runs lack what is not in DVC's cache.
    gone: names of the runs whose execution DVC no longer holds.
    notes: sentences about what is missing, and about the registry.
    """

    held: int = 0
    logged: list[str] = field(default_factory=list)
    adopted: int = 0
    repeated: int = 0
    killed: int = 0
    open: int = 0
    missing: int = 0
    gone: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Store(NamedTuple):
    """One of MLflow's experiments.

    client: MLflow's.
    experiment: its id.
    folder: outputs are laid out in here.
    versions: registered model -> its versions, as far as they have been asked for.
    """

    client: Any
    experiment: str
    folder: Path
    versions: dict[str, dict[str, Any]]


def sync(*, all_commits: bool = False) -> Done:
    """Bring MLflow in line with the workspace, the last commit and every experiment of DVC's.

    Args:
        all_commits: every commit on every branch as well.

    Raises:
        UserError: this is no repository's root, or the tracking server can't be reached.
    """
    if not Path("dvc.yaml").exists():
        raise UserError("there is no dvc.yaml here; run from the repository's root")
    with _alone():
        held, notes = executions.held(tracking.STAGES, all_commits=all_commits)
        done = Done(len(held), notes=notes)
        if (gone := _in_line(held)) is not None:
            done.gone = gone
            return done
        try:
            mlflow = tracking.connect()
            client = mlflow.MlflowClient()
            client.search_experiments(max_results=1)
        except Exception as error:  # an address, a driver, a server: whatever is wrong, its text may hold a password
            raise _away(error) from None
        from mlflow.exceptions import MlflowException

        by_name: dict[str, list[Execution]] = defaultdict(list)
        for execution in held:
            by_name[execution.parameters["tracking"]["experiment"]].append(execution)
        try:
            for name, its in by_name.items():
                with tempfile.TemporaryDirectory() as folder:
                    store = Store(client, tracking.experiment(client, name), Path(folder), {})
                    mlflow.set_experiment(experiment_id=store.experiment)
                    align(store, its, done)
        except MlflowException as error:
            raise _away(error) from None
        SEEN.unlink(missing_ok=True)
        if not done.open and not done.missing:
            SEEN.write_text(json.dumps({"state": _state(held), "gone": done.gone}))
    return done


def _in_line(held: list[Execution]) -> list[str] | None:
    """What is gone, if MLflow and DVC are as the last synchronisation left them; None if they may not be."""
    try:
        seen = json.loads(SEEN.read_text())
        return list(seen["gone"]) if seen["state"] and seen["state"] == _state(held) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _state(held: list[Execution]) -> str | None:
    """All that DVC holds and the store as a file; None where it is none that could be looked at."""
    database = Path(tracking.DATABASE)
    if os.environ.get("MLFLOW_TRACKING_URI") or not database.exists():
        return None
    size, changed = database.stat().st_size, database.stat().st_mtime_ns
    known = [(each.key, each.revisions, each.parameters.get("tracking")) for each in held]
    return hashlib.sha256(repr((known, size, changed)).encode()).hexdigest()


def _away(error: Exception) -> UserError:
    return UserError(
        f"MLflow at {tracking.address()} can't be reached ({type(error).__name__}); DVC holds what it lacks, so "
        "`headstart sync` does the same when the server is back"
    )


@contextmanager
def _alone() -> Iterator[None]:
    """Wait for another synchronisation of this repository to end."""
    LOCK.parent.mkdir(exist_ok=True)
    with LOCK.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Runs(NamedTuple):
    """MLflow's runs, oldest first.

    parents: key of the execution -> runs that stand for it.
    trials: name -> the run by which a sweep knows its trial, until that stands for the trial's execution.
    children: id of the parent and stage -> finished runs.
    alone: stage, key and outputs -> finished runs that stages logged themselves and that have no such parent yet.
    """

    parents: dict[str, list[Any]]
    trials: dict[str, Any]
    children: dict[tuple[str, str], list[Any]]
    alone: dict[tuple[str, ...], list[Any]]


def align(store: Store, held: list[Execution], done: Done) -> None:
    """Bring one of MLflow's experiments in line with the executions that belong there."""
    runs = _met(store, done)
    for execution in held:
        parent, *others = runs.parents.pop(execution.key, None) or [_begun(execution, runs) or _open(store, execution)]
        for other in others:
            its = [run for stage in execution.stages for run in runs.children[other.info.run_id, stage]]
            _remove(store, [other, *its], done)
        children = {stage: _child(store, execution, stage, parent, runs, done) for stage in execution.stages}
        _sum_up(store, execution, parent, children)
        _register(store, execution, parent, children, done)
    for execution in held:
        for stage in execution.stages:
            # Run again by force: the same inputs, the same outputs.
            _remove(store, runs.alone.pop(_identity(_tags(execution, stage)), []), done)
    _let_go(store, [run for these in runs.parents.values() for run in these], done)


def _met(store: Store, done: Done) -> Runs:
    """All runs of the experiment; those that a process left open when it ended are closed."""
    runs = Runs(defaultdict(list), {}, defaultdict(list), defaultdict(list))
    page = store.client.search_runs([store.experiment], max_results=1000)
    found = list(page)
    while page.token:
        page = store.client.search_runs([store.experiment], max_results=1000, page_token=page.token)
        found += page
    finished = []
    for run in sorted(found, key=lambda run: run.info.start_time):
        tags, status = run.data.tags, run.info.status
        if tags.get("dvc.stage") == PIPELINE:
            runs.parents[tags.get("headstart.key", "")].append(run)
        elif tracking.TRIAL in tags:
            runs.trials[tags[tracking.TRIAL]] = run
        elif status == "RUNNING" and not tracking.ended(tags.get("headstart.process", "")):
            done.open += 1
        elif status == "RUNNING":
            if "headstart.replayed" in tags:
                store.client.delete_run(run.info.run_id)
            else:
                store.client.set_terminated(run.info.run_id, "KILLED")
                done.killed += 1
        elif status == "FINISHED":
            finished.append(run)
    # A parent may be none of ours, a trial that stands for no execution yet, or be deleted.
    parents = {run.info.run_id for its in runs.parents.values() for run in its}
    for run in finished:
        tags = run.data.tags
        if (parent := tags.get(PARENT)) in parents:
            runs.children[parent, tags.get("dvc.stage", "")].append(run)
        elif "headstart.outputs" in tags:
            runs.alone[_identity(tags)].append(run)
    return runs


def _identity(tags: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(tags.get(name, "") for name in ("dvc.stage", "headstart.key", "headstart.outputs"))


def _tags(execution: Execution, stage: str) -> dict[str, str]:
    """What the run of a stage, or of the whole execution, is tagged with; an empty one is taken off."""
    if stage == PIPELINE:
        own = {"headstart.key": execution.key, "dvc.held": "yes"}
    else:
        entry = execution.stages[stage]
        left = identity.of_outputs(identity.outputs_of_lock(entry))
        own = {"headstart.key": identity.of_lock(entry), "headstart.outputs": left}
    return {
        "dvc.stage": stage,
        "dvc.experiment": ", ".join(execution.experiments),
        "dvc.commit": execution.commit or "",
        "dvc.baseline": execution.baseline or "",
        "mlflow.source.git.commit": execution.commit or "",
        **tracking.sources(execution.lock),
        **own,
    }


def _tell(store: Store, run: Any, name: str, tags: Mapping[str, str]) -> None:
    """Bring a run's name and tags up to date: experiments are renamed, removed, and become commits."""
    there = run.data.tags
    if run.info.run_name != name:
        store.client.update_run(run.info.run_id, name=name)
    for key, value in tags.items():
        if value and there.get(key) != value:
            store.client.set_tag(run.info.run_id, key, value)
        elif not value and key in there:
            store.client.delete_tag(run.info.run_id, key)


def _begun(execution: Execution, runs: Runs) -> Any:
    """The run with which a sweep began this execution as one of its trials; None if none did."""
    return next((runs.trials.pop(name) for name in execution.experiments if name in runs.trials), None)


def _open(store: Store, execution: Execution) -> Any:
    tags = {key: value for key, value in _tags(execution, PIPELINE).items() if value}
    return store.client.create_run(store.experiment, execution.time * 1000, tags, execution.name)


def _child(store: Store, execution: Execution, stage: str, parent: Any, runs: Runs, done: Done) -> Any:
    """The run of a stage: the one that is there, else one that the stage logged itself, else a replay."""
    name, parent_id = f"{execution.name} {stage}", parent.info.run_id
    tags = {**_tags(execution, stage), PARENT: parent_id}
    its = runs.children.pop((parent_id, stage), [])
    if not its and (logged := runs.alone[_identity(tags)]):
        its = [logged.pop(0)]
        done.adopted += 1
    if not its:
        its = [_replay(store, execution, stage, tags, name)]
        done.logged.append(name)
    run, *others = its
    _remove(store, others, done)
    if run.data.tags.get("headstart.missing"):
        run = _log(store, execution, stage, run.info.run_id)
    if missing := run.data.tags.get("headstart.missing"):
        done.missing += 1
        done.notes.append(f"{name}: {missing} not in DVC's cache; after `dvc pull` another `headstart sync` logs it")
    if not (run.inputs and run.inputs.dataset_inputs):
        _use(store, execution, stage, run.info.run_id)
    _tell(store, run, name, tags)
    return run


def _replay(store: Store, execution: Execution, stage: str, tags: Mapping[str, str], name: str) -> Any:
    """Log a stage's run from what DVC holds of it, as if at the time of the revision."""
    from mlflow.entities import Param

    when = execution.time * 1000
    own = {"headstart.process": tracking.process(), "headstart.replayed": "yes"}
    started = {**{key: value for key, value in tags.items() if value}, **own}
    # Its parent and outputs come last: what is not whole is nobody's, and the next synchronisation begins anew.
    for key in (PARENT, "headstart.outputs"):
        del started[key]
    run_id = store.client.create_run(store.experiment, when, started, name).info.run_id
    parameters = tracking.parameters(execution.parameters)
    store.client.log_batch(run_id, params=[Param(key, value) for key, value in parameters.items()])
    _log(store, execution, stage, run_id)
    for key in (PARENT, "headstart.outputs"):
        store.client.set_tag(run_id, key, tags[key])
    store.client.set_terminated(run_id, "FINISHED", when)
    return store.client.get_run(run_id)


def _log(store: Store, execution: Execution, stage: str, run_id: str) -> Any:
    """Log a stage's outputs, as far as they are at hand; the run, tagged with what was not."""
    outputs = identity.outputs_of_lock(execution.stages[stage])
    folder = _laid_out(store, execution, outputs)
    missing = tracking.log(store.client, run_id, stage, folder, outputs, when=execution.time * 1000)
    if missing:
        store.client.set_tag(run_id, "headstart.missing", ", ".join(missing))
    elif "headstart.missing" in store.client.get_run(run_id).data.tags:
        store.client.delete_tag(run_id, "headstart.missing")
    return store.client.get_run(run_id)


def _laid_out(store: Store, execution: Execution, outputs: Mapping[str, str]) -> Path:
    """A folder with outputs of an execution and its prepared data, as far as they are at hand."""
    folder, cache = Path(tempfile.mkdtemp(dir=store.folder)), _cache(Path.cwd())
    executions.lay_out(execution, outputs, folder, cache)
    # The pictures may be many gigabytes, and one of them is looked at, as an example.
    prepared = execution.outputs.get("data/prepared")
    if prepared:
        executions.lay_out(execution, {"data/prepared": prepared}, folder, cache, check=False)
    return folder


def _examples(store: Store, execution: Execution) -> "pd.DataFrame | None":
    """The table of examples, as text; None if it is not at hand."""
    import pandas as pd

    path = _laid_out(store, execution, {}) / "data/prepared/examples.csv"
    return pd.read_csv(path, dtype=object, keep_default_na=False) if path.exists() else None


@functools.cache
def _cache(root: Path) -> Path:
    return repository.cache_folder()


def _sum_up(store: Store, execution: Execution, parent: Any, children: Mapping[str, Any]) -> None:
    """Make the parent show the execution as a whole: parameters, results, data and the model."""
    from mlflow.entities import LoggedModelOutput, Metric, Param

    client, run_id, when = store.client, parent.info.run_id, execution.time * 1000
    model, there = _final_model(children), parent.data
    metrics = [Metric(name, value, when, 0) for name, value in _results(children).items() if name not in there.metrics]
    parameters = tracking.parameters(execution.parameters)
    params = [Param(key, value) for key, value in parameters.items() if key not in there.params]
    if metrics or params:
        client.log_batch(run_id, metrics=metrics, params=params)
    if not (parent.inputs and parent.inputs.dataset_inputs):
        _use(store, execution, PIPELINE, run_id)
    if parent.info.status == "RUNNING":
        # What its stages took, as far as they were met at work.
        took = sum(run.info.end_time - run.info.start_time for run in children.values())
        client.set_terminated(run_id, "FINISHED", when + took)
    if model and not _models(parent):
        client.log_outputs(run_id, [LoggedModelOutput(model, step=0)])
        # MLflow's comparison shows pictures that the runs themselves hold.
        judged = {path: md5 for path, md5 in execution.outputs.items() if path == "evaluation"}
        pictures = _laid_out(store, execution, judged) / "evaluation/plots"
        if pictures.is_dir():
            client.log_artifacts(run_id, str(pictures), "plots")
    _tell(store, parent, execution.name, _tags(execution, PIPELINE))


def _results(children: Mapping[str, Any]) -> dict[str, float]:
    """What an execution came to: the best epoch of its last training, and the evaluation's numbers."""
    starts = {"train_head": "best_", "fine_tune": "best_", "evaluate": ""}
    return {
        name: value
        for stage, start in starts.items()
        if stage in children
        for name, value in children[stage].data.metrics.items()
        if name.startswith(start) and not name.startswith("system/")
    }


def _register(store: Store, execution: Execution, parent: Any, children: Mapping[str, Any], done: Done) -> None:
    """Enter the execution's model into the registry, if it was evaluated and its file is at hand."""
    name, model = execution.parameters["tracking"].get("model"), _final_model(children)
    if name is None or model is None or "evaluate" not in children:
        return
    if name not in store.versions:
        store.versions[name] = registry.versions(store.client, name)

    def groups() -> dict[str, str] | None:
        table = _examples(store, execution)
        if table is None:
            return None
        return {name: group for name, group in zip(table["id"], table["group"], strict=True) if group}

    settings = execution.parameters
    kind = kind_of(settings)
    first, evaluated = OF_LABELS[kind].primary, children["evaluate"]
    found = registry.enter(
        store.client,
        name,
        store.versions[name],
        registry.Evaluated(
            model=model,
            run=parent.info.run_id,
            evaluated=evaluated.info.run_id,
            time=execution.time,
            tags={first: str(evaluated.data.metrics.get(first, "")), **_tags(execution, PIPELINE)},
            groups=groups,
            resamples=settings["evaluate"]["bootstrap"],
            seed=settings["seed"],
            labels=kind,
        ),
    )
    if found:
        done.notes.append(f"{execution.name}: {found}")


def _final_model(children: Mapping[str, Any]) -> str | None:
    """The id of the model that an execution ended in; None if it had none yet, or its file was not at hand."""
    return next(iter(_models(children["fine_tune"])), None) if "fine_tune" in children else None


def _models(run: Any) -> list[str]:
    return [str(output.model_id) for output in run.outputs.model_outputs] if run.outputs else []


def _use(store: Store, execution: Execution, stage: str, run_id: str) -> None:
    """Say which data a run used, in MLflow's way: a data set for each split, for it keeps one use of each."""
    import mlflow
    from mlflow.data.code_dataset_source import CodeDatasetSource
    from mlflow.data.meta_dataset import MetaDataset
    from mlflow.entities import Dataset, DatasetInput, InputTag

    md5 = execution.outputs.get("data/prepared")
    if md5 is None:
        return
    data = execution.parameters["data"]
    source = CodeDatasetSource({"data.source": data["source"], "data.path": data["path"], "dvc": "data/prepared"})
    digest = md5.removesuffix(".dir")
    named = data["source"].partition(":")[2].partition("==")[0] if data["source"] else Path(data["path"]).stem
    table = _examples(store, execution)
    inputs = []
    for split in SPLITS[stage]:
        known: dict[str, Any] = {"source": source, "name": f"{named} {split}", "digest": digest}
        if table is None:
            dataset: Any = MetaDataset(**known)
        else:
            dataset = mlflow.data.from_pandas(table[table["split"] == split], targets="label", **known)
        tag = InputTag("mlflow.data.context", CONTEXTS[split])
        inputs.append(DatasetInput(Dataset(**dataset.to_dict()), [tag]))
    store.client.log_inputs(run_id, inputs)


def _remove(store: Store, repeated: list[Any], done: Done) -> None:
    for run in repeated:
        store.client.delete_run(run.info.run_id)
    done.repeated += len(repeated)


def _let_go(store: Store, parents: list[Any], done: Done) -> None:
    """Tag the runs of executions that DVC no longer holds; they stay, for they may be all that is left of a result."""
    commits = {run.data.tags.get("dvc.commit", "") for run in parents}
    past = executions.in_history(commits)
    for run in parents:
        held = "yes" if run.data.tags.get("dvc.commit") in past else "no"
        if run.data.tags.get("dvc.held") != held:
            store.client.set_tag(run.info.run_id, "dvc.held", held)
        if held == "no":
            done.gone.append(run.info.run_name)


def said(done: Done) -> str:
    """What was done, for a terminal."""
    lines = [f"logged {name}" for name in done.logged] + done.notes
    counts = {
        "logged by their stages, and put in their place": done.adopted,
        "removed, for they told the same once more": done.repeated,
        "closed, for their processes are no more": done.killed,
    }
    lines += [f"runs {what}: {n}" for what, n in counts.items() if n]
    if done.gone:
        names = ", ".join(done.gone[:5]) + (" and others" if len(done.gone) > 5 else "")
        lines.append(f"DVC no longer holds {names}: kept in MLflow, tagged dvc.held = no")
    what = "the one execution" if done.held == 1 else f"each of the {done.held} executions"
    lines.append(
        f"MLflow shows {what} that DVC holds" if done.held else "DVC holds no whole execution yet: `dvc repro`"
    )
    return "\n".join(lines)

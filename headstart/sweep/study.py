"""The sweep itself: trials asked of Optuna, run as DVC's experiments up to fine-tuning, told what validation says.

The test split is no part of it: no trial evaluates, and none carries the evaluation of another model. At the end the
best trial alone is evaluated. A sweep that ends before its time, however it ends, goes on when it is started again:
finished trials are in the study, what an unfinished one has computed is in DVC's run cache and in the training's own
state.
"""

import fcntl
import hashlib
import json
import math
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import optuna
import pandas as pd
import yaml
from optuna.trial import FrozenTrial, Trial, TrialState

from headstart import identity, live, params
from headstart.evaluation.declared import primary_of
from headstart.stage import UserError
from headstart.sweep import experiment, figures
from headstart.sweep.experiment import BEYOND, LAST, Experiment
from headstart.sweep.records import Records
from headstart.sweep.space import Space, changed, space
from headstart.training.followed import OF_LABELS, Followed

STUDIES = Path(".headstart/sweep")
REPORT = Path("reports/sweep")
# Trials before any is pruned: a median of fewer says little (Optuna's own default).
STARTUP = 5
# Epochs before a trial is pruned: fine-tuning sets out by doing worse than the head.
WARMUP = 2
# Trials in a row that fail before they begin to train: the next one would fail as well.
FAILURES = 3
# Seconds between two looks at what runs.
POLL = 1.0
ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass
class Running:
    """A trial under way: its experiment, its run in MLflow, its epochs so far."""

    trial: Trial
    experiment: Experiment
    run: str
    best: float
    told: set[int] = field(default_factory=set)


def run(n: int, ranges: Mapping[str, str], *, jobs: int = 1, startup: int = STARTUP) -> str:
    """Bring a study to `n` trials, evaluate its best one, sum it up.

    Args:
        n: trials that end, completely or pruned; those of earlier calls count.
        ranges: parameter -> range, see `space`.
        jobs: trials at a time.
        startup: trials before any is pruned.

    Returns:
        The trials as a table, and what the best one does on the test split.

    Raises:
        UserError: an impossible range, the same study under way elsewhere, or trials that all fail.
    """
    settings = params.load()
    its = OF_LABELS[settings.data.labels]
    values = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    tried = space(ranges, values)
    name = f"sweep-{key(tried, values)[:8]}"
    folder = STUDIES / name
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder, name):
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        study = optuna.create_study(
            study_name=name,
            storage=f"sqlite:///{folder / 'study.db'}",
            direction="maximize" if its.sign > 0 else "minimize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=startup, n_warmup_steps=WARMUP),
        )
        records = Records(name, settings, dict(ranges))
        there = len(study.get_trials(deepcopy=False, states=ENDED))
        print(f"{name}: {there} of {n} trials are there" if there else f"{name}: {n} trials", flush=True)
        _Sweep(study, tried, folder, records, settings.seed, its).bring_to(n, jobs)
        table = trials(study, its)
        best = winner(study, its)
        tested = _test(best, folder, records, its)
        REPORT.mkdir(parents=True, exist_ok=True)
        for old in REPORT.iterdir():
            old.unlink()
        table.to_csv(REPORT / "trials.csv", index=False)
        figures.write(study, REPORT, its.named)
        records.close(REPORT, experiment_name(study, best))
    return summary(table, experiment_name(study, best), tested, its)


def key(tried: Space, values: dict[str, Any]) -> str:
    """What makes trials comparable, as 64 hexadecimal digits: ranges, data, code, the parameters that are not varied.

    Those of the evaluation and of tracking are left out: no trial depends on them.
    """
    stages = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]
    del stages[BEYOND]
    fixed = changed(values, dict.fromkeys(tried))
    kinds = ("outs", "metrics", "plots")
    made = [Path(p) for stage in stages.values() for k in kinds for out in stage.get(k, []) for p in _paths(out)]
    read = {
        re.sub(r"\$\{(.+?)\}", lambda found: str(_at(values, found[1])), dep)
        for stage in stages.values()
        for dep in stage["deps"]
    }
    given = sorted(path for path in read if not any(Path(path).is_relative_to(out) for out in made))
    known = {
        "ranges": {name: optuna.distributions.distribution_to_json(of) for name, of in tried.items()},
        "params": {name: _at(fixed, name) for stage in stages.values() for name in stage.get("params", [])},
        "files": {path: identity.md5(Path(path)) if Path(path).exists() else None for path in given},
    }
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


def _paths(out: str | dict[str, Any]) -> list[str]:
    return [out] if isinstance(out, str) else list(out)


def _at(values: dict[str, Any], key: str) -> Any:
    at: Any = values
    for part in key.split("."):
        at = at[part]
    return at


@contextmanager
def _alone(folder: Path, name: str) -> Iterator[TextIO]:
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{name} is under way already; --jobs says how many trials run at a time") from None
        yield lock


class _Sweep:
    """The loop over trials."""

    def __init__(
        self, study: optuna.Study, tried: Space, folder: Path, records: Records, seed: int, followed: Followed
    ) -> None:
        self.study, self.tried, self.folder, self.records, self.seed = study, tried, folder, records, seed
        self.followed = followed
        self.running: list[Running] = []
        self.failures = 0

    def bring_to(self, n: int, jobs: int) -> None:
        """Run trials until `n` have ended; those that a killed sweep left unfinished come first."""
        left = self.study.get_trials(deepcopy=False, states=[TrialState.RUNNING])
        try:
            while True:
                ended = len(self.study.get_trials(deepcopy=False, states=ENDED))
                while len(self.running) < jobs and ended + len(self.running) < n:
                    ended += self._begin(self._left(left.pop(0)) if left else self._new())
                if not self.running:
                    return
                time.sleep(POLL)
                for running in list(self.running):
                    if self._look(running):
                        self.running.remove(running)
        except BaseException:
            for running in self.running:
                running.experiment.stop()
            raise

    def _new(self) -> Trial:
        # Seeded by the trial's number: a sweep that was killed asks what it would have asked.
        number = len(self.study.get_trials(deepcopy=False))
        self.study.sampler = optuna.samplers.TPESampler(seed=self.seed + number)
        return self.study.ask(self.tried)

    def _left(self, frozen: FrozenTrial) -> Trial | None:
        """A trial that was begun; None if it was killed before it had all its values."""
        if frozen.params.keys() != self.tried.keys():
            self.study.tell(frozen.number, state=TrialState.FAIL)
            return None
        return Trial(self.study, frozen._trial_id)

    def _begin(self, trial: Trial | None) -> bool:
        """Start a trial; True if it has ended already, because its like or its experiment is there."""
        if trial is None:
            return False
        if like := self._like(trial):
            trial.set_user_attr("like", like.number)
            for name, value in like.user_attrs.items():
                trial.set_user_attr(name, value)
            self.study.tell(trial, like.value if like.state == TrialState.COMPLETE else None, state=like.state)
            print(f"trial {trial.number} is trial {like.number} once more", flush=True)
            return True
        name = f"{self.study.study_name}-{trial.number:03d}"
        run = self.records.trial(name, trial.params)
        experiment.wait_for(self.folder, name)
        experiment.remove_other(name, trial.params)
        if (found := experiment.metrics(name, LAST)) is not None:
            self._complete(trial, run, name, found)
            return True
        print(f"trial {trial.number}: {_said(trial.params)}", flush=True)
        started = Experiment(name, trial.params, self.folder, LAST, self.records.environment(run))
        earlier = self.study.get_trials(deepcopy=False)[trial.number].intermediate_values
        self.running.append(Running(trial, started, run, self._better(earlier.values()), set(earlier)))
        return False

    def _better(self, values: Iterable[float]) -> float:
        """The best of the figure that is followed; what any other is better than, if there is none."""
        sign = self.followed.sign
        return sign * max((sign * value for value in values), default=-math.inf)

    def _like(self, trial: Trial) -> FrozenTrial | None:
        ended = self.study.get_trials(deepcopy=False, states=ENDED)
        return next((other for other in ended if other.params == trial.params), None)

    def _look(self, running: Running) -> bool:
        """Report what came since the last look; True if the trial has ended."""
        trial, its = running.trial, running.experiment
        over = its.process.poll() is not None
        begun = False
        for told in live.read(its.epochs):
            begun = True
            # The head's training takes seconds; what is worth ending early is fine-tuning.
            if told.stage != LAST or told.epoch in running.told:
                continue
            running.told.add(told.epoch)
            name = f"val_{self.followed.best}"
            running.best = self._better([running.best, told.numbers[name]])
            trial.report(running.best, told.epoch)
            self.records.metrics(running.run, {name: told.numbers[name]}, told.epoch)
            if not over and trial.should_prune():
                its.stop()
                self._prune(trial, running.run, f"no better than the median after epoch {told.epoch}")
                return True
        if not over:
            return False
        if its.process.returncode == 0:
            found = experiment.metrics(its.name, LAST) or experiment.committed(LAST)
            assert found is not None, "DVC said that all went well"
            self._complete(trial, running.run, its.name, found)
        elif begun:
            self._prune(trial, running.run, its.why())
        else:
            self._fail(trial, running.run, its.why())
        return True

    def _complete(self, trial: Trial, run: str, name: str, found: Mapping[str, float]) -> None:
        # An experiment that a killed sweep left, or that DVC restored, has told nobody its epochs, and others are
        # pruned by them.
        told = self.study.get_trials(deepcopy=False)[trial.number].intermediate_values
        best = self._better([])
        for epoch, value in experiment.epochs(name, self.followed.best):
            best = self._better([best, value])
            if epoch not in told:
                trial.report(best, epoch)
                self.records.metrics(run, {f"val_{self.followed.best}": value}, epoch)
        if experiment.metrics(name, LAST) is not None:
            experiment.forget_test(name)
        for attribute in ("best_val_loss", "best_epoch"):
            trial.set_user_attr(attribute, found[attribute])
        value = found[f"best_val_{self.followed.best}"]
        self.study.tell(trial, value)
        self.records.metrics(run, found)
        self.records.end(run, "complete")
        self.failures = 0
        print(f"trial {trial.number}: {self.followed.named} {value:.4f}, best {self.study.best_value:.4f}", flush=True)

    def _prune(self, trial: Trial, run: str, why: str) -> None:
        trial.set_user_attr("why", why)
        self.study.tell(trial, state=TrialState.PRUNED)
        self.records.end(run, "pruned")
        self.failures = 0
        print(f"trial {trial.number}: pruned, {why}", flush=True)

    def _fail(self, trial: Trial, run: str, why: str) -> None:
        trial.set_user_attr("why", why)
        self.study.tell(trial, state=TrialState.FAIL)
        self.records.end(run, "fail")
        self.failures += 1
        print(f"trial {trial.number}: failed, {why}", flush=True)
        if self.failures == FAILURES:
            raise UserError(f"{FAILURES} trials in a row have failed: {why}")


def winner(study: optuna.Study, followed: Followed = OF_LABELS["class"]) -> FrozenTrial:
    """The best trial by the rule that chooses an epoch: the figure followed, among equals the loss, then the first.

    Raises:
        UserError: no trial was completed.
    """
    complete = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    if not complete:
        raise UserError(f"{study.study_name}: no trial was completed; the reasons are above")
    sign = followed.sign
    return min(
        complete, key=lambda trial: (-sign * float(trial.value or 0), trial.user_attrs["best_val_loss"], trial.number)
    )


def experiment_name(study: optuna.Study, trial: FrozenTrial) -> str:
    """Of the DVC experiment that a trial is."""
    return f"{study.study_name}-{trial.user_attrs.get('like', trial.number):03d}"


def _test(best: FrozenTrial, folder: Path, records: Records, followed: Followed) -> dict[str, Any]:
    """Evaluate the best trial on the test split, once; everything but that comes from DVC's run cache."""
    name = f"{records.study}-{best.user_attrs.get('like', best.number):03d}-tested"
    experiment.wait_for(folder, name)
    experiment.remove_other(name, best.params)
    found = experiment.metrics(name, BEYOND)
    if found is None:
        print(f"the best trial, {best.number}, is evaluated on the test split: {name}", flush=True)
        its = Experiment(name, best.params, folder, BEYOND, records.environment(records.run))
        try:
            its.process.wait()
        except BaseException:
            its.stop()
            raise
        if its.process.returncode:
            raise UserError(f"{name}: {its.why()}")
        found = experiment.metrics(name, BEYOND) or experiment.committed(BEYOND)
        assert found is not None, "DVC said that all went well"
    first, value = primary_of(found), float(best.value or 0)
    records.metrics("", {f"validation_{followed.best}": value, f"test_{first}": found[first]})
    return found


def trials(study: optuna.Study, followed: Followed = OF_LABELS["class"]) -> pd.DataFrame:
    """A row a trial, the best first: trial, state, the figure followed, loss, best epoch, parameters, a note."""
    rows, name = [], f"val_{followed.best}"
    for trial in study.get_trials(deepcopy=False):
        attributes, complete = trial.user_attrs, trial.state == TrialState.COMPLETE
        like = f"trial {attributes['like']} once more" if "like" in attributes else None
        rows.append(
            {
                "trial": trial.number,
                "state": trial.state.name.lower(),
                name: trial.value if complete else None,
                "val_loss": attributes.get("best_val_loss"),
                "best_epoch": attributes.get("best_epoch"),
                **trial.params,
                "note": like or attributes.get("why"),
            }
        )
    table = pd.DataFrame(rows).astype({"best_epoch": "Int64"})
    if name == "val_loss":
        return table.sort_values(["val_loss", "trial"])
    return table.sort_values([name, "val_loss", "trial"], ascending=[followed.sign < 0, True, True])


def summary(table: pd.DataFrame, best: str, tested: Mapping[str, Any], followed: Followed = OF_LABELS["class"]) -> str:
    """The ten best trials, what the best one does on the test split, and how to have it."""
    numbers = {f"val_{followed.best}": "{:.4f}".format, "val_loss": "{:.4f}".format, "lr": "{:.3g}".format}
    shown = table.drop(columns=["note"]).head(10).to_string(index=False, na_rep="", formatters=numbers)
    first = primary_of(tested)
    low, high = tested["interval"][first]
    return (
        f"{shown}\n\nbest on the validation split: {best}\n"
        f"on the test split: {first} {tested[first]:.3f} [{low:.3f}, {high:.3f}], "
        f"head only {tested['head_only'][first]:.3f}\n"
        f"pictures and all trials: {REPORT}/; to have its files here: dvc exp apply {best}-tested"
    )


def _said(values: Mapping[str, Any]) -> str:
    return " ".join(
        f"{key}={value:.3g}" if isinstance(value, float) else f"{key}={value}" for key, value in values.items()
    )

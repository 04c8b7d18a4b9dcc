"""A sweep in MLflow: a run for the study, a child for each trial; the stages of a trial are the trial's children.

If the server is away the sweep goes on without, as stages do; what the trials found is in the study all the same.
"""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from headstart import tracking
from headstart.params import Params

# The tag by which a study's runs are found again.
STUDY = "headstart.sweep"


class Records:
    """The runs of one study; each method logs, or does nothing after saying once why."""

    def __init__(self, study: str, settings: Params, ranges: Mapping[str, str]) -> None:
        """Open the study's run, the same one each time.

        Args:
            study: its name.
            settings: all parameters, of which the trials change some.
            ranges: what they change, as text.
        """
        self.study, self.present = study, True
        self.client: Any = None
        self.experiment = self.run = ""

        def start() -> None:
            mlflow = tracking.connect()
            self.client = mlflow.MlflowClient()
            self.experiment = tracking.experiment(self.client, settings.tracking.experiment)
            query = f"tags.`{STUDY}` = '{study}' and tags.`dvc.stage` = 'sweep'"
            self.run, made = self._found(query, study, {"dvc.stage": "sweep"})
            if made:
                for key, text in ranges.items():
                    self.client.log_param(self.run, key, text)

        self._safely(start)

    def _safely(self, log: Callable[[], Any]) -> None:
        if not self.present:
            return
        try:
            log()
        except Exception as error:  # whatever tracking does, the sweep goes on
            self.present = False
            print(f"note: MLflow can't be reached ({type(error).__name__}); the sweep goes on without", file=sys.stderr)

    def _found(self, query: str, name: str, tags: Mapping[str, str]) -> tuple[str, bool]:
        """A run that answers a query, else a new one of that name; and whether it is new."""
        found = self.client.search_runs([self.experiment], query, max_results=1)
        if found:
            self.client.update_run(found[0].info.run_id, status="RUNNING")
            return found[0].info.run_id, False
        made = self.client.create_run(self.experiment, run_name=name, tags={STUDY: self.study, **tags})
        return made.info.run_id, True

    def trial(self, name: str, values: Mapping[str, Any]) -> str:
        """The id of a trial's run, the same one each time it is begun; empty without a server."""
        ids = [""]

        def start() -> None:
            tags = {tracking.TRIAL: name, "dvc.experiment": name, "mlflow.parentRunId": self.run}
            ids[0], made = self._found(f"tags.`{tracking.TRIAL}` = '{name}'", name, tags)
            if made:
                for key, value in values.items():
                    self.client.log_param(ids[0], key, value)

        self._safely(start)
        return ids[0]

    def environment(self, run: str) -> dict[str, str]:
        """Variables that make the runs of a trial's stages the trial's children."""
        return {tracking.SWEEP: self.study, tracking.SWEEP_RUN: run} if run else {}

    def metrics(self, run: str, values: Mapping[str, float], epoch: int = 0) -> None:
        """Log numbers of a trial, or of the study if `run` is empty."""

        def log() -> None:
            for key, value in values.items():
                self.client.log_metric(run or self.run, key, value, step=epoch)

        self._safely(log)

    def end(self, run: str, state: str) -> None:
        """Close a trial's run: complete, pruned or fail, as Optuna names them; pruned is killed to MLflow."""

        def log() -> None:
            self.client.set_tag(run, "optuna.state", state)
            self.client.set_terminated(run, {"complete": "FINISHED", "pruned": "KILLED"}.get(state, "FAILED"))

        if run:
            self._safely(log)

    def close(self, folder: Path, best: str) -> None:
        """Log the table and the pictures, name the best trial, close the study's run."""

        def log() -> None:
            for file in sorted(folder.iterdir()):
                self.client.log_artifact(self.run, os.fspath(file), "sweep")
            self.client.set_tag(self.run, "headstart.best", best)
            self.client.set_terminated(self.run, "FINISHED")

        self._safely(log)

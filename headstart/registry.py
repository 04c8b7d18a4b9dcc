"""MLflow's model registry: a version for each evaluated model; the newest is the candidate, the best the champion.

A champion gives way only to a model that is better on the same test split by more than chance (`headstart.compare`):
the 95 % interval of the difference in the primary figure (accuracy, where a label is one class), of the paired
bootstrap, lies above 0. Models of another test split
can't be compared with it, and never take its place. Whoever moves an alias by hand is right: the next models are held
against the champion that there is.
"""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from headstart.evaluation.declared import OF_LABELS
from headstart.stage import UserError

if TYPE_CHECKING:
    import pandas as pd

CANDIDATE, CHAMPION = "candidate", "champion"
# Tags of a version: MLflow's id of its model, the run of its evaluation, when its execution was first held, what came
# of holding it against the champion.
MODEL, EVALUATED, TIME, VERDICT = "headstart.model", "headstart.evaluated", "headstart.time", "headstart.verdict"


class Evaluated(NamedTuple):
    """A model and what is known of it.

    model: MLflow's id of the logged model.
    run: the run that stands for its execution.
    evaluated: the run of its evaluation, which holds predictions.csv.
    time: when its execution was first held, in seconds since 1970.
    tags: of its version.
    groups: test example -> its group, of those that have one; None if that is not at hand.
    resamples, seed: of the bootstrap.
    labels: their kind.
    """

    model: str
    run: str
    evaluated: str
    time: int
    tags: Mapping[str, str]
    groups: Callable[[], Mapping[str, str] | None]
    resamples: int
    seed: int
    labels: str = "class"


def versions(client: Any, name: str) -> dict[str, Any]:
    """MLflow's id of the model -> version, of those that were registered here."""
    found = client.search_model_versions(f"name = '{name}'", max_results=10_000)
    return {version.tags[MODEL]: version for version in found if MODEL in version.tags}


def enter(client: Any, name: str, known: dict[str, Any], given: Evaluated) -> str | None:
    """Register a model, once, and hold it against the champion, once.

    Args:
        client: MLflow's.
        name: of the registered model.
        known: its versions, as `versions` gives them; completed.
        given: the model.

    Returns:
        What came of it, or what is missing; None if all of it was known.
    """
    if given.model not in known:
        known[given.model] = _register(client, name, given)
    version = known[given.model]
    if VERDICT in version.tags:
        return None
    verdict, wins = _judge(client, name, version, given)
    if verdict is None:
        return (
            f"version {version.version} of {name} was not held against the champion: its predictions or "
            "data/prepared are not in DVC's cache; `dvc pull` may bring them"
        )
    if wins:
        client.set_registered_model_alias(name, CHAMPION, version.version)
    client.set_model_version_tag(name, version.version, VERDICT, verdict)
    client.update_model_version(name, version.version, description=verdict)
    known[given.model] = client.get_model_version(name, version.version)
    return f"version {version.version} of {name}: {verdict}"


def _register(client: Any, name: str, given: Evaluated) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name, description="Models of this pipeline; see docs/tracking.md")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    tags = {**given.tags, MODEL: given.model, EVALUATED: given.evaluated, TIME: str(given.time)}
    version = client.create_model_version(
        name, f"models:/{given.model}", run_id=given.run, model_id=given.model, tags=tags
    )
    # What is registered last may be an old commit's, asked for later.
    newest = _alias(client, name, CANDIDATE)
    if newest is None or int(newest.tags.get(TIME, 0)) <= given.time:
        client.set_registered_model_alias(name, CANDIDATE, version.version)
    return version


def champion(client: Any, name: str) -> Any | None:
    """The version that is the champion; None if there is none."""
    return _alias(client, name, CHAMPION)


def _alias(client: Any, name: str, alias: str) -> Any | None:
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(name, alias)
    except MlflowException:
        return None


def _judge(client: Any, name: str, version: Any, given: Evaluated) -> tuple[str | None, bool]:
    """What came of holding a version against the champion, and whether it takes its place; None: can't be told now."""
    from headstart import compare

    best = champion(client, name)
    if best is None or best.version == version.version:
        return "champion, for there was none", True
    groups = given.groups()
    its, bests = _predictions(client, given.evaluated), _predictions(client, best.tags.get(EVALUATED))
    if groups is None or its is None:
        return None, False
    if bests is None:
        return f"not comparable with the champion: version {best.version} has no predictions", False
    tables = {f"version {best.version}": bests, f"version {version.version}": its}
    try:
        found, n = compare.compare(tables, groups, resamples=given.resamples, seed=given.seed, labels=given.labels)
    except UserError as error:
        return f"not comparable with the champion: {error}", False
    first = OF_LABELS[given.labels].primary
    if first not in set(found["figure"]):
        return f"not comparable with the champion: {first} is undefined on these {n} test examples", False
    row = found.set_index("figure").loc[first]
    better, worse = bool(row["low"] > 0), bool(row["high"] < 0)
    said = "better than" if better else "worse than" if worse else "within the noise of"
    return (
        f"{said} version {best.version}, the champion before, on {n} test examples: "
        "{} {:+.4f} [{:+.4f}, {:+.4f}]".format(first, row["difference"], row["low"], row["high"])
    ), better


def _predictions(client: Any, run_id: str | None) -> "pd.DataFrame | None":
    """The predictions that a run holds; None if it holds none."""
    import pandas as pd
    from mlflow.exceptions import MlflowException

    if run_id is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = Path(client.download_artifacts(run_id, "predictions.csv", folder))
            return pd.read_csv(path, dtype=object, keep_default_na=False)
        except (MlflowException, OSError):
            return None

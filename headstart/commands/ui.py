"""`headstart ui`: MLflow's pages for this repository, on this machine alone."""

import os
import sys

import click

from headstart import stage

EXAMPLES = """\b
Examples:
  headstart ui
  headstart ui --port 5001"""


@click.command(epilog=EXAMPLES)
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True, help="Of the page.")
@click.option("--no-sync", is_flag=True, help="Show MLflow as it is.")
def main(port: int, no_sync: bool) -> None:
    """Bring MLflow in line with DVC, then show its pages at http://127.0.0.1:PORT until Ctrl-C."""
    from headstart import sync, tracking

    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if uri.startswith("http"):
        raise stage.UserError(f"MLFLOW_TRACKING_URI names a server, {tracking.address()}: its pages are there")
    if not no_sync:
        click.echo(sync.said(sync.sync()))
    click.echo(f"MLflow's pages are at http://127.0.0.1:{port}; Ctrl-C ends them")
    sys.stdout.flush()
    # One worker for one reader, and none of the seven processes that wait for jobs of MLflow's own that we have not.
    # The address is not an argument, for others on the machine can read these.
    settings = {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_BACKEND_STORE_URI": uri or tracking.default_store(),
    }
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    os.execve(sys.executable, command, {**os.environ, **settings})  # noqa: S606

"""`headstart sync`: MLflow brought in line with what DVC holds."""

import click

EXAMPLES = """\b
Examples:
  headstart sync
  headstart sync --all-commits      after a clone and `dvc pull --all-commits`"""


@click.command(epilog=EXAMPLES)
@click.option("--all-commits", is_flag=True, help="Every commit on every branch, too.")
def main(all_commits: bool) -> None:
    """Bring MLflow in line with DVC: the workspace, the last commit and every experiment.

    A run that is missing in MLflow is logged from DVC's outputs: because the stage was restored from DVC's run cache,
    was pulled, or trained while the server was away. What is there already is left alone.
    """
    from headstart import sync
    from headstart.reporting import page

    click.echo(sync.said(sync.sync(all_commits=all_commits)))
    if page.follow():
        click.echo(f"{page.PAGE} shows the results that are here now")

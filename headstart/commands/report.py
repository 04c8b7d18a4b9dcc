"""`headstart report`: the page about a run, of the workspace or of any commit or experiment."""

import click


@click.command(
    name="report",
    epilog="Examples: headstart report; headstart report --rev bold-lynx --against main",
)
@click.option("--rev", metavar="REV", help="A commit, branch, tag or experiment; the workspace if left out.")
@click.option(
    "--against", metavar="REV", help="What to compare it with; if left out the last commit or experiment before it."
)
@click.option("--into", metavar="FILE", default="reports/index.html", show_default=True, help="The file to write.")
def main(rev: str | None, against: str | None, into: str) -> None:
    """Write the page about a run: one file with all its figures, curves and mistakes."""
    from headstart.reporting import page

    print(page.write(rev, against, into))

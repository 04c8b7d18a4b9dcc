"""`headstart sweep`: a search over the parameters."""

from pathlib import Path

import click

from headstart.stage import UserError

FILE = Path("sweep.yaml")


@click.command(
    epilog="Examples: headstart sweep 30; headstart sweep 12 -j 4 --only -S lr=1e-4:1e-2:log -S optimizer=adamw,sgd"
)
@click.argument("n", type=click.IntRange(min=1), default=20)
@click.option("-S", "--set-range", "given", multiple=True, metavar="KEY=RANGE",
              help="LOW:HIGH, LOW:HIGH:log, or A,B,C; once for each parameter. Replaces the file's line.")  # fmt: skip
@click.option("--ranges", type=click.Path(path_type=Path), default=FILE, show_default=True, help="A file of ranges.")
@click.option("--only", is_flag=True, help="Vary what -S names and nothing from the file.")
@click.option("-j", "--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Trials at a time.")
@click.option("--startup", type=click.IntRange(min=1), default=5, show_default=True,
              help="Trials before any is pruned.")  # fmt: skip
def main(n: int, given: tuple[str, ...], ranges: Path, only: bool, jobs: int, startup: int) -> None:
    """Search for better parameters by N trials, judged by the validation split.

    Each trial is an experiment of DVC's that ends with fine-tuning, in a temporary copy: the workspace stays as it is.
    One that does no better than the median of the others is ended early. The best trial alone is evaluated on the test
    split. Called again, it goes on where it was; with a larger N it adds trials. `dvc exp show` has the trials,
    reports/sweep/ the pictures, MLflow both.
    """
    from headstart import sync
    from headstart.sweep import space, study

    found = {} if only else space.ranges(ranges)
    for part in given:
        name, equals, text = part.partition("=")
        if not equals:
            raise UserError(f"-S {part}: KEY=RANGE is needed, as in -S lr=1e-4:1e-2:log")
        found[name] = text
    click.echo(study.run(n, found, jobs=jobs, startup=startup))
    try:
        click.echo(sync.said(sync.sync()))
    except UserError as error:  # the sweep is whole without
        click.echo(f"note: {error}", err=True)

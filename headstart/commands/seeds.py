"""`headstart seeds`: how much of a figure is luck."""

import click


@click.command(epilog="Example: headstart seeds 5 -S lr=3e-4")
@click.argument("n", type=click.IntRange(min=2))
@click.option("-S", "--set-param", "changes", multiple=True, metavar="KEY=VALUE", help="A parameter, as dvc takes it.")
def main(n: int, changes: tuple[str, ...]) -> None:
    """Run the pipeline with the seeds 0 to N-1 as experiments, and sum up what they found.

    Each figure gets its mean over the seeds, its range and the 95 % interval of the mean. The workspace is left as
    it was.
    """
    from headstart import seeds

    click.echo(seeds.run(n, changes))

"""`headstart compare`: whether two experiments differ by more than chance."""

import click


@click.command(epilog="Example: headstart compare HEAD bold-lynx")
@click.argument("first")
@click.argument("second", required=False)
def main(first: str, second: str | None) -> None:
    """Say whether the figures of two experiments differ by more than chance.

    FIRST and SECOND are commits, branches, tags or experiments' names; without SECOND the workspace is compared. Behind
    the answer is the paired bootstrap over the test examples that both were judged by.
    """
    from headstart import compare

    click.echo(compare.experiments(first, second))

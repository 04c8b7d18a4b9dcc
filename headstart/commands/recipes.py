"""`headstart recipes`: complete parameters for other data."""

import textwrap

import click
from click.shell_completion import CompletionItem

from headstart import recipes


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in recipes.names() if name.startswith(incomplete)]


@click.command(epilog="\b\nExamples:\n  headstart recipes\n  headstart recipes planktonclas > params.yaml && dvc repro")
@click.argument("name", required=False, shell_complete=_complete)
def main(name: str | None) -> None:
    """List the recipes: complete params.yaml files for other tasks and data sets; or print one."""
    if name:
        click.echo(recipes.text(name), nl=False)
        return
    for found in map(recipes.read, recipes.names()):
        click.echo(f"{found.name}  ({found.task}, {found.backbone})")
        click.echo(textwrap.indent("\n".join(textwrap.wrap(found.about, 100)), "    "))
        click.echo(f"    $ {found.command}\n")

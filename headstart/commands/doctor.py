"""`headstart doctor`: what this machine has, and what is wrong with it."""

import sys

import click


@click.command(epilog="\b\nExamples:\n  headstart doctor\n  headstart doctor --full")
@click.option("--full", is_flag=True, help="Also start Keras' backend and ask what it sees: half a minute.")
def main(full: bool) -> None:
    """Explain the environment: packages, machine, caches, tracking.

    A problem is marked with an exclamation mark and followed by what to do; the exit status is 1 if there is one.
    """
    from headstart import doctor

    problems = 0
    for text, wrong in doctor.page(doctor.examine(full)):
        click.echo(text)
        problems += wrong
    if problems:
        click.echo(f"\n{problems} problem{'' if problems == 1 else 's'}", err=True)
        sys.exit(1)

"""`headstart completion`: what a shell needs to complete commands, options and names of recipes."""

import click
from click.shell_completion import get_completion_class

EXAMPLES = """\b
Examples:
  eval "$(headstart completion bash)"                   # in ~/.bashrc
  eval "$(headstart completion zsh)"                    # in ~/.zshrc
  headstart completion fish > ~/.config/fish/completions/headstart.fish"""


@click.command(epilog=EXAMPLES)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def main(ctx: click.Context, shell: str) -> None:
    """Print what a shell needs to complete headstart's commands, options and names.

    The shell then asks `headstart` itself, so it must be found in PATH: `. .venv/bin/activate` sees to that.
    """
    found = get_completion_class(shell)
    assert found is not None
    root = ctx.find_root()
    # Bash's own version is asked for with `source` alone; the script is the same for all that click supports.
    completion = found(root.command, {}, "headstart", "_HEADSTART_COMPLETE")
    click.echo(completion.source_template % completion.source_vars())

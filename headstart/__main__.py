"""The command line: `headstart COMMAND`, or `python -m headstart COMMAND`.

A command's module is imported when it is called, so that `headstart --help` answers at once.
"""

import importlib

import click

import stages  # noqa: F401  # settings of Keras and TensorFlow, as a stage has them
from headstart import stage

# Each command, in the order of the help, with the line that says what it is for.
COMMANDS: dict[str, str] = {
    "sync": "Bring MLflow in line with what DVC holds.",
    "ui": "MLflow's pages for this repository, in line with DVC.",
}


class Commands(click.Group):
    """The commands of `headstart.commands`, found by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command of that name; None if there is none."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"headstart.commands.{cmd_name.replace('-', '_')}").main
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(cls=Commands, name="headstart", context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Tools around the pipeline. The pipeline itself is run by `dvc repro`."""


if __name__ == "__main__":
    stage.run(lambda: main(prog_name="headstart"))

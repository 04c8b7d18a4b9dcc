"""The command line: `headstart COMMAND`, or `python -m headstart COMMAND`.

A command's module is imported when it is called, so that `headstart --help` answers at once.
"""

import importlib

import click
from click.shell_completion import CompletionItem

import stages  # noqa: F401  # settings of Keras and TensorFlow, as a stage has them
from headstart import stage

# Each command, in the order of the help, with the line that says what it is for.
COMMANDS: dict[str, str] = {
    "recipes": "Parameters for other tasks and data sets.",
    "predict": "What the trained model sees in pictures or texts.",
    "export": "The model as SavedModel, ONNX, OpenVINO, LiteRT; int8.",
    "compare": "Whether two experiments differ by more than chance.",
    "seeds": "The pipeline with several seeds: mean, range and interval.",
    "sweep": "A search over the parameters, judged by the validation split.",
    "find-lr": "A learning rate to begin with, by a range test.",
    "doctor": "What this machine has, and what is wrong with it.",
    "completion": "What a shell needs to complete these commands.",
    "report": "The page about a run, of the workspace or of any experiment.",
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

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete a command's name without importing them all, as click would for their help."""
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [CompletionItem(name, help=about) for name, about in COMMANDS.items() if name.startswith(incomplete)]


@click.command(cls=Commands, name="headstart", context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Tools around the pipeline. The pipeline itself is run by `dvc repro`."""


if __name__ == "__main__":
    stage.run(lambda: main(prog_name="headstart"))

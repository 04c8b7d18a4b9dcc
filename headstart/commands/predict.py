"""`headstart predict`: a trained model's word on pictures or texts."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

if TYPE_CHECKING:
    from headstart.inference.model import Prediction

FORMATS = ("table", "csv", "json", "jsonl")
EXAMPLES = """\b
Examples:
  headstart predict photo.jpg
  headstart predict photos/ --top 3
  headstart predict list.csv --output found.csv
  find /archive -name '*.png' | headstart predict - --format jsonl
  headstart predict - < photo.jpg
  headstart predict reviews.csv --column body
  headstart predict photos/ --model models/head"""


@click.command(epilog=EXAMPLES)
@click.argument("paths", nargs=-1, required=True, metavar="PATH…", type=click.Path(allow_dash=True))
@click.option("--format", "form", type=click.Choice(FORMATS), help="By default as --output ends, else table.")
@click.option("--top", type=click.IntRange(min=1), metavar="K", help="The K most probable classes alone.")
@click.option("--model", type=click.Path(), default="models/final", show_default=True, help="A model's folder.")
@click.option("--engine", type=click.Choice(["keras", "onnx"]), help="What runs it; onnx needs `headstart export`.")
@click.option("--views", type=click.IntRange(1, 64), metavar="N", help="Views to average; by default as evaluated.")
@click.option("--column", metavar="NAME", help="A table's column of paths or texts, by name or number.")
@click.option("--output", type=click.Path(dir_okay=False), metavar="FILE", help="Write there, whole or not at all.")
def main(
    paths: tuple[str, ...],
    form: str | None,
    top: int | None,
    model: str,
    engine: str | None,
    views: int | None,
    column: str | None,
    output: str | None,
) -> None:
    """Say what the trained model sees in pictures or texts.

    PATH is a picture, a folder (with all folders below it), a table of paths (.csv, .tsv; .txt with a path a line), or
    - for the standard input: paths, one a line, or a single picture. For a model of texts, a .txt file, a folder of
    them, a table of texts (.csv, .tsv, .jsonl, .parquet), or - for a text a line.

    Pictures are decoded, resized and averaged over views as the evaluation did it. What can't be read is named with
    its reason, and the others go on: the exit status is 1 only if none could be read.
    """
    from tqdm import tqdm

    from headstart.inference import formats, inputs
    from headstart.inference.model import load, predict
    from headstart.stage import UserError

    if form is None:
        ending = Path(output).suffix[1:].lower() if output else "table"
        form = ending if ending in FORMATS else "table"
    network = load(Path(model), engine, views)
    labels = network.facts.get("labels", "class")
    if top is not None and labels == "score":
        raise UserError(f"--top {top}: the model in {model} answers with a score, not with classes; leave it out")

    def examples() -> Iterator[inputs.Example]:
        return inputs.examples(paths, network.facts["task"], sys.stdin.buffer, column)

    # Lines that run over a terminal show themselves how far it is.
    hidden = not sys.stderr.isatty() or (output is None and sys.stdout.isatty())
    total = None if hidden or inputs.STDIN in paths else sum(1 for _ in examples())
    predictions = predict(network, examples())
    begun = list(islice(predictions, 1))  # what is wrong with a path is said before anything is written
    bar = tqdm(chain(begun, predictions), total=total, unit=" examples", disable=hidden)
    counts = {"read": 0, "failed": 0}

    def counted(found: "Iterable[Prediction]") -> "Iterator[Prediction]":
        for one in found:
            counts["failed" if one.reason else "read"] += 1
            yield one

    with _written(output) as file:
        for text in formats.FORMATS[form](counted(bar), network.classes, top, labels):
            file.write(text)
    if counts["failed"]:
        click.echo(f"{counts['failed']} of {sum(counts.values())} could not be read", err=True)
    if not counts["read"]:
        sys.exit(1)


@contextmanager
def _written(output: str | None) -> Iterator[IO[str]]:
    """The standard output, or a file that appears when it is whole."""
    if output is None:
        yield sys.stdout
        return
    path = Path(output)
    aside = path.with_name(f".{path.name}.part")
    try:
        with aside.open("w", encoding="utf-8") as file:
            yield file
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)

"""`headstart export`: the model for other runtimes."""

from pathlib import Path

import click

FORMATS = ("savedmodel", "onnx", "openvino", "litert")
EXAMPLES = """\b
Examples:
  headstart export
  headstart export --format onnx --int8 --out for-the-phone
  headstart predict photo.jpg --model exports --engine onnx"""


@click.command(epilog=EXAMPLES)
@click.option("--format", "form", type=click.Choice([*FORMATS, "all"]), default="all", show_default=True)
@click.option(
    "--int8", is_flag=True, help="Int8 variants as well, of ONNX and LiteRT; for pictures calibrated on training ones."
)
@click.option("--model", type=click.Path(), default="models/final", show_default=True, help="A model's folder.")
@click.option(
    "--out", type=click.Path(file_okay=False), default="exports", show_default=True, help="Folder to write to."
)
def main(form: str, int8: bool, model: str, out: str) -> None:
    """Write the model as SavedModel, ONNX, OpenVINO and LiteRT, each held against Keras on the validation examples.

    The table says how large each is, how far its answers are from Keras' at most, how often the most probable class is
    the same, the accuracy on the validation split (or what stands for it, where labels are several classes or scores),
    and how many examples a second it takes here, one in a call and 32 (texts: of the median length). An export that
    differs from Keras by more than 0.001 is not left there, and the exit status is 1; int8 is another model, and may
    differ.
    """
    from headstart import export
    from headstart.stage import UserError

    labels, many = export.kind(Path(model))
    click.echo(export.table(None, labels, many))
    failed = []
    for found in export.export(Path(model), Path(out), list(FORMATS) if form == "all" else [form], int8):
        click.echo(export.table(found))
        failed += [found.name] if isinstance(found, export.Failed) else []
    told = "model.json" if many == "pictures" else f"tokenizer.json, {export.HOW}"
    click.echo(f"written to {out}, with the class names (labels.json) and how a {many[:-1]} becomes an input ({told})")
    if failed:
        raise UserError(f"not exported: {', '.join(failed)}, for the reasons above")

"""`headstart find-lr`: a learning rate to begin with."""

from pathlib import Path

import click

from headstart.stage import UserError

OUTPUT = Path("reports/find-lr.png")


@click.command(epilog="Examples: headstart find-lr; headstart find-lr --of head --steps 200")
@click.option("--of", type=click.Choice(["head", "fine_tune"]), help="Which training. Default: fine_tune, where it is.")
@click.option("--steps", type=click.IntRange(min=20), default=100, show_default=True, help="Batches to train on.")
@click.option("--low", type=click.FloatRange(min=0, min_open=True), default=1e-5, show_default=True, help="First lr.")
@click.option("--high", type=click.FloatRange(min=0, min_open=True), default=1.0, show_default=True, help="Last lr.")
def main(of: str | None, steps: int, low: float, high: float) -> None:
    """Suggest a value for lr by a range test (Smith 2017).

    A short training on the cached features, with a rate that rises until the loss diverges. The suggestion is where
    the loss falls most steeply. The curve is in reports/find-lr.png and .csv, and in MLflow; no model is changed.
    """
    if low >= high:
        raise UserError(f"--low {low:g} --high {high:g}: the rate has to rise")
    from headstart import params, range_test, stage, tracking
    from headstart.data.prepared import load

    settings = params.load()
    of = of or ("head" if settings.trainable_layers == 0 else "fine_tune")
    curve = range_test.test(settings, load("data/prepared"), of, low=low, high=high, steps=steps)
    suggested = range_test.suggest(curve, steps)
    scale = settings.fine_tune.lr_scale
    figure = range_test.figure(curve, steps, suggested, f"range test, {of.replace('_', '-')}, {settings.optimizer}")
    stage.write(OUTPUT.with_suffix(".csv"), curve.to_csv(index=False))
    figure.savefig(OUTPUT)
    with tracking.run("find_lr", settings) as run:
        run.metrics({"suggested_lr": suggested})
        run.figure(figure, OUTPUT.name)
        run.artifact(OUTPUT.with_suffix(".csv"))
    click.echo(f"lr: {suggested:g}   ({OUTPUT}: {len(curve)} steps up to {curve['lr'].iloc[-1]:.2g})")
    if of == "fine_tune":
        click.echo(f"With it, fine-tuning's highest rate is {suggested * scale:.2g}: lr × fine_tune.lr_scale.")
    click.echo(f"To try it: dvc exp run -S lr={suggested:g}")

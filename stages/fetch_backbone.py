"""Get the pretrained network once, with its preprocessing inside: models/backbone/."""

from pathlib import Path

from headstart import params, stage
from headstart.backbones import table


def main() -> None:
    settings = params.load()
    entry = table.find_for(settings.task, settings.backbone)
    import keras  # a wrong name is told before this slow import

    from headstart.backbones import export, kinds

    keras.utils.set_random_seed(0)  # of random weights, and of a dropout's generator, whose state is saved
    network, about, provenance, files = kinds.FETCH[entry.kind](settings, entry)
    given = settings.features
    if given.weights and given.sha256 is None and Path(given.weights).exists():
        raise stage.UserError(
            f"features.sha256: null is given; DVC does not watch {given.weights}, so its SHA-256 is needed, which is "
            f"{provenance.sha256} now"
        )
    facts = {
        "name": settings.backbone,
        "embedding": network.output_shape[1],
        "remark": entry.remark,
        "engine": entry.engine,
        **about,
        **provenance._asdict(),
    }
    with stage.whole("models/backbone") as folder:
        export.write(network, facts, folder, onnx=entry.engine != "keras")
        for name, content in files.items():
            stage.write(folder / name, content)
    print(f"{settings.backbone}, {network.count_params():,} weights, embedding {facts['embedding']}")
    print(f"weights: {provenance.source}; licence: {provenance.licence}")
    if entry.remark:
        print(f"note: {settings.backbone} is {entry.remark}")


if __name__ == "__main__":
    stage.run(main)

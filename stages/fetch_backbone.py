"""Get the pretrained network once, with its preprocessing inside: models/backbone/."""

from headstart import params, stage
from headstart.backbones import table


def main() -> None:
    settings = params.load()
    entry = table.find(settings.backbone)
    from headstart.backbones import build, export, weights  # a wrong name is told before Keras' slow import

    size, given = settings.prepare.image_size, settings.features
    bare, provenance = weights.load(entry, size, given.weights, given.sha256)
    network = build.embedding_network(bare, entry, settings.backbone)
    facts = {
        "name": settings.backbone,
        "image_size": size,
        "embedding": network.output_shape[1],
        "preprocessing": entry.preprocessing,
        "remark": entry.remark,
        "engine": entry.engine,
        **provenance._asdict(),
    }
    with stage.whole("models/backbone") as folder:
        export.write(network, facts, folder, onnx=entry.engine != "keras")
    print(f"{settings.backbone} at {size} px, {network.count_params():,} weights, embedding {facts['embedding']}")
    print(f"weights: {provenance.source}; licence: {provenance.licence}")
    if entry.remark:
        print(f"note: {settings.backbone} is {entry.remark}")


if __name__ == "__main__":
    stage.run(main)

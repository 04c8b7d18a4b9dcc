"""LoRA (Hu et al. 2022): training small factors beside the kernels of unfrozen layers instead of the kernels.

The factors are Keras' own. `saving.plain` merges them into the kernels, which every saved model of ours went through.
"""

import keras

from headstart.stage import UserError

FACTORED = (keras.layers.Dense, keras.layers.EinsumDense, keras.layers.Embedding)


def enable(network: keras.Model, names: list[str], rank: int) -> None:
    """Give the named layers' dense and embedding parts factors of this rank, and let nothing but these be trained.

    Args:
        network: parted as `cut.unfreeze` left it.
        names: of the unfrozen layers; a transformer's block is one, with all that it holds.
        rank: columns of a factor; what a layer computes is the same until the first step.

    Raises:
        UserError: there is no such part, so nothing of the network would be trained.
    """
    if not any(isinstance(part, FACTORED) for name in names for part in network.get_layer(name)._flatten_layers()):
        raise UserError(
            f"fine_tune.lora_rank: {rank} is given, but nothing in the unfrozen layers ({', '.join(names)}) takes "
            "low-rank additions; unfreeze more with trainable_layers, or set it to 0"
        )
    for name in names:
        layer = network.get_layer(name)
        for part in layer._flatten_layers():
            if isinstance(part, FACTORED):
                part.enable_lora(rank)
        for weight in layer.weights:
            weight.trainable = weight.name.startswith("lora_")

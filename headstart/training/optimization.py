"""Optimizers and the learning rate's course."""

from collections.abc import Sequence

import keras

# Of sgd; Keras' guides and most fine-tuning papers use this value.
MOMENTUM = 0.9


def schedule(lr: float, steps: int, warmup: float) -> keras.optimizers.schedules.LearningRateSchedule | float:
    """Linear warm-up, then a cosine to zero (Loshchilov & Hutter 2017, section 3; Goyal et al. 2017, section 2.2).

    Args:
        lr: highest rate.
        steps: of the whole training.
        warmup: share of the steps over which the rate rises from zero.
    """
    rising = round(steps * warmup)
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if rising else lr,
        decay_steps=max(1, steps - rising),
        warmup_target=lr if rising else None,
        warmup_steps=rising,
    )


def optimizer(
    name: str,
    learning_rate: keras.optimizers.schedules.LearningRateSchedule | float,
    *,
    weight_decay: float = 0.0,
    clip_norm: float | None = None,
    scales: Sequence[float] | None = None,
) -> keras.optimizers.Optimizer:
    """One of sgd, adam, adamw, rmsprop.

    Args:
        name: of the optimizer.
        learning_rate: constant or a schedule.
        weight_decay: of adamw alone; biases and normalisation are left out of it, as is usual.
        clip_norm: bound of the gradients' global norm; None for no bound.
        scales: of the learning rate for each variable to be trained, in their order; None: 1 for all. Weight decay
            keeps the rate itself.
    """
    kind = {
        "sgd": keras.optimizers.SGD,
        "adam": keras.optimizers.Adam,
        "adamw": keras.optimizers.AdamW,
        "rmsprop": keras.optimizers.RMSprop,
    }[name]
    if scales is not None:
        kind = _scaled(kind, tuple(scales))
    common = {"learning_rate": learning_rate, "global_clipnorm": clip_norm}
    if name == "sgd":
        return kind(momentum=MOMENTUM, nesterov=True, **common)
    if name == "adamw":
        made = kind(weight_decay=weight_decay, **common)
        # Llama's normalisation calls its gamma scale.
        made.exclude_from_weight_decay(var_names=["bias", "gamma", "beta", "scale"])
        return made
    return kind(**common)


def _scaled(kind: type[keras.optimizers.Optimizer], scales: tuple[float, ...]) -> type[keras.optimizers.Optimizer]:
    """An optimizer that takes shorter steps for some variables; of scaled gradients Adam would lose the scale."""

    class Scaled(kind):
        def update_step(self, gradient: object, variable: object, learning_rate: keras.KerasTensor) -> None:
            scale = scales[self._get_variable_index(variable)]
            super().update_step(gradient, variable, learning_rate * scale)

    return Scaled


def layer_scales(
    network: keras.Model, names: Sequence[str], decay: float, variables: Sequence[keras.Variable]
) -> list[float]:
    """Scales for `optimizer`: `decay` to the power of a layer's depth below the top unfrozen one, which has 1.

    What is no layer of the network, the head, has 1 too (Clark et al. 2020, ELECTRA, appendix A: layer-wise decay).

    Args:
        network: whose layers are named.
        names: of the unfrozen layers with weights, from the input to the output.
        decay: of the rate from one of them to the next one below it.
        variables: to be trained.
    """
    depth = {id(weight): at for at, name in enumerate(reversed(names)) for weight in network.get_layer(name).weights}
    return [decay ** depth.get(id(variable), 0) for variable in variables]

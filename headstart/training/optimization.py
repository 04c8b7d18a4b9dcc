"""Optimizers and the learning rate's course."""

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
) -> keras.optimizers.Optimizer:
    """One of sgd, adam, adamw, rmsprop.

    Args:
        name: of the optimizer.
        learning_rate: constant or a schedule.
        weight_decay: of adamw alone; biases and normalisation are left out of it, as is usual.
        clip_norm: bound of the gradients' global norm; None for no bound.
    """
    common = {"learning_rate": learning_rate, "global_clipnorm": clip_norm}
    match name:
        case "sgd":
            return keras.optimizers.SGD(momentum=MOMENTUM, nesterov=True, **common)
        case "adam":
            return keras.optimizers.Adam(**common)
        case "adamw":
            made = keras.optimizers.AdamW(weight_decay=weight_decay, **common)
            made.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
            return made
        case "rmsprop":
            return keras.optimizers.RMSprop(**common)
    raise ValueError(name)

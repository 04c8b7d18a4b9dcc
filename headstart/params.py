"""The typed parameters: what `params.yaml` may hold, and a sentence for everything it may not.

There are no defaults here: `params.yaml` states every value, so DVC sees every value. A new parameter is one
line there and one field here.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    model_validator,
)

from headstart.stage import UserError


def _no_bool(value: Any) -> Any:
    """Refuse YAML's true and false where a number belongs: Python would count them as 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("a number is needed, not true or false")
    return value


def _column(value: Any) -> Any:
    """A column's name, its number from 0, or null."""
    if value is None or (isinstance(value, str) and value) or (type(value) is int and value >= 0):
        return value
    raise ValueError(f"{value!r} is given, allowed is a column's name, its number from 0, or null")


def _label_column(value: Any) -> Any:
    """As `_column`, or several of them."""
    if not isinstance(value, list):
        return _column(value)
    if len(value) < 2 or None in value or len({str(one) for one in value}) < len(value):
        raise ValueError(f"{value!r} is given, allowed is a list of two columns or more, no two of them the same")
    return [_column(one) for one in value]


def _trainable_layers(value: Any) -> Any:
    """A number of layers, a layer's name, or `all`."""
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    if (isinstance(value, str) and value) or (type(value) is int and value >= 0):
        return value
    raise ValueError(f'{value!r} is given, allowed is a number of layers (0 or more), a layer\'s name or "all"')


def _on_off(value: Any) -> Any:
    """YAML 1.1 reads a bare `on` as true and `off` as false."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


# `-S lr=1e-5` reaches the file as `1e-05`, which YAML 1.1 reads as text: numbers are converted by this schema.
Float = Annotated[float, BeforeValidator(_no_bool), Field(allow_inf_nan=False)]
Positive = Annotated[Float, Field(gt=0)]
NotNegative = Annotated[Float, Field(ge=0)]
Share = Annotated[Float, Field(ge=0, le=1)]
Int = Annotated[int, BeforeValidator(_no_bool)]
Count = Annotated[Int, Field(ge=1)]
Bool = Annotated[bool, Field(strict=True)]
Column = Annotated[int | str | None, PlainValidator(_column)]
LabelColumn = Annotated[int | str | list[int | str] | None, PlainValidator(_label_column)]


Precision = Literal["auto", "float32", "bfloat16"]


class Section(BaseModel):
    """A mapping whose keys are all known and all present."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Columns(Section):
    """Columns of a table, by name or number from 0."""

    path: Column
    text: Column
    pair: Column
    label: LabelColumn
    group: Column
    split: Column


class Data(Section):
    """Where the raw data come from and how to read them."""

    source: str | None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None
    path: Annotated[str, Field(min_length=1)]
    images: Annotated[str, Field(min_length=1)]
    labels: Literal["class", "multi", "score"]
    columns: Columns
    header: Bool | None
    separator: Literal["auto", "comma", "semicolon", "tab", "whitespace"]
    threshold: Float | None
    classes: Annotated[list[str], Field(min_length=2, max_length=2)] | None
    on_leak: Literal["fail", "move", "warn"]
    max_tokens: Annotated[Int, Field(ge=8, le=32768)]

    @model_validator(mode="after")
    def _source_is_checked(self) -> "Data":
        if self.source is not None and self.sha256 is None:
            raise ValueError(
                "data.sha256 is null; a data.source needs the SHA-256 of its archive to be checked against"
            )
        return self

    @model_validator(mode="after")
    def _labels_fit(self) -> "Data":
        for key, value in (("threshold", self.threshold), ("classes", self.classes)):
            if self.labels != "class" and value is not None:
                raise ValueError(
                    f"{key}: {value!r} is given, but data.labels is {self.labels}; it must be null there: a threshold "
                    "makes two classes of a score, which is data.labels class"
                )
        if self.labels != "multi" and isinstance(self.columns.label, list):
            raise ValueError(
                f"columns.label: {len(self.columns.label)} columns are given, but data.labels is {self.labels}; "
                "allowed is one column, or data.labels multi, where each is a class"
            )
        return self


class Prepare(Section):
    """Decoding and splitting."""

    image_size: Annotated[Int, Field(ge=8, le=4096)]
    resize: Literal["stretch", "crop", "pad"]
    train: Share
    validation: Share
    test: Share
    max_quarantined: Share

    @model_validator(mode="after")
    def _shares_add_up(self) -> "Prepare":
        shares = {"train": self.train, "validation": self.validation, "test": self.test}
        if abs(sum(shares.values()) - 1) > 1e-6:
            raise ValueError(f"train + validation + test must be 1, these add up to {sum(shares.values()):g}")
        for name, share in shares.items():
            if share == 0:
                raise ValueError(f"{name} is 0; each split needs a share of the examples")
        return self


class Features(Section):
    """The frozen network's output, cached."""

    weights: str | None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None
    pooling: Literal["auto", "mean", "cls", "last"]
    views: Annotated[Int, Field(ge=1, le=64)]
    augment: Literal["none", "flip", "dihedral", "photo"]
    engine: Literal["auto", "onnxruntime", "openvino", "keras"]
    precision: Precision

    @model_validator(mode="after")
    def _views_differ(self) -> "Features":
        if self.augment == "none" and self.views > 1:
            raise ValueError(f"views is {self.views} but augment is none; more than one view needs an augmentation")
        return self


class Head(Section):
    """The dense layers on top of the embedding, and their training."""

    hidden: list[Count]
    dropout: Annotated[Float, Field(ge=0, lt=1)]
    class_weights: Bool
    patience: Count


class FineTune(Section):
    """Training of the unfrozen layers."""

    cache: Annotated[Literal["auto", "on", "off"], BeforeValidator(_on_off)]
    precision: Precision
    lr_scale: Positive
    warmup: Annotated[Float, Field(ge=0, lt=1)]
    weight_decay: NotNegative
    clip_norm: Positive | None
    label_smoothing: Annotated[Float, Field(ge=0, lt=1)]
    layer_decay: Annotated[Float, Field(gt=0, le=1)]
    lora_rank: Annotated[Int, Field(ge=0, le=512)]
    batch_norm: Literal["frozen", "trained"]
    deterministic: Bool
    class_weights: Bool
    patience: Count


class Evaluate(Section):
    """Scoring on the test split."""

    bootstrap: Annotated[Int, Field(ge=100)]
    views: Annotated[Int, Field(ge=1, le=64)]


class Tracking(Section):
    """MLflow."""

    experiment: Annotated[str, Field(min_length=1)]
    model: Annotated[str, Field(pattern=r"^[^/:.%\"']+$")] | None


class Params(Section):
    """All of `params.yaml`."""

    task: Literal["image-classification", "text-classification"]
    backbone: str
    lr: Positive
    batch_size: Count
    epochs: Count
    optimizer: Literal["sgd", "adam", "adamw", "rmsprop"]
    trainable_layers: Annotated[int | str, PlainValidator(_trainable_layers)]
    seed: Annotated[Int, Field(ge=0, lt=2**32)]
    data: Data
    prepare: Prepare
    features: Features
    head: Head
    fine_tune: FineTune
    evaluate: Evaluate
    tracking: Tracking

    @model_validator(mode="after")
    def _training_fits_the_labels(self) -> "Params":
        kind = self.data.labels
        for key, given in (("head", self.head.class_weights), ("fine_tune", self.fine_tune.class_weights)):
            if given and kind != "class":
                why = "a score has no classes" if kind == "score" else "an example has any number of classes"
                raise ValueError(
                    f"{key}.class_weights: true is given, but data.labels is {kind}, where {why} to weigh it by; "
                    "it must be false"
                )
        if self.fine_tune.label_smoothing and kind == "score":
            raise ValueError(
                f"fine_tune.label_smoothing: {self.fine_tune.label_smoothing:g} is given, but data.labels is score: "
                "only the probabilities of classes can be smoothed; it must be 0"
            )
        return self

    @model_validator(mode="after")
    def _choices_fit_the_task(self) -> "Params":
        if self.task.startswith("text"):
            if self.features.augment != "none":
                raise ValueError(
                    f"features.augment: {self.features.augment!r} is given, but texts have no views; it must be none "
                    "with task text-classification, and features.views and evaluate.views 1"
                )
            if self.evaluate.views > 1:
                raise ValueError(f"evaluate.views: {self.evaluate.views} is given, texts have 1 view")
        elif self.fine_tune.lora_rank:
            raise ValueError(
                f"fine_tune.lora_rank: {self.fine_tune.lora_rank} is given, but the layers of picture networks are "
                f"convolutions, which have no low-rank additions; it must be 0 with task {self.task}"
            )
        return self


def _sentence(error: Any) -> str:
    """One of pydantic's errors as `key: what was given; what is allowed`."""
    key = ".".join(str(part) for part in error["loc"])
    match error["type"]:
        case "extra_forbidden":
            return f"{key}: there is no such parameter; remove it or mend its name"
        case "missing":
            return f"{key}: missing; every parameter has a line in params.yaml"
        case "model_type":
            return f"{key}: {error['input']!r} is given, it must be a mapping of parameters"
        case "value_error":
            return f"{key}: {error['ctx']['error']}" if key else str(error["ctx"]["error"])
        case _:
            # pydantic begins with "Input should", "String should", "List should" …
            allowed = error["msg"].partition(" should ")[2] or error["msg"]
            return f"{key}: {error['input']!r} is given, it must {allowed}"


def load(path: str | Path = "params.yaml") -> Params:
    """Read and check the parameters.

    Raises:
        UserError: with every unknown key, wrong type and impossible value, one line each.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run from the repository's root, or copy a recipe there") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from None
    return check(content, path)


def check(content: Any, where: str | Path) -> Params:
    """Check parameters that have been read.

    Raises:
        UserError: as `load`, with `where` before the first line.
    """
    if not isinstance(content, dict):
        raise UserError(f"{where}: a mapping of parameters is needed, found {type(content).__name__}")
    try:
        return Params.model_validate(content)
    except ValidationError as errors:
        lines = dict.fromkeys(_sentence(error) for error in errors.errors())
        raise UserError(f"{where}: " + "\n  ".join(lines)) from None

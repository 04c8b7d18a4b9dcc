"""A logged model as MLflow serves it: pictures or texts in, the probabilities of `headstart predict` out.

MLflow loads it by this module, which lies beside the model with all that it imports: what it serves with needs no clone
of the pipeline. A picture comes as the bytes of its file in base64, a thirtieth of its numbers as JSON, and becomes an
input as `prepare` makes one. The network's own inputs, pictures of its size or token ids as numbers, are taken as well.
"""

import base64
import binascii
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from numpy.typing import NDArray
from PIL import Image

from headstart.data import images
from headstart.inference.model import Model, ids, load, padded, seen

# Examples in a call of the network: memory stays what it is, however long a request.
AT_ONCE = 32


class Unreadable(MlflowException):
    """An input that is none; the answer says which one and why, and does not repeat the request."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence, INVALID_PARAMETER_VALUE)
        self.sentence = sentence

    def serialize_as_json(self) -> str:
        """The body of the answer, whose status is 400."""
        return json.dumps({"error_code": self.error_code, "message": self.sentence})


class Served:
    """A model that answers requests, several at a time."""

    def __init__(self, model: Model) -> None:
        """Take the model, and call it twice: what it compiles for two shapes serves for all."""
        self.model = model
        for n in (1, 2):
            side = model.facts.get("image_size", 0)
            model.run(np.zeros((n, 8 * n), np.int32) if model.vocabulary else np.zeros((n, side, side, 3), np.float32))

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> NDArray[np.float32]:
        """Probabilities [b, classes], the mean over an example's views.

        Args:
            model_input: texts, or pairs of them; pictures' files in base64, or their bytes; or the network's inputs as
                numbers: pictures [b, s, s, 3], 0-255, of which each is its own only view, or token ids [b, tokens].
            params: none are known.

        Raises:
            Unreadable: an example that is none, by its place in the request.
        """
        given = np.asarray(model_input)
        if given.ndim == 0 or not len(given):
            raise Unreadable("inputs: a list of examples is needed, with one at least")
        if isinstance(given.flat[0], str | bytes):
            rows = [self._read(example, f"inputs[{at}]") for at, example in enumerate(given.tolist())]
            views = 1 if self.model.vocabulary else self.model.views
        else:
            rows, views = self._numbers(given), 1
        answers = []
        for start in range(0, len(rows), AT_ONCE):
            some = rows[start : start + AT_ONCE]
            batch = np.concatenate(padded(some, self.model.vocabulary) if self.model.vocabulary else some)
            answers.append(np.asarray(self.model.run(batch), np.float32).reshape(len(some), views, -1).mean(axis=1))
        return np.concatenate(answers)

    def _read(self, example: Any, where: str) -> NDArray[Any]:
        """[1 or views, ...]: an example as the network takes it."""
        parts = example if isinstance(example, list) else [example]
        if self.model.vocabulary:
            if len(parts) > 2 or not all(isinstance(part, str) for part in parts):
                raise Unreadable(f"{where}: a text is needed, or a list of two that belong together")
            try:
                return ids(tuple(parts), self.model.vocabulary)
            except ValueError as error:
                raise Unreadable(f"{where}: {error}") from None
        (content,) = parts if len(parts) == 1 else (None,)
        if not isinstance(content, str | bytes):
            raise Unreadable(f"{where}: one picture is needed, as the bytes of its file in base64")
        try:
            content = content if isinstance(content, bytes) else _bytes(content, where)
            return seen(content, self.model.facts, self.model.views)
        except (MlflowException, MemoryError):
            raise
        except Exception as error:  # Pillow's decoders raise anything at all on damaged files
            raise Unreadable(f"{where}: {images.why_not(error)}") from None

    def _numbers(self, given: NDArray[Any]) -> list[NDArray[Any]]:
        """The network's own inputs, one a row."""
        if vocabulary := self.model.vocabulary:
            allowed = f"token ids [b, tokens], {vocabulary.max_tokens} tokens at most, or texts"
        else:
            side = self.model.facts["image_size"]
            allowed = f"pictures [b, {side}, {side}, 3], or pictures' files in base64"
        try:
            numbers = given.astype(np.int32 if vocabulary else np.float32)
        except (TypeError, ValueError):
            raise Unreadable(f"inputs: no array of numbers; allowed are {allowed}") from None
        if vocabulary:
            fits = numbers.ndim == 2 and 0 < numbers.shape[1] <= vocabulary.max_tokens
        else:
            fits = numbers.shape[1:] == (side, side, 3)
        if not fits:
            raise Unreadable(f"inputs: numbers of the shape {list(given.shape)} are given; allowed are {allowed}")
        return [numbers[at : at + 1] for at in range(len(numbers))]


def _bytes(text: str, where: str) -> bytes:
    """The bytes of a file in base64, also as a `data:` address or in lines."""
    coded = text.partition(";base64,")[2] if text.startswith("data:") else text
    try:
        return base64.b64decode("".join(coded.split()), validate=True)
    except (binascii.Error, ValueError):
        raise Unreadable(f"{where}: {text[:30]!r} is no base64; a picture is given as the bytes of its file") from None


def _load_pyfunc(path: str) -> Served:
    """What MLflow asks of a loader: the model whose files lie in a folder."""
    # As `prepare` has it; for good, because the warnings of a request can't be told from those of another.
    warnings.filterwarnings("error", category=Image.DecompressionBombWarning)
    warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
    return Served(load(Path(path), "keras"))

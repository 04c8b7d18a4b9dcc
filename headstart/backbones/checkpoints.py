"""Reading PyTorch checkpoints without PyTorch and without running anything they hold.

A checkpoint is a pickle, and a pickle is a program. This reader admits the three things that a state dict is made
of, ordered dicts, tensors and storages, and refuses every other name.
"""

import io
import math
import pickle  # the unpickler below resolves no name outside its own table
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from headstart.stage import UserError

_DTYPES = {
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "DoubleStorage": np.dtype("<f8"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ByteStorage": np.dtype("u1"),
}
# First of the five parts of the layout that torch.save wrote before version 1.6.
_MAGIC = 0x1950A86A20F9469CFC6C


class _Storage(NamedTuple):
    """A storage's key in the file, its element type and number of elements."""

    key: str
    dtype: np.dtype[Any]
    size: int


class _Tensor(NamedTuple):
    """A view of a storage: offset and strides in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _tensor(storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any) -> _Tensor:
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


class _StateDictUnpickler(pickle.Unpickler):
    """Resolves state dicts only."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) in {("torch._utils", "_rebuild_tensor_v2"), ("torch._utils", "_rebuild_tensor")}:
            return _tensor
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        raise pickle.UnpicklingError(f"it refers to {module}.{name}, which no state dict needs")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _, count = pid[:5]
        if kind != "storage" or not isinstance(dtype, np.dtype):
            raise pickle.UnpicklingError(f"it refers to an outside object of kind {kind!r}")
        return _Storage(str(key), dtype, int(count))


def _array(tensor: _Tensor, data: bytes) -> np.ndarray:
    """The tensor as an array of its own; checked to lie inside its storage."""
    storage = np.frombuffer(data, tensor.storage.dtype, tensor.storage.size)
    elements = math.prod(tensor.shape)
    last = tensor.offset + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.strides, strict=True))
    if tensor.offset < 0 or any(n < 0 for n in tensor.shape + tensor.strides) or elements > storage.size:
        raise pickle.UnpicklingError("a tensor reaches beyond its storage")
    if elements == 0:
        return np.zeros(tensor.shape, storage.dtype)
    if last >= storage.size:
        raise pickle.UnpicklingError("a tensor reaches beyond its storage")
    step = storage.itemsize
    view = np.lib.stride_tricks.as_strided(
        storage[tensor.offset :], tensor.shape, [s * step for s in tensor.strides], writeable=False
    )
    return view.copy()


def _read_zip(archive: zipfile.ZipFile) -> dict[str, np.ndarray]:
    """The layout since PyTorch 1.6: PREFIX/data.pkl beside one file a storage, PREFIX/data/KEY."""
    index = next(name for name in archive.namelist() if name.endswith("data.pkl"))
    prefix = index.removesuffix("data.pkl")
    tensors = _StateDictUnpickler(io.BytesIO(archive.read(index))).load()
    return {name: _array(t, archive.read(f"{prefix}data/{t.storage.key}")) for name, t in _tensors(tensors).items()}


def _read_legacy(file: BinaryIO) -> dict[str, np.ndarray]:
    """The layout before: magic, protocol, system, the object, the storages' keys; then each storage's size and data."""
    if _StateDictUnpickler(file).load() != _MAGIC:
        raise pickle.UnpicklingError("it does not open as a PyTorch checkpoint does")
    _StateDictUnpickler(file).load()
    _StateDictUnpickler(file).load()
    tensors = _tensors(_StateDictUnpickler(file).load())
    keys = _StateDictUnpickler(file).load()
    sizes = {t.storage.key: t.storage.dtype.itemsize for t in tensors.values()}
    data = {}
    for key in keys:
        (count,) = struct.unpack("<q", file.read(8))
        data[key] = file.read(count * sizes[key])
    return {name: _array(t, data[t.storage.key]) for name, t in tensors.items()}


def _tensors(content: Any) -> dict[str, _Tensor]:
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not all(isinstance(t, _Tensor) for t in content.values()):
        raise pickle.UnpicklingError("it is not a state dict of tensors")
    return dict(content)


def read_state_dict(path: str | Path) -> dict[str, np.ndarray]:
    """Read a `.pth` or `.pt` state dict.

    Returns:
        Weight name -> array, of the dtype and shape that the checkpoint states.

    Raises:
        UserError: the file holds anything but ordered dicts of tensors, or is damaged.
    """
    with Path(path).open("rb") as file:
        try:
            if zipfile.is_zipfile(file):
                with zipfile.ZipFile(file) as archive:
                    return _read_zip(archive)
            file.seek(0)
            return _read_legacy(file)
        except Exception as error:  # there is no end to what a damaged pickle or archive can raise
            raise UserError(f"{Path(path).name}: not a checkpoint that can be trusted: {error}") from None

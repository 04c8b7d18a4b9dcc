"""PyTorch's two file layouts, written by hand, and files that mean harm."""

import contextlib
import io
import os
import pickle
import struct
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from headstart.backbones.checkpoints import read_state_dict
from headstart.stage import UserError

TYPES = {"FloatStorage": "<f4", "HalfStorage": "<f2", "DoubleStorage": "<f8", "LongStorage": "<i8", "ByteStorage": "u1"}


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Just enough of a torch that pickle can write its names down."""
    fake, inner = ModuleType("torch"), ModuleType("torch._utils")
    for name in (*TYPES, "QInt8Storage"):
        setattr(fake, name, type(name, (), {"__module__": "torch"}))

    def rebuild(*_: Any) -> None:
        raise AssertionError

    for name in ("_rebuild_tensor_v2", "_rebuild_parameter"):
        made = type(rebuild)(rebuild.__code__, rebuild.__globals__, name)
        made.__module__, made.__qualname__ = "torch._utils", name
        setattr(inner, name, made)
    fake._utils = inner
    monkeypatch.setitem(sys.modules, "torch", fake)
    monkeypatch.setitem(sys.modules, "torch._utils", inner)
    return fake


class Storage:
    """Numbers that lie outside the pickle."""

    def __init__(self, key: str, array: np.ndarray, kind: str = "FloatStorage") -> None:
        self.key, self.kind = key, kind
        self.array = np.ascontiguousarray(array, TYPES.get(kind, "<f4")).ravel()


class Tensor:
    """What torch pickles a tensor as: the call that rebuilds it."""

    def __init__(
        self, storage: Storage, shape: tuple, strides: tuple, offset: int = 0, how: str = "_rebuild_tensor_v2"
    ):
        self.storage, self.how = storage, how
        self.arguments = (storage, offset, shape, strides, False, OrderedDict())

    def __reduce__(self) -> tuple:
        return getattr(sys.modules["torch._utils"], self.how), self.arguments


class Pickler(pickle.Pickler):
    """Puts storages outside, as torch.save does."""

    def __init__(self, file: Any, legacy: bool) -> None:
        super().__init__(file, protocol=2)
        self.legacy = legacy

    def persistent_id(self, obj: Any) -> tuple | None:
        if not isinstance(obj, Storage):
            return None
        pid = ("storage", getattr(sys.modules["torch"], obj.kind), obj.key, "cpu", obj.array.size)
        return (*pid, None) if self.legacy else pid


def whole(key: str, array: np.ndarray, kind: str = "FloatStorage") -> Tensor:
    strides = tuple(s // array.itemsize for s in np.array(array, order="C").strides)
    return Tensor(Storage(key, array, kind), array.shape, strides)


def storages(content: Any) -> list[Storage]:
    inner = content.get("state_dict", content) if isinstance(content, dict) else {}
    tensors = inner.values() if isinstance(inner, dict) else []
    return list({t.storage.key: t.storage for t in tensors if isinstance(t, Tensor)}.values())


def write_zip(path: Path, content: Any) -> Path:
    index = io.BytesIO()
    Pickler(index, legacy=False).dump(content)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", index.getvalue())
        for storage in storages(content):
            archive.writestr(f"archive/data/{storage.key}", storage.array.tobytes())
        archive.writestr("archive/version", "3\n")
    return path


def write_legacy(path: Path, content: Any) -> Path:
    with path.open("wb") as file:
        for part in (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True}):
            pickle.dump(part, file, protocol=2)
        Pickler(file, legacy=True).dump(content)
        kept = storages(content)
        pickle.dump([storage.key for storage in kept], file, protocol=2)
        for storage in kept:
            file.write(struct.pack("<q", storage.array.size) + storage.array.tobytes())
    return path


both = pytest.mark.parametrize("write", [write_zip, write_legacy])
Write = Callable[[Path, Any], Path]


def some() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "conv.weight": rng.normal(size=(4, 3, 2, 2)).astype(np.float32),
        "bn.num_batches_tracked": np.array(7),
        "half": rng.normal(size=5).astype(np.float16),
        "empty": np.zeros((0, 3), np.float32),
    }


KINDS = {np.dtype(code): kind for kind, code in TYPES.items()}


def state_dict(arrays: dict[str, np.ndarray]) -> OrderedDict:
    return OrderedDict((name, whole(str(i), a, KINDS[a.dtype])) for i, (name, a) in enumerate(arrays.items()))


@both
@pytest.mark.parametrize("wrapped", [False, True])
def test_what_was_saved_is_read(tmp_path: Path, torch: ModuleType, write: Write, wrapped: bool) -> None:
    content = state_dict(some())
    found = read_state_dict(write(tmp_path / "net.pth", {"state_dict": content} if wrapped else content))
    assert list(found) == list(some())
    for name, expected in some().items():
        assert found[name].dtype == expected.dtype
        np.testing.assert_array_equal(found[name], expected, strict=True)


@both
def test_views_of_a_shared_storage_are_read_as_they_lie(tmp_path: Path, torch: ModuleType, write: Write) -> None:
    numbers = np.arange(12, dtype=np.float32)
    shared = Storage("0", numbers)
    content = {"turned": Tensor(shared, (4, 3), (1, 4)), "row": Tensor(shared, (4,), (1,), offset=8)}
    found = read_state_dict(write(tmp_path / "net.pth", content))
    np.testing.assert_array_equal(found["turned"], numbers.reshape(3, 4).T)
    np.testing.assert_array_equal(found["row"], numbers[8:])


@both
@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [
        ((13,), (1,), 0),
        ((12,), (1,), 1),
        ((3, 4), (5, 1), 0),
        ((2,), (-1,), 5),
        ((2,), (1,), -2),
        ((1,), (2**70,), 12),
        ((10**9, 10**9), (0, 0), 0),
        ((3, 4), (1,), 0),
    ],
)
def test_a_tensor_beyond_its_storage_is_refused(
    tmp_path: Path, torch: ModuleType, write: Write, shape: tuple, strides: tuple, offset: int
) -> None:
    tensor = Tensor(Storage("0", np.zeros(12)), shape, strides, offset)
    with pytest.raises(UserError, match=r"^net\.pth: not a checkpoint that can be trusted: "):
        read_state_dict(write(tmp_path / "net.pth", {"x": tensor}))


@both
@pytest.mark.parametrize(("shape", "strides"), [((), ()), ((1,), (1,))])
def test_a_number_out_of_an_empty_storage_is_refused(
    tmp_path: Path, torch: ModuleType, write: Write, shape: tuple, strides: tuple
) -> None:
    tensor = Tensor(Storage("0", np.zeros(0)), shape, strides)
    with pytest.raises(UserError, match="a tensor reaches beyond its storage"):
        read_state_dict(write(tmp_path / "net.pth", {"x": tensor}))


class Harm:
    """Runs a command when a trusting reader loads it."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.mark}",)


@both
def test_a_command_in_a_checkpoint_is_refused_and_not_run(tmp_path: Path, torch: ModuleType, write: Write) -> None:
    path = write(tmp_path / "net.pth", OrderedDict(x=Harm(tmp_path / "harmed")))
    with pytest.raises(UserError, match=r"can be trusted: it refers to \w+\.system, which no state dict needs$"):
        read_state_dict(path)
    assert not (tmp_path / "harmed").exists()


@both
def test_a_bare_pickle_is_refused_and_not_run(tmp_path: Path, write: Write) -> None:
    (tmp_path / "net.pth").write_bytes(pickle.dumps(Harm(tmp_path / "harmed")))
    with pytest.raises(UserError, match="which no state dict needs"):
        read_state_dict(tmp_path / "net.pth")
    assert not (tmp_path / "harmed").exists()


@both
@pytest.mark.parametrize("value", [print, getattr, pickle.loads, np.dtype("f4")])
def test_any_other_name_is_refused(tmp_path: Path, torch: ModuleType, write: Write, value: object) -> None:
    with pytest.raises(UserError, match=r"it refers to .* which no state dict needs"):
        read_state_dict(write(tmp_path / "net.pth", {"x": value}))


@both
@pytest.mark.parametrize("how", ["_rebuild_parameter", "QInt8Storage"])
def test_other_names_of_torch_are_refused_too(tmp_path: Path, torch: ModuleType, write: Write, how: str) -> None:
    storage = Storage("0", np.zeros(1), how if how.endswith("Storage") else "FloatStorage")
    tensor = Tensor(storage, (1,), (1,), how="_rebuild_tensor_v2" if how.endswith("Storage") else how)
    with pytest.raises(UserError, match=f"it refers to .*{how}"):
        read_state_dict(write(tmp_path / "net.pth", {"x": tensor}))


@both
@pytest.mark.parametrize("content", [3, [1, 2], {"epoch": 3}, {"state_dict": [1]}], ids=str)
def test_what_is_no_state_dict_is_refused(tmp_path: Path, torch: ModuleType, write: Write, content: object) -> None:
    with pytest.raises(UserError, match="it is not a state dict of tensors"):
        read_state_dict(write(tmp_path / "net.pth", content))


@both
def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path: Path, torch: ModuleType, write: Write) -> None:
    path = write(tmp_path / "net.pth", state_dict(some()))
    content = path.read_bytes()
    for end in range(0, len(content), 7):
        path.write_bytes(content[:end])
        with pytest.raises(UserError, match="not a checkpoint that can be trusted"):
            read_state_dict(path)


@both
def test_flipped_bytes_never_end_in_a_traceback(tmp_path: Path, torch: ModuleType, write: Write) -> None:
    path = write(tmp_path / "net.pth", state_dict(some()))
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(content), 300):
        path.write_bytes(content[:place] + bytes([rng.integers(256)]) + content[place + 1 :])
        with contextlib.suppress(UserError):
            read_state_dict(path)


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_state_dict(tmp_path / "net.pth")

"""What may lie in a folder of pictures: each file ends up as pixels or in quarantine, and the run goes on."""

import io
import os
import pickle
import random
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from headstart import params
from headstart.data import images, readers
from headstart.stage import UserError

ROOT = Path(__file__).parents[2]
NOISE = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
PICTURE = Image.fromarray(NOISE)
FORMATS = {"jpg": "JPEG", "png": "PNG", "gif": "GIF", "bmp": "BMP", "tif": "TIFF", "webp": "WEBP", "ppm": "PPM"}


def saved(kind: str, picture: Image.Image = PICTURE, **options: object) -> bytes:
    data = io.BytesIO()
    picture.save(data, kind, **options)
    return data.getvalue()


def png(width: int, height: int, bits: int = 8, colour: int = 2, data: bytes = b"\0") -> bytes:
    """A PNG that says of itself what it likes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def archive(name: str) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        file.writestr(name, b"x" * 1000)
    return data.getvalue()


class Command:
    """Runs a command where it is unpickled."""

    def __reduce__(self) -> tuple:
        return os.system, ("touch /tmp/headstart-was-here",)


# Files that hold no picture, or none that can be decoded: quarantine.
BROKEN: dict[str, bytes] = {
    "empty.jpg": b"",
    "one-byte.png": b"\x89",
    "blanks.jpg": b" " * 5000,
    "zeros.png": bytes(5000),
    "text.jpg": b"not a picture\n" * 50,
    "utf16.png": "not a picture".encode("utf-16") * 50,
    "page.jpg": b"<!DOCTYPE html><title>404 Not Found</title>",
    "json.png": b'{"error": "no such file"}',
    "drawing.png": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "xml-bomb.png": b'<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]><svg>&c;</svg>',
    "paper.jpg": b"%PDF-1.7\n1 0 obj<<>>endobj\n%%EOF",
    "postscript.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) (/tmp/y) file\nshowpage\n",
    "program.png": b"\x7fELF\x02\x01\x01" + bytes(200),
    "windows.jpg": b"MZ" + bytes(500),
    "zip.png": archive("a.png"),
    "zip-out.png": archive("../../a.png"),
    "pickle.jpg": pickle.dumps(Command()),
    "numpy.png": b"\x93NUMPY\x01\x00" + struct.pack("<H", 20) + b"{'descr': '|O', ...}",
    "git-lfs.jpg": b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n",
    "heic.jpg": b"\0\0\0\x18ftypheic" + bytes(300),
    "video.gif": b"\0\0\0\x18ftypmp42" + bytes(300),
    "bomb.png": png(30_000, 30_000),
    "bomb-where-pillow-only-warns.png": png(10_000, 10_000),
    "no-width.png": png(0, 10),
    "no-size.png": png(0, 0),
    "negative.png": png(2**31, 1),
    "thin-bomb.png": png(2**30, 1),
    "odd-depth.png": png(8, 8, bits=7),
    "odd-colour.png": png(8, 8, colour=5),
    "no-data.png": png(8, 8, data=b""),
    "wrong-data.png": png(8, 8, data=b"\xff" * 8 * 25),
    "bmp-huge.jpg": b"BM" + struct.pack("<IHHIIiiHHI", 60, 0, 0, 54, 40, 100_000, 100_000, 1, 24, 0) + bytes(20),
    "bmp-negative.bmp": b"BM" + struct.pack("<IHHIIiiHHI", 60, 0, 0, 54, 40, -9, 9, 1, 24, 0) + bytes(20),
    "tiff-loop.tif": b"II*\0\x08\0\0\0\0\0\x08\0\0\0",
    "tiff-far.tif": b"II*\0\xff\xff\xff\x7f",
    "tiff-big.tif": b"II+\0\x08\0\0\0\xff\xff\xff\xff\xff\xff\xff\x7f",
    "gif-no-frame.gif": b"GIF89a\x10\0\x10\0\0\0\0;",
    "gif-huge.gif": b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x02\x02D\x01\0;",
    "ppm-huge.ppm": b"P6 99999 99999 255\n" + bytes(10),
    "ppm-words.ppm": b"P3 2 2 255\none two three",
    "ppm-minus.ppm": b"P6 -4 4 255\n" + bytes(48),
    "webp-short.webp": b"RIFF\xff\xff\xff\x7fWEBPVP8 \xff\xff\xff\x7f",
    "jpeg-two-bytes.jpg": b"\xff\xd8",
    "jpeg-no-scan.jpg": b"\xff\xd8\xff\xd9",
    "jpeg-endless-segment.jpg": b"\xff\xd8\xff\xe0\xff\xff" + bytes(20),
    "not-a-number.tif": saved("TIFF", Image.fromarray(np.full((9, 9), np.nan, np.float32))),
    "infinite.tif": saved("TIFF", Image.fromarray(np.full((9, 9), np.inf, np.float32))),
    **{f"half.{end}": saved(kind)[: len(saved(kind)) // 2] for end, kind in FORMATS.items()},
    **{f"header.{end}": saved(kind)[:12] for end, kind in FORMATS.items()},
}
# Odd ones that hold a picture all the same: kept.
SOUND: dict[str, bytes] = {
    "a-png.jpg": saved("PNG"),
    "a-gif.png": saved("GIF"),
    "a-webp.jpeg": saved("WEBP"),
    "garbage-behind.jpg": saved("JPEG") + b"garbage" * 100,
    "page-behind.png": saved("PNG") + b"<script>",
    "palette.png": saved("PNG", PICTURE.convert("P")),
    "cmyk.jpg": saved("JPEG", PICTURE.convert("CMYK")),
    "one-pixel.png": saved("PNG", PICTURE.crop((0, 0, 1, 1))),
    "thin.png": saved("PNG", PICTURE.resize((3000, 1))),
    "exif-nonsense.jpg": saved("JPEG", exif=b"Exif\0\0" + b"\xff" * 40),
    "long-comment.gif": saved("GIF", comment=b"c" * 60_000),
}


def decoded(folder: Path, files: dict[str, bytes], out: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What of a folder's files is kept, and what is set aside."""
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    names = sorted(files)
    examples = pd.DataFrame({"id": names, "path": [str(folder / name) for name in names], "reason": None}, dtype=object)
    stored, aside, _, _ = images.decode_all(examples, 16, "stretch", out, 1.0)
    assert np.load(out).shape[0] == len(stored)
    return stored, aside


def test_each_broken_file_is_set_aside_with_a_reason_and_each_sound_one_kept(tmp_path: Path) -> None:
    assert len(BROKEN) >= 50
    stored, aside = decoded(tmp_path / "files", BROKEN | SOUND, tmp_path / "images.npy")
    assert set(stored["id"]) == set(SOUND), "kept and broken, or set aside and sound"
    assert set(aside["id"]) == set(BROKEN)
    for reason in aside["reason"]:
        assert 5 < len(reason) < 130
        assert "\n" not in reason
        assert "0x" not in reason
        assert str(tmp_path) not in reason
    said = dict(zip(aside["id"], aside["reason"], strict=True))
    assert said["empty.jpg"] == "damaged: the file is empty"
    assert said["bomb-where-pillow-only-warns.png"].endswith("a decompression bomb?")
    assert not Path("/tmp/headstart-was-here").exists()


def test_a_pipe_a_folder_and_a_link_out_are_set_aside_unopened(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for name in ("one", "two"):
        (root / name).mkdir(parents=True)
        for at in range(4):
            (root / name / f"{at}.png").write_bytes(saved("PNG", PICTURE.rotate(90 * at + (name == "two"))))
    os.mkfifo(root / "one/pipe.png")
    (root / "one/folder.png").mkdir()
    (tmp_path / "elsewhere.png").write_bytes(saved("PNG"))
    (root / "two/out.png").symlink_to(tmp_path / "elsewhere.png")
    (root / "two/nowhere.png").symlink_to(root / "gone.png")
    (root / "two/round.png").symlink_to(root / "two/round.png")
    section = params.load(ROOT / "params.yaml").data.model_dump()
    given = params.Data.model_validate(
        section | {"source": None, "path": str(root), "threshold": None, "classes": None}
    )
    examples, _ = readers.read(given)
    stored, aside, _, _ = images.decode_all(examples, 16, "stretch", tmp_path / "images.npy", 1.0)
    assert len(stored) == 8
    assert dict(zip(aside["id"], aside["reason"], strict=True)) == {
        "one/pipe.png": "no plain file",
        "two/nowhere.png": "no plain file",
        "two/out.png": "a link that leads out of the data folder",
        "two/round.png": "no plain file",
    }


def mangled(content: bytes, draw: random.Random) -> bytes:
    """Cut, flipped, repeated or mixed up in a few places."""
    data = bytearray(content)
    for _ in range(draw.randint(1, 6)):
        at = draw.randrange(len(data) or 1)
        match draw.randrange(5):
            case 0:
                del data[at:]
            case 1 if data:
                data[at % len(data)] ^= 1 << draw.randrange(8)
            case 2:
                data[at : at + 4] = draw.randbytes(4)
            case 3:
                data[at:at] = data[: draw.randrange(64)]
            case 4:
                data[at : at + draw.randrange(64)] = b""
    return bytes(data)


def check_mangled(seed: int, folder: Path, n: int = 40) -> int:
    """Mangle pictures of all formats, decode them all; how many could still be read."""
    draw = random.Random(seed)
    whole = [saved(kind) for kind in FORMATS.values()] + list(SOUND.values())
    files = {f"{at:03d}.png": mangled(draw.choice(whole), draw) for at in range(n)}
    stored, aside = decoded(folder, files, folder.with_suffix(".npy"))
    assert len(stored) + len(aside) == n
    return len(stored)


@pytest.mark.parametrize("seed", range(5))
def test_mangled_pictures_are_read_or_set_aside(seed: int, tmp_path: Path) -> None:
    check_mangled(seed, tmp_path / "files")


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 400))
def test_many_mangled_pictures(seed: int, tmp_path: Path) -> None:
    check_mangled(seed, tmp_path / "files", 100)


@given(content=st.binary(max_size=300), head=st.sampled_from([b"", *(saved(kind)[:24] for kind in FORMATS.values())]))
@settings(deadline=None)
def test_any_bytes_are_pixels_or_a_reason(content: bytes, head: bytes) -> None:
    try:
        said = str(images.decode(head + content, 8, "pad").shape[:2])
    except MemoryError:
        raise
    except Exception as error:
        said = images.why_not(error)
    assert said == "(8, 8)" or said.split(":")[0] in ("damaged", "unreadable", "not a picture of a known kind")


@example(content=b"", cut=0, flip=126)  # an array's header without its closing bracket
@given(content=st.binary(max_size=400), cut=st.integers(0, 2000), flip=st.integers(0, 10_000))
@settings(deadline=None)
def test_any_bytes_called_an_npz_are_read_or_refused(
    content: bytes, cut: int, flip: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = io.BytesIO()
    np.savez(data, train_images=NOISE[None].repeat(3, 0), train_labels=np.arange(3))
    whole = bytearray(data.getvalue()[: -cut or None])
    if whole:
        whole[flip % len(whole)] ^= 255
    folder = tmp_path_factory.getbasetemp()
    section = params.load(ROOT / "params.yaml").data.model_dump()
    for bytes_ in (bytes(whole), content, b"PK\x03\x04" + content):
        (folder / "any.npz").write_bytes(bytes_)
        changes = {"source": None, "path": str(folder / "any.npz"), "threshold": None, "classes": None}
        with pytest.raises(UserError) as caught:
            readers.read(params.Data.model_validate(section | changes))
        assert "\n" not in str(caught.value)

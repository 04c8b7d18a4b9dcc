"""Decoding: odd pictures come out as the eye sees them, broken ones are set aside with a reason."""

import io
import threading
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, PngImagePlugin

from headstart.data import images
from headstart.stage import UserError

Picture = Callable[..., Path]
# A smooth scene, so that lossy formats keep it: red grows to the right, green downwards.
ACROSS, DOWN = np.meshgrid(np.linspace(0, 255, 64), np.linspace(0, 255, 64))
COLOUR = np.dstack([ACROSS, DOWN, 255 - ACROSS]).astype(np.uint8)
GREY = ACROSS.astype(np.uint8)
SIZE = 64


def file_of(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def decode(content: images.Picture, size: int = SIZE, resize: images.Resize = "stretch") -> np.ndarray:
    return images.decode(content, size, resize)


def assert_like(found: np.ndarray, wanted: np.ndarray, within: float) -> None:
    assert found.dtype == np.uint8
    assert found.shape == (SIZE, SIZE, 1 if wanted.ndim == 2 else 3)
    assert np.abs(found.astype(int) - wanted.reshape(found.shape)).mean() <= within


@pytest.mark.parametrize(
    ("kind", "options", "within"),
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("TIFF", {}, 0),
        ("PPM", {}, 0),
        ("GIF", {}, 9),
        ("JPEG", {"quality": 95}, 3),
        ("JPEG", {"quality": 95, "progressive": True}, 3),
        ("WEBP", {"lossless": True}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
    ],
)
def test_file_formats_of_colour_pictures(kind: str, options: dict[str, object], within: float) -> None:
    assert_like(decode(file_of(Image.fromarray(COLOUR), kind, **options)), COLOUR, within)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_cameras_orientation_is_applied(orientation: int) -> None:
    scene = Image.fromarray(COLOUR)
    undone = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]  # Pillow's numbers of transpositions
    stored = scene if undone is None else scene.transpose(Image.Transpose(undone))
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert_like(decode(file_of(stored, "JPEG", quality=95, exif=exif)), COLOUR, 3)


def test_a_senseless_orientation_is_passed_over() -> None:
    exif = Image.Exif()
    exif[0x0112] = 77
    assert_like(decode(file_of(Image.fromarray(COLOUR), "PNG", exif=exif)), COLOUR, 0)
    assert_like(decode(file_of(Image.fromarray(COLOUR), "JPEG", quality=95, exif=b"Exif\0\0rubbish")), COLOUR, 3)


def test_palettes_are_looked_up() -> None:
    assert_like(decode(file_of(Image.fromarray(COLOUR).quantize(256))), COLOUR, 9)


def test_cmyk_becomes_rgb() -> None:
    assert_like(decode(file_of(Image.fromarray(COLOUR).convert("CMYK"), "JPEG", quality=95)), COLOUR, 4)
    assert_like(decode(file_of(Image.fromarray(COLOUR).convert("CMYK"), "TIFF")), COLOUR, 1)


def test_what_is_transparent_shows_white() -> None:
    alpha = np.zeros((64, 64), np.uint8)
    alpha[:32] = 255
    wanted = np.where(alpha[..., None] == 255, COLOUR, 255)
    assert_like(decode(file_of(Image.fromarray(np.dstack([COLOUR, alpha])))), wanted, 0)
    grey = Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(alpha)])
    assert_like(decode(file_of(grey)), np.where(alpha == 255, GREY, 255), 0)
    indexed = Image.fromarray(np.where(alpha == 255, 1, 0).astype(np.uint8)).convert("P")
    indexed.putpalette([9, 9, 9, 50, 60, 70])
    wanted = np.where(alpha[..., None] == 255, [50, 60, 70], 255)
    for content in (file_of(indexed, transparency=0), file_of(indexed, transparency=b"\0\xff")):
        assert_like(decode(content), wanted, 0)
    assert_like(decode(file_of(indexed, "GIF", transparency=0)), wanted, 0)


def test_half_transparent_is_half_white() -> None:
    content = file_of(Image.new("RGBA", (8, 8), (0, 0, 0, 128)))
    assert np.unique(decode(content)).tolist() == [127]


@pytest.mark.parametrize(
    "values",
    [
        (ACROSS * 257).astype(np.uint16),
        (ACROSS * 4095 / 255).astype(np.uint16),
        (ACROSS * 4095 / 255).astype(np.int32),
        (ACROSS / 255).astype(np.float32),
        ACROSS.astype(np.float32),
        (ACROSS * 10 - 1000).astype(np.int32),
    ],
    ids=["16 bits", "12 bits in 16", "12 bits in 32", "floats to 1", "floats to 255", "with negatives"],
)
@pytest.mark.parametrize("how", ["file", "array"])
def test_deep_greys_fill_the_range(values: np.ndarray, how: str) -> None:
    found = decode(values if how == "array" else file_of(Image.fromarray(values), "TIFF"))
    assert_like(found, ACROSS, 1)


def test_deep_greys_of_one_data_set_share_their_scale() -> None:
    dark, bright = np.full((8, 8), 1000, np.uint16), np.full((8, 8), 4000, np.uint16)
    survey = images.look([dark, file_of(Image.fromarray(bright))])
    assert survey == images.Survey(1, 0.0, 4095.0)
    assert images.decode(dark, 8, "stretch", survey).max() == 62


def test_other_arrays() -> None:
    assert_like(decode(COLOUR), COLOUR, 0)
    assert_like(decode(GREY[..., None]), GREY, 0)
    assert_like(decode(GREY > 99), np.where(GREY > 99, 255, 0), 0)
    assert_like(decode((COLOUR / 255).astype(np.float64)), COLOUR, 1)
    assert_like(decode(np.dstack([COLOUR, np.full_like(GREY, 255)])), COLOUR, 0)


def test_signed_bytes_keep_their_greys() -> None:
    values = np.arange(-128, 128, dtype=np.int8).reshape(16, 16)
    found = images.decode(values, 16, "stretch")[..., 0]
    np.testing.assert_array_equal(found, np.arange(256).reshape(16, 16))


def test_one_bit_pictures_are_black_and_white() -> None:
    assert np.unique(decode(file_of(Image.fromarray(GREY > 99)))).tolist() == [0, 255]


def test_the_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    for kind in ("GIF", "PNG", "WEBP", "TIFF"):
        content = file_of(
            frames[0],
            kind,
            save_all=True,
            append_images=frames[1:],
            **({"lossless": True} if kind == "WEBP" else {}),
        )
        assert decode(content)[0, 0].tolist() == [255, 0, 0]


def test_a_file_counts_by_its_content_not_its_name(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(file_of(Image.fromarray(COLOUR)))
    assert_like(decode(tmp_path / "a.jpg"), COLOUR, 0)


def test_resizing_stretches_crops_or_pads() -> None:
    wide = np.zeros((32, 96, 3), np.uint8)
    wide[:, :32], wide[:, 32:64], wide[:, 64:] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    middle = [SIZE // 2, SIZE // 2]
    stretched, cropped, padded = (decode(wide, resize=how) for how in ("stretch", "crop", "pad"))
    assert stretched[SIZE // 2, 2].tolist() == [255, 0, 0]
    assert cropped[4:-4, 4:-4].reshape(-1, 3).mean(axis=0).round().tolist() == [0, 255, 0]
    assert padded[2, SIZE // 2].tolist() == [0, 0, 0]
    assert padded[tuple(middle)].tolist() == [0, 255, 0]


def test_shrinking_does_not_alias() -> None:
    stripes = np.tile(np.array([0, 255], np.uint8), (512, 256))
    assert np.abs(decode(stripes)[:, 4:-4].astype(int) - 127).max() <= 2


def test_a_large_jpeg_decoded_small_looks_the_same() -> None:
    large = Image.fromarray(COLOUR).resize((1024, 1024), Image.Resampling.BICUBIC)
    assert_like(decode(file_of(large, "JPEG", quality=95)), COLOUR, 4)


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 1)])
@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
def test_the_thinnest_pictures(shape: tuple[int, int], resize: images.Resize) -> None:
    assert decode(file_of(Image.new("L", shape, 200)), resize=resize).max() == 200


def huge(pixels: int) -> bytes:
    """A PNG that claims so many pixels and holds none."""
    side = int(pixels**0.5) + 1
    content = bytearray(file_of(Image.new("L", (8, 8))))
    content[16:24] = side.to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)


LIMIT = Image.MAX_IMAGE_PIXELS or 0
JPEG = file_of(Image.fromarray(GREY), "JPEG")
PNG = file_of(Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)))
BROKEN = {
    "no bytes": (b"", "the file is empty"),
    "text": (b"hello", "not a picture"),
    "cut JPEG": (JPEG[: len(JPEG) // 2], "damaged: .*[Tt]runcated"),
    "cut PNG": (PNG[: len(PNG) // 2], "damaged"),
    "head alone": (PNG[:20], "damaged|not a picture"),
    "flipped bits": (PNG[:2000] + bytes(500) + PNG[2500:], "damaged"),
    "web page": (b"<!DOCTYPE html><html>", "not a picture"),
    "EPS, which would start a program": (file_of(Image.fromarray(COLOUR), "EPS"), "not a picture"),
    "bomb that Pillow refuses": (huge(2 * LIMIT + 1), "decompression bomb"),
    "bomb that Pillow only warns of": (huge(LIMIT + 10_000), "decompression bomb"),
    "not a number": (file_of(Image.fromarray(np.full((8, 8), np.nan, np.float32)), "TIFF"), "no numbers"),
    "bomb of text": (
        file_of(
            Image.new("L", (8, 8)),
            pnginfo=(lambda info: (info.add_text("a", "x" * 2**21, zip=True), info)[1])(PngImagePlugin.PngInfo()),
        ),
        "damaged",
    ),
}


@pytest.fixture
def good(tmp_path: Path, picture: Picture) -> pd.DataFrame:
    """Twenty grey pictures of a data set."""
    paths = [str(picture(tmp_path / f"{at}.png", seed=at, mode="L")) for at in range(20)]
    return pd.DataFrame(
        {"id": [Path(path).name for path in paths], "path": paths, "label": "a", "reason": None}, dtype=object
    )


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_picture_is_set_aside_with_a_reason(kind: str, good: pd.DataFrame, tmp_path: Path) -> None:
    content, reason = BROKEN[kind]
    Path(good["path"][7]).write_bytes(content)
    stored, aside, survey, _ = images.decode_all(good, 16, "stretch", tmp_path / "a.npy", 0.05)
    assert list(aside["id"]) == ["7.png"]
    assert pd.Series(aside["reason"]).str.contains(reason).all(), aside["reason"][0]
    assert str(tmp_path) not in aside["reason"][0]
    assert survey.channels == 1
    array = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert array.shape == (19, 16, 16, 1)
    assert np.array_equal(array[7], images.decode(stored["path"][7], 16, "stretch"))
    assert stored["id"][7] == "8.png"


def test_missing_and_unreadable_files_and_rows_with_a_reason_are_set_aside(good: pd.DataFrame, tmp_path: Path) -> None:
    Path(good["path"][0]).unlink()
    Path(good["path"][1]).unlink()
    Path(good["path"][1]).mkdir()
    good.loc[2, "reason"] = "no label"
    stored, aside, _, _ = images.decode_all(good, 16, "stretch", tmp_path / "a.npy", 0.5)
    assert len(stored) == 17
    assert aside.set_index("id")["reason"].to_dict() == {
        "2.png": "no label",
        "0.png": "unreadable: No such file or directory",
        "1.png": "unreadable: Is a directory",
    }


def test_too_many_broken_pictures_stop_with_the_first_reasons(good: pd.DataFrame, tmp_path: Path) -> None:
    for path in good["path"][:2]:
        Path(path).write_bytes(b"")
    with pytest.raises(UserError, match=r"2 of 20 .*max_quarantined is 0.05: .*0.png: damaged: the file is empty"):
        images.decode_all(good, 16, "stretch", tmp_path / "a.npy", 0.05)


def test_equal_pixels_have_equal_hashes(good: pd.DataFrame, tmp_path: Path) -> None:
    with Image.open(good["path"][3]) as image:
        image.save(good["path"][4], compress_level=0)
    stored, _, _, _ = images.decode_all(good, 16, "stretch", tmp_path / "a.npy", 0)
    assert stored["hash"][3] == stored["hash"][4]
    assert stored["hash"].nunique() == 19
    assert stored["hash"].str.fullmatch("[0-9a-f]{64}").all()


def test_one_colour_picture_makes_all_have_three_channels(good: pd.DataFrame, picture: Picture, tmp_path: Path) -> None:
    picture(Path(good["path"][19]), mode="RGB")
    _, _, survey, _ = images.decode_all(good, 16, "stretch", tmp_path / "a.npy", 0)
    array = np.load(tmp_path / "a.npy")
    assert survey.channels == 3
    assert array.shape == (20, 16, 16, 3)
    assert np.array_equal(array[0, ..., 0], array[0, ..., 2])


def test_only_a_few_pictures_are_in_memory_at_once() -> None:
    alive, most = 0, 0
    lock = threading.Lock()

    def items() -> object:
        nonlocal alive, most
        for at in range(500):
            with lock:
                alive += 1
                most = max(most, alive)
            yield at

    for _ in images.in_order(lambda item: item, items(), 2):
        with lock:
            alive -= 1
    assert most <= 10

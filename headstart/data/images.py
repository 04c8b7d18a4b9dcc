"""Pictures of any kind to squares of `uint8`: decoded once, stored in one array, set aside where that fails.

Knows Pillow and pixels; refuses to know labels, splits and what a network wants of its input.
"""

import base64
import hashlib
import os
import warnings
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple, TypeVar

import numpy as np
import pandas as pd
from markupsafe import Markup
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from tqdm import tqdm

from headstart import params
from headstart.data import arrays, duplicates, readers
from headstart.data.duplicates import perceptual_hash
from headstart.data.storing import About, Stored, check_share, quarantine, set_aside

Picture = str | Path | bytes | np.ndarray
Resize = Literal["stretch", "crop", "pad"]
R = TypeVar("R")

# Those that Pillow decodes itself. Others hand the file to a program: EPS to Ghostscript, for one.
Image.init()  # loads Pillow's decoders here, rather than in several threads at once
FORMATS: list[str] = [
    name
    for name in ("JPEG", "MPO", "PNG", "GIF", "BMP", "DIB", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF")
    if name in Image.OPEN  # Pillow may be built without some
]
# As EfficientNet was trained. Pillow widens the filter where it shrinks a picture, so nothing aliases.
FILTER = Image.Resampling.BICUBIC
# Transparent cut-outs and line drawings are made to be seen on white pages; on black, dark ones would vanish.
BEHIND_TRANSPARENT = "white"
TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


MANY, SAME = "pictures", "the same pixels"
NEAR = "by a perceptual hash and the correlation of thumbnails"
THUMBNAIL = 72  # pixels of a side, on the page about the data
SIZES = 8  # of the commonest there, how many are listed

read, link = readers.read, duplicates.link


class Survey(NamedTuple):
    """What a data set has in common: channels to store, and the values that become 0 and 255."""

    channels: int
    black: float
    white: float


def decode(picture: Picture, size: int, resize: Resize, survey: Survey | None = None) -> np.ndarray:
    """Decode one picture.

    The orientation noted by the camera is applied, palettes are looked up, CMYK becomes RGB, what is
    transparent shows white, and of several frames the first is taken. Colour profiles are not applied.
    Samples of more than eight bits, and floats, are mapped from the survey's black and white to 0 and 255.

    Args:
        picture: a file's path or content, or an array (height, width[, 1, 3 or 4]).
        size: pixels a side of the result.
        resize: stretch to a square, crop to the middle square, or pad with black.
        survey: of the data set; by default that of this picture alone.

    Returns:
        uint8 of shape (size, size, channels), channels as the survey says.

    Raises:
        OSError, ValueError, SyntaxError and others of Pillow's: it cannot be decoded; `why_not` words them.
    """
    return _decode(picture, size, resize, survey or look([picture]))[0]


def _decode(picture: Picture, size: int, resize: Resize, survey: Survey) -> tuple[np.ndarray, tuple[int, int]]:
    """As `decode`, and the picture's own width and height."""
    with _open(picture, survey) as image:
        given = image.size
        # JPEG can be decoded at 1/2, 1/4 or 1/8: a camera's picture several times faster. At least twice the
        # size is kept, so the filter below still decides what is seen.
        image.draft(None, (2 * size, 2 * size))
        orientation = image.getexif().get(ExifTags.Base.Orientation)
        upright = image.transpose(TRANSPOSE[orientation]) if orientation in TRANSPOSE else image
        flat = _flat(upright, survey)
    if resize == "stretch":
        square = flat.resize((size, size), FILTER)
    elif resize == "crop":
        square = ImageOps.fit(flat, (size, size), FILTER)
    else:
        # Not ImageOps.pad: it rounds the short side of a very thin picture to nothing.
        width, height = (max(1, round(side * size / max(flat.size))) for side in flat.size)
        square = Image.new(flat.mode, (size, size))
        square.paste(flat.resize((width, height), FILTER), ((size - width) // 2, (size - height) // 2))
    return np.asarray(square, np.uint8).reshape(size, size, survey.channels), given


def _open(picture: Picture, survey: Survey) -> Image.Image:
    if isinstance(picture, np.ndarray):
        values = picture[..., 0] if picture.ndim == 3 and picture.shape[2] == 1 else picture
        return Image.fromarray(values if values.dtype == np.uint8 else _eight_bits(values, survey))
    return _open_file(picture)


def _open_file(picture: str | Path | bytes) -> Image.Image:
    if len(picture) == 0 if isinstance(picture, bytes) else Path(picture).stat().st_size == 0:
        raise ValueError("the file is empty")
    return Image.open(BytesIO(picture) if isinstance(picture, bytes) else picture, formats=FORMATS)


def _flat(image: Image.Image, survey: Survey) -> Image.Image:
    """As `L` or `RGB`, without transparency."""
    if _is_deep(image):
        image = Image.fromarray(_eight_bits(np.asarray(image), survey))
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, BEHIND_TRANSPARENT), image)
    return image.convert("L" if survey.channels == 1 else "RGB")


def _is_deep(image: Image.Image) -> bool:
    """Whether its samples are wider than eight bits: integers and floats, which are all grey in Pillow."""
    return image.mode.startswith("I") or image.mode == "F"


def _eight_bits(values: np.ndarray, survey: Survey) -> np.ndarray:
    if not np.isfinite(values).all():
        raise ValueError("holds values that are no numbers")
    scaled = (values.astype(np.float32) - survey.black) * (255 / (survey.white - survey.black))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def look(pictures: Iterable[Picture], each: Callable[..., Iterable["_Look"]] = map) -> Survey:
    """Survey pictures: their headers, and the values of those that hold more than eight bits a sample.

    One grey scale holds for the whole data set, so that a dark picture stays darker than a bright one. White
    is the least 2^bits - 1 that no sample exceeds: cameras write 12 bits into 16, and 16 of the 256 greys
    would be left of them otherwise. With negative samples, black and white are the least and the greatest.
    """
    channels, low, high = 1, 0.0, 0.0
    for seen in each(_look, pictures):
        channels, low, high = max(channels, seen.channels), min(low, seen.low), max(high, seen.high)
    if low < 0:
        return Survey(channels, low, high if high > low else low + 1)
    return Survey(channels, 0.0, max(1.0, 2.0 ** np.ceil(np.log2(high + 1)) - 1))


class _Look(NamedTuple):
    channels: int
    low: float
    high: float


def _look(picture: Picture) -> _Look:
    try:
        if isinstance(picture, np.ndarray):
            channels = 3 if picture.ndim == 3 and picture.shape[2] > 1 else 1
            values = None if picture.dtype == np.uint8 else picture
        else:
            with _open_file(picture) as image:
                channels = 1 if image.mode in ("1", "L", "LA", "La") or _is_deep(image) else 3
                values = np.asarray(image) if _is_deep(image) else None
    except MemoryError:
        raise
    except Exception:  # it cannot be decoded either, and is set aside then
        return _Look(1, 0.0, 0.0)
    if values is None:
        return _Look(channels, 0.0, 0.0)
    finite = values[np.isfinite(values)]
    return _Look(channels, float(finite.min(initial=0)), float(finite.max(initial=0)))


def why_not(error: Exception) -> str:
    """A reason for the quarantine table, without paths and memory addresses: the same everywhere."""
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"more than {Image.MAX_IMAGE_PIXELS:,} pixels, a decompression bomb?"
    if isinstance(error, UnidentifiedImageError):
        return "not a picture of a known kind"
    if isinstance(error, OSError) and error.strerror:
        return f"unreadable: {error.strerror}"
    return f"damaged: {' '.join(str(error).split())[:100] or type(error).__name__}"


def decode_all(
    examples: pd.DataFrame, size: int, resize: Resize, out: Path, most_quarantined: float
) -> tuple[pd.DataFrame, pd.DataFrame, Survey, Counter[tuple[int, int]]]:
    """Decode all pictures into one `.npy` file, uint8 of shape (n, size, size, channels).

    Channels are 1 if every picture is grey, else 3: a grey data set takes a third of the disk.
    Memory is bounded by a few pictures per processor, whatever n is.

    Args:
        examples: id, path, reason as `readers.read` gives them; a row with a reason is set aside unopened.
        out: file to write.
        most_quarantined: share of the examples above which to stop.

    Returns:
        The rows that were stored, row i belonging to the array's row i, with `hash`, the sha256 of the stored
        pixels, and `look`, their perceptual hash; the rows that were not (id, path, reason); the survey; and how many
        pictures had which width and height.

    Raises:
        UserError: more than that share is set aside; names the first reasons.
    """
    usable = examples[examples["reason"].isna()]
    aside = set_aside(examples)
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    def one(picture: Picture) -> tuple[np.ndarray, str, int, tuple[int, int]] | str:
        try:
            row, given = _decode(picture, size, resize, survey)
        except MemoryError:
            raise
        except Exception as error:  # Pillow's decoders raise anything at all on damaged files
            return why_not(error)
        return row, hashlib.sha256(row.data).hexdigest(), perceptual_hash(row), given

    kept, looks = array("q"), array("Q")
    hashes: list[str] = []
    sizes: Counter[tuple[int, int]] = Counter()
    with out.open("wb") as file, warnings.catch_warnings():
        # Above its pixel limit Pillow only warns, above twice the limit it refuses: both are too large here.
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module="PIL")  # of metadata that nobody reads
        survey = look(_pictures(usable), lambda function, items: in_order(function, items, workers))
        _write_header(file, 0, size, survey.channels)
        results = in_order(one, _pictures(usable), workers)
        bar = tqdm(results, desc="decoding", total=len(usable), unit=" pictures", disable=None)
        for at, result in enumerate(bar):
            if isinstance(result, str):
                aside.append((usable["id"].iloc[at], usable["path"].iloc[at], result))
                check_share(aside, len(examples), most_quarantined)
            else:
                file.write(result[0].data)
                kept.append(at)
                hashes.append(result[1])
                looks.append(result[2])
                sizes[result[3]] += 1
        check_share(aside, len(examples), most_quarantined)
        file.seek(0)
        _write_header(file, len(kept), size, survey.channels)
    stored = usable.iloc[np.asarray(kept)].drop(columns="reason").reset_index(drop=True)
    # As plain objects, which are shared where they agree; see `prepared.load`.
    stored["hash"] = np.array(hashes, object)
    stored["look"] = np.asarray(looks)
    return stored, quarantine(aside), survey, sizes


def store(examples: pd.DataFrame, settings: params.Prepare, folder: Path) -> Stored:
    """`decode_all` into the folder's images.npy, and what is to be said of it.

    Raises:
        UserError: more than the allowed share is set aside.
    """
    size = settings.image_size
    stored, aside, survey, sizes = decode_all(
        examples, size, settings.resize, folder / "images.npy", settings.max_quarantined
    )
    common = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))
    listed = [(f"{width} × {height}", f"{n:,}") for (width, height), n in common]
    colours = "grey" if survey.channels == 1 else "colour"
    about = About(
        f"{colours} squares of {size} pixels a side",
        "Sizes before they were made squares", ("width × height", "pictures"),
        listed[:SIZES], more=max(0, len(listed) - SIZES),
    )  # fmt: skip
    inputs = {"image_size": size, "resize": settings.resize, **survey._asdict()}
    return Stored(stored, aside, {"channels": survey.channels}, about, inputs, [])


def show(images: np.ndarray, row: int, name: str) -> Markup:
    """A small JPEG inside an HTML element, for the page about the data."""
    pixels = images[row]
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    picture.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    data = BytesIO()
    picture.save(data, "JPEG", quality=80)
    address = "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode()
    return Markup('<img src="{}" alt="{}" title="{}">').format(address, name, name)


def _pictures(examples: pd.DataFrame) -> Iterable[Picture]:
    """What to decode for each row: a path, or an array out of the one .npz that holds them all."""
    paths = examples["path"].unique()
    if len(paths) == 1 and paths[0].lower().endswith(".npz"):
        return arrays.pictures(Path(paths[0]), list(examples["id"]))
    return list(examples["path"])


def in_order(function: Callable[[Any], R], items: Iterable[Any], workers: int) -> Iterator[R]:
    """`map` on threads, a few items ahead: Pillow and hashlib let go of Python's lock while they work."""
    with ThreadPoolExecutor(workers) as pool:
        ahead: deque[Future[R]] = deque()
        for item in items:
            ahead.append(pool.submit(function, item))
            if len(ahead) > 4 * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _write_header(file: IO[bytes], n: int, size: int, channels: int) -> None:
    """The head of a .npy file; NumPy leaves room for any length of the first axis, so it can be rewritten."""
    header = {"descr": "|u1", "fortran_order": False, "shape": (n, size, size, channels)}
    np.lib.format.write_array_header_1_0(file, header)

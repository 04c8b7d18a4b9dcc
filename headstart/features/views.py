"""Augmentation as numbered views of a picture: view 0 is the picture itself, every other number another look at it.

A view depends on the seed, the picture's content and its number alone, so cached views and views made on the fly
are the same. Works on uint8 arrays; knows nothing of files or networks.
"""

import numpy as np
from PIL import Image

from headstart.stage import UserError

# How far a "photo" view strays: what a photographer's next shot would (Keras' guides use the same order of size).
ROTATION_DEGREES, SHIFT, ZOOM, BRIGHTNESS, CONTRAST = 12.0, 0.08, 0.12, 0.15, 0.2

# Distinct views that there are; None: no end.
DISTINCT: dict[str, int | None] = {"none": 1, "flip": 2, "dihedral": 8, "photo": None}


def check(augment: str, views: int, key: str) -> None:
    """Refuse more views than there are different ones.

    Raises:
        UserError: names the parameter and its limit.
    """
    distinct = DISTINCT[augment]
    if distinct is not None and views > distinct:
        raise UserError(f"{key}: {views} is given, but augment: {augment} makes {distinct} different views")


def view(image: np.ndarray, number: int, augment: str, seed: int, content_hash: str) -> np.ndarray:
    """One view of one picture.

    Args:
        image: uint8 [s, s, c].
        number: 0 for the picture itself; numbers beyond the distinct ones start over.
        augment: none | flip | dihedral | photo.
        seed: of the pipeline.
        content_hash: hexadecimal, of the picture.

    Returns:
        uint8 [s, s, c].
    """
    distinct = DISTINCT[augment]
    if distinct is not None:
        number %= distinct
    if number == 0:
        return image
    if augment == "photo":
        rng = np.random.default_rng([seed, number, int(content_hash[:16], 16)])
        return _photo(image, rng)
    # The dihedral group of the square: a flip for odd numbers, then number // 2 quarter turns.
    flipped = image[:, ::-1] if number % 2 else image
    return np.rot90(flipped, number // 2)


def _photo(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A flip, one affine map (rotation, shift, zoom; mirrored at the border), then contrast and brightness."""
    side = image.shape[0]
    if rng.random() < 0.5:
        image = image[:, ::-1]
    angle = np.deg2rad(rng.uniform(-ROTATION_DEGREES, ROTATION_DEGREES))
    scale = 1 + rng.uniform(-ZOOM, ZOOM)
    shift = rng.uniform(-SHIFT, SHIFT, 2) * side
    cos, sin = np.cos(angle) / scale, np.sin(angle) / scale
    pad = side // 2
    padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)), mode="reflect")
    # Output pixel (x, y) comes from the input at A (x, y) + b, so that the (shifted) middle stays the middle.
    middle = (side - 1) / 2
    b = pad + middle + shift - np.array([cos * middle - sin * middle, sin * middle + cos * middle])
    source = Image.fromarray(padded.squeeze(-1) if image.shape[-1] == 1 else padded)
    turned = source.transform(
        (side, side), Image.Transform.AFFINE, (cos, -sin, b[0], sin, cos, b[1]), Image.Resampling.BILINEAR
    )
    pixels = np.asarray(turned, np.float32).reshape(image.shape)
    contrast, brightness = 1 + rng.uniform(-CONTRAST, CONTRAST), 255 * rng.uniform(-BRIGHTNESS, BRIGHTNESS)
    pixels = (pixels - pixels.mean()) * contrast + pixels.mean() + brightness
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def as_rgb(images: np.ndarray) -> np.ndarray:
    """uint8 [b, s, s, 1 or 3] -> uint8 [b, s, s, 3], a grey channel three times."""
    return images if images.shape[-1] == 3 else np.repeat(images, 3, axis=-1)


def half(rows: np.ndarray) -> np.ndarray:
    """To float16, values beyond its range clipped to it."""
    limit = np.finfo(np.float16).max
    return np.clip(rows, -limit, limit).astype(np.float16)

"""What an engine is checked against: fixed inputs, and which numbers of an output are kept."""

from typing import Any

import numpy as np

# Numbers of an output that are kept: enough to catch any wrong layer, small enough to store for every cut.
SAMPLED = 512
# Of a reference text: beyond what one tile of an attention kernel covers, odd so that no padding of theirs fits.
TOKENS = 37


def inputs(about: dict[str, Any]) -> np.ndarray:
    """What the network whose `input` in backbone.json is given is checked on: see `images` and `tokens`."""
    if about["kind"] == "picture":
        return images(about["size"])
    return tokens(about["vocabulary"], about["padding"], min(TOKENS, about["max_tokens"]))


def images(size: int) -> np.ndarray:
    """Two pictures of coarse and fine seeded noise, uint8 [2, size, size, 3]: contrast at several scales."""
    coarse = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3))
    index = np.arange(size) * 8 // size
    fine = np.random.default_rng(1).integers(-20, 21, (2, size, size, 3))
    return np.clip(coarse[:, index][:, :, index] + fine, 0, 255).astype(np.uint8)


def tokens(vocabulary: int, padding: int, length: int) -> np.ndarray:
    """Two texts of seeded ids, int32 [2, length], the second one a third shorter and padded."""
    ids = np.random.default_rng(0).integers(0, vocabulary - 1, (2, length), dtype=np.int32)
    ids += ids >= padding  # any id but that of padding
    ids[1, length - length // 3 :] = padding
    return ids


def sample(output: np.ndarray) -> np.ndarray:
    """float32 [SAMPLED]: numbers at fixed places spread over an output of any shape."""
    flat = np.asarray(output, np.float32).ravel()
    return flat[np.linspace(0, flat.size - 1, SAMPLED).astype(int)]

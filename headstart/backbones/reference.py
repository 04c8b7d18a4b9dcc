"""What an engine is checked against: fixed pictures, and which numbers of an output are kept."""

import numpy as np

# Numbers of an output that are kept: enough to catch any wrong layer, small enough to store for every cut.
SAMPLED = 512


def images(size: int) -> np.ndarray:
    """Two pictures of coarse and fine seeded noise, uint8 [2, size, size, 3]: contrast at several scales."""
    coarse = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3))
    index = np.arange(size) * 8 // size
    fine = np.random.default_rng(1).integers(-20, 21, (2, size, size, 3))
    return np.clip(coarse[:, index][:, :, index] + fine, 0, 255).astype(np.uint8)


def sample(output: np.ndarray) -> np.ndarray:
    """float32 [SAMPLED]: numbers at fixed places spread over an output of any shape."""
    flat = np.asarray(output, np.float32).ravel()
    return flat[np.linspace(0, flat.size - 1, SAMPLED).astype(int)]

"""What the losses of a range test say."""

import numpy as np
import pandas as pd
import pytest

from headstart import range_test
from headstart.stage import UserError


def curve(steps: int, noise: float = 0.0, falls_at: float = 1e-3, rises_at: float = 1e-1) -> pd.DataFrame:
    """Losses that fall from 2 to 0.5 around a rate, and rise steeply around another."""
    lr = np.geomspace(1e-6, 1, steps)
    loss = 2 - 1.5 / (1 + (falls_at / lr) ** 2) + 5 / (1 + (rises_at / lr) ** 2)
    return pd.DataFrame({"lr": lr, "loss": loss + noise * np.random.default_rng(0).normal(size=steps)})


@pytest.mark.parametrize("steps", [40, 100, 400])
@pytest.mark.parametrize("noise", [0, 0.1])
def test_the_suggestion_is_where_the_loss_falls_most_steeply(steps: int, noise: float) -> None:
    assert 4e-4 < range_test.suggest(curve(steps, noise), steps) < 2.5e-3


def test_smoothing_keeps_a_straight_line_and_lags_behind_nothing() -> None:
    line = np.linspace(3, 1, 50)
    np.testing.assert_allclose(range_test.smooth(line, 50), line)
    step = np.where(np.arange(51) < 25, 1.0, 0.0)
    smoothed = range_test.smooth(step, 51)
    np.testing.assert_allclose(smoothed, 1 - smoothed[::-1], atol=0.2)


def test_where_the_loss_never_falls_there_is_no_suggestion() -> None:
    rising = curve(100).assign(loss=np.linspace(1, 2, 100))
    with pytest.raises(UserError, match="falls at no rate"):
        range_test.suggest(rising, 100)

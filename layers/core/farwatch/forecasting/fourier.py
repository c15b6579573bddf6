"""The daily rhythm as a sum of sines and cosines."""

from __future__ import annotations

import numpy as np

from farwatch.forecasting.history import DAY_S, Floats


def fourier(times: Floats, order: int) -> Floats:
    """The first ``order`` pairs of sine and cosine of the time of day, (len(times), 2 * order)."""
    angle = 2 * np.pi * np.outer(times / DAY_S, np.arange(1, order + 1))
    return np.concatenate([np.sin(angle), np.cos(angle)], axis=1)

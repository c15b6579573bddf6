"""Intervals from a model's own past errors (signed split conformal prediction).

Each quantile of the forecast is the point forecast plus the same quantile of the errors the method made
inside the history at the same lead time, taken separately above and below, so that a skewed metric gets a
skewed interval. The rank is corrected for the number of errors (Vovk et al., *Algorithmic Learning in a
Random World*, 2005; Romano et al., *Conformalized Quantile Regression*, 2019): of n errors, the level q
takes rank q (n + 1).
"""

from __future__ import annotations

import numpy as np

from farwatch.forecasting.forecast import LEVELS
from farwatch.forecasting.history import Floats


def offsets(errors: Floats) -> Floats:
    """The five signed offsets (5,) for a point forecast with these past ``errors`` (actual minus forecast).

    NaN errors are ignored; with none left all offsets are zero. The middle offset is always zero: a conformal
    interval surrounds the forecast and does not correct it.
    """
    known = np.sort(errors[np.isfinite(errors)])
    if not len(known):
        return np.zeros(len(LEVELS))
    rank = np.array(LEVELS) * (len(known) + 1) - 1
    out: Floats = np.interp(rank, np.arange(len(known)), known)
    out[:2] = np.minimum(out[:2], 0.0)
    out[2] = 0.0
    out[3:] = np.maximum(out[3:], 0.0)
    return out

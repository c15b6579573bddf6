"""The one interface every detector has, and the words its answers are made of."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
StateArray = NDArray[Any]
"""A structured array with one record per series; its dtype belongs to the detector."""


class Pattern(IntEnum):
    """What an anomaly looks like; stored as a small integer beside the score."""

    NONE = 0
    SPIKE = 1
    DIP = 2
    SHIFT = 3
    DRIFT = 4
    RHYTHM = 5
    SILENCE = 6
    FLAT = 7


@dataclass(frozen=True, slots=True)
class Scores:
    """What ``fold`` returns: arrays of shape (T, S), one column per series and one row per sample time.

    ``score`` is in [0, 1] and comparable between detectors and series: 0 for a value like any other, and
    the higher, the rarer the like of it in this series' own past. A sample is an anomaly when its score
    reaches the series' threshold (``DEFAULT_THRESHOLD`` unless feedback has moved it). Samples that were
    missing, not finite or late score 0, with no range, a rarity of 1 and no pattern.

    ``low`` and ``high`` are the range that was expected of the sample before it was seen (NaN while
    warming up). ``rarity`` is the mean number of samples of this series between two that are this odd.
    ``since`` is the time (seconds since 1970) at which the series left its expected range, NaN while it
    is inside. ``pattern`` holds ``Pattern`` numbers, ``NONE`` where nothing is odd.
    """

    score: FloatArray
    low: FloatArray
    high: FloatArray
    rarity: FloatArray
    since: FloatArray
    pattern: NDArray[np.uint8]


class Detector(Protocol):
    """A streaming detector for a block of series that share nothing but their sample times."""

    @property
    def name(self) -> str:
        """The name it is selected by."""

    @property
    def version(self) -> int:
        """Grows with every change that makes older states unreadable."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The record that is all this detector remembers of one series."""

    def new_state(self, n_series: int) -> StateArray:
        """Return ``n_series`` records of a detector that has seen nothing."""

    def fold(self, state: StateArray, times: FloatArray, values: FloatArray) -> Scores:
        """Score the samples ``values`` (T, S) taken at ``times`` and update ``state`` (S records) in place.

        ``times`` are seconds since 1970, shape (T,) or, for series with clocks of their own, (T, S), in
        the order of arrival. NaN marks a sample that was not taken. The score of a row depends on that row
        and earlier ones only, and not on how rows are cut into calls.
        """

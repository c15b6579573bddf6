"""The Numenta Anomaly Benchmark's score, from its published definition (Lavin and Ahmad 2015,
arXiv:1510.03336).

Within a labelled window only the earliest detection counts, and the earlier the more; a detection outside
costs the more the further behind the last window it is; a window without a detection costs its whole worth.
Scores are scaled so that silence is 0 and a perfect detector 100. The first 15 % of a file (at most 750
rows) are not judged.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Self

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

PROFILES = {"standard": (0.11, 1.0), "reward_low_FP_rate": (0.22, 1.0), "reward_low_FN_rate": (0.11, 2.0)}
"""The cost of a false detection and of a missed window, a window found at once being worth 1."""


def _sigmoid(position: FloatArray) -> FloatArray:
    """Return the value of a detection at ``position``: -1 the window's start, 0 its end, beyond 3 fully
    false."""
    return np.where(position > 3.0, -1.0, 2.0 / (1.0 + np.exp(5.0 * np.minimum(position, 3.0))) - 1.0)


MOST = float(_sigmoid(np.array([-1.0]))[0])
"""What a detection at a window's very start would be worth before scaling."""


@dataclass(frozen=True, slots=True)
class Windows:
    """Where the judged rows of one file begin, and its labelled windows as pairs of first and last row."""

    probation: int
    spans: tuple[tuple[int, int], ...]

    @classmethod
    def between(cls, times: FloatArray, spans: Sequence[Sequence[str]]) -> Self:
        """Return the rows of ``times`` (seconds since 1970) that lie within the labelled times, given as
        text."""

        def row(text: str, side: str) -> int:
            moment = datetime.fromisoformat(text)
            at = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
            inside = np.flatnonzero(times >= at) if side == "first" else np.flatnonzero(times <= at)
            if not len(inside):
                return len(times) - 1 if side == "first" else 0
            return int(inside[0] if side == "first" else inside[-1])

        probation = int(min(0.15 * len(times), 750))
        return cls(probation, tuple((row(start, "first"), row(end, "last")) for start, end in spans))


@dataclass
class NabTotals:
    """The sum over files of what detections earned and cost."""

    windows: int = 0
    raw: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PROFILES, 0.0))

    def add(self, scores: FloatArray, windows: Windows, threshold: float) -> None:
        """Add one file: ``scores`` (rows,) are detections where they reach ``threshold``."""
        detected = np.flatnonzero(scores >= threshold)
        detected = detected[detected >= windows.probation]
        free = np.ones(len(detected), dtype=bool)
        earned = missed = 0.0
        judged = [span for span in windows.spans if span[1] >= windows.probation]
        self.windows += len(judged)
        for first, last in judged:
            inside = (detected >= first) & (detected <= last)
            free &= ~inside
            if inside.any():
                position = -(last - detected[inside].astype(np.float64) + 1.0) / (last - first + 1.0)
                earned += float(np.max(_sigmoid(position))) / MOST
            else:
                missed += 1.0
        false = detected[free]
        cost = np.full(len(false), -1.0)
        for first, last in windows.spans:
            after = false > last
            cost[after] = _sigmoid((false[after].astype(np.float64) - last) / max(float(last - first), 1.0))
        for profile, (false_cost, miss_cost) in PROFILES.items():
            self.raw[profile] += earned + false_cost * float(cost.sum()) - miss_cost * missed

    def score(self, profile: str) -> float:
        """Return the score of everything added, 0 for silence and 100 for perfection."""
        silence = -PROFILES[profile][1] * self.windows
        return 100.0 * (self.raw[profile] - silence) / (self.windows - silence)

"""Streaming anomaly detection: pure functions of samples and state, numpy only on the hot path.

    detector = registry.get("default")
    state = detector.new_state(n_series)              # one record per series, a structured array
    scores = detector.fold(state, times, values)      # times (T,), values (T, S), NaN = not sampled
    anomalous = scores.score >= DEFAULT_THRESHOLD     # or feedback.threshold(...) per series
    blob = pack(detector, state)                      # bytes for a cache; unpack() reads them back

The score means "how unusual is this for this series" for every detector, so one threshold serves all. A state
that was lost is begun again with ``new_state`` and warms up without alarming. Adding a series to a host is
``numpy.concatenate`` with ``new_state(1)``; series are independent of each other.

Modules: ``interface`` (the protocol and ``Scores``), ``registry`` (names), ``streaming`` (input hygiene),
``calibration`` (oddness to score, cool-down), ``memory`` (what a series has been), ``rows`` (what one row carries
to the next), one module per detector, ``host`` (one score for a whole host), ``explain`` (anomalies in words),
``feedback`` (false alarms move a series' threshold), ``state`` (bytes). docs/detection.md explains the methods and
shows the figures.
"""

from farwatch.detection.calibration import DEFAULT_THRESHOLD
from farwatch.detection.interface import Detector, Pattern, Scores
from farwatch.detection.state import StateError, pack, unpack

__all__ = ["DEFAULT_THRESHOLD", "Detector", "Pattern", "Scores", "StateError", "pack", "unpack"]

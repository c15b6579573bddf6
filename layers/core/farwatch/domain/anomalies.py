"""Anomalies: samples that a detector found unusual for their series, and what many of them say of a host.

An anomaly is kept as it was raised and never rewritten. A single unusual series is worth a mark on a chart, not a message;
several metrics of a host unusual within minutes are one episode, one signal. An episode informs; it warns only while the
host as a whole behaves unusually too, and has for a while.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from farwatch.domain.flapping import count_after_firing, keep_firing_s
from farwatch.domain.samples import SeriesKey

TOGETHER = 3
"""Metrics unusual at once that make an episode."""

TOGETHER_TO_WARN = 4
"""Metrics unusual in one episode for it to be more than information."""

HOST_LINE = 0.8
"""Whole-host score from which the host counts as unusual."""

HOST_MINUTES = 5
"""Minutes in a row at that score for an episode to warn."""

KNOWN_MINUTES = 1440
"""A host is not called unusual before it has been seen for a day: until then half of what it does is new."""

RECENT_MS = 5 * 60_000
"""Anomalies this close belong together."""

QUIET_S = 300.0
"""An episode ends after so long without an anomaly; longer when it keeps coming back."""

MOST_SERIES = 40
"""An episode remembers so many series; further ones change nothing for the reader."""


@dataclass(frozen=True, slots=True)
class Anomaly:
    """One anomalous sample. ``at`` is its time (epoch ms), ``score`` in [0, 1]; the expected range may be unknown (None).

    ``since`` is when the series left its expected range, ``at`` itself when it has just done so. ``pattern`` is one word
    (spike, dip, shift, drift, rhythm, silence, flat) and ``reason`` a sentence for people.
    """

    host_id: str
    key: SeriesKey
    detector: str
    at: int
    value: float | None
    score: float
    expected_low: float | None
    expected_high: float | None
    pattern: str
    reason: str
    since: int = 0


@dataclass(slots=True)
class HostScore:
    """The whole-host score: the last one in [0, 1], for how many minutes it has been at ``HOST_LINE`` or above, the metrics
    that add most to it, most first, and how many minutes have been seen in all.
    """

    score: float = 0.0
    minutes: int = 0
    metrics: list[str] = field(default_factory=list)
    seen: int = 0


@dataclass(slots=True)
class Episode:
    """A host's run of anomalies. Times are epoch ms, 0 for never.

    ``recent`` are the newest anomalies of each series by its text, also while no episode is on; ``warning`` stays once it is
    reached, so that severity does not tremble.
    """

    started_at: int = 0
    last_at: int = 0
    sent_at: int = 0
    warning: bool = False
    recent: dict[str, Anomaly] = field(default_factory=dict)
    flaps: int = 0
    ended_at: int = 0

    def ranked(self) -> list[Anomaly]:
        """Return each series' strongest anomaly, highest score first."""
        return sorted(self.recent.values(), key=lambda anomaly: (-anomaly.score, anomaly.at))


class EpisodeChange(StrEnum):
    """What news did to an episode: nothing, it began, it grew to a warning, it goes on, it is over."""

    NONE = "none"
    BEGAN = "began"
    ROSE = "rose"
    GOES_ON = "goes_on"
    OVER = "over"


def advance(episode: Episode, anomalies: Sequence[Anomaly], host: HostScore, now: int) -> EpisodeChange:
    """Fold the newest anomalies and host score into ``episode``; ``now`` is epoch ms.

    At OVER the episode still shows what it was; call ``close`` once that has been said.
    """
    for anomaly in anomalies:
        text = anomaly.key.text()
        strongest = episode.recent.get(text)
        if strongest is None and not _has_room(episode, anomaly.key.metric):
            continue
        if strongest is None or anomaly.score >= strongest.score or anomaly.at - strongest.at > RECENT_MS:
            episode.recent[text] = anomaly
    if anomalies:
        episode.last_at = max(episode.last_at, *(anomaly.at for anomaly in anomalies))
    if not episode.started_at:
        _forget(episode, now)
        metrics = {anomaly.key.metric for anomaly in episode.recent.values()}
        if len(metrics) < TOGETHER:
            return EpisodeChange.NONE
        episode.started_at = min(anomaly.at for anomaly in episode.recent.values())
        episode.flaps = count_after_firing(episode.flaps, episode.ended_at, now)
        episode.warning = _warns(episode, host)
        return EpisodeChange.BEGAN
    if now - episode.last_at >= keep_firing_s(QUIET_S, episode.flaps) * 1000:
        return EpisodeChange.OVER
    if not episode.warning and _warns(episode, host):
        episode.warning = True
        return EpisodeChange.ROSE
    return EpisodeChange.GOES_ON


def _has_room(episode: Episode, metric: str) -> bool:
    """Return whether one more series can be remembered. A metric not seen yet takes the place of the weakest series of the
    metric that has most: it is metrics that make an episode, and a host may have more cores than there are places.
    """
    if len(episode.recent) < MOST_SERIES:
        return True
    held = Counter(anomaly.key.metric for anomaly in episode.recent.values())
    crowd, size = held.most_common(1)[0]
    if metric in held or size == 1:
        return False
    weakest = min(
        (anomaly for anomaly in episode.recent.values() if anomaly.key.metric == crowd),
        key=lambda anomaly: anomaly.score,
    )
    del episode.recent[weakest.key.text()]
    return True


def counts_from(episode: Episode, now: int) -> int:
    """Return from when on (epoch ms) an anomaly counts at ``now``: the last minutes, or the time of an episode that is on.

    What is found late thus joins the episode of its own time and never begins one: by then that trouble is over, or it is
    seen again.
    """
    begun = min(now, episode.started_at) if episode.started_at else now
    return begun - RECENT_MS


def close(episode: Episode, now: int) -> None:
    """Make ``episode`` ready for the next; the flap count and the time of this end stay."""
    episode.started_at = episode.sent_at = 0
    episode.warning, episode.ended_at = False, now
    episode.recent.clear()


def _warns(episode: Episode, host: HostScore) -> bool:
    metrics = {anomaly.key.metric for anomaly in episode.recent.values()}
    return len(metrics) >= TOGETHER_TO_WARN and host.minutes >= HOST_MINUTES and host.seen >= KNOWN_MINUTES


def _forget(episode: Episode, now: int) -> None:
    for text in [text for text, anomaly in episode.recent.items() if now - anomaly.at > RECENT_MS]:
        del episode.recent[text]

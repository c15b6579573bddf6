"""Many anomalies of a host become one episode; quiet hosts have few, and nobody is paged for them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farwatch.domain.anomalies import (
    HOST_MINUTES,
    KNOWN_MINUTES,
    MOST_SERIES,
    TOGETHER,
    TOGETHER_TO_WARN,
    Anomaly,
    Episode,
    EpisodeChange,
    HostScore,
    advance,
    close,
)
from farwatch.domain.samples import Batch, SampleBlock, SeriesKey
from farwatch.domain.severity import Severity
from farwatch.domain.signals import SignalState
from farwatch.services.evaluation import Memory, decode_memory, encode_memory, evaluate
from infra.local.demo.fleet import fleet
from infra.local.demo.history import measure
from infra.local.demo.trouble import Plan, Trouble
from tests.unit.rules.hosts import HOST

CALM, WILD = HostScore(), HostScore(0.95, HOST_MINUTES, ["metric.1"], KNOWN_MINUTES)
MINUTE = 60_000
START = 1_790_000_000_000


def unusual(number: int, at: int, score: float = 0.7) -> Anomaly:
    key = SeriesKey.of(f"metric.{number}")
    return Anomaly("host_a", key, "default", at, 1.0, score, 0.0, 0.5, "spike", "It rose.", at)


def begin(episode: Episode, metrics: int, at: int, host: HostScore = CALM) -> EpisodeChange:
    return advance(episode, [unusual(number, at) for number in range(metrics)], host, at)


def test_one_series_with_many_anomalies_is_not_an_episode() -> None:
    episode = Episode()
    for minute in range(60):
        at = START + minute * MINUTE
        assert advance(episode, [unusual(1, at)], WILD, at) is EpisodeChange.NONE


def test_metrics_unusual_within_minutes_begin_one_and_far_apart_they_do_not() -> None:
    apart, together = Episode(), Episode()
    for number in range(TOGETHER):
        at = START + number * 10 * MINUTE
        assert advance(apart, [unusual(number, at)], CALM, at) is EpisodeChange.NONE
    changes = [
        advance(together, [unusual(number, START + number)], CALM, START + number)
        for number in range(TOGETHER)
    ]
    assert changes == [EpisodeChange.NONE] * (TOGETHER - 1) + [EpisodeChange.BEGAN]
    assert together.started_at == START


def test_it_warns_only_when_many_metrics_and_the_host_as_a_whole_are_unusual() -> None:
    for metrics, host, warns in (
        (TOGETHER, WILD, False),
        (TOGETHER_TO_WARN, CALM, False),
        (TOGETHER_TO_WARN, HostScore(0.99, HOST_MINUTES, [], KNOWN_MINUTES - 1), False),
        (TOGETHER_TO_WARN, HostScore(0.99, HOST_MINUTES - 1, [], KNOWN_MINUTES), False),
        (TOGETHER_TO_WARN, WILD, True),
    ):
        episode = Episode()
        assert begin(episode, metrics, START, host) is EpisodeChange.BEGAN
        assert episode.warning is warns


def test_a_host_with_more_cores_than_an_episode_remembers_series_has_one_all_the_same() -> None:
    cores = [
        Anomaly("host_a", SeriesKey.of("cpu.core_percent", {"core": str(core)}), "default", START, 99.0, 0.6,
                0.0, 50.0, "spike", "It rose.", START)
        for core in range(MOST_SERIES + 24)
    ]  # fmt: skip
    episode = Episode()
    rest = [unusual(number, START, 0.55) for number in range(TOGETHER_TO_WARN - 1)]
    assert advance(episode, [*cores, *rest], WILD, START) is EpisodeChange.BEGAN
    assert episode.warning
    assert len(episode.ranked()) == MOST_SERIES


def test_a_warning_does_not_tremble() -> None:
    episode = Episode()
    begin(episode, TOGETHER_TO_WARN, START)
    assert advance(episode, [], WILD, START + MINUTE) is EpisodeChange.ROSE
    assert advance(episode, [], CALM, START + 2 * MINUTE) is EpisodeChange.GOES_ON
    assert episode.warning


def test_one_that_returns_at_once_is_kept_open_for_longer() -> None:
    episode, lengths, now = Episode(), [], START
    for _ in range(3):
        begin(episode, TOGETHER, now)
        began = now
        while advance(episode, [], CALM, now) is not EpisodeChange.OVER:
            now += MINUTE
        lengths.append((now - began) // MINUTE)
        close(episode, now)
        now += MINUTE
    assert lengths == [5, 10, 20]


@given(
    st.lists(st.tuples(st.integers(0, 60), st.floats(0, 1), st.booleans(), st.integers(1, 20)), max_size=120)
)
def test_beginnings_and_ends_alternate_and_memory_stays_small(
    news: list[tuple[int, float, bool, int]],
) -> None:
    episode, on, now = Episode(), False, START
    for number, score, wild, minutes in news:
        now += minutes * MINUTE
        heard = [unusual(number, now, score), unusual(number + 1, now), unusual(number + 2, now)]
        change = advance(episode, heard if number < 50 else [], WILD if wild else CALM, now)
        assert (change in (EpisodeChange.NONE, EpisodeChange.BEGAN)) == (not on)
        on = change is not EpisodeChange.OVER and (on or change is EpisodeChange.BEGAN)
        scores = [anomaly.score for anomaly in episode.ranked()]
        assert scores == sorted(scores, reverse=True)
        assert len(scores) <= MOST_SERIES
        if change is EpisodeChange.OVER:
            close(episode, now)
        assert bool(episode.started_at) == on


class _Calm(Plan):
    def of(self, host: str, first: int, last: int) -> list[Trouble]:
        del host, first, last
        return []


@pytest.mark.long
@pytest.mark.parametrize("index", [0, 10])
def test_a_quiet_host_pages_nobody_and_is_mentioned_less_than_twice_a_day(index: int) -> None:
    hosts = fleet(7)
    times = np.arange(START, START + 3 * 86_400_000, MINUTE, dtype=np.int64)
    series = measure(_Calm(hosts, START), hosts[index], times)
    keys = tuple(SeriesKey(metric, labels) for metric, labels in series)
    values = np.column_stack(list(series.values()))
    memory, told = Memory(), []
    for row in range(0, len(times), 5):
        block = SampleBlock(times[row : row + 5], keys, values[row : row + 5])
        batch = Batch("b", "host_a", "s", 1, 1, int(block.times[-1]), block)
        outcome = evaluate(memory, batch, HOST, [], int(block.times[-1]))
        memory = decode_memory(encode_memory(outcome.memory))
        told += outcome.signals
    assert [signal for signal in told if signal.severity is not Severity.INFO] == []
    known = [s for s in told if s.started_at > START + 86_400_000 and s.state is SignalState.RESOLVED]
    assert len(known) <= 2 * 2

"""What is remembered of a host outlives agents that start, and what comes and goes on the host."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from farwatch.detection import registry, unpack
from farwatch.domain.catalogue import CATALOGUE
from farwatch.domain.rules import Comparison, Condition, Measure, Rule
from farwatch.domain.samples import Batch, SampleBlock, SeriesKey
from farwatch.domain.severity import Severity
from farwatch.services.detect import Sensitivity
from farwatch.services.evaluation import Memory, decode_memory, encode_memory, evaluate
from farwatch.services.look import SeriesMemory, decode, encode
from tests.unit.rules.hosts import HOST

START = 1_790_000_000_000
MINUTE = 60_000
STOCK = tuple(SeriesKey(entry.name) for entry in CATALOGUE)
FIRST_OF_AN_AGENT = tuple(
    key for key in STOCK if not key.metric.startswith("cpu.") and not key.metric.endswith("_per_second")
)
"""What an agent sends that has just started: rates and shares of time take a second sample."""


def send(
    memory: Memory,
    series: tuple[SeriesKey, ...],
    at: int,
    rules: Sequence[Rule] = (),
    sensitivity: Sensitivity | None = None,
) -> None:
    rng = np.random.default_rng(at)
    block = SampleBlock(np.array([at]), series, rng.normal(50.0, 5.0, (1, len(series))))
    evaluate(memory, Batch("b", "host_a", "s", 1, 1, at, block), HOST, rules, at, sensitivity)


def test_an_agent_that_starts_again_does_not_make_the_host_score_forget() -> None:
    memory = Memory()
    for minute in range(30):
        send(memory, STOCK if minute else FIRST_OF_AN_AGENT, START + minute * MINUTE)
    seen, metrics = memory.host.score.seen, memory.host.metrics
    assert seen >= 27
    send(memory, FIRST_OF_AN_AGENT, START + 30 * MINUTE)
    send(memory, STOCK, START + 31 * MINUTE)
    assert (memory.host.score.seen, memory.host.metrics) == (seen + 2, metrics)


def test_what_rules_remember_of_series_that_come_and_go_is_forgotten_after_a_day() -> None:
    rising = Condition("disk.used_percent", Comparison.ABOVE, 90, measure=Measure.CHANGE, window_s=600)
    memory, rule = Memory(), Rule("rule_x", "x", (rising,), Severity.INFO)
    for hour in range(100):
        passing = SeriesKey.of("disk.used_percent", {"mount": f"/run/{hour}"})
        lasting = SeriesKey.of("disk.used_percent", {"mount": "/"})
        send(memory, (passing, lasting), START + hour * 60 * MINUTE, [rule])
    remembered = memory.rules[rule.id]
    assert 'disk.used_percent{mount="/"}' in remembered
    assert len(remembered) <= 26


def test_detectors_of_a_host_whose_containers_come_and_go_keep_what_they_know_of_the_rest() -> None:
    memory, lasting = Memory(), SeriesKey("cpu.percent")
    for minute in range(40):
        passing = tuple(
            SeriesKey.of("net.errors_per_second", {"interface": f"veth{minute}-{n}"}) for n in range(30)
        )
        send(memory, (lasting, *passing), START + minute * MINUTE)
    detectors = memory.detectors["default"]
    state = unpack(registry.get("default"), detectors.state)
    assert len(state) == len(detectors.series) <= 600
    assert state["calibration"]["seen"][detectors.series.index(lasting)] == 40


def test_a_detector_keeps_what_it_knows_of_metrics_that_are_sent_with_some_batches_only() -> None:
    memory, often, seldom = Memory(), SeriesKey("cpu.percent"), SeriesKey("backup.seconds")
    chosen = Sensitivity([("backup.*", "zscore")])
    for minute in range(41):
        send(memory, (often,) if minute % 5 else (often, seldom), START + minute * MINUTE, (), chosen)
    state = unpack(registry.get("zscore"), memory.detectors["zscore"].state)
    assert state["calibration"]["seen"].tolist() == [9]
    send(memory, (often,), START + 41 * MINUTE, (), Sensitivity())
    assert list(memory.detectors) == ["default"]


@given(st.binary(max_size=40), st.integers(0, 2000))
def test_what_is_remembered_in_a_form_nobody_can_read_is_begun_anew(noise: bytes, place: int) -> None:
    memory = Memory()
    send(
        memory,
        STOCK,
        START,
        (Rule("rule_x", "x", (Condition("cpu.percent", Comparison.ABOVE, 90),), Severity.INFO),),
    )
    whole = encode_memory(memory)
    watched = encode({"cpu.percent": SeriesMemory("lof", START)})
    for blob in (whole, watched):
        broken = blob[: place % len(blob)] + noise + blob[place % len(blob) + len(noise) :]
        assert isinstance(decode_memory(broken), Memory)
        assert isinstance(decode(broken), dict)

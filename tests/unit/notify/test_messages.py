"""Queue messages survive the journey, and garbage is refused by name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farwatch.domain.events import EventKind, Evidence, IncidentEvent, SignalLine, event_id
from farwatch.domain.pushes import Push
from farwatch.domain.samples import TopProcess
from farwatch.domain.severity import Severity
from farwatch.domain.signals import Signal, SignalKind, SignalState
from farwatch.errors import InvalidInput
from farwatch.wire.messages import decode, decode_event, decode_push, decode_signal, encode

numbers = st.floats(allow_nan=False, allow_infinity=False)
times = st.integers(min_value=0, max_value=2**52)
words = st.text(max_size=40).filter(lambda text: text.isprintable())
labels = st.dictionaries(words, words, max_size=3)
processes = st.builds(
    TopProcess, pid=st.integers(1, 2**22), name=words, cpu_percent=numbers, rss_bytes=st.integers(0, 2**50)
)
top = st.lists(processes, max_size=3).map(tuple)
signals = st.builds(
    Signal,
    fingerprint=words,
    kind=st.sampled_from(SignalKind),
    state=st.sampled_from(SignalState),
    host_id=words,
    host_name=words,
    source=words,
    title=words,
    severity=st.sampled_from(Severity),
    started_at=times,
    at=times,
    reason=words,
    metric=st.none() | words,
    labels=labels,
    value=st.none() | numbers,
    unit=st.none() | words,
    evidence=st.dictionaries(words, numbers | words | st.none(), max_size=3),
    top_processes=top,
    host_labels=labels,
)
evidence = st.builds(
    Evidence, at=times, fingerprint=words, title=words, reason=words, value=numbers, top_processes=top
)
lines = st.builds(
    SignalLine, title=words, severity=st.sampled_from(Severity), firing=st.booleans(), since=times
)
events = st.builds(
    IncidentEvent,
    id=words,
    incident_id=words,
    seq=st.integers(1, 1000),
    kind=st.sampled_from(EventKind),
    at=times,
    pages=st.booleans(),
    severity=st.sampled_from(Severity),
    status=words,
    title=words,
    reason=words,
    host_id=st.none() | words,
    host_name=words,
    opened_at=times,
    evidence=st.none() | evidence,
    signals=st.lists(lines, max_size=3).map(tuple),
)
pushes = st.builds(
    Push, topic=words, type=words, id=words, at=times, data=st.dictionaries(words, numbers | words)
)


@given(signals | events | pushes)
def test_a_message_survives_the_journey(message: Signal | IncidentEvent | Push) -> None:
    assert decode(encode(message)) == message


@given(st.binary(max_size=200))
def test_garbage_is_refused_and_never_crashes_the_reader(garbage: bytes) -> None:
    with pytest.raises(InvalidInput):
        decode(garbage)


@pytest.mark.parametrize(
    "text",
    ['{"v":2,"type":"signal","body":{}}', '{"v":1,"type":"rumour","body":{}}', '{"v":1,"type":"push"}', "[]"],
)
def test_a_version_or_type_of_another_release_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        decode(text)


def test_each_reader_takes_its_own_kind_only() -> None:
    push = encode(Push("fleet", "samples", "p", 1, {"x": 1.0}))
    assert decode_push(push).topic == "fleet"
    for reader in (decode_signal, decode_event):
        with pytest.raises(InvalidInput, match="expected"):
            reader(push)


def test_an_event_id_follows_from_incident_and_number() -> None:
    assert event_id("inc_0199", 3) == "evt_0199_3"

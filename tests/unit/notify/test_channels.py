"""What each channel sends: golden files, vendors' limits, answers of webhooks, words and patience."""

from __future__ import annotations

import socket
import threading
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes, policy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farwatch.adapters.channels import pagerduty, slack
from farwatch.adapters.channels.pagerduty import PagerDutySender, Service
from farwatch.adapters.channels.slack import SlackSender
from farwatch.adapters.channels.web import retry_after
from farwatch.adapters.sealing import Sealer
from farwatch.domain.deliveries import FIRST_RETRY_S, LONGEST_RETRY_S, retry_after_s
from farwatch.domain.events import EventKind
from farwatch.domain.fixes import FIXES, GENERAL_FIXES, SILENCE_FIXES, fixes_for
from farwatch.domain.headlines import duration, headline, one_line, quantity
from farwatch.domain.severity import Severity
from farwatch.domain.signals import SignalKind
from farwatch.domain.webhooks import address_fault
from farwatch.errors import Misconfigured, Rejected, Unavailable
from tests.functions.notify.far_sides import (
    SLACK_SAYS_YES,
    free_port,
    pagerduty_faults,
    slack_faults,
    vendor,
)
from tests.unit.notify import stories
from tests.unit.notify.makers import a_signal, an_event

texts = st.text(max_size=300)


@pytest.mark.parametrize("name", sorted(stories.golden()))
def test_the_message_is_the_golden_one(name: str) -> None:
    assert stories.golden()[name] == (stories.GOLDEN / name).read_text(), (
        "if the change is meant: python -m tests.unit.notify.stories"
    )


@given(texts, texts, texts, st.sampled_from(EventKind), st.sampled_from(Severity))
@settings(max_examples=80, deadline=None)
def test_no_text_breaks_a_vendors_limits(
    title: str, name: str, note: str, kind: EventKind, severity: Severity
) -> None:
    event = replace(
        stories.events()["escalated"],
        title=title * 20,
        reason=title * 30,
        host_name=name * 10,
        note=note * 20,
        actor=name,
        kind=kind,
        severity=severity,
    )
    assert slack_faults(slack.compose(event, stories.DASHBOARD)) == []
    assert pagerduty_faults(pagerduty.compose(event, stories.KEY, stories.DASHBOARD)) == []
    mail = stories.composed(event)
    assert len(str(mail["Subject"])) < 300
    read_back = message_from_bytes(mail.as_bytes(), policy=policy.default)
    assert sorted(read_back.keys()) == sorted(mail.keys())


# Webhooks


@pytest.mark.parametrize(
    ("status", "headers", "kind", "wait"),
    [
        (429, {"Retry-After": "7"}, Unavailable, 7.0),
        (503, {}, Unavailable, None),
        (408, {}, Unavailable, None),
        (404, {}, Rejected, None),
        (410, {}, Rejected, None),
        (400, {}, Rejected, None),
        (302, {"Location": "http://127.0.0.1:1/"}, Rejected, None),
    ],
)
def test_answers_of_a_webhook_are_told_apart(
    status: int, headers: dict[str, str], kind: type[Any], wait: float | None
) -> None:
    with vendor(slack_faults, SLACK_SAYS_YES) as far:
        far.answers = [(status, headers, "said so")]
        url = f"{far.url}/services/T0/B0/top-secret"
        with pytest.raises(kind, match=f"HTTP {status} said so") as caught:
            SlackSender(lambda _: url, dashboard_url="https://x.example").send(an_event(), "chan_1", "d")
    assert "top-secret" not in str(caught.value)
    assert getattr(caught.value, "retry_after_s", None) == wait


@pytest.mark.parametrize(
    ("status", "kind"), [("200 OK", None), ("404 Not Found", Rejected), ("500 Oops", Unavailable)]
)
def test_what_a_webhook_answers_counts_even_if_the_rest_of_it_is_cut_off(
    status: str, kind: type[Any] | None
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as far:

        def answer() -> None:
            connection, _ = far.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 100\r\n\r\nok".encode())

        thread = threading.Thread(target=answer)
        thread.start()
        slack = SlackSender(
            lambda _: f"http://127.0.0.1:{far.getsockname()[1]}/", dashboard_url="https://x.example"
        )
        if kind is None:
            assert slack.send(an_event(), "chan_1", "d") == "", "it was taken: again would be twice"
        else:
            with pytest.raises(kind, match=f"HTTP {status[:3]}"):
                slack.send(an_event(), "chan_1", "d")
        thread.join()


def test_a_webhook_that_cannot_be_reached_is_a_passing_fault_and_names_no_address() -> None:
    url = f"http://127.0.0.1:{free_port()}/top-secret"
    with pytest.raises(Unavailable) as caught:
        SlackSender(lambda _: url, dashboard_url="https://x.example").send(an_event(), "chan_1", "d")
    assert "top-secret" not in repr(caught.value)


def test_a_destination_that_was_removed_is_rejected() -> None:
    with pytest.raises(Rejected):
        SlackSender(lambda _: None, dashboard_url="").send(an_event(), "chan_1", "d")
    with pytest.raises(Rejected):
        PagerDutySender(lambda _: None, dashboard_url="").send(an_event(), "chan_1", "d")


def test_pagerduty_answers_with_its_key() -> None:
    with vendor(pagerduty_faults, (202, '{"status":"success","dedup_key":"inc_1"}')) as far:
        key = PagerDutySender(lambda _: Service("k" * 32, far.url), dashboard_url="https://x.example")
        assert key.send(an_event(), "chan_1", "d") == "inc_1"
        assert far.faults == []
    with vendor(pagerduty_faults, (202, "[]")) as far:
        odd = PagerDutySender(lambda _: Service("k" * 32, far.url), dashboard_url="https://x.example")
        assert odd.send(an_event(), "chan_1", "d") == ""


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("30", 30.0),
        ("Mon, 21 Sep 2026 14:13:30 GMT", 10.0),
        ("Mon, 21 Sep 2020 14:13:30 GMT", 0.0),
        ("soon", None),
        (None, None),
        ("-5", None),
        ("Mon, 21 Sep 2026 14:13:30 +99999999999999999999", None),
    ],
)
def test_retry_after_is_read_in_both_forms(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC)) == seconds


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("https://hooks.slack.com/services/T/B/x", True),
        ("http://127.0.0.1:9/x", True),
        ("http://localhost/x", True),
        ("http://10.0.0.1/x", False),
        ("https://[fe80::1]/x", False),
        ("https://169.254.169.254/x", False),
        ("https://169.254.169.254./x", False),
        ("https://2852039166/x", False),
        ("https://0xa9.0xfe.43518/x", False),
        ("https://[::ffff:169.254.169.254]/x", False),
        ("https://[::ffff:10.0.0.1]/x", True),
        ("https://[fe80::1/x", False),
        ("https://host:port/x", False),
        ("https:///x", False),
        ("ftp://example.com", False),
        ("https://exa mple.com/", False),
        ("https://example.com/\nX: y", False),
        ("", False),
        ("https://example.com/" + "x" * 2000, False),
    ],
)
def test_which_addresses_may_be_posted_to(url: str, good: bool) -> None:
    assert (address_fault(url) == "") is good


# Words


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "CPU 97 % on web-3 for 2 min: stress (pid 4242) uses 93 %"),
        ({"metric": "memory.used_percent", "value": 94.0}, "Memory 94 % on web-3 for 2 min"),
        (
            {"metric": "disk.used_percent", "labels": {"mount": "/var"}, "value": 91.2},
            "Disk /var 91 % on web-3 for 2 min",
        ),
        (
            {"metric": "load.1m", "value": 12.4, "unit": None},
            "Load 12.4 on web-3 for 2 min: stress (pid 4242) uses 93 %",
        ),
        ({"metric": "app.queue_depth", "value": 7.0}, "CPU is busy on web-3 for 2 min"),
        (
            {"kind": SignalKind.ANOMALY, "title": "cpu.percent is unusual"},
            "cpu.percent is unusual on web-3 for 2 min: stress (pid 4242) uses 93 %",
        ),
        ({"kind": SignalKind.SILENCE, "title": "web-3 is silent", "metric": None}, "web-3 is silent"),
        (
            {"title": "CPU is not sent", "value": 180.0, "unit": "s", "evidence": {"measure": "silent_s"}},
            "CPU is not sent on web-3 for 2 min",
        ),
    ],
)
def test_the_headline_names_trouble_host_duration_and_cause(changes: dict[str, Any], words: str) -> None:
    assert headline(a_signal(**changes)) == words


@pytest.mark.parametrize(
    ("milliseconds", "words"),
    [
        (0, "0 s"),
        (59_400, "59 s"),
        (60_000, "1 min"),
        (3_600_000, "1 h"),
        (12_000_000, "3 h 20 min"),
        (90_000_000, "1 d 1 h"),
    ],
)
def test_durations_in_words(milliseconds: int, words: str) -> None:
    assert duration(milliseconds) == words


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (97.2, "percent", "97 %"),
        (0.5, "percent", "0.5 %"),
        (1.5e9, "bytes", "1.5 GB"),
        (5e15, "bytes", "5000 TB"),
        (63.95, "celsius", "64 °C"),
        (1234.5, None, "1234"),
        (2e6, "bytes_per_second", "2 MB/s"),
        (999_600.0, "bytes", "1 MB"),
        (-0.0, "celsius", "0 °C"),
        (1e300, "percent", "1e+300 %"),
        (1e300, "bytes", "1e+288 TB"),
    ],
)
def test_quantities_in_words(value: float, unit: str | None, words: str) -> None:
    assert quantity(value, unit) == words


@given(st.text(max_size=400), st.integers(1, 100))
def test_one_line_is_one_printable_line_of_bounded_length(text: str, limit: int) -> None:
    line = one_line(text, limit)
    assert len(line) <= limit
    assert line.isprintable()


def test_every_kind_of_trouble_has_fixes_a_tired_person_can_follow() -> None:
    assert fixes_for("disk.used_percent") == FIXES["disk."]
    assert fixes_for("disk.inodes_used_percent") == FIXES["disk.inodes"]
    assert fixes_for("cpu.steal_percent") == FIXES["cpu.steal"]
    assert fixes_for(None) == fixes_for("app.queue_depth") == GENERAL_FIXES
    assert fixes_for("cpu.percent", SignalKind.SILENCE) == SILENCE_FIXES
    for fixes in [*FIXES.values(), SILENCE_FIXES, GENERAL_FIXES]:
        assert 1 <= len(fixes) <= 4
        assert all(fix.endswith((".", ")", ";")) or " | " in fix or ":" in fix for fix in fixes)


@given(st.integers(1, 60), st.none() | st.floats(0, 1e6), st.floats(0, 0.999))
def test_patience_grows_and_honours_the_far_side(attempts: int, wished: float | None, chance: float) -> None:
    wait = retry_after_s(attempts, wished, chance)
    assert wait >= min(wished or 0, 3600)
    assert wait >= FIRST_RETRY_S / 2
    assert wait <= max(LONGEST_RETRY_S, min(wished or 0, 3600))


def test_a_sealed_secret_opens_for_its_owner_under_the_same_pepper_only() -> None:
    sealed = Sealer("a" * 32).seal(b"hush", "chan_1")
    assert b"hush" not in sealed
    assert Sealer("a" * 32).open(sealed, "chan_1") == b"hush"
    for sealer, value, owner in (
        (Sealer("b" * 32), sealed, "chan_1"),
        (Sealer("a" * 32), sealed, "chan_2"),
        (Sealer("a" * 32), sealed[:-1] + bytes([sealed[-1] ^ 1]), "chan_1"),
        (Sealer("a" * 32), b"\x02" + sealed[1:], "chan_1"),
        (Sealer("a" * 32), b"", "chan_1"),
    ):
        with pytest.raises(Misconfigured, match="does not open"):
            sealer.open(value, owner)

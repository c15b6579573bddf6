"""Named events whose messages are kept as golden files and looked at in a browser.

``python -m tests.unit.notify.stories`` writes the golden files again; read the difference before committing it.
"""

from __future__ import annotations

import json
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path

from farwatch.adapters.channels import email, pagerduty, slack
from farwatch.domain.events import EventKind, IncidentEvent, SignalLine
from farwatch.domain.samples import TopProcess
from farwatch.domain.severity import Severity
from farwatch.domain.signals import SignalKind
from tests.unit.notify.makers import NOW, STRESS, a_signal, an_event

GOLDEN = Path(__file__).parent / "golden"
DASHBOARD = "https://farwatch.example"
KEY = "0123456789abcdef0123456789abcdef"
HOSTILE = "<!channel> *web* & <img src=x onerror=alert(1)> \u202e{{7*7}}"

_BUSY = a_signal(
    severity=Severity.CRITICAL,
    top_processes=(
        STRESS,
        TopProcess(811, "postgres: checkpointer", 4.25, 412_000_000),
        TopProcess(1, "systemd", 0.1, 12_300_000),
    ),
    evidence={"mean_of_last_minute": 96.8, "threshold": 90.0},
)


def events() -> dict[str, IncidentEvent]:
    """Return each story's event by name."""
    opened = an_event(signal=_BUSY)
    lines = tuple(
        SignalLine(
            f"Disk {mount} is filling up", Severity.WARNING, firing=bool(n % 3), since=NOW, inhibited=n == 1
        )
        for n, mount in enumerate(
            ["/", "/var", "/home", "/srv", "/data", "/backup", "/opt", "/tmp", "/a", "/b", "/c", "/d"]
        )
    )
    silent = an_event(
        signal=a_signal(
            kind=SignalKind.SILENCE,
            title="web-3 is silent",
            severity=Severity.CRITICAL,
            reason="Nothing has been heard from web-3 for 2 min; it reports every 5 s.",
            metric=None,
            value=None,
            top_processes=(),
        )
    )
    hostile = an_event(
        signal=a_signal(
            host_name=HOSTILE,
            title=HOSTILE,
            reason=HOSTILE,
            top_processes=(replace(STRESS, name=HOSTILE),),
            labels={"core": HOSTILE},
            metric="cpu.core_percent",
        )
    )
    return {
        "opened": opened,
        "escalated": replace(
            opened, kind=EventKind.ESCALATED, at=NOW + 600_000, signals=lines, signal_count=34
        ),
        "acknowledged": replace(
            opened,
            kind=EventKind.ACKNOWLEDGED,
            at=NOW + 60_000,
            actor="Ada Lovelace",
            note="On it.",
            status="acknowledged",
        ),
        "resolved": replace(
            opened,
            kind=EventKind.RESOLVED,
            at=NOW + 5_520_000,
            resolved_at=NOW + 5_520_000,
            status="resolved",
        ),
        "silent": silent,
        "hostile": hostile,
    }


def composed(event: IncidentEvent, delivery_id: str = "dlv_1") -> EmailMessage:
    """Return the mail about an event."""
    return email.compose(
        event,
        "ada@example.com",
        delivery_id,
        sender="Farwatch <farwatch@example.com>",
        dashboard_url=DASHBOARD,
        environment="production",
    )


def mail(event: IncidentEvent) -> str:
    """Return the text part of the mail about an event, after its headers."""
    message = composed(event, "dlv_0123456789abcdef012345")
    headers = "\n".join(
        f"{name}: {value}" for name, value in message.items() if not name.startswith(("MIME", "Content"))
    )
    body = message.get_body(("plain",))
    assert body is not None
    return f"{headers}\n\n{body.get_content()}"


def html(event: IncidentEvent) -> str:
    """Return the HTML part of the mail about an event."""
    message = composed(event, "dlv_0123456789abcdef012345")
    body = message.get_body(("html",))
    assert body is not None
    return str(body.get_content())


def golden() -> dict[str, str]:
    """Return every golden file's content by name."""
    files = {}
    for name, event in events().items():
        files[f"{name}.eml.txt"] = mail(event)
        files[f"{name}.html"] = html(event)
        files[f"{name}.slack.json"] = (
            json.dumps(slack.compose(event, DASHBOARD), indent=1, ensure_ascii=False) + "\n"
        )
        files[f"{name}.pagerduty.json"] = (
            json.dumps(pagerduty.compose(event, KEY, DASHBOARD), indent=1, ensure_ascii=False) + "\n"
        )
    return files


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name, text in golden().items():
        (GOLDEN / name).write_text(text, newline="\n")

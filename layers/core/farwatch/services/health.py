"""What the health page says of work that nobody waits for: the sweep, batches, channels, deliveries and dead letters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from farwatch.domain.headlines import duration
from farwatch.errors import Misconfigured, Unavailable
from farwatch.ports.deliveries import ChannelRow
from farwatch.ports.queues import DeadLetters

SWEEP_LATE_MS = 180_000

MADE_GOOD = frozenset({"samples-dead.fifo", "looks-dead.fifo", "pushes-dead", "live-dead"})
"""Dead letters that somebody sends again unasked, or that were for that moment only."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One part: ``off`` means that it is not configured, which is nobody's fault."""

    name: str
    status: Literal["ok", "down", "off"]
    detail: str = ""


def findings(
    *,
    steps: Sequence[Mapping[str, Any]],
    waiting_ms: Sequence[int],
    channels: Sequence[ChannelRow],
    email_ready: bool,
    undelivered: Mapping[str, int],
    dead_letters: DeadLetters,
    now: int,
) -> Iterator[Finding]:
    """Yield the parts in a fixed order.

    ``steps`` are the sweep's records; ``waiting_ms`` says for each host how long its oldest batch has waited to be stored, 0
    when none is late; ``undelivered`` counts deliveries by state (``waiting``, ``failed``, ``dead``) of the
    last day.
    """
    yield _sweep(steps, now)
    yield _batches(waiting_ms)
    if not email_ready:
        yield Finding("e-mail", "off", "no mail server is configured")
    for row in channels:
        if not row.enabled:
            yield Finding(f"{row.kind} {row.name}", "off", "switched off")
        elif row.healthy is False:
            yield Finding(f"{row.kind} {row.name}", "down", row.health_error)
        else:
            yield Finding(f"{row.kind} {row.name}", "ok", "" if row.healthy else "nothing sent yet")
    counted = ", ".join(f"{count} {state}" for state, count in undelivered.items() if count)
    yield Finding("deliveries", "down" if undelivered.get("dead") else "ok", counted)
    yield _dead_letters(dead_letters)


def _dead_letters(dead_letters: DeadLetters) -> Finding:
    try:
        counts = dead_letters.counts()
    except (Unavailable, Misconfigured) as error:
        return Finding("dead letters", "down", error.message)
    held = {name: count for name, count in counts.items() if count}
    told = ", ".join(f"{count} in {name}" for name, count in held.items())
    return Finding("dead letters", "down" if held.keys() - MADE_GOOD else "ok", told)


def _batches(waiting_ms: Sequence[int]) -> Finding:
    late = [waited for waited in waiting_ms if waited]
    if not late:
        return Finding("batches", "ok")
    hosts = "1 host waits" if len(late) == 1 else f"{len(late)} hosts wait"
    return Finding(
        "batches",
        "down",
        f"what {hosts} to have stored is up to {duration(max(late))} behind; until then silence is judged by who knocks, "
        "and rules by what is stored",
    )


def _sweep(steps: Sequence[Mapping[str, Any]], now: int) -> Finding:
    if not steps:
        return Finding("sweep", "down", "it has never run")
    last = max(int(step["last_run_at"]) for step in steps)
    if now - last > SWEEP_LATE_MS:
        return Finding("sweep", "down", f"it last ran {duration(now - last)} ago")
    failing = [f"{step['step']}: {step['last_error']}" for step in steps if step["failures"]]
    return Finding("sweep", "down" if failing else "ok", "; ".join(failing)[:500])

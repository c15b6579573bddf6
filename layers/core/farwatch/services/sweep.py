"""Sweep: each minute, notice what no message says, and mend what messages lost.

Its steps do not depend on each other: one that fails is logged and counted, and the next one runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from farwatch.domain.headlines import duration
from farwatch.domain.hosts import Host, last_life, silent_after_s
from farwatch.domain.severity import Severity
from farwatch.domain.signals import Signal, SignalKind, SignalState, fingerprint
from farwatch.errors import FarwatchError, Unavailable
from farwatch.observability import logger
from farwatch.ports.anomalies import AnomalyStore
from farwatch.ports.deliveries import DeliveryStore, Inbox
from farwatch.ports.hosts import Door, Hosts
from farwatch.ports.incidents import IncidentStore, StaleSignal
from farwatch.ports.messaging import EventTopic, SignalQueue
from farwatch.ports.sweep import SweepLog
from farwatch.services.door import heard
from farwatch.services.incidents import Incidents
from farwatch.services.outbox import publish_each

Step = Callable[[int], object]

# Firing signals are sent again every minute (forecasts every hour); this long without one, the end was lost.
STALE_AFTER_S: Mapping[SignalKind, float] = {
    SignalKind.RULE: 300.0,
    SignalKind.ANOMALY: 300.0,
    SignalKind.FORECAST: 3 * 3600.0,
}
KEEP_SIGNALS_MS = 30 * 86_400_000
KEEP_INCIDENTS_MS = KEEP_ANOMALIES_MS = 400 * 86_400_000
KEEP_NOTIFICATIONS_MS = 90 * 86_400_000
_DOORBELLS = 500


class Watch:
    """Notices silent hosts, and signals whose end was lost."""

    def __init__(
        self,
        hosts: Hosts,
        door: Door,
        store: IncidentStore,
        incidents: Incidents,
        signals: SignalQueue,
        log: SweepLog,
    ) -> None:
        self._hosts = hosts
        self._door = door
        self._store = store
        self._incidents = incidents
        self._signals = signals
        self._log = log

    def look(self, now: int) -> int:
        """Send a signal for every silent host and for every host that is heard again, and close lost signals.

        Returns how many signals were sent or closed. While the back end itself was down no host could be heard, so
        silence only counts from when the sweep has been running again. A host whose batches wait to be stored is not
        silent: what counts is when it last knocked at the door, unless it is stuck.
        """
        since = self._log.tick(now)
        door = heard(self._door, "silence is judged by what is stored")
        hosts = {host.id: host for host in self._hosts.all()}
        newest = max((host.last_seen_at or 0 for host in hosts.values()), default=0)
        lives = {host.id: last_life(host, door, newest) for host in hosts.values()}
        firing = self._store.firing_signals()
        told_silent = {signal.host_id for signal in firing if signal.kind == SignalKind.SILENCE}
        silent = {host.id for host in hosts.values() if is_silent(host, lives[host.id], since, now)}
        states = dict.fromkeys(sorted(silent), SignalState.FIRING) | dict.fromkeys(
            sorted(told_silent & hosts.keys() - silent), SignalState.RESOLVED
        )
        speaking = [
            silence(hosts[host_id], lives[host_id], door.get(host_id), state, now)
            for host_id, state in states.items()
        ]
        if speaking:
            self._signals.send(speaking)
        # A host counts as silent until its incident knows better: its other signals need time to be heard again.
        return len(speaking) + self._close_lost(firing, hosts, silent | told_silent, since, now)

    def _close_lost(
        self,
        firing: list[StaleSignal],
        hosts: Mapping[str, Host],
        silent: set[str],
        since: int,
        now: int,
    ) -> int:
        lost: dict[tuple[str, str], list[str]] = {}
        for signal in firing:
            why = _why_lost(signal, hosts.get(signal.host_id), silent, since, now)
            if why is not None:
                lost.setdefault((signal.group_key, why), []).append(signal.fingerprint)
        for (group_key, why), fingerprints in lost.items():
            self._incidents.expire(group_key, fingerprints, why, now)
        return sum(map(len, lost.values()))


def is_silent(host: Host, life: int | None, since: int, now: int) -> bool:
    """Whether a host that should report gave its last sign of ``life`` too long ago while we were listening."""
    if host.may_be_off or life is None:
        return False
    return now - max(life, since) > silent_after_s(host.interval_s) * 1000


def silence(host: Host, life: int | None, knocked: int | None, state: SignalState, now: int) -> Signal:
    """Return the signal that a host is silent, or is heard again. The episode starts with the last sign of ``life``.

    A host that has ``knocked`` since then speaks, and is silent all the same: nothing of it is stored.
    """
    last_seen = now if life is None else life
    gone = state is SignalState.FIRING
    stuck = gone and knocked is not None and now - knocked <= silent_after_s(host.interval_s) * 1000
    reason = (
        f"{host.name} reports, but nothing it has sent for {duration(now - last_seen)} could be stored; "
        "other hosts' samples are stored."
        if stuck
        else f"Nothing has been heard from {host.name} for {duration(now - last_seen)}; "
        f"it reports every {duration(round(host.interval_s * 1000))}."
        if gone
        else f"{host.name} may be off at times."
        if host.may_be_off
        else f"{host.name} reports again."
    )
    return Signal(
        fingerprint=fingerprint("silence", host.id, {}),
        kind=SignalKind.SILENCE,
        state=state,
        host_id=host.id,
        host_name=host.name,
        source="silence",
        title=f"Nothing of {host.name} is stored" if stuck else f"{host.name} is silent",
        severity=Severity.CRITICAL,
        started_at=last_seen,
        at=now,
        reason=reason,
        host_labels=host.labels,
        evidence={"last_seen_at": last_seen},
    )


def _why_lost(signal: StaleSignal, host: Host | None, silent: set[str], since: int, now: int) -> str | None:
    """Return why a firing signal is taken to be over, or None when it is not."""
    if host is None:
        return "the host has been retired"
    patience_s = STALE_AFTER_S.get(SignalKind(signal.kind))
    if patience_s is None or host.id in silent:
        return None
    heard = max(signal.heard_at, signal.silence_ended_at or 0, since)
    if now - heard <= max(patience_s, 3 * host.interval_s) * 1000:
        return None
    if host.last_seen_at is None or now - host.last_seen_at > silent_after_s(host.interval_s) * 1000:
        return None
    return f"no news of it for {duration(now - heard)} while the host reports"


def announce_due(store: IncidentStore, incidents: Incidents, now: int) -> int:
    """Tell people of incidents whose group wait is over; return how many."""
    groups = store.due_to_announce(now)
    for group_key in groups:
        incidents.announce(group_key, now)
    return len(groups)


def ring_again(deliveries: DeliveryStore, topic: EventTopic, now: int) -> int:
    """Ring for deliveries that are due and whose message is gone, such as those of a worker that died; return how many."""
    bells = deliveries.due(now, _DOORBELLS)
    return sum(1 for _ in publish_each(topic, "doorbells", [(bell.event, bell.channel) for bell in bells]))


def forget(store: IncidentStore, inbox: Inbox, anomalies: AnomalyStore, now: int) -> int:
    """Delete what nobody will ask for any more; return how many rows went."""
    rows = store.forget(signals_before=now - KEEP_SIGNALS_MS, incidents_before=now - KEEP_INCIDENTS_MS)
    return rows + inbox.forget(now - KEEP_NOTIFICATIONS_MS) + anomalies.forget(now - KEEP_ANOMALIES_MS)


class Sweep:
    """Runs every step, whatever happens to the others."""

    def __init__(self, steps: Mapping[str, Step], log: SweepLog) -> None:
        self._steps = steps
        self._log = log

    def run(self, now: int) -> dict[str, str]:
        """Run all steps and return how each went: ``ok`` or the error in words."""
        outcome: dict[str, str] = {}
        for name, step in self._steps.items():
            outcome[name] = self._run(name, step, now)
        return outcome

    def _run(self, name: str, step: Step, now: int) -> str:
        error: str | None = None
        try:
            step(now)
        except FarwatchError as failure:
            error = failure.message
            logger.error("sweep step failed", extra={"step": name, "reason": error})
        except Exception as failure:  # noqa: BLE001 - one broken step must not stop the watch over silent hosts
            error = f"{type(failure).__name__}: {failure}"
            logger.exception("sweep step failed", extra={"step": name})
        try:
            self._log.record(name, now, error)
        except Unavailable as failure:
            logger.error("sweep step not recorded", extra={"step": name, "reason": failure.message})
        return error or "ok"

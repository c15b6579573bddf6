"""Forecast: ask for one, make it, see later how good it was, and keep the outlook of what can run out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from farwatch.domain.capacity import WATCHED, Outlook, alert_level
from farwatch.domain.catalogue import BY_NAME
from farwatch.domain.hosts import Host
from farwatch.domain.pushes import Push
from farwatch.domain.retention import MINUTE, Resolution
from farwatch.domain.samples import SeriesKey
from farwatch.domain.severity import Severity
from farwatch.domain.signals import Signal, SignalKind, SignalState, fingerprint
from farwatch.errors import FarwatchError, FieldError, InvalidInput, NotFound, Unavailable
from farwatch.forecasting import SLOW, Bounds, ForecastError, History, UnknownModel, get, names
from farwatch.forecasting.accuracy import compare
from farwatch.forecasting.capacity import time_to_threshold
from farwatch.ids import new_id
from farwatch.observability import logger
from farwatch.ports.forecasts import Background, ForecastState, ForecastStore, Score, StoredForecast
from farwatch.ports.hosts import Hosts
from farwatch.ports.messaging import PushQueue, SignalQueue
from farwatch.ports.metric_store import MetricStore

STEP_S = 900
WEEK_MS = 7 * 86_400_000
CACHE_MS = 5 * 60_000
MIN_HORIZON_S, MAX_HORIZON_S = 3600, 7 * 86_400
GIVE_UP_MS = 3_600_000
KEEP_MS = 90 * 86_400_000
GONE_AFTER_S = 3600.0
"""How long a series may go without samples before it is taken to be silent, or gone if its host speaks."""
_SCORED_AT_ONCE = 200


class Forecasts:
    """Makes and keeps forecasts. The same question within five minutes gets the same answer."""

    def __init__(
        self,
        store: MetricStore,
        hosts: Hosts,
        forecasts: ForecastStore,
        background: Background,
        pushes: PushQueue,
    ) -> None:
        self._store = store
        self._hosts = hosts
        self._forecasts = forecasts
        self._background = background
        self._pushes = pushes

    def ask(
        self, host_id: str, key: SeriesKey, model: str, horizon_s: int, user_id: str, now: int
    ) -> StoredForecast:
        """Return a forecast of the series for the next ``horizon_s`` seconds, ready, or pending for a slow model.

        Raises NotFound for an unknown host, InvalidInput for an unknown model or series, a horizon that is not 1 h to 7 d,
        or too little history (the message says how much is needed).
        """
        if self._hosts.get(host_id) is None:
            raise NotFound(f"there is no host {host_id}", code="unknown_host")
        if model not in names():
            raise InvalidInput(
                f"there is no model {model}", [FieldError("model", f"one of {', '.join(names())}")]
            )
        if not MIN_HORIZON_S <= horizon_s <= MAX_HORIZON_S:
            raise InvalidInput(
                "the horizon does not fit", [FieldError("horizon_s", "from 3600 to 604800 seconds")]
            )
        known = self._forecasts.newest(host_id, key, model, horizon_s, now - CACHE_MS)
        if known is not None:
            return known
        if key not in self._store.series(host_id, key.metric):
            raise InvalidInput(
                f"the host has never sent {key.text()}",
                [FieldError("metric", "a metric of the host, with all labels of the series")],
                code="no_forecast",
            )
        asked = StoredForecast(new_id("fc"), host_id, key, model, horizon_s, now, user_id)
        if model in SLOW:
            self._forecasts.add(asked)
            try:
                self._background.start(asked.id)
            except Unavailable as error:
                # Left pending, it would answer the same question for five minutes, and nobody is making it.
                self._forecasts.finish(replace(asked, state=ForecastState.FAILED, error=error.message))
                raise
            return asked
        made = self._make(asked, now)
        if made.state is ForecastState.FAILED:
            raise InvalidInput(made.error, [FieldError("metric", made.error)], code="no_forecast")
        self._forecasts.add(made)
        return made

    def run(self, forecast_id: str, now: int) -> StoredForecast | None:
        """Make a pending forecast and tell who asked; None when it is not pending (a repeated message)."""
        asked = self._forecasts.get(forecast_id)
        if asked is None or asked.state is not ForecastState.PENDING:
            return None
        made = self._make(asked, now)
        self._forecasts.finish(made)
        data = {"id": made.id, "state": made.state, "error": made.error}
        try:
            self._pushes.send([Push(f"user:{made.made_by}", "forecast.ready", made.id, now, data)])
        except Unavailable as error:
            logger.warning("push skipped", extra={"reason": error.message})
        return made

    def _make(self, asked: StoredForecast, now: int) -> StoredForecast:
        entry = BY_NAME.get(asked.key.metric)
        bounds = Bounds(entry.low, entry.high) if entry is not None else Bounds()
        try:
            history = self.history(asked.host_id, asked.key, now)
            made = get(asked.model).forecast(history, max(1, asked.horizon_s // STEP_S), bounds)
        except UnknownModel:
            raise
        except ForecastError as error:
            return replace(asked, state=ForecastState.FAILED, error=str(error))
        return replace(
            asked,
            state=ForecastState.READY,
            start=round(float(made.times[0]) * 1000),
            step_s=STEP_S,
            # Nine digits, whatever the unit: six decimals are too many for bytes and none at all for a tiny rate.
            quantiles=[[float(f"{value:.9g}") for value in row] for row in made.quantiles.tolist()],
        )

    def history(self, host_id: str, key: SeriesKey, now: int) -> History:
        """Return the last seven days of a series on a 15-minute grid; empty when there is nothing."""
        empty = History.from_samples([], [], now=now / 1000, step=STEP_S)
        return self.histories(host_id, [key.metric], now).get(key, empty)

    def histories(self, host_id: str, metrics: Sequence[str], now: int) -> dict[SeriesKey, History]:
        """Return the last seven days of every series of the metrics, read at once, on a 15-minute grid."""
        found = self._store.read(host_id, metrics, now - WEEK_MS, now, Resolution(MINUTE, STEP_S))
        return {
            data.key: History.from_samples(data.times / 1000.0, data.mean, now=now / 1000, step=STEP_S)
            for data in found
        }

    def judge(self, now: int) -> int:
        """Compare the forecasts whose time has passed with what came, and return how many were judged.

        Forecasts that were to be made in the background an hour ago and were not are given up, and old ones deleted.
        """
        self._forecasts.give_up(now - GIVE_UP_MS, "it was not made within an hour; ask again")
        due = self._forecasts.due(now - 300_000, _SCORED_AT_ONCE)
        for forecast in due:
            try:
                score = self._score(forecast)
            except FarwatchError:
                raise  # the store is away: later
            except Exception:  # noqa: BLE001 - it would fail again each time, and no outlook be made ever after
                logger.exception("forecast not judged", extra={"forecast": forecast.id})
                score = None
            self._forecasts.score(forecast.id, score)
        self._forecasts.forget(now - KEEP_MS)
        return len(due)

    def _score(self, forecast: StoredForecast) -> Score | None:
        steps, width = len(forecast.quantiles), forecast.step_s * 1000
        day = 86_400_000
        end = forecast.start + steps * width
        found = self._store.read(
            forecast.host_id,
            [forecast.key.metric],
            forecast.start - day,
            end,
            Resolution(MINUTE, forecast.step_s),
        )
        data = next((item for item in found if item.key == forecast.key), None)
        if data is None:
            return None
        came = dict(zip(data.times.tolist(), data.mean.tolist(), strict=True))
        times = [forecast.start + step * width for step in range(steps)]
        actual = np.array([came.get(at, np.nan) for at in times])
        # The naive forecast knows the day before the start only, and repeats it.
        before = [at - day * (1 + (at - forecast.start) // day) for at in times]
        yesterday = np.array([came.get(at, np.nan) for at in before])
        result = compare(actual, np.array(forecast.quantiles), yesterday)
        if result is None:
            return None
        return Score(
            result.steps,
            result.mae,
            result.relative_mae,
            result.relative_pinball,
            result.cover80,
            result.cover95,
        )


@dataclass(frozen=True, slots=True)
class Refreshed:
    """How many outlooks were made, and how many hosts still wait for theirs."""

    outlooks: int
    waiting: int


class Capacities:
    """Keeps, for every bounded metric of every host, when it will be full, and raises the alarm in time."""

    def __init__(
        self,
        forecasts: Forecasts,
        kept: ForecastStore,
        hosts: Hosts,
        signals: SignalQueue,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._forecasts = forecasts
        self._kept = kept
        self._hosts = hosts
        self._signals = signals
        self._clock = clock

    def refresh(self, now: int, budget_s: float = math.inf) -> Refreshed:
        """Estimate anew for the whole fleet (``now``: epoch ms), and send the signals that follow.

        After ``budget_s`` no further host is begun. Those whose outlooks are oldest come first, so in a fleet that is too
        large for one go each has its turn.
        """
        until = self._clock() + budget_s
        kept: dict[str, dict[SeriesKey, Outlook]] = {}
        for earlier in self._kept.outlooks():
            kept.setdefault(earlier.host_id, {})[earlier.key] = earlier
        hosts = self._hosts.all()
        for gone in kept.keys() - {host.id for host in hosts}:
            self._kept.keep_outlooks(gone, [])  # retired
        ages = {host_id: min(outlook.at for outlook in own.values()) for host_id, own in kept.items()}
        hosts = sorted(hosts, key=lambda host: ages.get(host.id, 0))
        looked = 0
        for place, host in enumerate(hosts):
            if self._clock() > until:
                return Refreshed(looked, len(hosts) - place)
            try:
                looked += self._refresh_host(host, kept.get(host.id, {}), now)
            except FarwatchError:
                raise  # the store or the queue is away: later
            except Exception:  # noqa: BLE001 - it comes first from now on; the others are to have their turn all the same
                logger.exception("no outlook", extra={"host": host.id})
        return Refreshed(looked, 0)

    def _refresh_host(self, host: Host, before: dict[SeriesKey, Outlook], now: int) -> int:
        """Estimate anew for one host, and return how many outlooks it has."""
        histories = self._forecasts.histories(host.id, list(WATCHED), now)
        heard = {key: history.heard for key, history in histories.items()}
        newest = max(heard.values(), default=0.0)
        after = [
            outlook
            for key, history in histories.items()
            # One that is behind the host's others is gone, as the disk of a mount that was undone.
            if heard[key] >= newest - GONE_AFTER_S
            and (outlook := self._look(host, key, history, before.get(key), now)) is not None
        ]
        signals = [_signal(host, outlook, SignalState.FIRING, now) for outlook in after if outlook.alert]
        still = {outlook.key for outlook in after if outlook.alert}
        signals += [
            _signal(host, outlook, SignalState.RESOLVED, now)
            for key, outlook in before.items()
            if outlook.alert and key not in still
        ]
        if signals:
            self._signals.send(signals)
        self._kept.keep_outlooks(host.id, after)
        return len(after)

    def _look(
        self, host: Host, key: SeriesKey, history: History, before: Outlook | None, now: int
    ) -> Outlook | None:
        try:
            found = time_to_threshold(history, WATCHED[key.metric], now / 1000)
        except ForecastError:
            return None  # less than a day of history: nothing to say yet
        outlook = Outlook(
            host_id=host.id,
            key=key,
            at=now,
            threshold=found.threshold,
            current=found.current,
            per_day=found.per_day,
            median_s=found.median_s,
            low_s=found.low_s,
            high_s=found.high_s,
        )
        alert = before.alert if before is not None else None
        # Of a host that is silent nothing new is known: whether its disk went on filling, or it is off.
        silent = now / 1000 - history.heard > GONE_AFTER_S
        level = alert if silent else alert_level(outlook, alert)
        if level is None:
            return outlook
        since = before.alert_since if before is not None and before.alert is not None else now
        return replace(outlook, alert=level, alert_since=since)


def _signal(host: Host, outlook: Outlook, state: SignalState, now: int) -> Signal:
    over = state is SignalState.RESOLVED
    words = outlook.in_words()
    return Signal(
        fingerprint=fingerprint("capacity", host.id, {"metric": outlook.key.metric, **outlook.key.label_map}),
        kind=SignalKind.FORECAST,
        state=state,
        host_id=host.id,
        host_name=host.name,
        source="capacity",
        title="Disk will be full" if outlook.key.metric == "disk.used_percent" else "Inodes will run out",
        severity=outlook.alert or Severity.INFO,
        started_at=outlook.alert_since,
        at=now,
        reason=f"No longer expected: {words}." if over else words[0].upper() + words[1:] + ".",
        metric=outlook.key.metric,
        labels=outlook.key.label_map,
        value=outlook.current,
        unit="%",
        evidence={"median_s": outlook.median_s, "low_s": outlook.low_s, "high_s": outlook.high_s},
        host_labels=host.labels,
    )

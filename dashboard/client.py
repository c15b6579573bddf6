"""A typed client of ``/api/v1``, one method per thing the dashboard asks or does.

Answers are the API's JSON as dictionaries with the types of :mod:`dashboard.wire`. Times are epoch milliseconds.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import quote

import httpx

from dashboard.answers import SignedOut, Unreachable, in_milliseconds, problem_of
from dashboard.wire import (
    Anomaly,
    AnomalyPage,
    Config,
    DetectorChoice,
    DetectorRun,
    Forecast,
    Host,
    Incident,
    IncidentPage,
    LatestSample,
    MetricInfo,
    ModelAccuracy,
    NotificationPage,
    Outlook,
    Preferences,
    RangeAnswer,
    SeriesInfo,
    Ticket,
    Tokens,
    WatchedHost,
)

TIMEOUT = httpx.Timeout(15.0, connect=3.0)
RETRIED_STATUS = frozenset({429, 502, 503, 504})
GET_ATTEMPTS = 3
PASSWORD_REFUSALS = frozenset({"login_failed"})
LONGEST_WAIT_S = 2.0
DETECTOR_TIMEOUT_S = 30.0


def _is_about_the_token(response: httpx.Response) -> bool:
    """Whether it is the credential that was refused, and not a password in the body."""
    unauthorized = response.status_code == httpx.codes.UNAUTHORIZED
    return unauthorized and problem_of(response).code not in PASSWORD_REFUSALS


@dataclass
class Credentials:
    """How a client proves who it is: ``bearer()`` returns a token, ``renew(stale)`` a newer one or raises SignedOut."""

    bearer: Callable[[], str]
    renew: Callable[[str], str]


def _content(response: httpx.Response) -> Any:
    """Return the decoded JSON of a good answer; raises Unreachable when somebody else, such as a proxy, gave it."""
    try:
        return in_milliseconds(response.json())
    except ValueError as error:
        raise Unreachable(
            "What answers is not Farwatch's back end, but perhaps a proxy on the way."
        ) from error


def segment(name: str) -> str:
    """Return a name as one part of a path. Ids come from the address too, and a link may hold ``../`` or anything else."""
    if not name.strip("."):  # dots alone would be taken for a step up
        return name.replace(".", "%2E")
    return quote(name, safe="")


@dataclass
class Client:
    """The API as one person sees it. Safe to use from several threads.

    Every method raises :class:`Problem`, :class:`Unreachable` or :class:`SignedOut`.
    """

    http: httpx.Client
    credentials: Credentials | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)

    # -- the one way out -------------------------------------------------------------------------------------

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | Sequence[tuple[str, Any]] | None = None,
        json: Any = None,
        if_match: str | None = None,
        timeout_s: float | None = None,
    ) -> httpx.Response:
        """Send one request below ``/api/v1`` and return its good answer; ``timeout_s`` is for what takes long by its nature.

        Reads are tried up to three times on network errors and on 429/502/503/504; a POST carries an idempotency
        key and is tried again only when the connection was never made. An expired token is renewed once.
        """
        headers = dict(self.headers)
        if method == "POST":
            headers["Idempotency-Key"] = str(uuid.uuid4())
        if if_match is not None:
            headers["If-Match"] = if_match
        renewed = False
        attempt = 0
        while True:
            attempt += 1
            credentials = self.credentials
            token = credentials.bearer() if credentials else None
            if token is not None:
                headers["Authorization"] = f"Bearer {token}"
            try:
                response = self.http.request(
                    method,
                    f"/api/v1{path}",
                    params=cast(Any, params),
                    json=json,
                    headers=headers,
                    timeout=httpx.USE_CLIENT_DEFAULT if timeout_s is None else timeout_s,
                )
            except httpx.HTTPError as error:
                if attempt < GET_ATTEMPTS and (method == "GET" or isinstance(error, httpx.ConnectError)):
                    self.sleep(0.2 * attempt)
                    continue
                raise Unreachable(f"The back end does not answer ({type(error).__name__}).") from error
            refused = _is_about_the_token(response)
            if refused and credentials is not None and token is not None and not renewed:
                renewed = True
                credentials.renew(token)
                continue
            if method == "GET" and response.status_code in RETRIED_STATUS and attempt < GET_ATTEMPTS:
                wait = problem_of(response).retry_after_s
                if wait is None or wait <= LONGEST_WAIT_S:
                    self.sleep(wait if wait is not None else 0.2 * attempt)
                    continue
            if refused and token is not None:
                raise SignedOut("Your session has ended. Sign in again.")
            if response.is_error:
                raise problem_of(response)
            return response

    def _get(self, path: str, **params: Any) -> Any:
        """Return the JSON of a GET. A list repeats its parameter, None leaves it out, ``from_`` means ``from``."""
        pairs: list[tuple[str, Any]] = []
        for name, value in params.items():
            if value is None:
                continue
            key = name.rstrip("_")
            if isinstance(value, (list, tuple)):
                pairs.extend((key, item) for item in value)
            else:
                pairs.append((key, value))
        return _content(self.call("GET", path, params=pairs))

    def _send(self, method: str, path: str, json: Any = None, if_match: str | None = None) -> Any:
        response = self.call(method, path, json=json, if_match=if_match)
        return _content(response) if response.content else None

    # -- for pages that manage lists ---------------------------------------------------------------------------

    def items(self, path: str, *, most: int = 200, **params: Any) -> list[dict[str, Any]]:
        """Return the items of a list, following its cursor until ``most`` are there. Parameters as for a query."""
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            page = self._get(path, **params, cursor=cursor)
            found.extend(page["items"])
            cursor = page.get("next_cursor")
            if not cursor or len(found) >= most:
                return found[:most]

    def read(self, path: str) -> tuple[dict[str, Any], str | None]:
        """Return one thing and its ETag, to be given back with a change."""
        response = self.call("GET", path)
        return cast(dict[str, Any], _content(response)), response.headers.get("etag")

    def file(self, path: str, **params: Any) -> bytes:
        """Return an answer as it came, to be saved as a file."""
        return self.call("GET", path, params=params).content

    def send(
        self, method: str, path: str, body: Any = None, *, if_match: str | None = None
    ) -> dict[str, Any]:
        """Send a change; return the answer, empty when there is none. With ``if_match``, 412 if somebody was faster."""
        return cast(dict[str, Any], self._send(method, path, body, if_match) or {})

    # -- people ----------------------------------------------------------------------------------------------

    def log_in(self, email: str, password: str) -> Tokens:
        """Exchange an e-mail address and a password for tokens."""
        return cast(Tokens, self._send("POST", "/auth/login", {"email": email, "password": password}))

    def log_in_with_identity(self, id_token: str) -> Tokens:
        """Exchange the identity provider's token for tokens of ours."""
        return cast(Tokens, self._send("POST", "/auth/oidc", {"id_token": id_token}))

    def refresh(self, refresh_token: str) -> Tokens:
        """Exchange a refresh token, which is used up by this, for new tokens."""
        return cast(Tokens, self._send("POST", "/auth/refresh", {"refresh_token": refresh_token}))

    def accept_invitation(self, token: str, name: str, password: str) -> Tokens:
        """Become a user with the token of an invitation link; the answer signs in."""
        body = {"token": token, "password": password, **({"name": name} if name else {})}
        return cast(Tokens, self._send("POST", "/auth/invitations/accept", body))

    def ask_for_reset(self, email: str) -> None:
        """Ask for a reset link by mail; the answer does not tell whether the address is known."""
        self._send("POST", "/auth/password-reset", {"email": email})

    def reset_password(self, token: str, password: str) -> None:
        """Choose a new password with the token of a reset link."""
        self._send("PUT", "/auth/password-reset", {"token": token, "new_password": password})

    def log_out(self) -> None:
        """End this session at the back end."""
        self._send("POST", "/auth/logout")

    def permissions(self) -> frozenset[str]:
        """Return everything the caller may do, such as ``incidents:write``."""
        return frozenset(self._get("/auth/me")["permissions"])

    def preferences(self) -> Preferences:
        """Return the caller's own preferences."""
        return cast(Preferences, self._get("/preferences"))

    def save_preferences(self, preferences: Mapping[str, Any]) -> Preferences:
        """Replace the caller's preferences; a bad field comes back as a Problem naming it."""
        return cast(Preferences, self._send("PUT", "/preferences", dict(preferences)))

    def ws_ticket(self) -> Ticket:
        """Return a one-time ticket for the WebSocket, good for a minute."""
        return cast(Ticket, self._send("POST", "/ws-tickets"))

    # -- hosts and configuration -----------------------------------------------------------------------------

    def hosts(self) -> list[Host]:
        """Return every host that is not retired, by name."""
        return cast(list[Host], self._get("/hosts")["items"])

    def host(self, host_id: str) -> Host:
        """Return one host."""
        return cast(Host, self._get(f"/hosts/{segment(host_id)}"))

    def change_host(self, host_id: str, changes: Mapping[str, Any]) -> Host:
        """Change ``interval_s`` (None: the fleet's), ``labels`` or ``may_be_off`` of a host."""
        return cast(Host, self._send("PATCH", f"/hosts/{segment(host_id)}", dict(changes)))

    def config(self) -> Config:
        """Return the fleet's configuration."""
        return cast(Config, self._get("/config"))

    def change_config(self, changes: Mapping[str, Any]) -> Config:
        """Change the fleet's configuration, such as ``default_interval_s``."""
        return cast(Config, self._send("PATCH", "/config", dict(changes)))

    def create_enrolment_token(
        self, name: str, *, max_uses: int | None = 1, expires_in_s: int = 3600
    ) -> dict[str, Any]:
        """Create a token that lets agents enrol; the answer holds the token, once, and a line to paste.

        With ``max_uses`` None as many agents as want to, until it expires.
        """
        body = {"name": name, "max_uses": max_uses, "expires_in_s": expires_in_s}
        return cast(dict[str, Any], self._send("POST", "/enrolment-tokens", body))

    # -- metrics ---------------------------------------------------------------------------------------------

    def metrics(self) -> list[MetricInfo]:
        """Return the catalogue of metrics."""
        return cast(list[MetricInfo], self._get("/metrics")["items"])

    def series(self, host_id: str) -> list[SeriesInfo]:
        """Return the series a host has."""
        return cast(list[SeriesInfo], self._get("/metrics/series", host_id=host_id)["items"])

    def latest(self, host_id: str) -> list[LatestSample]:
        """Return the newest sample of every series of a host."""
        return cast(list[LatestSample], self._get("/metrics/latest", host_id=host_id)["items"])

    def range(
        self,
        host_ids: Sequence[str],
        metrics: Sequence[str],
        start: int,
        end: int,
        *,
        aggregate: str = "mean",
        points: int = 600,
    ) -> RangeAnswer:
        """Return samples of some metrics of some hosts between two times, thinned to ``points`` per series."""
        answer = self._get(
            "/metrics/range",
            host_id=list(host_ids),
            metric=list(metrics),
            from_=start,
            to=end,
            aggregate=aggregate,
            points=points,
        )
        return cast(RangeAnswer, answer)

    def anomalies(
        self,
        *,
        host_id: str | None = None,
        metric: str | None = None,
        detector: str | None = None,
        pattern: str | None = None,
        min_score: float | None = None,
        start: int | None = None,
        end: int | None = None,
        cursor: str | None = None,
        limit: int = 200,
    ) -> AnomalyPage:
        """Return a page of anomalies, newest first. A cursor goes with the filters it was given for."""
        answer = self._get(
            "/anomalies",
            host_id=host_id,
            metric=metric,
            detector=detector,
            pattern=pattern,
            min_score=min_score,
            from_=start,
            to=end,
            cursor=cursor,
            limit=limit,
        )
        return cast(AnomalyPage, answer)

    def anomaly(self, anomaly_id: str) -> Anomaly:
        """Return one anomaly with the threshold of its series and the samples around it."""
        response = self.call("GET", f"/anomalies/{segment(anomaly_id)}", timeout_s=DETECTOR_TIMEOUT_S)
        return cast(Anomaly, _content(response))

    def judge(self, anomaly_id: str, verdict: str) -> Anomaly:
        """Say that an anomaly was a ``false_alarm`` or ``real``."""
        return cast(
            Anomaly, self._send("PUT", f"/anomalies/{segment(anomaly_id)}/feedback", {"verdict": verdict})
        )

    def unjudge(self, anomaly_id: str) -> None:
        """Take back what was said of an anomaly."""
        self._send("DELETE", f"/anomalies/{segment(anomaly_id)}/feedback")

    def run_detector(
        self, host_id: str, metric: str, labels: Mapping[str, str], detector: str, start: int, end: int
    ) -> DetectorRun:
        """Run a detector over a range of a series; nothing is kept. The slow ones take seconds."""
        body = {
            "host_id": host_id,
            "metric": metric,
            "labels": dict(labels),
            "detector": detector,
            "from": start,
            "to": end,
        }
        response = self.call("POST", "/anomalies/detect", json=body, timeout_s=DETECTOR_TIMEOUT_S)
        return cast(DetectorRun, _content(response))

    def detectors(self) -> tuple[list[DetectorChoice], str | None]:
        """Return which detectors people have chosen, first match first, and the ETag of the list."""
        answer, etag = self.read("/anomalies/detectors")
        return cast(list[DetectorChoice], answer["items"]), etag

    def choose_detectors(
        self, choices: Sequence[DetectorChoice], if_match: str | None = None
    ) -> list[DetectorChoice]:
        """Replace the choices; a Problem with status 412 when they are no longer those that ``if_match`` came with."""
        answer = self._send("PUT", "/anomalies/detectors", {"items": list(choices)}, if_match)
        return cast(list[DetectorChoice], answer["items"])

    def watched(self) -> list[WatchedHost]:
        """Return how far the detectors that watch from behind have come, by host."""
        return cast(list[WatchedHost], self._get("/anomalies/detectors/watched")["items"])

    # -- forecasts -------------------------------------------------------------------------------------------

    def ask_forecast(
        self, host_id: str, metric: str, labels: Mapping[str, str], *, model: str, horizon_s: int
    ) -> Forecast:
        """Ask for a forecast of a series; a slow model's comes back pending, and is to be fetched when it is ready."""
        body = {
            "host_id": host_id,
            "metric": metric,
            "labels": dict(labels),
            "model": model,
            "horizon_s": horizon_s,
        }
        return cast(Forecast, self._send("POST", "/predictions", body))

    def forecast(self, forecast_id: str) -> Forecast:
        """Return a forecast with its values."""
        return cast(Forecast, self._get(f"/predictions/{segment(forecast_id)}"))

    def forecast_accuracy(self, host_id: str, metric: str) -> list[ModelAccuracy]:
        """Return how the judged forecasts of a metric of a host turned out, by model."""
        return cast(
            list[ModelAccuracy], self._get("/predictions/accuracy", host_id=host_id, metric=metric)["items"]
        )

    def outlooks(self, host_id: str | None = None) -> list[Outlook]:
        """Return when bounded series run out, soonest first."""
        return cast(list[Outlook], self._get("/predictions/capacity", host_id=host_id)["items"])

    # -- incidents -------------------------------------------------------------------------------------------

    def incidents(
        self,
        *,
        state: Sequence[str] = (),
        severity: Sequence[str] = (),
        host_id: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> IncidentPage:
        """Return a page of incidents, newest first."""
        answer = self._get(
            "/incidents",
            state=list(state) or None,
            severity=list(severity) or None,
            host_id=host_id,
            cursor=cursor,
            limit=limit,
        )
        return cast(IncidentPage, answer)

    def incident(self, incident_id: str) -> Incident:
        """Return one incident with its signals, timeline, evidence and deliveries."""
        return cast(Incident, self._get(f"/incidents/{segment(incident_id)}"))

    def acknowledge(self, incident_id: str) -> Incident:
        """Say that somebody is on it, which stops repeats."""
        return cast(Incident, self._send("POST", f"/incidents/{segment(incident_id)}/acknowledge", {}))

    def comment(self, incident_id: str, text: str) -> Incident:
        """Add a comment to the timeline."""
        return cast(
            Incident, self._send("POST", f"/incidents/{segment(incident_id)}/comments", {"text": text})
        )

    def resolve(self, incident_id: str, note: str = "") -> Incident:
        """Close an incident by hand."""
        return cast(
            Incident, self._send("POST", f"/incidents/{segment(incident_id)}/resolve", {"note": note})
        )

    # -- notifications ---------------------------------------------------------------------------------------

    def notifications(self, *, unread: bool | None = None, limit: int = 50) -> NotificationPage:
        """Return the caller's notifications, newest first, and how many are unread."""
        flag = None if unread is None else str(unread).lower()
        return cast(NotificationPage, self._get("/notifications", unread=flag, limit=limit))

    def mark_read(self, notification_id: str | None = None) -> None:
        """Mark one notification read, or all of them when ``notification_id`` is None."""
        path = (
            "/notifications/read"
            if notification_id is None
            else f"/notifications/{segment(notification_id)}/read"
        )
        self._send("POST", path, {})

    def events(self, after: Mapping[str, int], topics: Sequence[str]) -> list[dict[str, Any]]:
        """Return pushes missed on ``topics`` since the sequence numbers in ``after``, oldest first."""
        missed: list[dict[str, Any]] = []
        for topic in topics:
            page = self._get("/events", topic=topic, after=after.get(topic, 0))
            missed.extend(page["items"])
        return missed


def open_http(api_url: str, transport: httpx.BaseTransport | None = None) -> httpx.Client:
    """Return the connection pool that all sessions of this process share."""
    return httpx.Client(
        base_url=api_url,
        timeout=TIMEOUT,
        transport=transport,
        headers={"Accept": "application/json", "User-Agent": "farwatch-dashboard"},
        limits=httpx.Limits(max_connections=40, max_keepalive_connections=20),
    )

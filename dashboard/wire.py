"""The shapes of the API's answers, as far as the dashboard reads them. Times are epoch milliseconds."""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict


class FieldProblem(TypedDict, total=False):
    """One wrong field of a request."""

    loc: str
    msg: str


class User(TypedDict):
    """Somebody who can sign in. ``role`` is admin, operator, viewer or guest."""

    id: str
    email: str
    name: str
    role: str


class Tokens(TypedDict):
    """The answer to log in and refresh. ``expires_in`` counts seconds."""

    access_token: str
    expires_in: int
    refresh_token: str
    user: User


class Ticket(TypedDict):
    """A one-time WebSocket ticket and where to use it."""

    ticket: str
    expires_in: int
    url: NotRequired[str]


class Host(TypedDict, total=False):
    """A monitored machine. ``status`` is live, late, silent, never_seen or retired."""

    id: str
    name: str
    status: str
    labels: dict[str, str]
    os: str
    agent_version: str
    enrolled_at: int
    last_seen_at: int | None
    interval_s: float
    interval_overridden: bool
    may_be_off: bool
    latest: dict[str, float | None]
    open_incidents: int
    facts: dict[str, Any]


class Config(TypedDict, total=False):
    """What people change for the whole fleet."""

    default_interval_s: float


class MetricInfo(TypedDict, total=False):
    """One row of the metric catalogue; either bound may be None. ``bad`` says which direction is trouble."""

    name: str
    unit: str
    description: str
    bad: str
    low: float | None
    high: float | None


class SeriesInfo(TypedDict):
    """A metric with its labels on one host."""

    metric: str
    labels: dict[str, str]


class LatestSample(TypedDict):
    """The newest sample of a series."""

    metric: str
    labels: dict[str, str]
    at: int
    value: float


class RangeSeries(TypedDict):
    """Samples of one series; ``min`` and ``max`` are present when buckets were aggregated."""

    host_id: str
    metric: str
    labels: dict[str, str]
    unit: NotRequired[str]
    times: list[int]
    values: list[float | None]
    min: NotRequired[list[float | None]]
    max: NotRequired[list[float | None]]


class RangeAnswer(TypedDict):
    """The answer to a range query: which tier served it, how wide its buckets are, and the series."""

    tier: str
    step_s: float
    series: list[RangeSeries]


class Feedback(TypedDict):
    """What was said of an anomaly: ``verdict`` is false_alarm or real."""

    verdict: str
    said_by: str
    said_at: int


class Run(TypedDict):
    """Samples, and a detector's score and expected range of each; null where it expects nothing yet."""

    detector: str
    step_s: int
    times: list[int]
    values: list[float]
    score: list[float]
    low: list[float | None]
    high: list[float | None]


class Found(TypedDict):
    """A sample that a detector calls unusual."""

    at: int
    value: float
    score: float
    expected_low: float | None
    expected_high: float | None
    pattern: str


class DetectorRun(Run):
    """The whole run of a detector over a range, and what in it reaches the threshold."""

    threshold: float
    found: list[Found]


class DetectorChoice(TypedDict):
    """Metrics by glob, and the detector that watches them; ``off`` for none."""

    metric: str
    detector: str


class WatchedHost(TypedDict):
    """How the slow detectors stand with a host; ``behind_s`` is None until they have looked."""

    host_id: str
    host_name: str
    chosen: int
    series: int
    left_out: int
    looked_at: int | None
    behind_s: float | None


class Anomaly(TypedDict, total=False):
    """One sample that was unusual for its series, as it was raised. ``threshold`` and ``around`` come with one alone."""

    id: str
    host_id: str
    metric: str
    labels: dict[str, str]
    unit: str
    detector: str
    at: int
    raised_at: int
    since: int
    value: float | None
    score: float
    expected_low: float | None
    expected_high: float | None
    pattern: str
    reason: str
    feedback: Feedback | None
    threshold: float
    around: Run | None


class AnomalyPage(TypedDict):
    """A page of anomalies."""

    items: list[Anomaly]
    next_cursor: NotRequired[str | None]


class Incident(TypedDict, total=False):
    """Trouble on one host, from its first signal to its end."""

    id: str
    state: str
    severity: str
    title: str
    host_id: str
    host_name: str
    opened_at: int
    updated_at: int
    acknowledged_at: int | None
    acknowledged_by: str | None
    resolved_at: int | None
    assignee: str | None
    version: int
    signals: list[dict[str, Any]]
    timeline: list[dict[str, Any]]
    evidence: dict[str, Any]
    deliveries: list[dict[str, Any]]
    suggested_fixes: list[str]


class IncidentPage(TypedDict):
    """A page of incidents."""

    items: list[Incident]
    next_cursor: NotRequired[str | None]


class Notification(TypedDict, total=False):
    """One message for one person."""

    id: str
    title: str
    body: str
    severity: str
    kind: str
    incident_id: str | None
    created_at: int
    read_at: int | None


class NotificationPage(TypedDict, total=False):
    """A page of notifications and the number of unread ones."""

    items: list[Notification]
    unread: int
    next_cursor: str | None


class Preferences(TypedDict, total=False):
    """What one person wants: where to be reached, through what, from which severity on, in which timezone."""

    email: str
    channels: dict[str, bool]
    min_severity: str
    timezone: str | None


class Forecast(TypedDict):
    """``quantiles[i]`` belongs to ``times[i]``, with one value per level. ``state`` is pending, ready or failed."""

    id: str
    host_id: str
    metric: str
    labels: dict[str, str]
    unit: str
    model: str
    horizon_s: int
    made_at: int
    state: str
    error: str
    levels: list[float]
    times: list[int]
    quantiles: list[list[float]]


class ModelAccuracy(TypedDict):
    """What came of the judged forecasts of a model; ``relative_mae`` is the error over that of repeating yesterday."""

    model: str
    forecasts: int
    relative_mae: float | None
    relative_pinball: float | None
    cover80: float
    cover95: float


class Outlook(TypedDict):
    """When a bounded series reaches its threshold, in words and numbers."""

    host_id: str
    metric: str
    labels: dict[str, str]
    unit: str
    at: int
    threshold: float
    current: float
    median_s: float | None
    alert: str | None
    words: str

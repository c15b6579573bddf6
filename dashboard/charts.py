"""What the charts show, as plain data: panels of traces, incident spans, thresholds and anomaly marks.

The shape is that of ``dashboard/assets/chart.js``. Times are epoch milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dashboard.wire import Anomaly, Forecast, Incident, MetricInfo, RangeAnswer, RangeSeries
from dashboard.words import series_name

MOST_POINTS = 1500


@dataclass(frozen=True, slots=True)
class PanelPlan:
    """A panel of the host page: which metrics it shows, how it is called, and why it might be empty."""

    id: str
    title: str
    metrics: tuple[str, ...]
    unit: str
    empty: str
    high: float | None = None


HOST_PANELS = (
    PanelPlan(
        "cpu", "CPU", ("cpu.percent", "cpu.iowait_percent"), "%", "No CPU samples in this range.", 100.0
    ),
    PanelPlan(
        "memory",
        "Memory",
        ("memory.used_percent", "swap.used_percent"),
        "%",
        "No memory samples in this range.",
        100.0,
    ),
    PanelPlan(
        "disk",
        "Disk space used",
        ("disk.used_percent",),
        "%",
        "No file systems reported in this range.",
        100.0,
    ),
    PanelPlan(
        "io",
        "Disk throughput",
        ("disk.read_bytes_per_second", "disk.write_bytes_per_second"),
        "B/s",
        "No disk throughput in this range. Virtual machines without block devices have none.",
    ),
    PanelPlan(
        "network",
        "Network",
        ("net.bytes_received_per_second", "net.bytes_sent_per_second"),
        "B/s",
        "No network samples in this range.",
    ),
    PanelPlan(
        "load", "Load", ("load.1m", "load.5m"), "", "No load samples in this range. Windows hosts have none."
    ),
)
SHORT = {
    "cpu.percent": "used",
    "cpu.iowait_percent": "waiting for disk",
    "memory.used_percent": "memory",
    "swap.used_percent": "swap",
    "disk.read_bytes_per_second": "read",
    "disk.write_bytes_per_second": "written",
    "net.bytes_received_per_second": "received",
    "net.bytes_sent_per_second": "sent",
    "load.1m": "1 min",
    "load.5m": "5 min",
}


def trace(series: RangeSeries, name: str) -> dict[str, Any]:
    """Return one trace; min and max come along where they differ from the values, as in an average over a bucket."""
    made: dict[str, Any] = {
        "name": name,
        "host_id": series["host_id"],
        "metric": series["metric"],
        "labels": series["labels"],
        "times": series["times"][-MOST_POINTS:],
        "values": series["values"][-MOST_POINTS:],
    }
    for edge in ("min", "max"):
        values = series.get(edge)
        if isinstance(values, list) and values and values != series["values"]:
            made[edge] = values[-MOST_POINTS:]
    return made


def short_name(series: RangeSeries) -> str:
    """Return a name for the legend of a panel whose title already says the rest."""
    detail = " ".join(str(value) for _, value in sorted(series["labels"].items()))
    word = SHORT.get(series["metric"])
    if word is None:
        return detail or series["metric"]
    return f"{word} {detail}".strip()


def host_panels(
    answer: RangeAnswer,
    *,
    incidents: Sequence[Incident] = (),
    anomalies: Sequence[Anomaly] = (),
    plans: Sequence[PanelPlan] = HOST_PANELS,
    most_traces: int = 8,
    nothing: str | None = None,
) -> list[dict[str, Any]]:
    """Return the host page's panels for a range answer. The busiest ``most_traces`` series of each are shown.

    ``nothing`` says why there are no samples at all, where that is known, such as that the host is silent.
    """
    panels: list[dict[str, Any]] = []
    for plan in plans:
        wanted = [series for series in answer["series"] if series["metric"] in plan.metrics]
        wanted.sort(key=lambda series: (plan.metrics.index(series["metric"]), -_peak(series)))
        busiest = sorted(wanted, key=_peak, reverse=True)[:most_traces]
        shown = [series for series in wanted if series in busiest]
        traces = [trace(series, short_name(series)) for series in shown]
        marks = anomaly_marks(anomalies, plan.metrics)
        title = (
            plan.title
            if len(shown) == len(wanted)
            else f"{plan.title} (busiest {most_traces} of {len(wanted)})"
        )
        panels.append(
            {
                "id": plan.id,
                "title": title,
                "unit": plan.unit,
                "range": [0.0, plan.high],
                "empty": nothing or plan.empty,
                "traces": traces if marks is None else [*traces, marks],
                "spans": incident_spans(incidents, plan.metrics),
                "lines": [],
            }
        )
    return panels


def metric_panel(
    answer: RangeAnswer, metric: MetricInfo, host_names: Mapping[str, str], *, most_traces: int = 12
) -> dict[str, Any]:
    """Return one panel with every series of ``metric`` in the answer, named by host and labels."""
    series = [one for one in answer["series"] if one["metric"] == metric["name"]]
    series.sort(key=_peak, reverse=True)
    several = len({one["host_id"] for one in series}) > 1
    return {
        "id": metric["name"],
        "title": metric["name"]
        + ("" if len(series) <= most_traces else f" (busiest {most_traces} of {len(series)})"),
        "unit": metric.get("unit", ""),
        "range": [metric.get("low"), metric.get("high")],
        "empty": "No samples of this metric in this range. Does the host report it?",
        "traces": [
            trace(one, _explorer_name(one, host_names, several=several)) for one in series[:most_traces]
        ],
        "spans": [],
        "lines": [],
    }


def _explorer_name(series: RangeSeries, host_names: Mapping[str, str], *, several: bool) -> str:
    host = host_names.get(series["host_id"], series["host_id"])
    detail = series_name("", series["labels"]).strip("{}")
    if not detail:
        return host
    return f"{host} {detail}" if several else detail


def incident_spans(incidents: Iterable[Incident], metrics: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return incidents as spans; with ``metrics``, only those that are about one of them, or do not say."""
    spans = []
    for incident in incidents:
        about = {signal.get("metric") for signal in incident.get("signals") or [] if signal.get("metric")}
        if metrics and about and not about.intersection(metrics):
            continue
        spans.append(
            {
                "from": incident.get("opened_at", 0),
                "to": incident.get("resolved_at"),
                "severity": incident.get("severity", "info"),
                "label": incident.get("title", ""),
            }
        )
    return spans


def anomaly_marks(anomalies: Iterable[Anomaly], metrics: Sequence[str]) -> dict[str, Any] | None:
    """Return anomalies of these metrics as a trace of marks that lead to them, or None if there are none."""
    found = sorted(
        (a["at"], a["value"], a.get("id", ""))
        for a in anomalies
        if a.get("metric") in metrics and a.get("value") is not None
    )
    if not found:
        return None
    return {
        "name": f"{len(found)} anomalies" if len(found) > 1 else "anomaly",
        "kind": "marks",
        "glyph": "◇",
        "color": 5,
        "times": [at for at, _, _ in found],
        "values": [value for _, value, _ in found],
        "ids": [anomaly_id for _, _, anomaly_id in found],
    }


def forecast_panel(
    answer: RangeAnswer, forecast: Forecast, metric: MetricInfo, threshold: float | None
) -> dict[str, Any]:
    """Return a panel of what was and what is expected: median, and the bands of the middle and the outer quantiles."""
    measured = [one for one in answer["series"] if one["labels"] == forecast["labels"]]
    past = [{**trace(one, "measured"), "color": 0} for one in measured]
    columns = list(zip(*forecast["quantiles"], strict=True)) or [()] * len(forecast["levels"])
    levels = forecast["levels"]
    traces: list[dict[str, Any]] = []
    for low in range(len(levels) // 2):
        high = len(levels) - 1 - low
        traces.append(
            {
                "name": f"{100 * (levels[high] - levels[low]):.0f} % range",
                "kind": "band",
                "quiet": True,
                "color": 1,
                "times": forecast["times"],
                "values": columns[len(levels) // 2],
                "min": columns[low],
                "max": columns[high],
            }
        )
    median = {
        "name": "expected",
        "kind": "dash",
        "color": 1,
        "times": forecast["times"],
        "values": columns[len(levels) // 2],
    }
    return {
        "id": forecast["id"],
        "title": series_name(forecast["metric"], forecast["labels"]),
        "unit": forecast["unit"],
        "range": [metric.get("low"), metric.get("high")],
        "empty": "There is no history to look at.",
        "traces": [*traces, *past, median],
        "spans": [],
        "lines": [] if threshold is None else [{"value": threshold, "severity": "critical"}],
        "now": forecast["made_at"],
    }


def _peak(series: RangeSeries) -> float:
    return max((value for value in series["values"] if value is not None), default=float("-inf"))


def to_csv(answer: RangeAnswer, host_names: Mapping[str, str]) -> str:
    """Return an answer as CSV: one row per sample, times in ISO 8601 UTC.

    Names that a spreadsheet would take for a formula get a leading apostrophe.
    """
    import csv
    import io
    from datetime import UTC, datetime

    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["time", "host", "metric", "labels", "value", "unit"])
    for series in answer["series"]:
        host = _cell(host_names.get(series["host_id"], series["host_id"]))
        labels = _cell(series_name("", series["labels"]).strip("{}"))
        for at, value in zip(series["times"], series["values"], strict=True):
            moment = datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds")
            shown = "" if value is None else repr(value)
            writer.writerow([moment, host, _cell(series["metric"]), labels, shown, series.get("unit", "")])
    return out.getvalue()


def _cell(text: str) -> str:
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text

"""What the charts of anomalies show: a series, the range that was expected of it, and the samples that left it.

Panels as in :mod:`dashboard.charts`. Times are epoch milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dashboard.charts import MOST_POINTS, anomaly_marks
from dashboard.wire import Anomaly, DetectorRun, MetricInfo, Run
from dashboard.words import DETECTOR_WORD, series_name

SYMBOLS = {
    "default": ("diamond-open", "◇", 5),
    "zscore": ("circle-open", "○", 2),
    "iqr": ("square-open", "□", 3),
    "isolation_forest": ("triangle-up-open", "△", 1),
    "lof": ("x-thin-open", "✕", 7),
}
"""How each detector's findings are marked: a shape (as Plotly calls it, and as a character) and a colour of its own."""


def anomaly_panel(
    anomaly: Anomaly, run: Run, others: Sequence[Anomaly], metric: MetricInfo
) -> dict[str, Any]:
    """Return a panel of the samples around an anomaly, the expected range, and every anomaly of the series among them."""
    about = [
        one
        for one in others
        if (one["metric"], one["labels"]) == (anomaly["metric"], anomaly["labels"])
        and one["detector"] == anomaly["detector"]
    ]
    here = [one for one in about if one["id"] != anomaly["id"]]
    marks = anomaly_marks([anomaly], [anomaly["metric"]])
    if marks is not None:
        marks |= {"name": "this anomaly", "symbol": "diamond", "glyph": "◆", "color": 5, "ids": []}
    earlier = anomaly_marks(here, [anomaly["metric"]])
    if earlier is not None:
        earlier["name"] = f"{len(here)} more"
    traces = [
        _band(run, "expected", metric),
        *_line(run),
        *(one for one in (earlier, marks) if one is not None),
    ]
    return _panel(anomaly["id"], anomaly["metric"], anomaly["labels"], metric, traces, anomaly["unit"]) | {
        "now": anomaly["at"]
    }


def comparison_panel(
    metric: str, labels: dict[str, str], runs: Sequence[DetectorRun], catalogued: MetricInfo
) -> dict[str, Any]:
    """Return a panel of one series with what each detector calls unusual; the expected range is the first detector's."""
    traces = [
        _band(runs[0], f"expected by {DETECTOR_WORD[runs[0]['detector']]}", catalogued),
        *_line(runs[0]),
    ]
    for run in runs:
        symbol, glyph, color = SYMBOLS[run["detector"]]
        traces.append(
            {
                "name": f"{DETECTOR_WORD[run['detector']]}: {len(run['found'])}",
                "kind": "marks",
                "symbol": symbol,
                "glyph": glyph,
                "color": color,
                "times": [found["at"] for found in run["found"]],
                "values": [found["value"] for found in run["found"]],
            }
        )
    return _panel("compare", metric, labels, catalogued, traces, catalogued.get("unit", ""))


def _panel(
    name: str,
    metric: str,
    labels: dict[str, str],
    catalogued: MetricInfo,
    traces: Sequence[dict[str, Any]],
    unit: str,
) -> dict[str, Any]:
    return {
        "id": name,
        "title": series_name(metric, labels),
        "unit": unit,
        "range": [catalogued.get("low"), catalogued.get("high")],
        "fit": _fit(traces),
        "empty": "There are no samples here any more.",
        "traces": list(traces),
        "spans": [],
        "lines": [],
    }


def _fit(traces: Sequence[dict[str, Any]]) -> list[float] | None:
    """Return the lowest and highest value that must be in sight: all that was measured, and of the expected range as much as
    is not further away than the measured values are from each other. A young detector expects almost anything.
    """
    values = [value for trace in traces if trace.get("kind") != "band" for value in trace["values"]]
    if not values:
        return None
    low, high = min(values), max(values)
    reach = (high - low) or abs(high) * 0.1 or 1.0
    lows = [value for trace in traces if trace.get("kind") == "band" for value in trace["min"]]
    highs = [value for trace in traces if trace.get("kind") == "band" for value in trace["max"]]
    return [
        min(low, max(min(lows, default=low), low - reach)),
        max(high, min(max(highs, default=high), high + reach)),
    ]


def _band(run: Run, name: str, metric: MetricInfo) -> dict[str, Any]:
    """Return the expected range as a band, where there is one, and as far as the metric can have such values."""
    least, most = metric.get("low"), metric.get("high")
    known = [
        (at, low if least is None else max(low, least), high if most is None else min(high, most))
        for at, low, high in zip(run["times"], run["low"], run["high"], strict=True)
        if low is not None and high is not None
    ]
    known = known[:: max(1, -(-len(known) // MOST_POINTS))]
    return {
        "name": name,
        "kind": "band",
        "color": 6,
        "times": [at for at, _, _ in known],
        "values": [(low + high) / 2 for _, low, high in known],
        "min": [low for _, low, _ in known],
        "max": [high for _, _, high in known],
    }


def _line(run: Run) -> list[dict[str, Any]]:
    """Return the samples as a line; of very many the mean of a few at a time, with their lowest and highest."""
    times, values = run["times"], run["values"]
    few = max(1, -(-len(times) // MOST_POINTS))
    if few == 1:
        return [{"name": "measured", "color": 0, "times": times, "values": values}]
    groups = [values[first : first + few] for first in range(0, len(values), few)]
    return [
        {
            "name": "measured",
            "color": 0,
            "times": times[::few],
            "values": [sum(group) / len(group) for group in groups],
            "min": [min(group) for group in groups],
            "max": [max(group) for group in groups],
        }
    ]

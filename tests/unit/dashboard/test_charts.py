from __future__ import annotations

import csv
import io
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dashboard import ranges
from dashboard.charts import (
    HOST_PANELS,
    MOST_POINTS,
    anomaly_marks,
    host_panels,
    incident_spans,
    metric_panel,
    to_csv,
)
from dashboard.wire import Anomaly, Incident, RangeAnswer, RangeSeries


def series(metric: str, values: list[float | None], host: str = "host_1", **labels: str) -> RangeSeries:
    return {
        "host_id": host,
        "metric": metric,
        "labels": labels,
        "unit": "%",
        "times": [1000 * i for i in range(len(values))],
        "values": values,
    }


def answer(*found: RangeSeries, tier: str = "raw") -> RangeAnswer:
    return {"tier": tier, "step_s": 1.0, "series": list(found)}


def by_id(panels: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(panel for panel in panels if panel["id"] == name)


def test_every_panel_of_the_host_page_is_there_even_without_samples_and_says_why() -> None:
    panels = host_panels(answer())
    assert [panel["id"] for panel in panels] == [plan.id for plan in HOST_PANELS]
    assert all(panel["empty"] and not panel["traces"] for panel in panels)


def test_a_series_stands_in_the_panel_of_its_metric_under_a_short_name() -> None:
    panels = host_panels(
        answer(series("disk.used_percent", [1.0], mount="/var"), series("cpu.percent", [2.0]))
    )
    assert [t["name"] for t in by_id(panels, "disk")["traces"]] == ["/var"]
    assert [t["name"] for t in by_id(panels, "cpu")["traces"]] == ["used"]


def test_with_many_series_only_the_busiest_are_drawn_and_the_title_says_so() -> None:
    found = [series("disk.used_percent", [float(i)], mount=f"/m{i}") for i in range(20)]
    panel = by_id(host_panels(answer(*found)), "disk")
    assert len(panel["traces"]) == 8
    assert {t["labels"]["mount"] for t in panel["traces"]} == {f"/m{i}" for i in range(12, 20)}
    assert "busiest 8 of 20" in panel["title"]


def test_a_trace_never_has_more_points_than_a_browser_draws_well() -> None:
    panel = by_id(host_panels(answer(series("cpu.percent", [1.0] * 4000))), "cpu")
    assert len(panel["traces"][0]["times"]) == len(panel["traces"][0]["values"]) == MOST_POINTS


def test_the_band_is_drawn_only_where_minimum_and_maximum_say_something() -> None:
    bucketed = {**series("cpu.percent", [2.0, 3.0]), "min": [1.0, 2.0], "max": [4.0, 9.0]}
    raw = {**series("cpu.percent", [2.0, 3.0]), "min": [2.0, 3.0], "max": [2.0, 3.0]}
    assert "min" in by_id(host_panels(answer(bucketed)), "cpu")["traces"][0]  # type: ignore[arg-type]
    assert "min" not in by_id(host_panels(answer(raw)), "cpu")["traces"][0]  # type: ignore[arg-type]


def test_an_incident_is_shaded_on_the_panels_it_is_about_and_on_all_when_it_does_not_say() -> None:
    cpu: Incident = {
        "id": "i1",
        "opened_at": 1,
        "resolved_at": 5,
        "severity": "critical",
        "signals": [{"metric": "cpu.percent"}],
    }
    silent: Incident = {"id": "i2", "opened_at": 2, "resolved_at": None, "severity": "high", "signals": []}
    assert len(incident_spans([cpu, silent], ["cpu.percent"])) == 2
    assert [span["to"] for span in incident_spans([cpu, silent], ["load.1m"])] == [None]


def test_anomalies_are_marked_at_their_values() -> None:
    found: list[Anomaly] = [
        {"metric": "cpu.percent", "at": 9, "value": 99.0},
        {"metric": "cpu.percent", "at": 3, "value": 98.0},
        {"metric": "load.1m", "at": 4, "value": 1.0},
    ]
    marks = anomaly_marks(found, ["cpu.percent"])
    assert marks is not None
    assert (marks["times"], marks["values"]) == ([3, 9], [98.0, 99.0])
    assert marks["glyph"] == "◇", "the legend shows what is drawn, not a line with a value"
    assert anomaly_marks(found, ["swap.used_percent"]) is None


def test_the_explorer_names_series_by_host_and_labels() -> None:
    found = answer(
        series("disk.used_percent", [1.0], mount="/"),
        series("disk.used_percent", [2.0], host="host_2", mount="/"),
    )
    panel = metric_panel(
        found,
        {"name": "disk.used_percent", "unit": "%", "low": 0, "high": 100},
        {"host_1": "web-1", "host_2": "web-2"},
    )
    assert [t["name"] for t in panel["traces"]] == ["web-2 mount=/", "web-1 mount=/"]
    assert panel["range"] == [0, 100]


def test_csv_has_a_row_per_sample_and_no_cell_a_spreadsheet_would_run() -> None:
    text = to_csv(answer(series("cpu.percent", [1.5, None], mount="=cmd()")), {"host_1": "=HYPERLINK(1)"})
    rows = list(csv.reader(io.StringIO(text)))
    assert rows[1][:3] == ["1970-01-01T00:00:00.000+00:00", "'=HYPERLINK(1)", "cpu.percent"]
    assert [row[4] for row in rows[1:]] == ["1.5", ""]
    assert not any(cell[:1] in {"=", "+", "@"} for row in rows[1:] for cell in row)


def test_a_preset_moves_with_the_clock_and_a_span_does_not() -> None:
    assert ranges.from_query({"range": "1h"}, 10 * ranges.DAY) == ranges.Range(
        10 * ranges.DAY - ranges.HOUR, 10 * ranges.DAY, "1h"
    )
    assert ranges.from_query({"from": "1000000", "to": "2000000", "range": "1h"}, 5) == ranges.Range(
        1000000, 2000000, None
    )


@given(st.dictionaries(st.sampled_from(["from", "to", "range"]), st.text(max_size=30)))
def test_any_address_gives_a_range_that_makes_sense(query: dict[str, str]) -> None:
    found = ranges.from_query(query, 1_700_000_000_000)
    assert ranges.SHORTEST <= found.span <= ranges.LONGEST


@given(st.integers(0, 2_000_000_000_000), st.integers(ranges.SHORTEST, ranges.LONGEST))
def test_a_range_survives_the_address(start: int, span: int) -> None:
    made = ranges.Range(start, start + span, None)
    assert ranges.from_query(ranges.to_query(made), 0) == made


def test_the_resolution_is_said_in_words() -> None:
    assert ranges.resolution("raw", 5.0, "mean") == "every sample, 5 s apart"
    assert ranges.resolution("1m", 120.0, "max") == "2 min maxima"
    assert ranges.resolution("1h", 3600.0, "mean") == "1 h averages"

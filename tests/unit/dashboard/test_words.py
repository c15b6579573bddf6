from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from dashboard.browsers import browser_name
from dashboard.words import ago, amount, beside_range, clock_time, interval, plain, series_name

MARKDOWN = MarkdownIt("gfm-like", {"html": True, "linkify": False})
HOSTILE = [
    "<script>alert(1)</script>",
    "![x](http://evil/pixel.png)",
    "[click](javascript:alert(1))",
    "web-1 | a | b",
    "$x^2$ and `code`",
    ":red[text] :material/bolt: :smile:",
    "# heading\n\n- list",
    "http://evil.example www.evil.example",
    "&lt;b&gt; &amp;",
    "a\u202egnp.exe",
]


def shown(text: str) -> tuple[str, set[str]]:
    """Return the text a reader sees and the kinds of markup that were made of it."""
    tokens = MARKDOWN.parse(f"before {plain(text)} after")
    inline = [child for token in tokens for child in token.children or []]
    seen = "".join(child.content for child in inline)
    kinds = {token.type for token in tokens} | {child.type for child in inline}
    return seen.removeprefix("before ").removesuffix(" after").strip(), kinds


PLAIN_KINDS = {"paragraph_open", "paragraph_close", "inline", "text", "text_special"}


@given(st.one_of(st.text(max_size=200), st.sampled_from(HOSTILE)))
def test_text_from_outside_never_becomes_markup(text: str) -> None:
    _, kinds = shown(text)
    assert kinds <= PLAIN_KINDS


@given(st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), max_size=200))
def test_printable_text_is_read_as_it_was_written(text: str) -> None:
    seen, _ = shown(text)
    assert seen.replace("\u200c", "") == text


@pytest.mark.parametrize("text", [":smile:", ":material/bolt:", ":red[x]", ":blue-badge[x]"])
def test_shortcodes_are_broken_up_or_escaped(text: str) -> None:
    seen, _ = shown(text)
    assert not re.search(r":[\w+\-/]+:", seen)
    assert "\\[" in plain(text) or "[" not in text


@pytest.mark.parametrize(
    "text", ["http://evil.example", "https://evil.example", "www.evil.example", "a@evil.example"]
)
def test_addresses_are_not_made_into_links(text: str) -> None:
    seen, _ = shown(text)
    assert "://" not in seen
    assert not seen.lower().startswith("www.")
    assert "a@e" not in seen


def test_control_and_direction_characters_are_dropped_and_long_text_is_cut() -> None:
    assert plain("a\u202eb\x00c\x1b[0m") == plain("abc[0m")
    assert len(plain("x" * 1000)) == 300


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (97.24, "%", "97.2 %"),
        (0.0, "%", "0 %"),
        (1536.0, "B", "1.5 KiB"),
        (2.5 * 2**30, "B", "2.5 GiB"),
        (850_000.0, "B/s", "830 KiB/s"),
        (1234.0, "", "1.23 k"),
        (12.0, "/s", "12/s"),
        (3.5, "ms", "3.5 ms"),
        (0.5, "", "0.5"),
        (-0.0004, "/s", "0/s"),
        (None, "%", "–"),
        (7200.0, "s", "2 h"),
        (12.0, "s", "12 s"),
        (0.25, "s", "0.25 s"),
        (-0.061, "s", "-0.06 s"),
        (1e300, "B", "8.88e+284 PiB"),
        (41.5, "°C", "41.5 °C"),
    ],
)
def test_values_are_written_with_their_unit(value: float | None, unit: str, words: str) -> None:
    assert amount(value, unit) == words


def test_ages_and_intervals_are_written_short() -> None:
    assert [ago(s) for s in (-3, 12.4, 200, 7200, 3 * 86400)] == ["0 s", "12 s", "3 min", "2 h", "3 d"]
    assert [interval(s) for s in (5, 60, 90, 3600, 2.5)] == ["5 s", "1 min", "90 s", "1 h", "2.5 s"]


def test_times_are_written_in_the_viewers_timezone_and_an_unknown_zone_means_utc() -> None:
    at = 1772323200000  # 2026-03-01 00:00 UTC
    assert clock_time(at, "Europe/Berlin") == "2026-03-01 01:00"
    assert clock_time(at, "No/Where", seconds=True) == "2026-03-01 00:00:00"
    assert clock_time(None, None) == "–"


def test_a_series_is_named_by_its_metric_and_labels() -> None:
    assert (
        series_name("disk.used_percent", {"mount": "/", "host": "a"}) == "disk.used_percent{host=a, mount=/}"
    )
    assert series_name("load.1m", {}) == "load.1m"


@pytest.mark.parametrize(
    ("value", "low", "high", "texts"),
    [
        (97.2, 14.0, 41.0, ("97.2 %", "14 %", "41 %")),
        (12.412, 12.31, 12.381, ("12.41 %", "12.31 %", "12.38 %")),
        (12.2996, 12.30011, 12.4, ("12.2996 %", "12.3001 %", "12.4 %")),
        (50.0, 50.0, 50.0, ("50 %", "50 %", "50 %")),
    ],
)
def test_a_value_just_outside_its_range_gets_the_digits_that_show_it(
    value: float, low: float, high: float, texts: tuple[str, str, str]
) -> None:
    assert beside_range(value, low, high, "%") == texts


MOZILLA = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)"


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        (f"farwatch-dashboard {MOZILLA} Chrome/142.0.0.0 Safari/537.36", "Chrome 142 on Linux"),
        (f"{MOZILLA} Chrome/142.0.0.0 Safari/537.36 Edg/142.0.1", "Edge 142 on Linux"),
        (
            "farwatch-dashboard Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:145.0) Gecko/20100101 Firefox/145.0",
            "Firefox 145 on Windows",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) Version/18.1 Mobile/15E148 Safari/604.1",
            "Safari 18 on iPhone",
        ),
        ("farwatch-dashboard", "farwatch-dashboard"),
        ("curl/8.5.0", "curl/8.5.0"),
        ("x" * 80, "x" * 59 + "…"),
        ("", ""),
    ],
)
def test_a_browser_is_called_as_people_call_it(user_agent: str, name: str) -> None:
    assert browser_name(user_agent) == name

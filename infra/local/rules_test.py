"""``./farwatch rules test``: unit tests for rules, and a replay of a host's stored history against them.

A file names rules, as the API takes them, and tests: series in a compact notation, and which rules must be firing when.
docs/rules.md explains the format with an example.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from farwatch.domain.hosts import Host
from farwatch.domain.replay import Firing, replay
from farwatch.domain.rules import Rule
from farwatch.domain.samples import SampleBlock, SeriesKey
from farwatch.domain.units import duration
from farwatch.ports.hosts import Hosts
from farwatch.services.preview import Preview
from functions.api.routes.rules import RuleBody, to_rule

PASSED, FAILED, UNUSABLE = 0, 1, 2
MOST_DAYS = 7
_START_MS = 3_600_000
_MAX_SAMPLES = 100_000
_LONGEST_S = 366 * 86_400
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_TOKEN = re.compile(
    r"(?P<value>_|-?\d+(?:\.\d+)?(?:e-?\d+)?)(?P<step>[+-]\d+(?:\.\d+)?)?(?:x(?P<count>\d{1,6}))?"
)


class UnusableError(Exception):
    """The file cannot be read as rules and tests; the message says where and why."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SeriesText(_Part):
    """One series of a test; ``values`` is in the compact notation."""

    metric: str
    labels: dict[str, str] = {}
    values: str


class Alert(_Part):
    """A group that must be firing: a rule by its name, and the labels of the series."""

    rule: str
    labels: dict[str, str] = {}


class Expectation(_Part):
    """What must be firing ``at`` after the first sample; an empty list means nothing may be."""

    at: str
    firing: list[Alert]


class RuleTest(_Part):
    """Samples ``interval`` apart, and what is expected of them."""

    name: str
    interval: str = "10s"
    series: Annotated[list[SeriesText], Field(min_length=1)]
    expect: Annotated[list[Expectation], Field(min_length=1)]


class RuleFile(_Part):
    """A file of rules and, unless it is only replayed, their tests."""

    rules: Annotated[list[RuleBody], Field(min_length=1)]
    tests: list[RuleTest] = []


def main(argv: list[str]) -> int:
    """Run the tests of a file, or replay history; return 0 when all hold, 1 when one does not, 2 for an unusable file."""
    parser = argparse.ArgumentParser(
        prog="farwatch rules test", description="Try rules before they are saved."
    )
    parser.add_argument("file", type=Path, help="YAML file of rules and tests")
    parser.add_argument(
        "--history", metavar="HOST", help="replay the stored history of this host (its name or id) instead"
    )
    parser.add_argument("--days", type=_days, default=1.0, help="how far back (default: 1, at most 7)")
    parser.add_argument("--data", metavar="DIR", help="data folder of the running installation")
    asked = parser.parse_args(argv)
    try:
        found = load(asked.file.read_text(encoding="utf-8"))
        if asked.history:
            return _replay_history(found, asked.history, asked.days, asked.data)
        failures = [line for test in found.tests for line in run(found, test)]
    except (OSError, UnicodeDecodeError, UnusableError) as error:
        sys.stderr.write(f"{asked.file}: {error}\n")
        return UNUSABLE
    if not found.tests:
        sys.stderr.write(f"{asked.file} has no tests: add some, or replay history with --history HOST\n")
        return UNUSABLE
    for line in failures:
        sys.stdout.write(f"{line}\n")
    sys.stdout.write(f"{len(found.tests)} tests, {len(failures)} expectations not met.\n")
    return FAILED if failures else PASSED


def load(text: str) -> RuleFile:
    """Return the rules and tests that ``text`` (YAML) holds; raises UnusableError."""
    try:
        return RuleFile.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise UnusableError(f"not YAML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UnusableError(f"{where or 'the file'}: {first['msg']}") from error


def run(found: RuleFile, test: RuleTest) -> list[str]:
    """Return one entry for each expectation of ``test`` that is not met, none when all are."""
    block = _block(test)
    episodes = [
        (rule.name, key, firing)
        for rule in _rules(found)
        for key, firings in replay(rule, block).items()
        for firing in firings
    ]
    known = {rule.name for rule in found.rules}
    failures = []
    for expected in test.expect:
        at = _START_MS + round(_seconds(expected.at) * 1000)
        unknown = {alert.rule for alert in expected.firing} - known
        if unknown:
            raise UnusableError(
                f"test {test.name!r} expects rules that are not in the file: {sorted(unknown)}"
            )
        wanted = {(alert.rule, tuple(sorted(alert.labels.items()))) for alert in expected.firing}
        got = {(name, key.labels) for name, key, firing in episodes if _lasts(firing, at)}
        if wanted != got:
            lines = [f"FAILED {test.name}, at {expected.at}:"]
            lines += [f"  - missing: {_shown(*alert)}" for alert in sorted(wanted - got)]
            lines += [f"  + firing though not expected: {_shown(*alert)}" for alert in sorted(got - wanted)]
            failures.append("\n".join(lines))
    return failures


def samples(text: str) -> list[float]:
    """Return the samples that the compact notation ``text`` stands for, NaN for a missing one.

    ``95`` is one sample, ``95x30`` thirty of them, ``10+0.5x20`` twenty that rise from 10 by 0.5 each, ``_x6`` six that are
    missing; parts are separated by blanks. Raises UnusableError for anything else.
    """
    values: list[float] = []
    for token in text.split():
        match = _TOKEN.fullmatch(token)
        if match is None or (match["value"] == "_" and match["step"]):
            raise UnusableError(f"{token!r} is no sample: write 95, 95x30, 10+0.5x20 or _x6")
        first = float("nan") if match["value"] == "_" else float(match["value"])
        step = float(match["step"] or 0)
        values += [first + step * number for number in range(int(match["count"] or 1))]
        if len(values) > _MAX_SAMPLES:
            raise UnusableError(f"a series has more than {_MAX_SAMPLES:,} samples")
    return values


def _block(test: RuleTest) -> SampleBlock:
    columns = [samples(series.values) for series in test.series]
    length = max(len(column) for column in columns)
    values = np.full((length, len(columns)), np.nan)
    for index, column in enumerate(columns):
        values[: len(column), index] = column
    step = round(_seconds(test.interval) * 1000)
    if step < 1:
        raise UnusableError(f"test {test.name!r}: the interval must be longer than nothing")
    keys = tuple(SeriesKey.of(series.metric, series.labels) for series in test.series)
    if len(set(keys)) < len(keys):
        raise UnusableError(f"test {test.name!r} has a series twice")
    return SampleBlock(_START_MS + np.arange(length, dtype=np.int64) * step, keys, values)


def _rules(found: RuleFile) -> list[Rule]:
    return [to_rule(f"rule_{number}", body, stock=False) for number, body in enumerate(found.rules)]


def _lasts(firing: Firing, at: int) -> bool:
    return firing.fired_at <= at and (firing.resolved_at is None or at < firing.resolved_at)


def _seconds(text: str) -> float:
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", text)
    if not parts or "".join(number + unit for number, unit in parts) != text.replace(" ", ""):
        raise UnusableError(f"{text!r} is no duration: write 30s, 5m, 1h30m or 2d")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if seconds > _LONGEST_S:
        raise UnusableError(f"{text!r} is more than a year")
    return seconds


def _shown(rule: str, labels: Sequence[tuple[str, str]]) -> str:
    return rule + (f" {{{', '.join(f'{name}={value}' for name, value in labels)}}}" if labels else "")


def _days(text: str) -> float:
    days = float(text)
    if not 0 < days <= MOST_DAYS:  # NaN is not either
        raise argparse.ArgumentTypeError(f"more than 0 and at most {MOST_DAYS}, not {text}")
    return days


def _replay_history(found: RuleFile, host: str, days: float, data: str | None) -> int:
    from farwatch.bootstrap import Container
    from farwatch.errors import FarwatchError, Unavailable
    from farwatch.services.preview import preview
    from farwatch.settings import Settings
    from infra.local.home import Home

    home = Home.find(data)
    if "SECRETS_FILE" not in os.environ and not home.secrets.is_file():
        raise UnusableError(f"nothing is installed in {home.secrets.parent}; ./farwatch up installs it")
    settings: dict[str, Any] = {} if "SECRETS_FILE" in os.environ else {"secrets_file": home.secrets}
    made = Container(Settings(**settings))
    now = time.time_ns() // 1_000_000
    start = now - round(days * 86_400_000)
    try:
        chosen = _host(made.adapters.hosts, host)
        sys.stdout.write(f"{chosen.name} from {_moment(start)} to {_moment(now)} UTC\n")
        for rule in _rules(found):
            seen = preview(rule, made.adapters.hosts, made.adapters.metric_store, chosen.id, start, now, now)
            sys.stdout.write("".join(f"{line}\n" for line in _report(rule, seen)))
    except Unavailable as error:
        raise UnusableError(
            f"the samples cannot be read ({error.message}); does ./farwatch up run?"
        ) from error
    except FarwatchError as error:
        raise UnusableError(error.message) from error
    finally:
        made.adapters.database.close()
    return PASSED


def _host(hosts: Hosts, asked: str) -> Host:
    by_id = hosts.get(asked)
    if by_id is not None:
        return by_id
    everyone = hosts.all()
    named = [host for host in everyone if host.name == asked]
    if len(named) == 1:
        return named[0]
    if named:
        raise UnusableError(f"{len(named)} hosts are called {asked}: {', '.join(host.id for host in named)}")
    known = ", ".join(host.name for host in everyone[:20]) or "none yet"
    raise UnusableError(f"there is no host {asked}; there are: {known}{' …' if len(everyone) > 20 else ''}")


def _report(rule: Rule, seen: Preview) -> list[str]:
    """Return what a rule would have done, in lines: a summary, then each firing."""
    if not seen.samples:
        names = ", ".join(sorted({condition.metric for condition in rule.conditions}))
        return [f"{rule.name}: nothing to replay, the host has no samples of {names} in this time"]
    firings = [(key, firing) for key, found in seen.episodes.items() for firing in found]
    count = len(firings)
    often = (
        "would not have fired"
        if not count
        else f"would have fired {'once' if count == 1 else f'{count} times'}"
    )
    pace = "minute by minute" if seen.step_s else "every sample"
    groups = len(seen.episodes)
    lines = [f"{rule.name}: {often} ({groups} series, {seen.samples:,} values, {pace})"]
    if not rule.enabled:
        lines.append("  it is switched off: once saved, it would watch nothing")
    elif not seen.applies:
        lines.append("  its host_labels do not choose this host: once saved, it would not watch it")
    firings.sort(key=lambda one: one[1].fired_at)
    return lines + [f"  {_told(key, firing)}" for key, firing in firings]


def _told(key: SeriesKey, firing: Firing) -> str:
    if firing.resolved_at is None:
        return f"{_moment(firing.fired_at)} {key.text()}, and still"
    lasted = duration((firing.resolved_at - firing.fired_at) / 1000)
    return f"{_moment(firing.fired_at)} {key.text()}, for {lasted}"


def _moment(at: int) -> str:
    return f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%d %H:%M:%S}"

"""``--publish``: the result of a scan to where the dashboard shows it.

With ``FARWATCH_API_URL`` and ``FARWATCH_API_TOKEN`` it is posted to that API; without them it goes to the installation
on this machine, whose secrets only its owner can read. Secrets are masked before anything is sent, as in every report.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from infra.scan.findings import Report
from infra.scan.text_report import printable

MOST_FINDINGS = 2000
MOST_BYTES = 2_500_000
_ATTEMPTS = 3


class PublishError(Exception):
    """The result was not kept; the message says why and what to do."""


def result_of(report: Report, target: str) -> dict[str, Any]:
    """Return the report as the API takes it: worst first, as many findings as fit, the others counted."""
    findings: list[dict[str, Any]] = []
    size = 0
    for found in report.findings[:MOST_FINDINGS]:
        row = {**found.to_dict(), "file": _short(printable(found.file), 1000)}
        size += len(json.dumps(row))
        if size > MOST_BYTES:
            break
        findings.append(row)
    return {
        "target": _short(printable(target), 200),
        "files": report.files,
        "seconds": round(report.seconds, 3),
        "suppressed": len(report.suppressed),
        "skipped": len(report.skipped),
        "left_out": len(report.findings) - len(findings),
        "findings": findings,
    }


def publish(report: Report, target: str, environ: Mapping[str, str] | None = None) -> str:
    """Send the report to where the environment says, and return what to tell; raises PublishError."""
    env = os.environ if environ is None else environ
    url, token = env.get("FARWATCH_API_URL", ""), env.get("FARWATCH_API_TOKEN", "")
    result = result_of(report, target)
    if url and token:
        kept = _post(url.rstrip("/").removesuffix("/api/v1"), token, result)
    elif url or token:
        raise PublishError(
            "set both FARWATCH_API_URL and FARWATCH_API_TOKEN to publish to another machine, or neither to publish here"
        )
    else:
        kept = _keep_here(result)
    return f"Published as {printable(result['target'])}: {_in_words(kept)}."


def _in_words(kept: Mapping[str, Any]) -> str:
    trend = kept["trend"]
    if trend is None:
        return "its first scan"
    return f"{trend['new']} new, {trend['fixed']} fixed, {trend['open']} still open"


def _post(url: str, token: str, result: dict[str, Any]) -> Mapping[str, Any]:
    import httpx

    from farwatch.domain.webhooks import address_fault

    if fault := address_fault(url):
        raise PublishError(f"FARWATCH_API_URL {fault}: the token goes there")
    # The key makes it safe to send again when no answer came: the result is kept once.
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": str(uuid.uuid4())}
    with httpx.Client(timeout=httpx.Timeout(60.0, connect=10.0)) as client:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                answer = client.post(f"{url}/api/v1/scans", json=result, headers=headers)
            except httpx.HTTPError as error:
                if attempt == _ATTEMPTS:
                    raise PublishError(
                        f"{urlsplit(url).netloc} does not answer ({type(error).__name__})"
                    ) from error
            else:
                if answer.status_code not in {429, 503} or attempt == _ATTEMPTS:
                    return _answered(answer)
            time.sleep(attempt)
    raise AssertionError("unreachable")


def _answered(answer: Any) -> Mapping[str, Any]:
    try:
        body: Any = answer.json()
    except ValueError:
        body = None
    if answer.status_code == 201 and isinstance(body, dict):
        return body
    detail = body.get("detail") if isinstance(body, dict) else None
    advice = "; the token needs the scope scan:publish" if answer.status_code in {401, 403} else ""
    raise PublishError(
        f"the API answered {answer.status_code}: {printable(str(detail or 'no reason'))}{advice}"
    )


def _keep_here(result: dict[str, Any]) -> Mapping[str, Any]:
    from farwatch.domain.rbac import COMMAND_LINE
    from farwatch.domain.scans import Finding, ScanResult, ScanSeverity
    from farwatch.errors import FarwatchError
    from infra.local.first_run import container
    from infra.local.home import Home

    home = Home.find()
    if not home.secrets.is_file():
        raise PublishError(
            f"no installation in {home.root}: start one with ./farwatch up, or set FARWATCH_API_URL and FARWATCH_API_TOKEN"
        )
    findings = tuple(
        Finding(**{**row, "severity": ScanSeverity(row["severity"]), "sources": tuple(row["sources"])})
        for row in result["findings"]
    )
    try:
        made = container(home)
        try:
            scan = made.scans.publish(
                COMMAND_LINE, ScanResult(**{**result, "findings": findings}), time.time_ns() // 1_000_000
            )
        finally:
            made.adapters.database.close()
    except FarwatchError as error:
        raise PublishError(f"the installation in {home.root} could not keep it: {error}") from error
    trend = scan.trend
    return {
        "trend": trend and {"new": trend.appeared, "fixed": trend.fixed, "open": trend.remained},
    }


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"

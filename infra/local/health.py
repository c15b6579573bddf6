"""`./farwatch status`: what `state.json` says runs, and what each part answers right now."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from infra.local import postgres, valkey
from infra.local.engine import answers as engine_answers
from infra.local.engine import fetch_status
from infra.local.home import Home, Ports, State, is_process

if TYPE_CHECKING:
    from collections.abc import Callable


def report(home: Home) -> dict[str, Any]:
    """The health of an installation.

    `status` is `running` (all parts well), `degraded` (one is not), `starting` or `stopped`. Each part has
    `healthy`, `state`, `pid` and `restarts`; `api` is the HTTP API as a client meets it. URLs are given whenever
    a supervisor runs.
    """
    state = State.load(home)
    runs = state.supervisor_runs()
    parts = {
        name: {
            "healthy": False,
            "state": part.state if is_process(part.pid, part.started) else "ended",
            "pid": part.pid,
            "restarts": part.restarts,
        }
        for name, part in state.parts.items()
    }
    if not runs:
        left = {name: part for name, part in parts.items() if part["state"] != "ended"}
        return {"status": "stopped", "data": str(home.root), "parts": left}
    urls = Ports(state.port_base).urls()
    checks = _checks(home, Ports(state.port_base), urls["api_url"])
    parts["api"] = {"healthy": False, "state": "", "pid": None, "restarts": 0}
    with ThreadPoolExecutor(len(checks)) as pool:
        answered = dict(zip(checks, pool.map(lambda check: check(), checks.values()), strict=True))
    for name, part in parts.items():
        part["healthy"] = answered[name] if name in answered else part["state"] == "running"
    parts["api"]["state"] = "ready" if parts["api"]["healthy"] else "not ready"
    well = all(part["healthy"] for part in parts.values())
    status = ("running" if well else "degraded") if state.ready else "starting"
    return {
        "status": status,
        **urls,
        "data": str(home.root),
        "pid": state.supervisor_pid,
        "demo": state.demo,
        "parts": parts,
    }


def _checks(home: Home, ports: Ports, api_url: str) -> dict[str, Callable[[], bool]]:
    def valkey_answers() -> bool:
        try:
            password = json.loads(home.path("keys.json").read_text())["valkey_password"]
        except (OSError, ValueError, KeyError):
            return False
        return valkey.answers(ports.valkey, password, 2)

    return {
        "postgres": lambda: postgres.answers(ports.postgres, 2),
        "valkey": valkey_answers,
        "engine": lambda: engine_answers(ports.engine, 5),
        "dashboard": lambda: fetch_status(f"http://127.0.0.1:{ports.dashboard}/_stcore/health", 5) == 200,
        "api": lambda: fetch_status(f"{api_url}/api/v1/health/ready", 10) == 200,
    }


def in_words(report: dict[str, Any]) -> str:
    """The report for people."""
    if report["status"] == "stopped":
        left = ", ".join(report["parts"])
        return f"Farwatch is not running in {report['data']}." + (
            f" A killed run left {left}; ./farwatch up or down ends them." if left else ""
        )
    lines = [f"Farwatch is {report['status']} (process {report['pid']}), with its data in {report['data']}"]
    for name, part in report["parts"].items():
        mark = "✓" if part["healthy"] else "✗"
        restarts = f", restarted {part['restarts']} times" if part["restarts"] else ""
        process = f", process {part['pid']}" if part["pid"] else ""
        lines.append(f"  {mark} {name:<10} {part['state']}{process}{restarts}")
    lines += [f"  {name:<15} {report[name]}" for name in ("dashboard_url", "api_url", "ws_url")]
    return "\n".join(lines)

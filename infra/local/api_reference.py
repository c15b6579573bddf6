"""Writes what can be written from the code: ``docs/api/openapi.json``, ``docs/permissions.md`` and ``docs/errors.md``.

``python -m infra.local.api_reference`` writes them, ``--check`` only says whether they are up to date; a test
compares as well, so a route, permission or error that is not in the documents cannot be merged.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from farwatch import __version__
from farwatch.domain.rbac import AGENT_PERMISSIONS, MATRIX, SCOPES, Permission, Role
from farwatch.http.access import access_of
from farwatch.http.app import Api, create_api
from farwatch.http.openapi import openapi_document
from farwatch.http.problem_types import PROBLEM_TYPES
from farwatch.settings import Settings

ROOT = Path(__file__).parents[2]

TOKENS_AND_TOPICS = """\
An API token may do what its scopes say *and* its owner may still do: whoever loses a role takes it from their tokens
as well. The WebSocket asks for the same permissions: `fleet` needs `hosts:read`, `host:<id>` needs `metrics:read`,
`incidents` needs `incidents:read`, and `notifications` needs `notifications:own` and to be that person."""

THE_BODY = """\
Every error is an `application/problem+json` body (RFC 9457): `type` (an address that explains it), `title`, `status`,
`detail`, `instance` (the request id, also in `X-Request-Id` and in every log line), `code` (stable; the table below)
and `errors` (each field at fault: `loc`, `msg`). Printed from `farwatch.http.problem_types` by
`python -m infra.local.api_reference`; a test compares."""

WHEN_TO_RETRY = """\
Retry `429` and `503` after `Retry-After` seconds, other `5xx` and broken connections with growing pauses, nothing else.
Two answers are not ours: the gateway itself refuses a request without an `Authorization` header to a route that needs one
(`401 {"message":"Unauthorized"}`), and on AWS a flood above its own throttle (`429`). It could be made to ask the
authoriser instead only by giving up the cache of its verdicts, because whatever the cache's key is made of has to be in the
request ([security.md](security.md#who-is-asking)); an HTTP API cannot change these bodies otherwise."""


def assembled_api() -> Api:
    """Return the API with every route and no dependency."""
    from functions.api.routes import ROUTERS

    return create_api(Settings(), ROUTERS)


def documents() -> dict[str, str]:
    """Return the text of each document by its path below the project's root."""
    api = assembled_api()
    openapi = json.dumps(openapi_document(api, version=__version__), indent=1, ensure_ascii=False) + "\n"
    return {
        "docs/api/openapi.json": openapi,
        "docs/permissions.md": permissions_page(api),
        "docs/errors.md": errors_page(),
    }


def permissions_page(api: Api) -> str:
    """Return the permission matrix and what each route asks for, in Markdown."""
    roles = list(Role)
    lines = [
        "# Who may do what",
        "",
        "Printed from `farwatch.domain.rbac` and the routes by `python -m infra.local.api_reference`; a test compares.",
        "",
        "## Roles",
        "",
        "| permission | " + " | ".join(roles) + " | agent | API token |",
        "| --- |" + " :-: |" * (len(roles) + 2),
    ]
    for permission in Permission:
        cells = ["yes" if role in MATRIX[permission] else "–" for role in roles]
        cells.append("own host" if permission in AGENT_PERMISSIONS else "–")
        cells.append("as a scope" if permission in SCOPES else "–")
        lines.append(f"| `{permission}` | " + " | ".join(cells) + " |")
    lines += [
        "",
        TOKENS_AND_TOPICS,
        "",
        "## Routes",
        "",
        "| route | who | audited as |",
        "| --- | --- | --- |",
    ]
    for route in sorted(api.routes, key=lambda route: (route.openapi_path, route.method)):
        access = access_of(route.func)
        if access is not None:
            lines.append(
                f"| `{route.method} {route.openapi_path}` | {access.in_words()} | {access.audit or '–'} |"
            )
    return "\n".join(lines) + "\n"


def errors_page() -> str:
    """Return every problem code with its meaning, in Markdown."""
    lines = [
        "# Errors of the API",
        "",
        THE_BODY,
        "",
        WHEN_TO_RETRY,
        "",
        "| code | status | meaning | what to do |",
        "| --- | --- | --- | --- |",
    ]
    lines += [
        f"| `{code}` | {kind.status} | {kind.title} | {kind.advice} |" for code, kind in PROBLEM_TYPES.items()
    ]
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Write the documents, or with ``--check`` name those that are out of date; return the exit status."""
    parser = argparse.ArgumentParser(prog="api_reference", description=main.__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail when a document is stale")
    arguments = parser.parse_args(argv)
    stale = []
    for name, text in documents().items():
        path = ROOT / name
        if path.is_file() and path.read_text() == text:
            continue
        stale.append(name)
        if not arguments.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    for name in stale:
        print(
            f"{name} {'is out of date: run python -m infra.local.api_reference' if arguments.check else 'written'}"
        )
    return 1 if stale and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())

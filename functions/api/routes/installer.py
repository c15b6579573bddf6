"""``/api/v1/agents/install.sh`` and ``/api/v1/agents/package``: the agent, handed out by the back end it will speak to."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from aws_lambda_powertools.event_handler.api_gateway import Response, Router

from farwatch.bootstrap import container
from farwatch.errors import NotFound
from farwatch.http.access import public
from farwatch.http.openapi import problems
from farwatch.services.installer import fill_in

router = Router()
TAGS = ["agents"]
FOLDER = Path(__file__).parents[1]
SCRIPT_TYPE = "text/x-shellscript; charset=utf-8"
PACKAGE_TYPE = "application/zip"


@dataclass(frozen=True, slots=True)
class Package:
    """The agent's wheel, as packaging put it beside this code."""

    name: str
    body: bytes
    sha256: str


@cache
def package_in(folder: Path) -> Package:
    """Return the wheel in ``folder``; raises NotFound when this back end was packaged without one."""
    found = next(iter(sorted(folder.glob("farwatch_agent-*.whl"))), None)
    if found is None:
        raise NotFound("this back end was packaged without the agent", code="agent_not_packaged")
    body = found.read_bytes()
    return Package(found.name, body, hashlib.sha256(body).hexdigest())


@router.get(
    "/api/v1/agents/install.sh",
    summary="The script that installs an agent",
    tags=TAGS,
    responses={
        **problems(404),
        200: {
            "description": "A POSIX shell script",
            "content": {SCRIPT_TYPE: {"schema": {"type": "string"}}},
        },
    },
)
@public("the machine has no credential yet, and the script holds none")
def install_script() -> Response[str]:
    """Return the script, with this back end's address and the SHA-256 of its package."""
    package = package_in(FOLDER)
    script = fill_in(
        (FOLDER / "install.sh").read_text(encoding="utf-8"),
        server=container().settings.api_url,
        package=package.name,
        sha256=package.sha256,
    )
    return Response(200, content_type=SCRIPT_TYPE, body=script)


@router.get(
    "/api/v1/agents/package",
    summary="The agent as a Python wheel",
    tags=TAGS,
    responses={
        **problems(404),
        200: {
            "description": "A wheel",
            "content": {PACKAGE_TYPE: {"schema": {"type": "string", "format": "binary"}}},
        },
    },
)
@public("the machine has no credential yet, and the package holds none")
def agent_package() -> Response[str]:
    """Return the package that the script fetches and checks."""
    # Encoded here: Powertools validates a body before it encodes it, and takes bytes for UTF-8.
    body = base64.b64encode(package_in(FOLDER).body).decode()
    response = Response(200, content_type=PACKAGE_TYPE, body=body)
    response.base64_encoded = True
    return response

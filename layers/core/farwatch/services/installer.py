"""Installer: the one line that puts an agent on a machine, and the script behind it."""

from __future__ import annotations

import json
import shlex


def installer_line(api_url: str, token: str, *, re_enrol: bool = False) -> str:
    """Return the line of shell that installs the agent, enrols it and lets it run; ``re_enrol`` replaces an identity.

    The token is in the environment, because the arguments of a program can be read by everybody on the machine.
    """
    return f"curl -fsSL {shlex.quote(_script_url(api_url))} | {_shell(token, re_enrol=re_enrol)}"


def line_without_curl(api_url: str, token: str, *, re_enrol: bool = False) -> str:
    """Return the same for a machine that has nothing but the Python that the agent needs."""
    fetch = (
        f"import urllib.request as r; print(r.urlopen({json.dumps(_script_url(api_url))}).read().decode())"
    )
    return f"python3 -c {shlex.quote(fetch)} | {_shell(token, re_enrol=re_enrol)}"


def fill_in(script: str, *, server: str, package: str, sha256: str) -> str:
    """Return the script for one back end and one package; the values are quoted for the shell."""
    for name, value in {"SERVER": server.rstrip("/"), "PACKAGE": package, "SHA256": sha256}.items():
        script = script.replace(f"@{name}@", shlex.quote(value))
    return script


def _script_url(api_url: str) -> str:
    return f"{api_url.rstrip('/')}/api/v1/agents/install.sh"


def _shell(token: str, *, re_enrol: bool) -> str:
    return f"FARWATCH_AGENT_TOKEN={shlex.quote(token)} sh" + (" -s -- --re-enrol" if re_enrol else "")

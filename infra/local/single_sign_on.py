"""Single sign-on on this machine: settings from the environment of `up`, the client secret from the secrets document."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from farwatch.domain.webhooks import address_fault
from infra.local.home import Home, Ports, write_private

if TYPE_CHECKING:
    from collections.abc import Mapping

    from infra.local.keys import Keys

_PARAMETERS = {
    "OIDC_ISSUER": "OidcIssuer",
    "OIDC_CLIENT_ID": "OidcClientId",
    "OIDC_JWKS_URL": "OidcJwksUrl",
    "OIDC_GROUPS_CLAIM": "OidcGroupsClaim",
    "OIDC_ROLES": "OidcRoles",
    "OIDC_DEFAULT_ROLE": "OidcDefaultRole",
}
_NEEDED = ("OIDC_CLIENT_ID", "OIDC_JWKS_URL")
SECRET = "oidc_client_secret"  # noqa: S105 - the name of a field of the secrets document


class SingleSignOnError(RuntimeError):
    """Single sign-on is set up in part, or over plain HTTP; the message says what to set."""


def parameters(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the template's parameters for the identity provider, none when `OIDC_ISSUER` is not set.

    Raises `SingleSignOnError` when something that it needs is missing.
    """
    env = os.environ if environ is None else environ
    if not env.get("OIDC_ISSUER"):
        return {}
    for name in _NEEDED:
        if not env.get(name):
            raise SingleSignOnError(
                f"OIDC_ISSUER is set and {name} is not; docs/security.md says what it is."
            )
    for name in ("OIDC_ISSUER", "OIDC_JWKS_URL"):
        if fault := address_fault(env[name]):
            raise SingleSignOnError(f"{name} {fault}.")
    return {parameter: env[name] for name, parameter in _PARAMETERS.items() if env.get(name)}


def dashboard_file(
    home: Home,
    ports: Ports,
    keys: Keys,
    document: Mapping[str, Any],
    environ: Mapping[str, str] | None = None,
) -> str:
    """Write what the dashboard needs to know of the provider, readable by its owner only; return the file's path.

    Returns "" and removes the file when there is no provider. Raises `SingleSignOnError` without a client secret.
    """
    env = os.environ if environ is None else environ
    path = home.path("single-sign-on.json")
    if not parameters(env):
        path.unlink(missing_ok=True)
        return ""
    if not document.get(SECRET):
        raise SingleSignOnError(
            f'OIDC_ISSUER is set and the client secret is not: add "{SECRET}" to {home.secrets}.'
        )
    known = {
        "issuer": env["OIDC_ISSUER"],
        "client_id": env["OIDC_CLIENT_ID"],
        "client_secret": document[SECRET],
        "cookie_secret": keys.cookie_secret,
        "dashboard_url": ports.urls()["dashboard_url"],
        "name": env.get("OIDC_NAME", ""),
        "scopes": env.get("OIDC_SCOPES", ""),
    }
    write_private(path, json.dumps(known, indent=1))
    return str(path)

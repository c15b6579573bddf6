"""Passwords and keys of one installation: made once, kept in files that only their owner can read."""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from infra.local.home import write_private

if TYPE_CHECKING:
    from pathlib import Path

    from infra.local.home import Home, Ports


_MEND = "Mend it by hand, or bring it back from a backup: the data beside it cannot be read without it."


class Unreadable(RuntimeError):
    """A file of secrets is not what it should be; the message names the file and the place, and repeats nothing of it."""


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in `path`. Raises `Unreadable`: people edit these files."""
    try:
        value = json.loads(path.read_text())
    except ValueError as error:
        where = f": {error}" if isinstance(error, json.JSONDecodeError) else ""
        raise Unreadable(f"{path} is not JSON{where}. {_MEND}") from error
    if not isinstance(value, dict):
        raise Unreadable(f"{path} is not a JSON object. {_MEND}")
    return value


@dataclass(frozen=True)
class Keys:
    """What only the supervisor needs. `installation` names this data folder where it has files elsewhere.

    `cookie_secret` signs the cookie in which Streamlit keeps who came from the identity provider.
    """

    installation: str
    superuser_password: str
    database_password: str
    valkey_password: str
    cookie_secret: str = ""

    @classmethod
    def load_or_make(cls, home: Home) -> Keys:
        """The keys of this data folder, made at the first call."""
        path = home.path("keys.json")
        try:
            keys = cls(**read_object(path)) if path.is_file() else None
        except TypeError as error:
            raise Unreadable(f"{path} does not hold the keys of an installation. {_MEND}") from error
        if keys is not None and keys.cookie_secret:
            return keys
        if keys is None:
            keys = cls(secrets.token_hex(6), *(secrets.token_urlsafe(32) for _ in range(3)))
        keys = replace(keys, cookie_secret=secrets.token_urlsafe(32))
        write_private(path, json.dumps(asdict(keys), indent=1))
        return keys


def secrets_document(home: Home, keys: Keys, ports: Ports) -> dict[str, Any]:
    """Write and return the document that functions read from Secrets Manager (`farwatch.settings.Secrets`).

    Addresses follow the ports; signing keys and the pepper are made once; whatever else is in the file, such as
    `smtp`, `influx_token` or `oidc_client_secret` put there by hand, stays.
    """
    document = read_object(home.secrets) if home.secrets.is_file() else {}
    if "jwt_keys" not in document:
        document["jwt_keys"] = {"k1": base64.b64encode(secrets.token_bytes(32)).decode()}
        document["jwt_active_kid"] = "k1"
        document["pepper"] = secrets.token_urlsafe(48)
    document["database_url"] = (
        f"postgresql://farwatch:{keys.database_password}@127.0.0.1:{ports.postgres}/farwatch"
    )
    document["redis_url"] = f"redis://:{keys.valkey_password}@127.0.0.1:{ports.valkey}/0"
    write_private(home.secrets, json.dumps(document, indent=1))
    return document

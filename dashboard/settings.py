"""Where the back end is. The dashboard has no other settings: everything else it knows, it asks the API."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit


class Misconfigured(Exception):
    """A setting is missing or wrong; the message names it and shows a valid example."""


@dataclass(frozen=True, slots=True)
class Settings:
    """``api_url`` is everything before ``/api/v1``; ``ws_url`` is ``None`` when the API is to tell it with each ticket."""

    api_url: str
    ws_url: str | None = None


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Read ``FARWATCH_API_URL`` (needed) and ``FARWATCH_WS_URL`` (optional); raise :class:`Misconfigured`."""
    env = os.environ if environ is None else environ
    api_url = env.get("FARWATCH_API_URL", "").strip().rstrip("/")
    if not api_url:
        raise Misconfigured(
            "FARWATCH_API_URL is not set. Give the base URL of the HTTP API, "
            "for example FARWATCH_API_URL=https://api.example.org"
        )
    if urlsplit(api_url).scheme not in {"http", "https"}:
        raise Misconfigured(f"FARWATCH_API_URL must start with http:// or https://, not {api_url!r}")
    ws_url = env.get("FARWATCH_WS_URL", "").strip() or None
    if ws_url is not None and urlsplit(ws_url).scheme not in {"ws", "wss"}:
        raise Misconfigured(f"FARWATCH_WS_URL must start with ws:// or wss://, not {ws_url!r}")
    return Settings(api_url.removesuffix("/api/v1"), ws_url)

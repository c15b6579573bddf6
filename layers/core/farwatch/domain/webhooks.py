"""Which addresses messages may be posted to, and secrets sent to or keys fetched from."""

from __future__ import annotations

import ipaddress
from socket import inet_aton
from urllib.parse import urlsplit

_THIS_MACHINE = {"localhost", "127.0.0.1", "::1"}
MAX_LENGTH = 2000


def address_fault(url: str) -> str:
    """Return what is wrong with an address that secrets go to, or nothing.

    It must be https, or http to this machine; without credentials, which belong into no address; and not link-local,
    where clouds keep the secrets of a machine.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        parts.port  # noqa: B018 - reading it is what checks it
    except ValueError:
        return "not an address"
    if not host or len(url) > MAX_LENGTH or not url.isascii() or not url.isprintable() or " " in url:
        return "must be https://host/…"
    if "@" in parts.netloc:
        return "must not hold a user name or password"
    if parts.scheme != "https" and not (parts.scheme == "http" and host in _THIS_MACHINE):
        return "must be https, or http to this machine"
    return "must not be a link-local address" if _is_link_local(host) else ""


def _is_link_local(host: str) -> bool:
    """Whether a host is a link-local address in any of the forms that resolvers take for one."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        try:
            address = ipaddress.ip_address(inet_aton(host.removesuffix(".")))  # 2852039166, 0xa9.0xfe.43518
        except OSError:
            return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_link_local

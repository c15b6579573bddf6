"""The audit log as a chain: each entry's hash covers the entry before it, so nothing can be altered unnoticed.

hash(n) = SHA-256(hash(n - 1) ‖ text(n)), where text is the stored JSON, byte for byte, and hash(0) is 32 zero bytes.
Cutting off the newest entries leaves a valid chain; whoever noted a head (number and hash) earlier can tell.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from farwatch.domain.rbac import Caller

GENESIS = bytes(32)
_SECRET_WORDS = ("password", "secret", "token", "credential", "authorization", "routing_key", "webhook")
REDACTED = "«redacted»"


@dataclass(frozen=True, slots=True)
class Link:
    """One row of the log: its number, the exact text of its entry, and the two hashes."""

    seq: int
    text: str
    previous: bytes
    hash: bytes


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of checking a chain. ``broken_at`` is the number of the first bad row, None when all is well."""

    rows: int
    head_seq: int
    head_hash: bytes
    broken_at: int | None = None
    reason: str = ""


def entry_text(
    caller: Caller,
    *,
    seq: int,
    at: int,
    action: str,
    target: str,
    outcome: str,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    detail: Mapping[str, Any] | None = None,
) -> str:
    """Return the JSON text of an entry: who, what, on what, with what result, when (epoch ms) and from where.

    Values under names that sound secret are left out, whatever the caller put there.
    """
    principal = caller.principal
    entry = {
        "seq": seq,
        "at": at,
        "actor_kind": str(principal.kind),
        "actor_id": principal.id,
        "action": action,
        "target": target,
        "outcome": outcome,
        "address": caller.address,
        "user_agent": caller.user_agent,
        "request_id": caller.request_id,
        "before": redact(before),
        "after": redact(after),
        "detail": redact(detail),
    }
    return json.dumps(entry, ensure_ascii=True, sort_keys=True, separators=(",", ":"), default=str)


def redact(value: Any) -> Any:
    """Return ``value`` with everything under a name that sounds secret replaced."""
    if isinstance(value, Mapping):
        return {
            str(name): REDACTED if _sounds_secret(str(name)) and inner is not None else redact(inner)
            for name, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [redact(inner) for inner in value]
    return value


def _sounds_secret(name: str) -> bool:
    lowered = name.lower()
    return any(word in lowered for word in _SECRET_WORDS) and not lowered.endswith(("_id", "_at"))


def link_hash(previous: bytes, text: str) -> bytes:
    """Return the hash of the entry ``text`` that follows the entry hashed ``previous``."""
    return hashlib.sha256(previous + text.encode()).digest()


def verify(links: Iterable[Link], head: tuple[int, bytes] | None = None) -> Verdict:
    """Walk the chain from its first row and say whether it is whole, and whether it still contains ``head``.

    ``head`` is (number, hash) of a row noted earlier, for finding out that newer rows were cut off.
    """
    seq, previous, found_head = 0, GENESIS, head is None
    for link in links:
        reason = _fault(link, seq + 1, previous)
        if reason:
            return Verdict(seq, seq, previous, broken_at=link.seq, reason=reason)
        seq, previous = link.seq, link.hash
        if head is not None and link.seq == head[0]:
            if link.hash != head[1]:
                return Verdict(
                    seq, seq, previous, broken_at=seq, reason="differs from the head noted earlier"
                )
            found_head = True
    if not found_head and head is not None:
        return Verdict(
            seq, seq, previous, broken_at=seq + 1, reason=f"ends before row {head[0]} noted earlier"
        )
    return Verdict(seq, seq, previous)


def _fault(link: Link, expected_seq: int, previous: bytes) -> str:
    if link.seq != expected_seq:
        return f"row {expected_seq} is missing"
    if link.previous != previous:
        return "does not follow the row before it"
    if link.hash != link_hash(previous, link.text):
        return "its text was altered"
    if json.loads(link.text).get("seq") != link.seq:
        return "it was moved from another place"
    return ""

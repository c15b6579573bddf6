"""The one grammar for including and excluding things by name.

A list of shell patterns, read from left to right, the last one that matches decides.  A leading ``-``
excludes.  An empty list excludes everything, so ``sensors = []`` switches the temperatures off.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase


class Globs:
    """Decides by name: ``Globs(["*", "-lo"])("eth0")`` is true, ``…("lo")`` is false."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._rules = [(not p.startswith("-"), p.removeprefix("-")) for p in patterns]
        self._seen: dict[str, bool] = {}

    def __call__(self, name: str) -> bool:
        """Return whether ``name`` is included."""
        known = self._seen.get(name)
        if known is None:
            known = False
            for include, pattern in self._rules:
                if fnmatchcase(name, pattern):
                    known = include
            # Names come from the host and may be many (virtual interfaces come and go).
            if len(self._seen) > 1000:
                self._seen.clear()
            self._seen[name] = known
        return known

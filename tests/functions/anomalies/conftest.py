"""The API over real stores, as the other function tests have it."""

from __future__ import annotations

from tests.functions.spine.conftest import made

__all__ = ["made"]

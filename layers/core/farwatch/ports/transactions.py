"""Several changes that happen together or not at all."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol


class Transactions(Protocol):
    """Whatever the stores change inside the block is committed together; an exception undoes it all."""

    def transaction(self) -> AbstractContextManager[object]:
        """Return the block."""
        ...

"""Clones: two machines that speak with one agent's credential.

Each batch carries a speaker: its spool's id and the moment its agent started. Restarting or reinstalling an agent brings
a new speaker, and the old one is never heard again. When earlier speakers keep coming back, there are two of them.
"""

from __future__ import annotations

from collections.abc import Sequence

REMEMBERED = 8
RETURNS = 3


def sounds_cloned(speakers: Sequence[str]) -> bool:
    """Return whether ``speakers``, the newest first and never the same twice running, take turns.

    A single return can be a late request of an agent that is gone; three cannot.
    """
    returns = sum(speaker in speakers[i + 1 :] for i, speaker in enumerate(speakers))
    return returns >= RETURNS

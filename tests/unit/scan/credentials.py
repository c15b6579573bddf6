"""Credentials for tests to plant: made when asked for, so that none stands in this tree."""

from __future__ import annotations

import random
import string


def made_up_credential() -> str:
    """Return the id of a cloud access key that nobody has, always the same one."""
    return "AKIA" + "".join(random.Random(7).choices(string.ascii_uppercase + "234567", k=16))

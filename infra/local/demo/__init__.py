"""A believable fleet of twenty hosts, with days of history and trouble of known kinds, for ``up --demo``.

``enrol`` gives the hosts their identities, ``load`` writes their history, and ``python -m infra.local.demo.feed``
keeps sending live samples the way agents do. It is all a function of a seed and of time, so live samples continue the
history without a seam, and what was injected is known.
"""

from infra.local.demo.load import DemoError, Loaded, enrol, load

__all__ = ["DemoError", "Loaded", "enrol", "load"]

"""Writes the history of the demonstration fleet: `python -m infra.local.load_demo DATA_FOLDER`.

A process of its own, at low priority: making and writing days of samples of twenty hosts keeps one core busy for a
while, and what people look at meanwhile should not wait for it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from infra.local.demo import load
from infra.local.demo.feed import demo_folder
from infra.local.first_run import container
from infra.local.home import Home


def main() -> None:
    """Write what is missing and print one line about it."""
    os.nice(10)
    home = Home(Path(sys.argv[1]))
    done = load(container(home).adapters.metric_store, folder=demo_folder(home))
    print(f"{done.hosts} hosts, {done.samples:,} samples of history ({done.seconds:.1f} s)")


if __name__ == "__main__":
    main()

"""``python -m collector_agent``: the same as the ``farwatch-agent`` command."""

import sys

from collector_agent.cli import main

sys.exit(main())

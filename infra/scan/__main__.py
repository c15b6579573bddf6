"""``python -m infra.scan``: the same command without the launcher."""

import sys

from infra.scan.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

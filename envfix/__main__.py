"""``python -m envfix`` and the ``envfix`` program."""

from __future__ import annotations

import sys


def run() -> None:
    """Start the command line and end the process with its exit code."""
    from envfix.cli import main

    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    run()

"""``python -m envfix`` and the ``envfix`` program."""

from __future__ import annotations

import signal
import sys


def run() -> None:
    """Start the command line and end the process with its exit code."""
    from envfix.cli import main

    # A closed terminal or a `kill` ends envfix as Ctrl-C does: what it has started is ended, what it has begun is taken back.
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.default_int_handler)

    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    run()

"""``python -m envfix`` and the ``envfix`` program."""

from __future__ import annotations

import gc
import io
import signal
import sys


def run() -> None:
    """Start the command line and end the process with its exit code."""
    # What is imported stays: looking for garbage in between takes 8 % of the start.
    gc.set_threshold(50_000)
    # A closed terminal or a `kill` ends envfix as Ctrl-C does: what it has started is ended, what it has begun is taken back.
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:  # ignored: started by `nohup`
            signal.signal(number, signal.default_int_handler)
    try:
        from envfix.cli import main

        # What the terminal cannot show is shown as its code, never as a failure.
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        code = main(sys.argv[1:])
    except KeyboardInterrupt:  # before or after there was anything to interrupt
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    run()

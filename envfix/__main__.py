"""``python -m envfix`` and the ``envfix`` program."""

from __future__ import annotations

import _thread
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_ENDING = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGBREAK")
_INTERRUPTED = 130
_WORDS = b"error: interrupted\n"
# What `envfix.cli` answers to an interruption with --json, before anything is there to write it with.
_DOCUMENT = b"""{
  "schema": "envfix.error/1",
  "error": {
    "reference": "interrupted",
    "message": "interrupted",
    "hint": null,
    "exit_code": 130
  }
}
"""


def run() -> None:
    """Start the command line and end the process with its exit code."""
    _when_ended(_leave_at_once)

    import atexit
    import gc
    import io

    # What is imported stays: looking for garbage in between takes 8 % of the start.
    gc.set_threshold(50_000)
    # Runs last, when all threads have ended: Python itself would let signals kill it while it cleans up.
    atexit.register(_when_ended, signal.SIG_IGN)

    try:
        from envfix.cli import main
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "envfix":
            raise
        # As with `python -m envfix` in a fresh checkout.
        _write(2, f"error: {error.name}, which envfix needs, is not installed for {sys.executable}\n".encode())
        _write(
            2, b"hint: start ./scripts/run in the checkout: it makes an environment that has all; or: pipx install .\n"
        )
        sys.exit(3)

    # A stream that is closed (`<&-`, a service, a window that is gone) is one that has nothing and takes everything.
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - open to the end
    # What the terminal cannot show is shown as its code, never as a failure.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(_code_of(main))


def _code_of(main: Callable[[list[str]], int]) -> int:
    """What the command ends with. From here on there is something to take back, so a signal acts as Ctrl-C does."""
    try:
        sys.unraisablehook = _dropped
        _when_ended(signal.default_int_handler)
        code = main(sys.argv[1:])
        # The answer has been given: who ends envfix now gets it all the same.
        _when_ended(lambda _number, _frame: os._exit(code))
    except KeyboardInterrupt:  # while the answer was being written
        _when_ended(lambda _number, _frame: os._exit(_INTERRUPTED))
        _write(2, _WORDS)
        return _INTERRUPTED
    return code


def _when_ended(action: Callable[[int, FrameType | None], object] | signal.Handlers) -> None:
    """Set what Ctrl-C, ``kill``, a closed terminal and the like do; what is ignored stays so, as ``nohup`` wants it."""
    for name in _ENDING:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) not in (None, signal.SIG_IGN):
            signal.signal(number, action)


def _dropped(what: UnraisableHookArgs) -> None:
    """Python drops an exception that comes while an object goes, among imports for one; an interruption comes again."""
    if what.exc_type is KeyboardInterrupt:
        _thread.start_new_thread(_interrupt_again, ())
    else:
        sys.__unraisablehook__(what)


def _interrupt_again() -> None:
    time.sleep(0.002)  # in this moment it would be dropped again
    if callable(signal.getsignal(signal.SIGTERM)) and os.name == "posix":
        os.kill(os.getpid(), signal.SIGTERM)  # wakes the program up as well, where it waits for something
    else:
        _thread.interrupt_main()


def _leave_at_once(number: int, frame: FrameType | None) -> None:
    """Say so and end, where nothing has begun yet: an exception could get lost among the imports."""
    del number, frame
    if "--json" in sys.argv[1:]:
        _write(1, _DOCUMENT)
    _write(2, _WORDS)
    os._exit(_INTERRUPTED)


def _write(descriptor: int, text: bytes) -> None:
    with contextlib.suppress(OSError):  # nobody listens any more
        os.write(descriptor, text)


if __name__ == "__main__":
    run()

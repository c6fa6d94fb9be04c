"""A signal ends envfix with 130 and the usual words, from its first statement on; after the answer it changes nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence

import pytest

from envfix import __version__
from tests.conftest import CHECKOUT
from tests.fakes.running import Finished, cleaned_environment

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

# Sends a signal to itself when a module is about to be imported: a moment that is the same every time.
HOOK = """
import os, sys
class Hook:
    def find_spec(self, name, path=None, target=None):
        if name in modules:
            modules.remove(name)
            act()
def send():
    os.kill(os.getpid(), number)
sys.meta_path.insert(0, Hook())
"""
RUN = f"sys.path.insert(0, {str(CHECKOUT)!r}); from envfix.__main__ import run; run()"
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT]
INTERRUPTED = {
    "schema": "envfix.error/1",
    "error": {"reference": "interrupted", "message": "interrupted", "hint": None, "exit_code": 130},
}


def envfix(
    *arguments: str,
    at: Sequence[str],
    number: signal.Signals,
    then: str = "act = send",
    ignored: bool = False,
) -> Finished:
    """Run envfix; when these modules are about to be imported, ``act`` is called, which ``then`` defines."""
    code = f"modules, number = {list(at)!r}, {int(number)}\n{HOOK}\n{then}\n{RUN}"
    result = subprocess.run(
        [sys.executable, "-I", "-c", code, *arguments],
        env=cleaned_environment(),
        capture_output=True,
        timeout=30,
        check=False,
        stdin=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(number, signal.SIG_IGN) if ignored else None,
    )
    return Finished(result.returncode, result.stdout, result.stderr)


# From the first import of `run` to those of a command.
MOMENTS = ["atexit", "envfix.cli", "click.core", "envfix.commands.causes", "envfix.tables.loader"]


@pytest.mark.parametrize("module", MOMENTS)
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal_during_the_start_ends_it_with_130_and_one_document(module: str, number: signal.Signals) -> None:
    finished = envfix("causes", "DRV101", "--json", at=[module], number=number)
    assert finished.code == 130, finished
    assert finished.document == INTERRUPTED
    assert finished.stderr == "error: interrupted\n"


@pytest.mark.parametrize("module", MOMENTS)
def test_for_people_it_is_words_alone(module: str) -> None:
    finished = envfix("causes", "DRV101", at=[module], number=signal.SIGTERM)
    assert (finished.code, finished.stdout, finished.stderr) == (130, "", "error: interrupted\n")


def test_the_document_is_the_same_to_the_letter_whenever_the_signal_comes() -> None:
    early, late = (
        envfix("causes", "DRV101", "--json", at=[module], number=signal.SIGINT)
        for module in ("envfix.cli", "envfix.tables.loader")
    )
    assert early.raw == late.raw
    assert early.raw.endswith(b"}\n")


def test_a_signal_is_not_lost_where_python_drops_exceptions() -> None:
    """As in what runs when an object goes, of which there is much among imports."""
    dropped = "class Going:\n    def __del__(self, send=send): send()\ndef act(): Going()"
    finished = envfix("causes", "DRV101", "--json", at=["click.core"], number=signal.SIGTERM, then=dropped)
    assert (finished.code, finished.document) == (130, INTERRUPTED)
    assert finished.stderr == "error: interrupted\n"


def test_nor_is_it_lost_there_once_the_command_works() -> None:
    dropped = (
        "import time\nclass Going:\n    def __del__(self, send=send): send()\n"
        "def act():\n    Going()\n    time.sleep(20)\n    os._exit(1)"
    )
    finished = envfix("causes", "DRV101", "--json", at=["envfix.tables.loader"], number=signal.SIGTERM, then=dropped)
    assert (finished.code, finished.document) == (130, INTERRUPTED)
    assert finished.stderr == "error: interrupted\n"


def test_other_exceptions_that_python_drops_are_shown_as_ever() -> None:
    dropped = "class Going:\n    def __del__(self): raise ValueError('in here')\ndef act(): Going()"
    finished = envfix("causes", "DRV101", at=["envfix.tables.loader"], number=signal.SIGTERM, then=dropped)
    assert finished.code == 0
    assert "ValueError: in here" in finished.stderr


def test_a_second_signal_does_not_take_the_answer_away() -> None:
    """A service manager sends SIGTERM and SIGHUP, a closing terminal two of the latter."""
    moments = ["envfix.commands.causes", "envfix.model.documents"]
    finished = envfix("causes", "DRV101", "--json", at=moments, number=signal.SIGHUP)
    assert (finished.code, finished.document) == (130, INTERRUPTED)
    assert finished.stderr == "error: interrupted\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGQUIT], ids=lambda number: number.name)
def test_a_signal_that_is_ignored_from_outside_stays_so(number: signal.Signals) -> None:
    finished = envfix("--version", at=["envfix.cli", "click.core"], number=number, ignored=True)
    assert (finished.code, finished.stdout, finished.stderr) == (0, f"envfix {__version__}\n", "")


AFTERWARDS = [
    pytest.param("act = lambda: __import__('atexit').register(send)", id="while Python ends its threads"),
    pytest.param("import atexit; atexit.register(send); act = send", id="after that"),
    pytest.param(
        "class Last:\n    def __del__(self, send=os.kill, me=os.getpid(), number=number): send(me, number)\n"
        "sys.last = Last(); act = lambda: None",
        id="while Python cleans up",
    ),
]


@pytest.mark.parametrize("then", AFTERWARDS)
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal_after_the_answer_leaves_it_as_it_is(then: str, number: signal.Signals) -> None:
    moment = ["envfix.cli"] if "__import__" in then else []
    answered = envfix("no-such-command", at=moment, number=number, then=then)
    assert answered.code == 2, answered
    assert answered.stderr.startswith("error: No such command 'no-such-command'.")
    assert "Traceback" not in answered.stderr

"""run: a program untouched, explained only if it fails."""

from __future__ import annotations

import io
import signal
import sys
from collections.abc import Sequence

import msgspec

from envfix import explaining
from envfix.app.explaining import explain_log
from envfix.app.settings import NOBODY, named_target
from envfix.host import passthrough
from envfix.host.passthrough import Ended
from envfix.host.real import RealHost
from envfix.model.explanation import Explanation
from envfix.model.language import later, say
from envfix.model.log import Log
from envfix.model.reporter import Reporter
from envfix.probes import commands

# A user who stops a program knows why it ended.
STOPPED = (passthrough.BY_SIGNAL + signal.SIGINT, passthrough.BY_SIGNAL + signal.SIGTERM)


def run(argv: Sequence[str], target: str | None = None) -> Ended:
    """Run the program with this shell's own streams; raises ``UsageError`` for a ``--python`` that is none."""
    if target is not None:
        named_target(RealHost(), target)
    return passthrough.run(argv)


def leave(ended: Ended) -> int:
    """The program's exit code; where Ctrl-C ended it this process ends the same way, so that a shell's loop ends too."""
    if ended.code == passthrough.BY_SIGNAL + signal.SIGINT and sys.platform != "win32":
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)
    return ended.code


def explain(
    ended: Ended,
    argv: Sequence[str],
    target: str | None = None,
    *,
    with_machine: bool = True,
    reporter: Reporter = NOBODY,
) -> Explanation | None:
    """Why it failed; None where it did not, or was stopped by its user. The facts are those of the Python that it ran with."""
    if ended.code == 0 or ended.code in STOPPED or (not ended.started and ended.code != passthrough.NOT_FOUND):
        return None
    host = RealHost()
    output = ended.output if ended.started else say("{argv}: command not found", argv=argv[0]).encode()
    log = explaining.read(io.BytesIO(output + b"\n" + how_it_ended(ended.code).encode()))
    return explain_log(
        _with_the_end_named(log, how_it_ended(ended.code)),
        host,
        target or _python_of(host, argv[0]),
        with_machine=with_machine,
        reporter=reporter,
    )


def _with_the_end_named(log: Log, words: str) -> Log:
    """The words of the last line are no line of the output: they tell how it ended."""
    hits = {
        pattern: tuple(
            msgspec.structs.replace(hit, line=1, file=END) if words and hit.shown == words else hit for hit in found
        )
        for pattern, found in log.hits.items()
    }
    return msgspec.structs.replace(log, hits=hits, lines=log.lines - 1)


# What the words for a signal are called, where lines of the output have numbers.
END = later("how it ended")


def how_it_ended(code: int) -> str:
    """What a shell says of a program that a signal ended: ``Killed``, ``Illegal instruction``, ``Bus error``; else nothing."""
    if not passthrough.BY_SIGNAL < code < passthrough.BY_SIGNAL + 32:
        return ""
    return signal.strsignal(code - passthrough.BY_SIGNAL) or ""


def _python_of(host: RealHost, program: str) -> str | None:
    """The interpreter that a command runs with: itself, or the one its first line names; None where it is no Python's."""
    hits = (program,) if "/" in program else host.which(program)
    return commands.describe(host, program, hits[0]).interpreter if hits else None

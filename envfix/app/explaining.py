"""explain: read a log, judge what it says, join it with the facts of the machine."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import msgspec

from envfix import explaining
from envfix.app.advising import typed
from envfix.app.detecting import detect
from envfix.app.recovering import settle
from envfix.app.settings import NOBODY, named_target, tables_for, time_limit
from envfix.errors import EnvfixError, UsageError
from envfix.host.real import RealHost
from envfix.model.explanation import Explanation
from envfix.model.language import say
from envfix.model.log import Hit, Log
from envfix.model.reporter import Reporter
from envfix.probes.interpreter import literal
from envfix.report_reader import statements

STANDARD_INPUT = "-"


def explain_files(
    files: Sequence[str],
    target: str | None = None,
    *,
    snapshot: str | None = None,
    with_machine: bool = True,
    reporter: Reporter = NOBODY,
) -> Explanation:
    """The causes that logs show; ``-`` is standard input. Raises ``EnvfixError`` where a log cannot be read."""
    host = RealHost()
    if snapshot is not None and target is not None:
        raise UsageError(
            say("--python names an interpreter of this machine, and --from looks at another one"),
            hint=say("leave one of them out"),
        )
    if target is not None:
        named_target(host, target)
    reporter.stage(say("reading the log"))
    logs = []
    for name in files:
        shown = None if len(files) == 1 else say("standard input") if name == STANDARD_INPUT else name
        with ExitStack() as opened:
            try:
                stream = opened.enter_context(host.open_bytes(None if name == STANDARD_INPUT else name))
                logs.append(explaining.read(stream, shown))
            except OSError as error:
                raise EnvfixError(
                    say("cannot read {name}: {strerror}", name=name, strerror=error.strerror or error),
                    hint=say(
                        "give the file that the program's output was saved to, or pipe it:"
                        " `PROGRAM 2>&1 | envfix explain -`"
                    ),
                ) from error
    return explain_log(_together(logs), host, target, snapshot=snapshot, with_machine=with_machine, reporter=reporter)


def _together(logs: Sequence[Log]) -> Log:
    """Several logs as one, in their order."""
    hits: dict[str, tuple[Hit, ...]] = {}
    for log in logs:
        hits |= {pattern: (*hits.get(pattern, ()), *found) for pattern, found in log.hits.items()}
    return Log(
        hits=hits,
        lines=sum(log.lines for log in logs),
        bytes=sum(log.bytes for log in logs),
        passed_over=sum(log.passed_over for log in logs),
    )


def explain_log(
    log: Log,
    host: RealHost,
    target: str | None = None,
    *,
    snapshot: str | None = None,
    with_machine: bool = True,
    reporter: Reporter = NOBODY,
) -> Explanation:
    """Judge a log that was read, with the facts of this machine, of another one, or those that it states itself."""
    tables = tables_for(host)
    if snapshot is not None:
        from envfix.app.snapshotting import read_snapshot

        saved = read_snapshot(host, snapshot, tables)
        stranger = statements.differs(log, statements.read(log, tables), saved.machine)
        if stranger is not None:
            return explaining.alone(log, tables, notes=(stranger,))
        return explaining.joined(log, saved.machine, saved.environment, tables, facts="file", origin=snapshot)
    if not with_machine or explaining.is_silent(log):
        return explaining.alone(log, tables)
    reporter.stage(say("looking at this machine and its Python"))
    machine, environment = detect(
        host, target, with_import=False, timeout=time_limit(host), settle=lambda path: settle(path, reporter)
    )
    stranger = statements.differs(log, statements.read(log, tables), machine)
    if stranger is not None:
        # What is true here says nothing about another machine.
        return explaining.alone(log, tables, notes=(stranger,))
    answer = explaining.joined(log, machine, environment, tables, facts="machine")
    causes = (
        msgspec.structs.replace(one, remedies=typed(one.remedies, target, lambda name: bool(host.glob(literal(name)))))
        for one in answer.causes
    )
    return msgspec.structs.replace(answer, causes=tuple(causes))

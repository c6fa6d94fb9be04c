"""diagnose: detect, then judge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from envfix.app.detecting import detect
from envfix.app.recovering import settle
from envfix.app.settings import NOBODY, named_target, tables_for, time_limit
from envfix.errors import UsageError
from envfix.host.real import RealHost
from envfix.model.facts import Environment, IndexState, Machine
from envfix.model.finding import Diagnosis, Verdict
from envfix.model.gpu_use import by_number, numbers
from envfix.model.language import say
from envfix.model.report import Report
from envfix.model.reporter import Reporter
from envfix.probes.interpreter import literal

if TYPE_CHECKING:
    from envfix.tables.loader import Tables


def judge(machine: Machine, environment: Environment, tables: Tables) -> tuple[Verdict, ...]:
    """What every rule says of these facts."""
    from envfix.rules import _rule

    return _rule.judge(machine, environment, tables)


def diagnose(machine: Machine, environment: Environment, tables: Tables) -> Diagnosis:
    """Judge, and put the most likely root cause first."""
    from envfix.rules import _rule

    return _rule.diagnose(judge(machine, environment, tables))


def report(
    target: str | None = None,
    *,
    snapshot: str | None = None,
    with_import: bool = True,
    network: bool = False,
    reporter: Reporter = NOBODY,
) -> Report:
    """Detect and judge this machine, or judge a saved one; raises ``EnvfixError`` where envfix itself cannot."""
    host = RealHost()
    if snapshot is not None and target is not None:
        raise UsageError(
            say("--python names an interpreter of this machine, and --from looks at another one"),
            hint=say("leave one of them out"),
        )
    if snapshot is not None:
        from envfix.app.snapshotting import read_snapshot

        saved = read_snapshot(host, snapshot, tables_for(host))
        machine, environment = saved.machine, saved.environment
    else:
        if target is not None:
            named_target(host, target)
        limit = time_limit(host)
        machine, environment = detect(
            host,
            target,
            with_import=with_import,
            timeout=limit,
            settle=lambda path: settle(path, reporter),
            meanwhile=lambda: _get_ready(reporter),
        )
    if network and snapshot is None:
        from envfix.app.channels import with_channels_asked

        machine = with_channels_asked(host, machine, tables_for(host), reporter)
    diagnosis = diagnose(machine, environment, tables_for(host))
    indexes: tuple[IndexState, ...] = ()
    if network and snapshot is None:
        from envfix.app.indexing import ask_indexes

        indexes = ask_indexes(host, environment, reporter)
    afterwards = None
    if diagnosis.verdict == "broken":
        from envfix.app.advising import fitted

        if with_import or snapshot is not None:  # without: only what files say, at once
            from envfix.app.foreseeing import foresee

            afterwards = foresee(machine, environment, diagnosis, tables_for(host))
        here = snapshot is None
        diagnosis = fitted(
            diagnosis, afterwards, target if here else None, lambda name: here and bool(host.glob(literal(name)))
        )
    if snapshot is not None:  # the serial ids of a saved machine are stand-ins, which choose no card
        findings = by_number(diagnosis.findings, numbers(machine.gpus.value or ()))
        diagnosis = msgspec.structs.replace(diagnosis, findings=findings)
    return Report(
        machine=machine,
        environment=environment,
        diagnosis=diagnosis,
        indexes=indexes,
        afterwards=afterwards,
        origin=snapshot,
    )


def _get_ready(reporter: Reporter) -> None:
    """What can be done while programs answer: say so, and read the rules."""
    from envfix.rules import _rule

    reporter.stage(say("looking at this machine and its Python"))
    _rule.all_rules()

"""diagnose: detect, then judge."""

from __future__ import annotations

from envfix.app.detecting import detect
from envfix.app.settings import NOBODY, named_target, tables_for, time_limit
from envfix.host.real import RealHost
from envfix.model.facts import Environment, IndexState, Machine
from envfix.model.finding import Diagnosis, Verdict
from envfix.model.report import Report
from envfix.model.reporter import Reporter
from envfix.rules import _rule
from envfix.tables.loader import Tables


def judge(machine: Machine, environment: Environment, tables: Tables) -> tuple[Verdict, ...]:
    """What every rule says of these facts."""
    return _rule.judge(machine, environment, tables)


def diagnose(machine: Machine, environment: Environment, tables: Tables) -> Diagnosis:
    """Judge, and put the most likely root cause first."""
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
    tables = tables_for(host)
    if snapshot is not None:
        from envfix.app.snapshotting import read_snapshot

        saved = read_snapshot(host, snapshot, tables)
        machine, environment = saved.machine, saved.environment
    else:
        reporter.stage("looking at this machine and its Python")
        if target is not None:
            named_target(host, target)
        machine, environment = detect(host, target, with_import=with_import, timeout=time_limit(host))
    diagnosis = diagnose(machine, environment, tables)
    indexes: tuple[IndexState, ...] = ()
    if network and snapshot is None:
        from envfix.app.indexing import ask_indexes

        indexes = ask_indexes(host, environment, reporter)
    return Report(machine=machine, environment=environment, diagnosis=diagnosis, indexes=indexes, origin=snapshot)

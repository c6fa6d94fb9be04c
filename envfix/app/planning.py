"""plan: detect, decide, and let the real installer prove and price the answer."""

from __future__ import annotations

import msgspec

from envfix.app.detecting import detect
from envfix.app.settings import NOBODY, named_target, tables_for, time_limit
from envfix.host.real import RealHost
from envfix.model.facts import Environment, IndexState
from envfix.model.plan import Goal, Plan
from envfix.model.reporter import Reporter
from envfix.resolver.choose import choose, why_not
from envfix.resolver.request import read_request
from envfix.resolver.target import PYTHON, Elsewhere, describe

PACKAGES = ("ultralytics",)
ANY_INDEX = ("auto",)


class PlanRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is wanted, for which interpreter, and for which machine if not this one (or the saved one in ``snapshot``)."""

    goal: Goal
    target: str | None = None
    snapshot: str | None = None
    driver: str | None = None
    gpus: tuple[str, ...] = ()
    platform: str | None = None
    glibc: str | None = None
    why_not: str | None = None


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """A plan with what is needed to carry it out: the interpreter (None: not on this machine) and the installer's own lock."""

    plan: Plan
    environment: Environment
    python: str | None = None
    indexes: tuple[IndexState, ...] = ()


def goal(
    *,
    cuda: str = "auto",
    cuda_exact: bool = False,
    torch: str | None = None,
    packages: tuple[str, ...] = (),
    indexes: tuple[str, ...] = (),
    offline: bool = False,
) -> Goal:
    """What the user asked for, with the defaults filled in: YOLO from whichever index answers."""
    return Goal(
        cuda=cuda,
        cuda_exact=cuda_exact,
        torch=torch,
        packages=packages or PACKAGES,
        indexes=indexes or ANY_INDEX,
        offline=offline,
    )


def plan(request: PlanRequest, *, reporter: Reporter = NOBODY) -> Plan:
    """The stack for this request, or the one constraint that blocks; priced by a dry resolution unless offline.

    Raises ``UsageError`` for a request that makes no sense.
    """
    decision = decide(request, reporter=reporter)
    if decision.plan.status != "ok" or request.goal.offline:
        return decision.plan
    from envfix.app.pricing import price

    return price(decision, reporter=reporter).plan


def decide(request: PlanRequest, *, reporter: Reporter = NOBODY) -> Decision:
    """Facts and tables to a plan, without a price."""
    host = RealHost()
    tables = tables_for(host)
    read_request(request.goal, tables)  # a request that makes no sense is refused before anything is asked
    python = None
    if request.snapshot is not None:
        from envfix.app.snapshotting import read_snapshot

        saved = read_snapshot(host, request.snapshot, tables)
        machine, environment = saved.machine, saved.environment
    else:
        reporter.stage("looking at this machine and its Python")
        if request.target is not None and not PYTHON.fullmatch(request.target):
            named_target(host, request.target)
        machine, environment = detect(host, request.target, with_import=False, brief=True, timeout=time_limit(host))
        python = environment.interpreter.value.executable if environment.interpreter.value else None
    said = Elsewhere(
        driver=request.driver,
        gpus=request.gpus,
        platform=request.platform,
        glibc=request.glibc,
        python=request.target,
    )
    target = describe(machine, environment.interpreter, said, tables)
    indexes: tuple[IndexState, ...] = ()
    if not request.goal.offline:
        from envfix.app.indexing import ask_indexes

        indexes = ask_indexes(host, environment, reporter, request.goal.indexes)
    chosen = choose(target, request.goal, indexes, tables)
    if request.why_not is not None:
        looked_at = why_not(request.why_not, target, request.goal, indexes, tables)
        chosen = msgspec.structs.replace(chosen, why_not=looked_at)
    return Decision(plan=chosen, environment=environment, python=python, indexes=indexes)

"""plan: detect, decide, and let the real installer prove and price the answer."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping
from typing import Any

import msgspec

from envfix.app.detecting import detect
from envfix.app.recovering import settle
from envfix.app.settings import NOBODY, NOTHING_FAILED, named_target, tables_for, time_limit
from envfix.host.real import RealHost
from envfix.installer.preflight import check_new_path
from envfix.model.facts import Environment, IndexState, Interpreter, Machine, Observed, unknown
from envfix.model.language import say
from envfix.model.plan import Goal, Plan
from envfix.model.reporter import Reporter
from envfix.probes.package_sources import without_credentials
from envfix.resolver.request import read_request
from envfix.resolver.target import PYTHON, Elsewhere, describe
from envfix.tables.loader import Tables

PACKAGES = ("ultralytics",)
ANY_INDEX = ("auto",)
COMPANIONS = ("torchvision", "torchaudio")


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
    new_env: str | None = None


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """A plan with what is needed to carry it out: the interpreter (None: not on this machine) and the indexes.

    ``addresses`` are those of the indexes as they were given, credentials included: for the installer, never shown.
    """

    plan: Plan
    environment: Environment
    python: str | None = None
    indexes: tuple[IndexState, ...] = ()
    addresses: tuple[str, ...] = ()


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


def request_of(
    *,
    cuda: str,
    cuda_exact: bool,
    torch: str | None,
    packages: tuple[str, ...],
    indexes: tuple[str, ...],
    offline: bool,
    **where: Any,
) -> PlanRequest:
    """What the options of the command line ask for; ``where`` are further fields of ``PlanRequest``."""
    wanted = goal(cuda=cuda, cuda_exact=cuda_exact, torch=torch, packages=packages, indexes=indexes, offline=offline)
    return PlanRequest(goal=wanted, **where)


def is_folder(path: str | None) -> bool:
    """Whether ``--from`` names a folder of snapshots, not one of them."""
    return path is not None and os.path.isdir(path)


def plan(request: PlanRequest, *, conda: bool = False, reporter: Reporter = NOBODY) -> Plan:
    """The stack for this request, or the one constraint that blocks; priced by a dry resolution unless offline.

    ``conda``: of conda packages from the user's channels, solved by rattler.

    Raises ``UsageError`` for a request that makes no sense.
    """
    if request.new_env is not None:
        check_new_path(RealHost(), request.new_env)
    if conda:
        from envfix.app.conda_stack import plan_conda

        return plan_conda(request, reporter=reporter).plan
    decision = decide(request, reporter=reporter)
    if decision.plan.status != "ok" or request.goal.offline:
        return _for_new_environment(decision.plan, request.new_env)
    from envfix.app.pricing import price

    return _for_new_environment(price(decision, reporter=reporter).plan, request.new_env)


def _for_new_environment(plan: Plan, path: str | None) -> Plan:
    """The commands a user could type as they are for an environment that is still to be made."""
    if path is None or not plan.commands:
        return plan
    python = f"{path}/bin/python" if not plan.target.platform.startswith("win") else f"{path}\\Scripts\\python.exe"
    made = (("python", "-m", "venv", path), *((python, *command[1:]) for command in plan.commands))
    return msgspec.structs.replace(plan, commands=made)


def decide(
    request: PlanRequest, *, failed: Mapping[str, str] = NOTHING_FAILED, reporter: Reporter = NOBODY
) -> Decision:
    """Facts and tables to a plan, without a price; ``failed`` are indexes that could not deliver, with the reason."""
    host = RealHost()
    tables = tables_for(host)
    wanted = named_indexes(request, host)
    asked = msgspec.structs.replace(request.goal, indexes=tuple(map(without_credentials, wanted)))
    request = msgspec.structs.replace(request, goal=asked)
    read_request(request.goal, tables)  # a request that makes no sense is refused before anything is asked
    reading = threading.Thread(target=_read_ahead, args=(tables,), daemon=True)
    reading.start()
    machine, environment = look(request, host, tables, reporter)
    interpreter = environment.interpreter.value
    python = interpreter.executable if interpreter is not None and request.snapshot is None else None
    if request.new_env is None:
        request = msgspec.structs.replace(request, goal=_with_companions(request.goal, environment))
    said = Elsewhere(
        driver=request.driver,
        gpus=request.gpus,
        platform=request.platform,
        glibc=request.glibc,
        python=request.target,
    )
    target = describe(machine, environment.interpreter, said, tables)
    live = None
    if not request.goal.offline:
        from envfix.app.indexing import LiveIndexes

        live = LiveIndexes(host, environment, wanted, reporter, failed=failed)
    reading.join()
    from envfix.app import choosing

    chosen, indexes = choosing.settled(target, request.goal, live, tables)
    if request.why_not is not None:
        looked_at = choosing.examined(request.why_not, target, request.goal, indexes, tables)
        chosen = msgspec.structs.replace(chosen, why_not=looked_at)
    addresses = live.addresses if live else ()
    return Decision(plan=chosen, environment=environment, python=python, indexes=indexes, addresses=addresses)


def look(request: PlanRequest, host: RealHost, tables: Tables, reporter: Reporter) -> tuple[Machine, Environment]:
    """The machine and the environment that are planned for: this one, or a saved one."""
    if request.snapshot is not None:
        from envfix.app.snapshotting import read_snapshot

        saved = read_snapshot(host, request.snapshot, tables)
        if request.target is None:
            return saved.machine, saved.environment
        # A Python that is wanted there, whatever was looked at.
        told: Observed[Interpreter] = unknown("--python", say("only its version is known"))
        return saved.machine, msgspec.structs.replace(saved.environment, interpreter=told)
    if request.target is not None and not PYTHON.fullmatch(request.target):
        named_target(host, request.target)
    return detect(
        host,
        request.target,
        with_import=False,
        brief=True,
        timeout=time_limit(host),
        settle=lambda path: settle(path, reporter),
        meanwhile=lambda: reporter.stage(say("looking at this machine and its Python")),
    )


def _with_companions(goal: Goal, environment: Environment) -> Goal:
    """The goal with what is installed there and fits one torch only: it has to change together with torch."""
    asked = {re.split(r"[^A-Za-z0-9._-]", package.strip(), maxsplit=1)[0].lower() for package in goal.packages}
    there = {row.name.lower() for row in environment.distributions.value or ()}
    more = tuple(name for name in COMPANIONS if name in there and name not in asked)
    if not more:
        return goal
    return msgspec.structs.replace(goal, packages=(*(() if asked == {"none"} else goal.packages), *more))


def _read_ahead(tables: Tables) -> None:
    """Import the resolver and read its tables while the machine answers: that takes as long."""
    from envfix.app import choosing

    choosing.read_ahead(tables)


def named_indexes(request: PlanRequest, host: RealHost) -> tuple[str, ...]:
    """What ``--index`` names as it was typed, passwords included; ``ENVFIX_INDEX`` where nothing was."""
    named = tuple((host.getenv("ENVFIX_INDEX") or "").split())
    return named if named and request.goal.indexes == ANY_INDEX else request.goal.indexes

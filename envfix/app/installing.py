"""install: decide, price, ask, act, verify; a failure before the end leaves nothing behind."""

from __future__ import annotations

import os.path
from collections.abc import Callable

import msgspec

from envfix.app.planning import PlanRequest, decide
from envfix.app.pricing import Priced, price
from envfix.app.settings import NOBODY
from envfix.errors import InstallError, TargetError, UsageError
from envfix.host.real import RealHost
from envfix.installer.preflight import check_new_path, check_space
from envfix.installer.uv import UvInstaller
from envfix.lockers.constraints import constraints
from envfix.model.outcome import Installation, Rung
from envfix.model.plan import Plan
from envfix.model.reporter import Reporter
from envfix.verifier import ladder

QUESTION = "Download and install this?"


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """An installation that is ready to start: checked, resolved and priced, nothing changed yet."""

    plan: Plan
    priced: Priced | None = None
    python: str | None = None
    new_env: str | None = None
    addresses: tuple[str, ...] = ()


def prepare(
    request: PlanRequest, new_env: str | None, *, dry_run: bool = False, reporter: Reporter = NOBODY
) -> Prepared:
    """Everything that can fail before the first change: place, plan, price, room. Raises ``EnvfixError``."""
    host = RealHost()
    if new_env is None and not dry_run:
        raise UsageError(
            "envfix does not change existing environments yet, because it cannot take that back",
            hint="add --new-env PATH",
        )
    path = os.path.abspath(os.path.expanduser(new_env)) if new_env else None
    if path is not None:
        check_new_path(host, path)
    decision = decide(request, reporter=reporter)
    if decision.plan.status != "ok":
        return Prepared(plan=decision.plan)
    if decision.python is None:
        raise TargetError(
            f"Python {decision.plan.target.python} is not on this machine",
            hint="`uv python install` or conda can bring it; then name it with --python",
        )
    priced = price(decision, reporter=reporter)
    if path is not None and priced.plan.status == "ok" and priced.resolution is not None:
        cache = UvInstaller(host).cache_dir
        needed = priced.plan.disk_bytes or 0
        new = 2 * priced.resolution.bytes_to_download
        check_space(host, path, cache, host.getenv("TMPDIR") or "/tmp", needed, new_bytes=new)  # noqa: S108
    return Prepared(plan=priced.plan, priced=priced, python=decision.python, new_env=path, addresses=decision.addresses)


def confirm(ask: Callable[[str], bool], *, yes: bool) -> None:
    """Go on only with the user's consent; raises ``UsageError`` that says what to add."""
    if not yes and not ask(QUESTION):
        raise UsageError("nothing was installed: it was not confirmed", hint="add --yes to install without being asked")


def install(
    prepared: Prepared, *, reporter: Reporter = NOBODY, on_rung: Callable[[Rung], None] | None = None
) -> Installation:
    """Make the environment, install exactly what was priced, and climb the ladder in it.

    Raises ``InstallError`` when a step fails (the new environment is removed); a failed verification is in the result, and
    the environment stays so that it can be looked at.
    """
    priced, plan = prepared.priced, prepared.plan
    if priced is None or priced.resolution is None or prepared.python is None or prepared.new_env is None:
        raise InstallError(
            "the plan was not resolved, so nothing can be installed", hint="run `envfix plan` to see why"
        )
    host = RealHost()
    installer = UvInstaller(host, reporter, addresses=prepared.addresses)
    reporter.stage(f"making the environment {prepared.new_env}")
    with installer.new_environment(prepared.python, prepared.new_env) as environment:
        installation = installer.install(
            priced.resolution,
            priced.sources,
            python=environment.python,
            prefix=environment.path,
            constraints=constraints(plan),
        )
        # Inside: who interrupts the proof has interrupted the installation, and finds everything as before.
        expect = {name: version for name, version in installation.installed.items() if name in ("torch", "torchvision")}
        verification = ladder.verify(
            host,
            environment.python,
            level="yolo" if "ultralytics" in installation.installed else "cuda",
            expect=expect,
            gpu_expected=bool(plan.target.gpus) and plan.choice is not None and plan.choice.compatibility != "cpu",
            device="cpu" if plan.choice is not None and plan.choice.variant == "cpu" else "auto",
            reporter=reporter,
            on_rung=on_rung,
        )
    return msgspec.structs.replace(installation, verification=verification)

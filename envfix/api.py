"""What other programs import: the decision alone, from facts, without touching the machine."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from envfix.errors import UsageError
from envfix.model.facts import IndexState
from envfix.model.plan import Goal, Plan, PlanTarget
from envfix.model.versions import DriverVersion
from envfix.resolver.choose import choose
from envfix.resolver.request import parse_gpu
from envfix.resolver.target import PLATFORMS, PYTHON
from envfix.tables.loader import Tables, load


def plan(
    *,
    python: str,
    driver: str | None = None,
    gpus: Sequence[str] = (),
    platform: str = "linux_x86_64",
    glibc: str | None = None,
    cuda: str = "auto",
    cuda_exact: bool = False,
    torch: str | None = None,
    packages: Sequence[str] = ("ultralytics",),
    indexes: Sequence[IndexState] = (),
    tables: Tables | None = None,
) -> Plan:
    """The torch stack for a machine that is described, not asked: pure, offline, the same answer for the same facts.

    Args:
        python: CPython version of the target, such as ``3.11`` or ``3.13t`` (free-threaded).
        driver: NVIDIA driver version, such as ``550.54.14``; needed when there are ``gpus``.
        gpus: card names (``RTX 3090``) or names with their compute capability (``My Card:8.6``); none plans for the CPU.
        platform: a wheel platform: ``linux_x86_64``, ``linux_aarch64``, ``win_amd64``, ``macosx_arm64``, ``macosx_x86_64``.
        glibc: oldest C library to run on, such as ``2.31`` (Linux; None: not bounded).
        cuda: ``auto``, ``cpu``, or the CUDA that is meant (``11.8``, ``cu118``): an intent.
        cuda_exact: exactly that CUDA, or no plan.
        torch: a version or specifier (``2.4.1``, ``>=2.4,<2.6``, ``==1.9.0+cu111``).
        packages: requirements beside torch; ``("none",)`` for torch alone.
        indexes: which indexes answer and what they list; none: the official index and the default registry are assumed.
        tables: compatibility tables; None: those that came with envfix. Pass one object for many plans.

    Returns:
        A plan with ``status`` ``ok`` and its ``choice``, or ``conflict`` with the one constraint that blocks
        (``blocked_by``), the ``nearest`` answer and ``ways_out``.

    Raises:
        UsageError: a value makes no sense (unknown card, no such CUDA, not a version).
        TableError: a table is missing or wrong.
    """
    tables = tables or load()
    match = PYTHON.fullmatch(python)
    if match is None:
        raise UsageError(f"python={python!r} is not a CPython version", hint="for example 3.11 or 3.13t")
    if platform not in PLATFORMS:
        raise UsageError(f"platform={platform!r} is not known", hint=f"one of {', '.join(PLATFORMS)}")
    cards = tuple(msgspec.structs.replace(parse_gpu(name, tables), index=index) for index, name in enumerate(gpus))
    target = PlanTarget(
        python=python,
        tag=f"cp{match['major']}{match['minor']}{match['free']}",
        platform=platform,
        libc="glibc" if platform.startswith("linux") else None,
        glibc=glibc,
        driver=_driver(driver),
        gpus=cards,
        driver_state="works" if driver else "unknown" if cards else "absent",
        gpu_problem="no driver version was given" if cards and not driver else None,
    )
    goal = Goal(cuda=cuda, cuda_exact=cuda_exact, torch=torch, packages=tuple(packages), offline=not indexes)
    return choose(target, goal, tuple(indexes), tables)


def _driver(text: str | None) -> DriverVersion | None:
    try:
        return DriverVersion.parse(text) if text else None
    except ValueError as error:
        raise UsageError(f"driver: {error}", hint="for example 550.54.14") from error

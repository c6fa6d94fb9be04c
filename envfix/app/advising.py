"""advise: the remedies of a diagnosis as commands that can be typed as they are."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from envfix.model.finding import Diagnosis, Remedy
from envfix.model.language import later, look_up
from envfix.model.report import Afterwards

INSTALL = ("envfix", "install", "--new-env")
NOT_YET = later("Nothing that runs here can be installed before the cause below is mended.")


def offers_install(remedy: Remedy) -> bool:
    """Whether one of its commands lets envfix install."""
    return any(argv[:3] == INSTALL for argv in remedy.commands)


def fitted(
    diagnosis: Diagnosis, afterwards: Afterwards | None, target: str | None, is_taken: Callable[[str], bool]
) -> Diagnosis:
    """The same with commands to install that can be typed as they are.

    They name the Python that was asked for (``target``) or the one that has a stack, and a folder that does not exist yet
    (``is_taken``). Where nothing can be installed as things are, no finding says that it can.
    """
    plan = afterwards.plan if afterwards is not None else None
    blocked = plan is not None and plan.choice is None
    python = plan.nearest_python if blocked and plan is not None else target
    findings = []
    for finding in diagnosis.findings:
        remedies = tuple(
            Remedy(text=look_up(NOT_YET))
            if blocked and python is None and offers_install(remedy)
            else _retyped(remedy, python, is_taken)
            for remedy in finding.remedies
        )
        findings.append(msgspec.structs.replace(finding, remedies=remedies))
    return msgspec.structs.replace(diagnosis, findings=tuple(findings))


def typed(remedies: tuple[Remedy, ...], target: str | None, is_taken: Callable[[str], bool]) -> tuple[Remedy, ...]:
    """The same remedies with commands to install that can be typed as they are."""
    return tuple(_retyped(remedy, target, is_taken) for remedy in remedies)


def _retyped(remedy: Remedy, python: str | None, is_taken: Callable[[str], bool]) -> Remedy:
    commands = []
    for argv in remedy.commands:
        if argv[:3] == INSTALL and len(argv) > 3:
            named = () if python is None or "--python" in argv else ("--python", python)
            argv = (*INSTALL, _free(argv[3], is_taken), *argv[4:], *named)  # noqa: PLW2901
        elif argv[:2] == INSTALL[:2] and python is not None and "--python" not in argv:
            argv = (*argv, "--python", python)  # noqa: PLW2901
        commands.append(argv)
    return msgspec.structs.replace(remedy, commands=tuple(commands))


def _free(name: str, is_taken: Callable[[str], bool]) -> str:
    """The name itself, or with the first number that makes it a new one."""
    number = 1
    while is_taken(name if number == 1 else f"{name}-{number}"):
        number += 1
    return name if number == 1 else f"{name}-{number}"

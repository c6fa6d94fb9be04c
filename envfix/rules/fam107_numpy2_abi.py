"""NumPy 2 beside a torch (or an OpenCV) that was compiled against NumPy 1.

What it checks
    The NumPy that is found first against the one that the installed torch was built for; what torch said when it
    was to hand an array to NumPy. OpenCV before 4.10 was built for NumPy 1 as well.

Why it matters
    torch can no longer exchange arrays: "Numpy is not available", "_ARRAY_API not found", "A module that was
    compiled using NumPy 1.x cannot be run in NumPy 2". Each picture that YOLO reads goes that way.

How to fix
    Hold NumPy below 2, or take a newer torch. Reinstalling the same NumPy, or another Python, changes nothing.

Sources
    Metadata of numpy; the table of companions (read in the wheels of torch); the message of the import.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from packaging.version import Version

from envfix.model.facts import Distribution, Environment, Machine
from envfix.model.finding import Evidence, Finding, Severity
from envfix.rules._changing import in_place
from envfix.rules._family import (
    NEW_ENVIRONMENT,
    evidence,
    import_evidence,
    import_failure,
    installed,
    version,
)
from envfix.rules._roots import root_of_torch
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

SAYS = re.compile(
    r"compiled using NumPy 1|_ARRAY_API not found|Numpy is not available|multiarray failed to import|Failed to initialize NumPy",
    re.IGNORECASE,
)
OPENCV_WITH_NUMPY_2 = Version("4.10")


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    numpy = installed(environment).get("numpy")
    own = version(numpy.version) if numpy else None
    if numpy is None or own is None or own.major < 2:
        return
    victim = _torch(environment, tables) or _opencv(environment)
    if victim is None:
        return
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        follows_from=root_of_torch(machine, environment),
        severity=Severity.ERROR,
        message=f"NumPy {numpy.version} is installed, but {victim} was built for NumPy 1: they cannot exchange arrays.",
        because=(*evidence(numpy), *_said(environment)),
        remedies=(
            in_place(
                environment,
                "Hold NumPy below 2 in this environment.",
                "install",
                *_bounds(environment, tables),
            ),
            NEW_ENVIRONMENT,
        ),
    )


def _torch(environment: Environment, tables: Tables) -> str | None:
    """The torch that NumPy 2 does not fit, by its release or by its own words."""
    torch, interpreter = environment.torch.value, environment.interpreter.value
    if torch is None or interpreter is None:
        return None
    release = version(torch.build)
    old = release is not None and tables.companions.numpy_major(release, interpreter.platform_tag, interpreter.tag) == 1
    said = environment.torch_import.value
    complains = said is not None and SAYS.search(f"{said.numpy_problem} {import_failure(environment)}") is not None
    # A build of one's own may have an old number and yet be built for NumPy 2: then what torch says counts.
    own_build = release is not None and release.is_prerelease
    works = own_build and said is not None and said.ok and said.numpy_problem is None
    return f"torch {torch.build}" if complains or (old and not works) else None


def _opencv(environment: Environment) -> str | None:
    for name, item in installed(environment).items():
        own = version(item.version) if name.startswith("opencv-") else None
        if own is not None and own < OPENCV_WITH_NUMPY_2 and item.installer != "conda":
            return f"{item.name} {item.version}"
    return None


def _said(environment: Environment) -> tuple[Evidence, ...]:
    said = environment.torch_import.value
    if said is not None and said.numpy_problem:
        return (cite("environment.torch_import", environment.torch_import, said.numpy_problem),)
    torch = (
        (cite("environment.torch", environment.torch, environment.torch.value.build),)
        if environment.torch.value
        else ()
    )
    return (*torch, *import_evidence(environment))


def _bounds(environment: Environment, tables: Tables) -> tuple[str, ...]:
    """NumPy, and what must be held back beside it of those that are installed."""
    interpreter = environment.interpreter.value
    bounds = tables.companions.numpy_1_bounds(interpreter.tag) if interpreter else {}
    here: dict[str, Distribution] = installed(environment)
    held = [f"{name}{bound}" for name, bound in bounds.items() if name != "numpy" and name in here]
    return ("numpy<2", *held)


RULE = Rule(
    code="FAM107",
    cause="numpy2_abi",
    title="NumPy 2 beside a torch built for NumPy 1",
    needs=("environment.distributions", "environment.torch"),
    check=check,
    rank=39,
    explains=("torch_import_fails",),
)

"""Which Pythons torch wheels exist for: what several rules ask the tables."""

from __future__ import annotations

import re
from collections.abc import Iterator

from envfix.model.facts import Environment, Interpreter, Machine
from envfix.model.finding import Remedy
from envfix.model.language import say
from envfix.rules._environments import NEW_ENV
from envfix.tables.companions import RegistryRow
from envfix.tables.loader import Tables
from envfix.tables.wheels import OfficialRow, platform_of


def pythons_with_wheels(tables: Tables, platform: str) -> tuple[str, ...]:
    """The interpreter tags that have any torch wheel on a platform (``cp311``), oldest first; free-threaded ones are left out."""
    tags = {wheel.python for wheel in tables.wheels.find("torch", platform=platform)}
    return tuple(sorted((tag for tag in tags if re.fullmatch(r"cp3\d+", tag)), key=lambda tag: int(tag[3:])))


def is_served(tables: Tables, interpreter: Interpreter) -> bool:
    """Whether any torch wheel fits this interpreter; asked of the rows themselves, for making wheels of them takes 10 ms."""
    return any(
        interpreter.tag in tags and platform_of(row.tag) == interpreter.platform_tag and row.variant.startswith("c")
        for row, tags in _rows(tables)
    )


def _rows(tables: Tables) -> Iterator[tuple[OfficialRow | RegistryRow, tuple[str, ...]]]:
    for release in tables.wheels.file.releases:
        yield from ((row, (*row.pythons, *row.inferred)) for row in release.official)
        yield from ((row, row.pythons) for row in release.registry)


def well_served(tables: Tables, platform: str) -> str | None:
    """A Python (``3.12``) that the newest torch of a platform serves for sure, neither the oldest nor the newest of them."""
    wheels = tables.wheels.find("torch", platform=platform)
    newest = {wheel.python for wheel in wheels if wheels and wheel.version == wheels[0].version}
    served = [tag for tag in pythons_with_wheels(tables, platform) if tag in newest]
    return dotted(served[len(served) // 2]) if served else None


def dotted(tag: str) -> str:
    """``cp311`` as people write it: ``3.11``."""
    return f"3.{tag[3:]}"


def libc_family(machine: Machine) -> str | None:
    """The C library of the machine: ``glibc``, ``musl`` or None where there is none or it is not known."""
    platform = machine.platform.value
    return platform.libc.family if platform is not None and platform.libc is not None else None


def needs_a_wheel(environment: Environment) -> bool:
    """Whether torch is still to be installed, or was and cannot be imported: a torch that works came from somewhere."""
    imported = environment.torch_import.value
    return environment.torch.is_absent or (imported is not None and not imported.ok)


def is_newer_than(interpreter: Interpreter, tag: str) -> bool:
    """Whether the target's version is newer than the one of a tag."""
    match = re.fullmatch(r"[a-z]+(\d)(\d+)t?", interpreter.tag)
    return match is not None and (int(match[1]), int(match[2])) > (3, int(tag[3:]))


def with_python(python: str | None) -> Remedy:
    """A new environment with a Python that wheels exist for."""
    version = ("--python", python) if python else ()
    return Remedy(
        text=say("Make an environment with a Python that torch wheels exist for."),
        commands=((*NEW_ENV, *version),),
    )

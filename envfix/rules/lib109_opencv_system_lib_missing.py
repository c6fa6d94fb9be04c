"""OpenCV's window functions need libraries of the system that are not there.

What it checks
    The libraries that OpenCV's compiled module needs, and those its bundled libraries need, against every place the
    loader looks.

Why it matters
    "libGL.so.1: cannot open shared object file" at ``import cv2``, and ultralytics imports it first of all. Slim
    containers and servers without a desktop have no such libraries.

How to fix
    Use opencv-python-headless alone: uninstall the other first, for both use the same folder. Or have the system's
    packages installed (libgl1 and libglib2.0-0 on Debian and Ubuntu).

Sources
    ELF headers of cv2 and of the libraries beside it; /etc/ld.so.cache.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.rules._changing import pip
from envfix.rules._family import NEW_ENVIRONMENT, compiled, installed
from envfix.rules._rule import Rule
from envfix.tables.loader import Tables

WITH_WINDOWS = {"opencv-python": "opencv-python-headless", "opencv-contrib-python": "opencv-contrib-python-headless"}


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del machine, tables
    files = [file for file in compiled(environment, "cv2") if file.unresolved]
    if not files:
        return
    lacking = ", ".join(dict.fromkeys(name for file in files for name in file.unresolved))
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR,
        message=f"OpenCV cannot be imported: it needs {lacking}, which this system does not have.",
        because=tuple(
            Evidence(fact="environment.binaries", value=f"needs {lacking}", source=file.path) for file in files
        ),
        remedies=(*_remedies(environment), NEW_ENVIRONMENT),
    )


def _remedies(environment: Environment) -> Iterator[Remedy]:
    here = installed(environment)
    both = [name for name in (*WITH_WINDOWS, *WITH_WINDOWS.values()) if name in here]
    item = next((here[name] for name in WITH_WINDOWS if name in here), None)
    if item is not None:
        wanted = f"{WITH_WINDOWS[item.name.lower().replace('_', '-')]}=={item.version}"
        commands = dict.fromkeys(
            (
                *pip(environment, "uninstall", "-y", *both),
                *pip(environment, "install", "--no-deps", wanted),
            )
        )
        yield Remedy(text="Put the build without windows in its place.", commands=tuple(commands), safe=False)
    yield Remedy(
        text="Or ask the administrator to install the packages libgl1 and libglib2.0-0 (Debian, Ubuntu).", safe=False
    )


RULE = Rule(
    code="LIB109",
    cause="opencv_system_lib_missing",
    title="OpenCV misses a library of the system",
    needs=("environment.binaries",),
    check=check,
    rank=46,
)

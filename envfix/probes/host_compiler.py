"""C and C++ compilers that nvcc could call; they matter only where something is compiled."""

from __future__ import annotations

import re

from envfix.host.interface import ProbeHost
from envfix.model.facts import HostCompiler, Observed, absent, found

SOURCE = "compilers on PATH"
NAMES = ("gcc", "g++", "clang")


def parse_version(text: str) -> str | None:
    """The version in the answer of ``-dumpfullversion -dumpversion``: ``9.4.0`` (old compilers answer ``9``)."""
    match = re.fullmatch(r"\d+(?:\.\d+){0,3}", text.strip(), re.ASCII)
    return match[0] if match else None


def probe(host: ProbeHost, *, timeout: float) -> Observed[tuple[HostCompiler, ...]]:
    """The first compiler of each name on PATH, with the version it reports."""
    compilers = []
    for name in NAMES:
        for path in host.which(name)[:1]:
            version = parse_version(host.run([path, "-dumpfullversion", "-dumpversion"], timeout=timeout).stdout)
            if version is not None:
                compilers.append(HostCompiler(name=name, path=path, version=version))
    return found(tuple(compilers), SOURCE) if compilers else absent(SOURCE)

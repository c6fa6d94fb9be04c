"""C and C++ compilers that nvcc could call; they matter only where something is compiled."""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterator

from envfix.host.interface import ProbeHost
from envfix.model.facts import HostCompiler, Observed, absent, found
from envfix.model.language import stated

SOURCE = stated("compilers on PATH and in CC, CXX, CUDAHOSTCXX, NVCC_CCBIN")
NAMES = ("gcc", "g++", "clang")
VARIABLES = ("CC", "CXX", "CUDAHOSTCXX", "NVCC_CCBIN")
# Other versions beside the usual one: gcc-9, g++-11, clang++-14; where distributions and administrators put them.
_BESIDE = ("g[c+][c+]-[0-9]*", "clang*-[0-9]*")
_BESIDE_IN = ("/usr/bin", "/usr/local/bin")
_VISUAL_STUDIO = "C:/Program Files*/Microsoft Visual Studio/*/*/VC/Tools/MSVC/*/bin/Hostx64/x64/cl.exe"


def parse_version(text: str) -> str | None:
    """The version in the answer of ``-dumpfullversion -dumpversion``: ``9.4.0`` (old compilers answer ``9``)."""
    match = re.fullmatch(r"\d+(?:\.\d+){0,3}", text.strip(), re.ASCII)
    return match[0] if match else None


def version_by_name(path: str) -> str | None:
    """The version that the name of a compiler's file tells: ``12`` for x86_64-linux-gnu-gcc-12, ``14.0`` for clang-14.0."""
    match = re.search(r"(?:^|[/-])(?:gcc|g\+\+|clang|clang\+\+)-(\d+(?:\.\d+){0,2})$", path)
    return match[1] if match else None


def msvc_version(path: str) -> str | None:
    """The version of Microsoft's compiler by its folder: ``14.38.33130`` in .../VC/Tools/MSVC/14.38.33130/bin/..."""
    match = re.search(r"[/\\]MSVC[/\\](\d+\.\d+(?:\.\d+)*)[/\\]", path)
    return match[1] if match else None


def probe(host: ProbeHost, *, timeout: float) -> Observed[tuple[HostCompiler, ...]]:
    """The first compiler of each name on PATH, those that variables choose, and other versions that lie beside them."""
    compilers: dict[str, HostCompiler] = {}
    for name in NAMES:
        for path in host.which(name)[:1]:
            version = _version(host, path, timeout)
            if version is not None:
                compilers[name] = HostCompiler(name=name, path=path, version=version)
    for compiler in _chosen(host, timeout):
        compilers[f"{compiler.chosen_by} {compiler.path}"] = compiler
    known = {host.real_path(one.path) for one in compilers.values()}
    for compiler in (*_beside(host), *_of_microsoft(host)):
        real = host.real_path(compiler.path)
        if real not in known:
            known.add(real)
            compilers[compiler.path] = compiler
    return found(tuple(compilers.values()), SOURCE) if compilers else absent(SOURCE)


def _version(host: ProbeHost, path: str, timeout: float) -> str | None:
    by_name = version_by_name(host.real_path(path))
    if by_name is not None:
        return by_name
    return parse_version(host.run([path, "-dumpfullversion", "-dumpversion"], timeout=timeout).stdout)


def _chosen(host: ProbeHost, timeout: float) -> Iterator[HostCompiler]:
    """What CC and its like name: a name or a path, sometimes behind ccache and with options."""
    by_path: dict[str, list[str]] = {}
    for variable in VARIABLES:
        words = [word for word in (host.getenv(variable) or "").split() if os.path.basename(word) != "ccache"]
        hits = host.which(words[0]) if words and "/" not in words[0] else tuple(words[:1])
        for path in hits[:1]:
            by_path.setdefault(path, []).append(variable)
    for path, variables in by_path.items():
        version = _version(host, path, timeout)
        if version is not None:
            yield HostCompiler(
                name=os.path.basename(path), path=path, version=version, chosen_by=" and ".join(variables)
            )


def _beside(host: ProbeHost) -> Iterator[HostCompiler]:
    on_path = (host.getenv("PATH") or "").split(":")
    for pattern in [f"{folder}/{name}" for folder in _BESIDE_IN if folder in on_path for name in _BESIDE]:
        for path in host.glob(pattern):
            version = version_by_name(path)
            if version is not None:
                yield HostCompiler(name=os.path.basename(path), path=path, version=version)


def _of_microsoft(host: ProbeHost) -> Iterator[HostCompiler]:
    """cl.exe: on PATH only in a developer's prompt (``cl``), else in Visual Studio's folder (named by its path)."""
    if host.system_facts().get("system") != "win32":
        return
    for path in (*host.which("cl")[:1], *host.glob(_VISUAL_STUDIO)):
        version = msvc_version(path)
        if version is not None:
            yield HostCompiler(name="cl" if path in host.which("cl") else path, path=path, version=version)

"""CUDA toolkits on disk: nvcc and headers, which several may coexist and which no wheel needs."""

from __future__ import annotations

import json
import os.path
import re
from collections.abc import Iterator

import msgspec

from envfix.host.interface import ProbeHost
from envfix.model.facts import Observed, Toolkit, absent, found, unknown
from envfix.model.language import stated
from envfix.model.versions import CudaVersion

SOURCE = stated("nvcc on PATH, CUDA_HOME, CUDA_PATH, /usr/local/cuda* and the active environment")
# Enough for the header with the limits (13 kB) and for the beginning of cuda.h, which names the version (1 MB in all).
HEADER_LIMIT = 60_000


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The newest compilers a toolkit accepts: major versions of gcc and clang, a range of ``_MSC_VER``, all included."""

    gcc_max: int | None = None
    clang_max: int | None = None
    msc: tuple[int, int] | None = None


def parse_nvcc(text: str) -> tuple[CudaVersion, str] | None:
    """The release in ``nvcc --version``.

    Its last lines read ``Cuda compilation tools, release 11.1, V11.1.105``; the answer is (11.1, "11.1.105").
    """
    match = re.search(r"release (\d+\.\d+)(?:, V(\d+(?:\.\d+)+))?", text)
    if match is None:
        return None
    return CudaVersion.parse(match[1]), match[2] or match[1]


def parse_version_json(text: str) -> str | None:
    """The release of nvcc in a toolkit's version.json (11.1 and newer): ``11.8.89``; None where it does not say.

    The file reads ``{"cuda": {"name": "CUDA SDK", "version": "11.8.20220929"}, "cuda_nvcc": {"name": "CUDA NVCC",
    "version": "11.8.89"}, ...}``.
    """
    try:
        content = json.loads(text)
        return _release(content["cuda_nvcc"]["version"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def parse_version_txt(text: str) -> str | None:
    """The release in a toolkit's version.txt (up to 11.0), which reads ``CUDA Version 10.2.89``."""
    match = re.match(r"CUDA Version (\S+)", text)
    return _release(match[1]) if match else None


def parse_cuda_h(text: str) -> str | None:
    """The release in cuda.h, where the line ``#define CUDA_VERSION 13000`` means 13.0."""
    match = re.search(r"^#define CUDA_VERSION (\d{4,5})\b", text, re.MULTILINE)
    return f"{int(match[1]) // 1000}.{int(match[1]) % 1000 // 10}" if match else None


def parse_host_config(text: str) -> Limits:
    """The compilers that nvcc accepts, from the header crt/host_config.h that it includes before everything else.

    Each limit is a condition right before the message it leads to. In CUDA 13.0 they begin with ``#if __GNUC__ > 15``
    before ``#error -- unsupported GNU version! gcc versions later than 15 are not supported!``, with
    ``#if (__clang_major__ >= 21) || (__clang_major__ < 3) || ...`` before ``#error -- unsupported clang version!``, and
    with ``#if _MSC_VER < 1920 || _MSC_VER >= 1950`` before ``#error -- unsupported Microsoft Visual Studio version!``.
    """
    gcc = re.search(r"#if __GNUC__ > (\d+)\b[^\n]*\s*#error -- unsupported GNU version", text)
    clang = re.search(r"\(?__clang_major__ (>=?) (\d+)\)?[^\n]*\s*#error -- unsupported clang version", text)
    msc = re.search(
        r"#if _MSC_VER < (\d+) \|\| _MSC_VER >= (\d+)[^\n]*\s*#error -- unsupported Microsoft Visual Studio", text
    )
    return Limits(
        gcc_max=int(gcc[1]) if gcc else None,
        clang_max=int(clang[2]) - (clang[1] == ">=") if clang else None,
        msc=(int(msc[1]), int(msc[2]) - 1) if msc else None,
    )


def _release(text: str) -> str | None:
    match = re.match(r"\d+\.\d+(?:\.\d+)*", text)
    return match[0] if match else None


def candidates(host: ProbeHost) -> list[tuple[str, str]]:
    """Places where an nvcc may be, each with the reason to look there."""
    places = [(path, "PATH") for path in host.which("nvcc")]
    for variable in ("CUDA_HOME", "CUDA_PATH"):
        folder = host.getenv(variable)
        if folder:
            places += [(path, variable) for path in host.glob(folder.rstrip("/\\") + "/bin/nvcc*") if _is_nvcc(path)]
    for pattern in ("/usr/local/cuda*/bin/nvcc", "/opt/cuda*/bin/nvcc"):
        places += [(path, pattern.partition("cuda")[0].rstrip("/")) for path in host.glob(pattern)]
    for variable in ("CONDA_PREFIX", "VIRTUAL_ENV"):
        prefix = host.getenv(variable)
        if prefix:
            inside = (f"{prefix}/bin/nvcc", f"{prefix}/lib/python*/site-packages/nvidia/*/bin/nvcc")
            places += [(path, variable) for pattern in inside for path in host.glob(pattern)]
    if host.system_facts().get("system") == "win32":
        pattern = "C:/Program Files/NVIDIA GPU Computing Toolkit/CUDA/v*/bin/nvcc.exe"
        places += [(path, "Program Files") for path in host.glob(pattern)]
    return places


def _is_nvcc(path: str) -> bool:
    return re.search(r"[/\\]nvcc(\.exe)?$", path) is not None


def probe(host: ProbeHost, *, timeout: float) -> Observed[tuple[Toolkit, ...]]:
    """Every toolkit once, in the order in which a build would find them; nvcc is started only where no file tells."""
    reasons: dict[str, list[str]] = {}
    paths: dict[str, str] = {}
    for path, reason in candidates(host):
        real = behind(host, path)
        paths.setdefault(real, path)
        reasons.setdefault(real, [])
        if reason not in reasons[real]:
            reasons[real].append(reason)
    toolkits: dict[str, Toolkit] = {}
    problem = None
    for real, path in paths.items():
        said = _said(host, path, real, timeout)
        if isinstance(said, str):
            problem = said
            continue
        version, release = said
        limits, header = _limits(host, path, real)
        toolkits[real] = Toolkit(
            nvcc=path,
            version=version,
            release=release,
            found_by=", ".join(reasons[real]),
            gcc_max=limits.gcc_max,
            clang_max=limits.clang_max,
            msc=limits.msc,
            limits_from=header,
        )
    if toolkits:
        return found(tuple(toolkits.values()), SOURCE)
    return unknown(SOURCE, problem) if problem else absent(SOURCE)


def behind(host: ProbeHost, path: str) -> str:
    """The nvcc that a path leads to: through links, and through a script that only starts another nvcc."""
    real = host.real_path(path)
    text = host.read_text(path, limit=1000).text
    if text.startswith("#!"):
        started = re.search(r"(/[^\s\"'$]+/nvcc)(?=[\s\"']|$)", text)
        if started and host.glob(started[1]):
            return host.real_path(started[1])
    return real


def _said(host: ProbeHost, path: str, real: str, timeout: float) -> tuple[CudaVersion, str] | str:
    """Version and release of a toolkit, or why they cannot be told."""
    release = _from_files(host, path, real)
    if release is not None:
        return CudaVersion.parse(".".join(release.split(".")[:2])), release
    result = host.run([path, "--version"], timeout=timeout)
    parsed = parse_nvcc(result.stdout)
    if parsed is not None:
        return parsed
    return (
        f"{path}: {result.failure}" if not result.ok else stated("{path} does not say which release it is", path=path)
    )


def _from_files(host: ProbeHost, path: str, real: str) -> str | None:
    for root in _roots(path, real):
        for name, parse in (("version.json", parse_version_json), ("version.txt", parse_version_txt)):
            release = parse(host.read_text(f"{root}/{name}", limit=HEADER_LIMIT).text)
            if release:
                return release
        for record in host.glob(f"{root}/conda-meta/cuda-nvcc*.json"):
            match = re.search(r"/cuda-nvcc(?:[-_][a-z][\w-]*?)?-(\d+\.\d+\.\d+)-[^/-]+\.json$", record)
            if match:
                return match[1]
    for folder in _includes(host, path, real):
        release = parse_cuda_h(host.read_text(f"{folder}/cuda.h", limit=HEADER_LIMIT).text)
        if release:
            return release
    return None


def _limits(host: ProbeHost, path: str, real: str) -> tuple[Limits, str | None]:
    for folder in _includes(host, path, real):
        header = f"{folder}/crt/host_config.h"
        limits = parse_host_config(host.read_text(header, limit=HEADER_LIMIT).text)
        if limits != Limits():
            return limits, header
    return Limits(), None


def _roots(path: str, real: str) -> list[str]:
    """The folders of a toolkit: nvcc lies in their ``bin``."""
    return list(dict.fromkeys(os.path.dirname(os.path.dirname(one)) for one in (real, path)))


def _includes(host: ProbeHost, path: str, real: str) -> Iterator[str]:
    for root in _roots(path, real):
        yield f"{root}/include"
        yield from host.glob(f"{root}/targets/*/include")

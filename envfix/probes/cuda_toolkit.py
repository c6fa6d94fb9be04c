"""CUDA toolkits on disk: nvcc and headers, which several may coexist and which no wheel needs."""

from __future__ import annotations

import re

from envfix.host.interface import ProbeHost
from envfix.model.facts import Observed, Toolkit, absent, found, unknown
from envfix.model.versions import CudaVersion

SOURCE = "nvcc on PATH, CUDA_HOME and /usr/local/cuda*"


def parse_nvcc(text: str) -> tuple[CudaVersion, str] | None:
    """The release in ``nvcc --version``.

    Its last lines read ``Cuda compilation tools, release 11.1, V11.1.105``; the answer is (11.1, "11.1.105").
    """
    match = re.search(r"release (\d+\.\d+)(?:, V(\d+(?:\.\d+)+))?", text)
    if match is None:
        return None
    return CudaVersion.parse(match[1]), match[2] or match[1]


def candidates(host: ProbeHost) -> list[tuple[str, str]]:
    """Places where an nvcc may be, each with the reason to look there."""
    places = [(path, "PATH") for path in host.which("nvcc")]
    for variable in ("CUDA_HOME", "CUDA_PATH"):
        folder = host.getenv(variable)
        if folder:
            places += [(path, variable) for path in host.glob(folder.rstrip("/") + "/bin/nvcc")]
    places += [(path, "/usr/local") for path in host.glob("/usr/local/cuda*/bin/nvcc")]
    return places


def probe(host: ProbeHost, *, timeout: float) -> Observed[tuple[Toolkit, ...]]:
    """Every toolkit once, in the order in which a build would find them."""
    toolkits: dict[str, Toolkit] = {}
    asked: set[str] = set()
    problem = None
    for path, reason in candidates(host):
        real = host.real_path(path)
        if real in asked:
            continue
        asked.add(real)
        result = host.run([path, "--version"], timeout=timeout)
        parsed = parse_nvcc(result.stdout)
        if parsed is None:
            problem = f"{path}: {result.failure}" if not result.ok else f"{path} does not say which release it is"
            continue
        version, release = parsed
        toolkits.setdefault(release, Toolkit(nvcc=path, version=version, release=release, found_by=reason))
    if toolkits:
        return found(tuple(toolkits.values()), SOURCE)
    return unknown(SOURCE, problem) if problem else absent(SOURCE)

"""CUDA, cuDNN, NCCL and C++ libraries that the loader finds outside the target."""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterable, Iterator

from envfix.host.interface import ProbeHost
from envfix.model.facts import NativeLibrary, Observed, absent, found
from envfix.model.language import stated
from envfix.probes.interpreter import literal

SOURCE = stated("LD_LIBRARY_PATH and ldconfig")
# One listing a folder: the names of interest begin with cu, nc, nv and st (curl and others are sorted out afterwards).
PATTERN = "lib[cns][uctv]*.so.*"
_LIBRARY = re.compile(
    r"(?P<stem>lib(?:cudart|cublas|cublasLt|cudnn\w*|cufft|cufftw|cupti|curand|cusolver|cusolverMg|cusparse|cusparseLt|nccl"
    r"|nvJitLink|nvrtc|stdc\+\+))\.so\.(?P<version>\d+(?:\.\d+)*)"
)
_MOST = 200


def parse_ld_so_conf(text: str) -> tuple[list[str], list[str]]:
    """Folders and include patterns of an ld.so.conf.

    Lines: ``include /etc/ld.so.conf.d/*.conf``, ``/usr/local/cuda-11.8/targets/x86_64-linux/lib``, ``# a comment``.
    """
    folders, includes = [], []
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if words[:1] == ["include"]:
            includes += [word if word.startswith("/") else f"/etc/{word}" for word in words[1:]]
        elif words and words[0] != "hwcap":
            folders += [word for word in re.split(r"[\s:,=]+", " ".join(words)) if word.startswith("/")]
    return folders, includes


def libraries_in(folder: str, names: Iterable[str], found_by: str) -> Iterator[NativeLibrary]:
    """Libraries by the names of their files: of ``libcudnn.so.8`` and ``libcudnn.so.8.9.7`` the shorter is what is asked for."""
    versions: dict[str, list[str]] = {}
    for name in names:
        match = _LIBRARY.fullmatch(name)
        if match:
            versions.setdefault(match["stem"], []).append(match["version"])
    for stem, seen in sorted(versions.items()):
        # Of several majors beside each other each is a library of its own.
        for major in sorted({text.partition(".")[0] for text in seen}):
            own = sorted((text for text in seen if text.partition(".")[0] == major), key=len)
            name = f"{stem}.so.{own[0]}"
            yield NativeLibrary(name=name, path=f"{folder}/{name}", found_by=found_by, version=own[-1])


def probe(host: ProbeHost) -> Observed[tuple[NativeLibrary, ...]]:
    """The libraries in the folders of LD_LIBRARY_PATH, and then in those of ldconfig, in the loader's order."""
    places = [(folder, "LD_LIBRARY_PATH") for folder in (host.getenv("LD_LIBRARY_PATH") or "").split(":") if folder]
    if host.system_facts().get("system") == "linux":
        places += [(folder, "ldconfig") for folder in _configured(host)]
    seen: dict[str, NativeLibrary] = {}
    # /lib is a link to /usr/lib on most systems: each folder once, under its first name.
    once = {host.real_path(folder): (folder, found_by) for folder, found_by in reversed(places)}
    for folder, found_by in reversed(once.values()):
        folder = os.path.normpath(folder)  # noqa: PLW2901 - the same folder, written once
        names = (path.rpartition("/")[2] for path in host.glob(f"{literal(folder)}/{PATTERN}"))
        for library in libraries_in(folder, names, found_by):
            seen.setdefault(library.path, library)
    return found(tuple(seen.values())[:_MOST], SOURCE) if seen else absent(SOURCE)


def _configured(host: ProbeHost) -> list[str]:
    folders, includes = parse_ld_so_conf(host.read_text("/etc/ld.so.conf").text)
    for pattern in includes:
        for path in host.glob(pattern):
            folders += parse_ld_so_conf(host.read_text(path).text)[0]
    # What the loader knows without being told.
    folders += ["/lib64", "/usr/lib64", "/usr/lib"]
    return list(dict.fromkeys(folders))

"""CUDA, cuDNN, NCCL and C++ libraries that the loader finds outside the target."""

from __future__ import annotations

from envfix.host.interface import ProbeHost
from envfix.model.facts import NOT_ASKED, NativeLibrary, Observed, unknown

SOURCE = "LD_LIBRARY_PATH and ldconfig"


def probe(host: ProbeHost) -> Observed[tuple[NativeLibrary, ...]]:
    """CUDA, cuDNN, NCCL and C++ libraries that the loader finds outside the target."""
    del host
    return unknown(SOURCE, NOT_ASKED)

"""Which package a log speaks of where a library is missed, and which pip package carries that library."""

from __future__ import annotations

import re
from collections.abc import Iterator

from envfix.model.log import Hit
from envfix.model.regex import regex

# Compiled against one torch and one CUDA: a missing CUDA library means that theirs is another one than torch's.
BUILT_FOR_TORCH = frozenset(
    (
        "apex",
        "detectron2",
        "deepspeed",
        "flash_attn",
        "mmcv",
        "mmdet",
        "mmdet3d",
        "natten",
        "pytorch3d",
        "sageattention",
        "sgl_kernel",
        "spconv",
        "torch_cluster",
        "torch_scatter",
        "torch_sparse",
        "torch_spline_conv",
        "torchaudio",
        "torchtext",
        "torchvision",
        "vllm",
        "xformers",
    )
)
OWN = "own"
# Frames that only open what others asked for.
_LOADERS = regex(r"torch[/\\]_?(?:ops|classes)\.py|torch[/\\]utils[/\\]cpp_extension\.py|pkg_resources|setuptools")
_FRAME = regex(
    r"File \"?((?:[A-Za-z]:)?[^\"\n,:]{1,400}?\.pyx?)\"?"
    r"(?:, line \d+|:\d+)?,? in [^\n]*\n(?:[ \t]*(?:--> ?\d+|\d+)?[ \t]*([^\n]*))?"
)
_PACKAGE = regex(r"(?:site|dist)-packages[/\\]([A-Za-z]\w*)")
_STANDARD = regex(r"[/\\]lib[/\\](?:python[\d.]+[/\\])?(?:importlib|ctypes|runpy|contextlib)|<frozen")
_NEARBY = 3_000


def asker(hit: Hit) -> str:
    """The package whose file stands last in the traceback above, or in the line; ``own``: the user's file, ``""``: unknown."""
    line = hit.before.rpartition("\n")[2] + hit.text
    if (in_line := _PACKAGE.search(line)) and in_line[1] not in ("nvidia", "torch"):
        return in_line[1].lower()
    above = hit.before[-_NEARBY:].rpartition("Traceback (most recent call last)")[2]
    last = ""
    for frame in _frames(above):
        path = frame[1]
        if _STANDARD.search(path) or _LOADERS.search(path):
            continue
        package = _PACKAGE.search(path)
        last = package[1].lower() if package else OWN
        if last == OWN and re.search(r"import torch\b|from torch\b", frame[2] or ""):
            last = "torch"
    return last or (in_line[1].lower() if in_line else "")


def _frames(text: str) -> Iterator[re.Match[str]]:
    """Each place of a traceback with its line of code; where that is not known, the next place follows at once."""
    at = 0
    while (frame := _FRAME.search(text, at)) is not None:
        yield frame
        at = frame.start(2) if (frame[2] or "").startswith("File ") else frame.end()


_NUMBERED = frozenset(("libcudart", "libcublas", "libcublasLt", "libcusparse", "libcupti", "libnvrtc", "libnvJitLink"))
_CARRIED_BY = {
    "libcudart": "nvidia-cuda-runtime",
    "libcublas": "nvidia-cublas",
    "libcublasLt": "nvidia-cublas",
    "libcudnn": "nvidia-cudnn",
    "libcufft": "nvidia-cufft",
    "libcufile": "nvidia-cufile",
    "libcupti": "nvidia-cuda-cupti",
    "libcurand": "nvidia-curand",
    "libcusolver": "nvidia-cusolver",
    "libcusparse": "nvidia-cusparse",
    "libcusparseLt": "nvidia-cusparselt",
    "libnccl": "nvidia-nccl",
    "libnvJitLink": "nvidia-nvjitlink",
    "libnvToolsExt": "nvidia-nvtx",
    "libnvrtc": "nvidia-cuda-nvrtc",
    "libnvshmem": "nvidia-nvshmem",
}


def carried_by(library: str) -> str | None:
    """The pip package of a CUDA library: ``nvidia-cublas-cu12`` for ``libcublas.so.12``; None where pip has none.

    ``cuNN`` stands for torch's CUDA where the library's own number is not CUDA's.
    """
    match = re.match(r"(lib(?:cudnn|nvrtc|nvshmem|[A-Za-z]+))[\w-]*(?:\.so\.?(\d+)?)?", library)
    base = _CARRIED_BY.get(match[1]) if match else None
    if match is None or base is None:
        return None
    number = match[2] if match[1] in _NUMBERED else None
    if number is None:
        wanted = f"=={match[2]}.*" if match[1] == "libcudnn" and match[2] else ""
        return f"{base}-cuNN{wanted}"
    if int(number) < 11:
        return None
    return f"{base}-cu{number}" if int(number) < 13 else base

"""What the names, labels and builds of packages say of the machine that they need."""

from __future__ import annotations

import re
from collections.abc import Iterable

from envfix.model.conda_names import CUDA_IN_BUILD
from envfix.model.lock import LockedPackage

CPU = "cpu"
_OF_GPUS = re.compile(
    r"(?:^|[-_])(?:(?:py|lib)?torch|tensorflow|jax|jaxlib|cupy|nvidia|cuda|cudnn|cudatoolkit|triton|xformers|paddlepaddle|mxnet"
    r"|onnxruntime-gpu)(?:[-_]|\d|$)"
)
_MANYLINUX = re.compile(r"manylinux(?:_2_(\d+)|(2014)|(2010)|(1))_")
_LEGACY = {2: 17, 3: 12, 4: 5}
LABEL = re.compile(r"cpu|cu\d{2,3}|rocm\d[\d.]*|xpu")
_CONDA_GLIBC = re.compile(r"__glibc\s*>=2\.(\d+)")


def variant_of(packages: Iterable[LockedPackage]) -> str:
    """The CUDA inside, by the label of torch or the build of conda's; ``cpu`` where nothing can use a card; empty: not said."""
    packages = list(packages)
    for one in packages:
        label = one.version.partition("+")[2]
        if one.name == "torch" and one.origin != "conda":
            return label if LABEL.fullmatch(label) else ""
    for one in packages:
        if one.name in ("pytorch", "pytorch-gpu", "pytorch-cpu"):
            cuda = CUDA_IN_BUILD.search(one.build or "")
            if cuda is not None:
                return "cu" + (cuda["dotted"] or cuda["short"]).replace(".", "")
            return CPU if "cpu" in (one.build or "") else ""
    return "" if any(_OF_GPUS.search(one.name.lower()) for one in packages) else CPU


def least_glibc(files: Iterable[str], depends: Iterable[str] = ()) -> str | None:
    """The oldest glibc that all files run on: each has the oldest of its tags, and the newest of these counts."""
    least = [minors for name in files if (minors := _minors(name))]
    found = [min(minors) for minors in least]
    found += [int(match[1]) for spec in depends for match in [_CONDA_GLIBC.search(spec)] if match]
    return f"2.{max(found)}" if found else None


def _minors(filename: str) -> list[int]:
    return [
        int(match[1]) if match[1] else next(_LEGACY[group] for group in _LEGACY if match[group])
        for match in _MANYLINUX.finditer(filename)
    ]

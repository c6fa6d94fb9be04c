"""The architectures that nvcc releases know: what a log says of an unknown one, and whether it is too new or dropped."""

from __future__ import annotations

from envfix.model.log import Hit, Log
from envfix.model.versions import CudaVersion

UNSUPPORTED = (
    r"(?:Unsupported gpu architecture '(?:compute|sm)_(?P<arch>\d{2,3})(?P<kind>[af]?)'"
    r"|Value '(?:sm|compute)_(?P<arch2>\d{2,3})(?P<kind2>[af]?)' is not defined for option 'gpu-(?:arc"
    r"hitecture|code|name)')"
)
# How logs name the release of nvcc, the plainest first.
RELEASES = (
    r"Cuda compilation tools, release (?P<release>\d+\.\d)",
    r"(?i)The CUDA compiler identification is NVIDIA (?P<release>\d+\.\d)",
    r"(?i)cuda(?:-|[\\/]+v|_)(?P<release>\d+\.\d)\d?[\\/]+(?:bin|lib|include|nvvm|targets|MSBuild)",
    (
        r"(?i)(?:Found CUDA(?:Toolkit)?:[^\n]{0,80}version \"|CUDA detected: |Found CUDA version |CUDA )"
        r"(?P<release>\d+\.\d)(?:\.\d+)?(?:\"|\.targets|\s)"
    ),
)
# The first release that no longer knows an architecture (NVIDIA's release notes); 10.1 became 11.0.
_DROPPED = {
    "7.0": (10, 11, 12, 13),
    "9.0": (20, 21),
    "11.0": (30, 32),
    "12.0": (35, 37),
    "13.0": (50, 52, 53, 60, 61, 62, 70, 72, 101),
}
_SINCE = {50: "6.0", 52: "6.5", 53: "7.0", 60: "8.0", 61: "8.0", 62: "8.0", 70: "9.0", 72: "9.2", 101: "12.8"}


def dropped_in(number: int) -> CudaVersion | None:
    """The first toolkit without an architecture (``61``); None for one that every newer toolkit knows."""
    return next((CudaVersion.parse(first) for first, numbers in _DROPPED.items() if number in numbers), None)


def number_of(hit: Hit) -> int:
    """``86`` of the place that ``UNSUPPORTED`` found."""
    return int(hit.groups.get("arch") or hit.groups.get("arch2") or 0)


def release_in(hit: Hit, log: Log) -> CudaVersion | None:
    """The release of nvcc that the log names, nearest to the place first; None where it names none."""
    for pattern in RELEASES:
        found = log.found(pattern)
        if found:
            nearest = min(found, key=lambda one: abs(one.offset - hit.offset))
            return CudaVersion.parse(nearest.groups["release"])
    return None


def is_dropped(hit: Hit, log: Log) -> float:
    """How sure it is that nvcc is too new for the architecture (0 to 1); the rest is that it is too old."""
    number = number_of(hit)
    last, since = dropped_in(number), _SINCE.get(number)
    if last is None:
        return 0.0
    release = release_in(hit, log)
    if release is not None and release >= last:
        return 0.97
    if release is not None and (since is None or release < CudaVersion.parse(since)):
        return 0.03 if since else 0.9
    # Nobody compiles for Kepler with a toolkit from before Kepler; Volta was once new, too.
    return 0.9 if number < 50 else 0.75 if number < 70 else 0.65 if number < 75 else 0.3

"""The lines of a ``torch.utils.collect_env`` report, found in whatever it was pasted into."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

import msgspec

from envfix.model.regex import regex

FIRST, LAST = "PyTorch version", "Versions of relevant libraries"
# What the report prints before a colon, over all releases of torch; a line that starts with none of them goes on with
# the one above. "HIP runtime version" and those behind it say where the list of cards or of cuDNN files ends.
KEYS = (
    FIRST,
    "Is debug build",
    "CUDA used to build PyTorch",
    "ROCM used to build PyTorch",
    "XPU used to build PyTorch",
    "OS",
    "GCC version",
    "Clang version",
    "CMake version",
    "Libc version",
    "Python version",
    "Python platform",
    "Is CUDA available",
    "CUDA runtime version",
    "CUDA_MODULE_LOADING set to",
    "GPU models and configuration",
    "Nvidia driver version",
    "cuDNN version",
    "Is XPU available",
    "Intel GPU driver version",
    "Intel GPU models onboard",
    "Intel GPU models detected",
    "HIP runtime version",
    "MIOpen runtime version",
    "Is XNNPACK available",
    "Caching allocator config",
    "CPU",
    LAST,
)
# So many of them together are no longer somebody's sentence.
ENOUGH = 3
# A real report has 40 to 400 lines; what is longer is something else, and is not looked at.
LINES_LIMIT, LINE_LIMIT, TEXT_LIMIT = 2_000, 500, 2_000

# Quotation marks, list marks and headings of the place it was pasted into.
_MARKS = regex(r"^[\s>#*|`]*(?:- )?")
_KEY = regex(rf"({'|'.join(map(re.escape, KEYS))})\s*:\s*(.*)")
_PACKAGE = regex(r"\[(pip3?|conda)\]\s+(.+)")


class Lines(msgspec.Struct, frozen=True, kw_only=True):
    """A report taken apart: ``fields`` by what stands before the colon (each a tuple of lines), packages as listed."""

    fields: dict[str, tuple[str, ...]]
    pip: tuple[str, ...] = ()
    conda: tuple[str, ...] = ()

    def text(self, key: str) -> str | None:
        """What the report says behind a key, on one line; None where it has no such line."""
        lines = self.fields.get(key)
        return None if lines is None else " ".join(lines[:20]).strip()[:TEXT_LIMIT]


def find(text: str) -> Lines | None:
    """The report in a text; None when there is none. Of several the one that says most is taken."""
    reports = [_taken_apart(text[start:end]) for start, end in _places(text)]
    best = max(reports, key=lambda lines: len(lines.fields), default=None)
    return best if best is not None and len(best.fields) >= ENOUGH else None


def _places(text: str) -> Iterator[tuple[int, int]]:
    """Where a report may begin and must end: from each "PyTorch version" to the next."""
    starts = [match.start() for match in islice(re.finditer(r"PyTorch\s+version\s*:", text), 50)]
    yield from zip(starts, [*starts[1:], len(text)], strict=False)


def _taken_apart(text: str) -> Lines:
    fields: dict[str, list[str]] = {}
    packages: dict[str, list[str]] = {"pip": [], "conda": []}
    current: list[str] = []
    for line in _clean(text):
        key, package = _KEY.match(line), _PACKAGE.match(line)
        if key:
            current = fields.setdefault(key[1], [])
            current += [key[2]] if key[2] else []
        elif package:
            packages[package[1][:3].replace("con", "conda")].append(package[2])
        elif line:
            current.append(line)
    if LAST not in fields and not text.endswith(("\n", "\r")) and current:
        current.pop()  # the report was cut, perhaps in the middle of this line: half a number is another number
    return Lines(
        fields={key: tuple(lines) for key, lines in fields.items()},
        pip=tuple(packages["pip"]),
        conda=tuple(packages["conda"]),
    )


def _clean(text: str) -> Iterator[str]:
    """Line by line, without the marks of a quotation."""
    # Enough characters for the lines that are looked at: a file may be one line of 60 MB.
    for line in text[: LINES_LIMIT * LINE_LIMIT].splitlines()[:LINES_LIMIT]:
        yield _MARKS.sub("", line[:LINE_LIMIT].replace("\xa0", " ")).rstrip()

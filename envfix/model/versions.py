"""Versions as types: each refuses to be compared with another kind, so a driver can never be measured against a toolkit."""

from __future__ import annotations

import re
from functools import total_ordering
from typing import Any

from envfix.model.language import say


@total_ordering
class _Ordered:
    """An immutable version that is ordered by a tuple of numbers within its own kind only."""

    __slots__ = ("_key", "_text")
    _key: tuple[int, ...]
    _text: str

    def __init__(self, key: tuple[int, ...], text: str) -> None:
        object.__setattr__(self, "_key", key)
        object.__setattr__(self, "_text", text)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._key == other._key

    def __lt__(self, other: Any) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return bool(self._key < other._key)

    def __hash__(self) -> int:
        return hash((type(self), self._key))

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._text!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self._key, self._text))


class DriverVersion(_Ordered):
    """Version of the NVIDIA kernel driver, such as 550.54.14 (Linux) or 551.61 (Windows); its branch is the first number."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> DriverVersion:
        """Read ``550.54.14``; raises ``ValueError`` on anything that is not two to four dotted numbers."""
        cleaned = text.strip()
        if not re.fullmatch(r"\d{1,5}(?:\.\d{1,6}){0,3}", cleaned, re.ASCII):
            raise ValueError(say("not a driver version: {cleaned}", cleaned=repr(cleaned[:40])))
        return cls(tuple(int(part) for part in cleaned.split(".")), cleaned)

    @property
    def branch(self) -> int:
        """The release branch, 550 for 550.54.14."""
        return self._key[0]


class CudaVersion(_Ordered):
    """A CUDA release by major and minor number, such as 11.8; used for runtimes, toolkits and what a driver serves."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> CudaVersion:
        """Read ``11.8``, ``11.8.89`` or ``cu118``; raises ``ValueError`` otherwise."""
        cleaned = text.strip()
        match = re.fullmatch(r"(\d{1,2})\.(\d{1,2})(?:\.\d+)*", cleaned, re.ASCII)
        if match is None:
            # The last digit of a variant is the minor number: cu92 is 9.2, cu118 is 11.8, cu130 is 13.0.
            match = re.fullmatch(r"cu(\d{1,2})(\d)", cleaned, re.ASCII)
        if match is None:
            raise ValueError(f"not a CUDA version: {cleaned[:40]!r}")
        return cls.of(int(match[1]), int(match[2]))

    @classmethod
    def of(cls, major: int, minor: int) -> CudaVersion:
        """The CUDA release ``major.minor``."""
        return cls((major, minor), f"{major}.{minor}")

    @classmethod
    def from_number(cls, number: int) -> CudaVersion:
        """Decode the driver API's number: 11040 is 11.4 (``cuDriverGetVersion``)."""
        return cls.of(number // 1000, number % 1000 // 10)

    @property
    def major(self) -> int:
        """The major family: 11 for 11.8."""
        return self._key[0]

    @property
    def minor(self) -> int:
        """The minor number: 8 for 11.8."""
        return self._key[1]

    @property
    def variant(self) -> str:
        """The wheel variant that carries this runtime: ``cu118``."""
        return f"cu{self.major}{self.minor}"


class ComputeCapability(_Ordered):
    """What a GPU can execute, such as 8.6; the same numbers name the binaries in a wheel (sm_86)."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> ComputeCapability:
        """Read ``8.6``, ``sm_86``, ``sm_90a`` or ``compute_86``; raises ``ValueError`` otherwise."""
        cleaned = text.strip()
        match = re.fullmatch(r"(\d{1,2})\.(\d)", cleaned, re.ASCII)
        if match is None:
            match = re.fullmatch(r"(?:sm|compute)_(\d{1,2})(\d)[a-z]?", cleaned, re.ASCII)
        if match is None:
            raise ValueError(say("not a compute capability: {cleaned}", cleaned=repr(cleaned[:40])))
        return cls.of(int(match[1]), int(match[2]))

    @classmethod
    def of(cls, major: int, minor: int) -> ComputeCapability:
        """The capability ``major.minor``."""
        return cls((major, minor), f"{major}.{minor}")

    @property
    def major(self) -> int:
        """The major number; a binary never runs across majors."""
        return self._key[0]

    @property
    def minor(self) -> int:
        """The minor number."""
        return self._key[1]

    @property
    def sm(self) -> str:
        """The binary target of this capability: ``sm_86``."""
        return f"sm_{self.major}{self.minor}"

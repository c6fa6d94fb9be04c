"""What judging yields: findings are data; prose beyond one sentence is made by ``render``."""

from __future__ import annotations

from enum import Enum
from typing import Literal

import msgspec


class Severity(str, Enum):
    """How bad: an error stops the work, a warning may, an info is good to know."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """One fact a finding rests on: its name (``machine.driver``), its value as text, and where it was read."""

    fact: str
    value: str
    source: str


class Remedy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One way out. ``commands`` are argument lists; ``safe`` means they change nothing that cannot be taken back."""

    text: str
    commands: tuple[tuple[str, ...], ...] = ()
    safe: bool = True


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something wrong or worth knowing: ``cause`` is the catalogue's name, ``follows_from`` the code it is a symptom of."""

    code: str
    cause: str
    severity: Severity
    message: str
    because: tuple[Evidence, ...] = ()
    remedies: tuple[Remedy, ...] = ()
    follows_from: str | None = None


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What one rule said. A rule whose facts are unknown is *skipped*, one that raised is *crashed*; both say why."""

    code: str
    cause: str
    status: Literal["passed", "found", "skipped", "crashed"]
    findings: tuple[Finding, ...] = ()
    reason: str | None = None


class Skipped(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that could not be judged, and why."""

    code: str
    reason: str


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """All findings, the most likely root cause first, and what could not be judged."""

    verdict: Literal["healthy", "degraded", "broken"]
    findings: tuple[Finding, ...]
    skipped: tuple[Skipped, ...]

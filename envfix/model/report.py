"""What ``diagnose`` answers: the facts, the judgement, and the indexes where they were asked."""

from __future__ import annotations

import msgspec

from envfix.model.facts import Environment, IndexState, Machine
from envfix.model.finding import Diagnosis, Finding
from envfix.model.plan import Plan


class Afterwards(msgspec.Struct, frozen=True, kw_only=True):
    """The stack that would mend a broken environment (or the conflict that keeps it away), and what would still be wrong."""

    plan: Plan
    findings: tuple[Finding, ...] = ()


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One diagnosis, ready to be shown. ``origin`` names the snapshot it was read from, None for this machine."""

    machine: Machine
    environment: Environment
    diagnosis: Diagnosis
    indexes: tuple[IndexState, ...] = ()
    afterwards: Afterwards | None = None
    origin: str | None = None


class CausePage(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the catalogue of causes; ``manual`` is its page in plain text."""

    code: str
    cause: str
    title: str
    manual: str


class WheelRow(msgspec.Struct, frozen=True, kw_only=True):
    """One wheel that exists.

    ``variant`` is what runs inside, also where the file name hides it. ``url`` is None for files of the default registry: it
    keeps them under addresses made from their content, which only its own page of the package tells. ``confidence`` says
    how sure it is that the file exists.
    """

    package: str
    version: str
    local_label: str
    variant: str
    python: str
    platform: str
    filename: str
    index: str
    url: str | None
    confidence: str

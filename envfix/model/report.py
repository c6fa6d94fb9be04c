"""What ``diagnose`` answers: the facts, the judgement, and the indexes where they were asked."""

from __future__ import annotations

import msgspec

from envfix.model.facts import Environment, IndexState, Machine
from envfix.model.finding import Diagnosis


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One diagnosis, ready to be shown. ``origin`` names the snapshot it was read from, None for this machine."""

    machine: Machine
    environment: Environment
    diagnosis: Diagnosis
    indexes: tuple[IndexState, ...] = ()
    origin: str | None = None


class CausePage(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the catalogue of causes; ``manual`` is its page in plain text."""

    code: str
    cause: str
    title: str
    manual: str

"""What came of acting: the rungs of a verification and the result of an installation."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

RungStatus = Literal["passed", "failed", "skipped"]


class Rung(msgspec.Struct, frozen=True, kw_only=True):
    """One step of the ladder: what was tried, how long it took (seconds) and, on failure, the cause by its catalogue name.

    ``message`` is one sentence for the user: the measured result, the reason for a skip, or what failed.
    """

    name: str
    status: RungStatus
    seconds: float
    detail: dict[str, Any] = {}
    cause: str | None = None
    message: str = ""


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """The whole ladder. ``weights`` is the name of the weights used, or ``random``; ``memory`` is in bytes."""

    status: Literal["passed", "failed"]
    device: str
    python: str
    rungs: tuple[Rung, ...]
    weights: str = "random"
    memory: dict[str, int | None] = {}

    @property
    def failed(self) -> Rung | None:
        """The rung that failed, if one did."""
        return next((rung for rung in self.rungs if rung.status == "failed"), None)


class Installation(msgspec.Struct, frozen=True, kw_only=True):
    """What an installation did: where, which packages (name to version), and how long it took in seconds."""

    prefix: str
    python: str
    installed: dict[str, str]
    seconds: float
    constraints_file: str | None = None
    verification: Verification | None = None

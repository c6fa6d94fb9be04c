"""What came of acting: the rungs of a verification and the result of an installation."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from envfix.model.finding import Remedy

RungStatus = Literal["passed", "failed", "skipped"]

# In the detail of a rung that was skipped because of a failed one: that one's name.
NOT_TRIED = "not_tried_after"


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
    """The whole ladder. ``weights`` is the name of the trained weights that predicted, or ``random``.

    ``memory`` is in bytes; where a ledger was wished for, its ``cards``, ``process`` and ``steps``, and the ``lines`` that tell it.
    ``remedies`` mend what failed, where that was worked out.
    """

    status: Literal["passed", "failed"]
    device: str
    python: str
    rungs: tuple[Rung, ...]
    weights: str = "random"
    memory: dict[str, Any] = {}
    remedies: tuple[Remedy, ...] = ()

    @property
    def failed(self) -> Rung | None:
        """The rung that failed, if one did."""
        return next((rung for rung in self.rungs if rung.status == "failed"), None)

    @property
    def waits_for_others(self) -> bool:
        """Whether it failed only because others fill the card now: that says nothing against the environment."""
        return self.failed is not None and self.failed.cause == "oom_other_process"


class Installation(msgspec.Struct, frozen=True, kw_only=True):
    """What an installation did: where, which packages (name to version), and how long it took in seconds.

    ``replaced`` are the versions that were there before; ``notes`` is what the user should know beside it. ``taken_back``:
    verification failed, and the environment is as it was before. ``made``: the environment is new. ``keep_with`` is the
    command that adds a PACKAGE without replacing the stack.
    """

    prefix: str
    python: str
    installed: dict[str, str]
    seconds: float
    constraints_file: str | None = None
    verification: Verification | None = None
    backend: str = "uv"
    replaced: dict[str, str] = {}
    taken_back: bool = False
    made: bool = False
    keep_with: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Undone(msgspec.Struct, frozen=True, kw_only=True):
    """What came of taking an installation back: files that came back and went, and those that are not as they were.

    ``stays`` are packages that came since. ``edited`` are files that somebody had changed since: the older ones are back in their
    place, and they were put into the folder ``edited_in``. ``forgotten_bytes`` is set instead where only the kept files were
    given up.
    """

    prefix: str
    what: str
    began: str
    removed_environment: bool = False
    files_back: int = 0
    files_removed: int = 0
    differing: tuple[str, ...] = ()
    stays: tuple[str, ...] = ()
    edited: tuple[str, ...] = ()
    edited_in: str | None = None
    forgotten_bytes: int | None = None

"""What every lockfile writer promises: a pure function from a plan to text."""

from __future__ import annotations

from typing import Protocol

from envfix.errors import EnvfixError
from envfix.model.plan import Plan


class LockError(EnvfixError):
    """There is nothing to lock, or this format cannot hold it."""

    reference = "lock"


class Locker(Protocol):
    """One lockfile format: ``name`` is what ``--format`` takes, ``filename`` what the file is called by default."""

    name: str
    filename: str

    def lock(self, plan: Plan) -> str:
        """The file's text, ending with a newline; raises ``LockError``."""

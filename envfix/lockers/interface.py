"""What every lockfile format promises: pure functions from a lock to text and back."""

from __future__ import annotations

from typing import Protocol

from envfix.errors import EnvfixError
from envfix.model.language import later, say
from envfix.model.lock import Lock

# What to do about a lock that is damaged.
ANEW = later("write it anew: envfix lock")


class LockError(EnvfixError):
    """There is nothing to lock, or this format cannot hold it; the message names what."""

    reference = "lock"


class LockFileError(EnvfixError):
    """A lockfile cannot be read: the message says which line and what is wrong with it."""

    reference = "lockfile"

    def __init__(self, message: str, *, line: int | None = None, hint: str | None = None) -> None:
        super().__init__(
            say("line {line}: {message}", line=line, message=message) if line is not None else message, hint=hint
        )
        self.line, self.reason = line, message


class Locker(Protocol):
    """One lockfile format: ``name`` is what ``--format`` takes, ``filename`` what the file is called by default."""

    name: str
    filename: str

    def lock(self, lock: Lock) -> str:
        """The file's text, ending with a newline; the same lock gives the same bytes. Raises ``LockError``."""

    def is_this(self, text: str, filename: str) -> bool:
        """Whether a file looks like one of this format, whoever wrote it."""

    def read(self, text: str) -> Lock:
        """The lock that a file of this format holds, as far as the format can say it. Raises ``LockFileError``."""

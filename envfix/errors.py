"""Errors of envfix itself. A broken machine is a finding, never an exception; these say why envfix could not do its job."""

from __future__ import annotations


class EnvfixError(Exception):
    """envfix could not do its job; the environment is as before.

    ``reference`` is a stable kebab-case name for scripts, ``hint`` the one next step for the user, ``exit_code`` what the
    process ends with (CONTRACT: 2 wrong usage, 3 envfix could not do it, 4 verification failed).
    """

    reference = "envfix-error"
    exit_code = 3

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(EnvfixError):
    """The request itself does not make sense (exit 2)."""

    reference = "usage"
    exit_code = 2


class TargetError(EnvfixError):
    """The interpreter named by the user cannot be asked: missing, too old, hanging, crashing or printing rubbish."""

    reference = "target"


class TableError(EnvfixError):
    """A compatibility table is wrong; the message names file, row and key."""

    reference = "table"


class SnapshotError(EnvfixError):
    """A snapshot given with ``--from`` cannot be read."""

    reference = "snapshot"


class UnrecordedCallError(EnvfixError):
    """A replayed machine was asked something that its recording does not hold."""

    reference = "unrecorded-call"


class InstallError(EnvfixError):
    """An installation step failed; what it changed has been taken back."""

    reference = "install"

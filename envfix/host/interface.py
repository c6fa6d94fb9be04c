"""The one door to the outside: everything envfix learns or does passes through a ``Host``, so it can be recorded and replayed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol

import msgspec

from envfix.host.locking import EnvironmentLock
from envfix.model.language import stated

NOT_FOUND = 127


class CommandResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a program answered; expected failures are results, never exceptions.

    ``returncode`` is negative for a signal (POSIX) and None unless ``outcome`` is ``exited``. ``stdout`` and ``stderr`` are
    decoded as UTF-8 with replacement; their middle is left out beyond the host's limit (``truncated``).
    """

    outcome: Literal["exited", "not-found", "not-permitted", "timed-out"]
    returncode: int | None = None
    stdout: str = ""
    stderr: str = ""
    truncated: bool = False

    @property
    def ok(self) -> bool:
        """Whether the program ran to its end and said 0."""
        return self.outcome == "exited" and self.returncode == 0

    @property
    def failure(self) -> str:
        """Why it is not ok, in words a user can read."""
        if self.outcome == "not-found":
            return stated("program not found")
        if self.outcome == "not-permitted":
            return stated("not permitted to run it")
        if self.outcome == "timed-out":
            return stated("no answer within the time limit")
        if self.returncode is not None and self.returncode < 0:
            return stated("killed by signal {value}", value=-self.returncode)
        lines = (self.stderr.strip() or self.stdout.strip()).splitlines()
        # A shell or shim says first what it did not find (127); a program says last what it died of.
        telling = lines[:1] if self.returncode == NOT_FOUND else lines[-1:]
        if not telling:
            return stated("exit code {code}", code=str(self.returncode))
        return stated("exit code {code}: {line}", code=str(self.returncode), line=telling[0][:200])


class FileResult(msgspec.Struct, frozen=True, kw_only=True):
    """The text of a file, or whether it is absent or could not be read (and why)."""

    outcome: Literal["read", "absent", "unreadable"]
    text: str = ""
    problem: str | None = None


class DiskSpace(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of the file system that holds a path, and whether this user may write there; None = could not be asked."""

    free: int | None
    total: int | None
    writable: bool
    problem: str | None = None


class Deadline:
    """A moment after which a streamed program is ended; whoever reads its lines may move it."""

    def __init__(self, seconds: float) -> None:
        self.at = time.monotonic() + seconds

    def extend(self, seconds: float) -> None:
        """Give the program ``seconds`` from now."""
        self.at = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds until the program is ended."""
        return self.at - time.monotonic()


class ProbeHost(Protocol):
    """What detecting needs: questions that change nothing. Each answer can be recorded and replayed."""

    def run(
        self, argv: Sequence[str], *, timeout: float, env: Mapping[str, str] | None = None, cwd: str | None = None
    ) -> CommandResult:
        """Run a program without a shell and without standard input; ``env`` is added to the user's own environment."""

    def run_script(
        self, python: str | None, script: str, arguments: Sequence[str] = (), *, timeout: float
    ) -> CommandResult:
        """Run ``envfix/target/SCRIPT`` with the interpreter ``python`` (None: envfix's own), writing no bytecode."""

    def read_text(self, path: str, *, limit: int = 1_000_000) -> FileResult:
        """The first ``limit`` bytes of a file as text."""

    def glob(self, pattern: str) -> tuple[str, ...]:
        """Paths that match a pattern, sorted."""

    def which(self, name: str) -> tuple[str, ...]:
        """Every executable of that name on PATH, first hit first."""

    def real_path(self, path: str) -> str:
        """The path with every symbolic link resolved."""

    def getenv(self, name: str) -> str | None:
        """An environment variable, or None."""

    def environ(self, prefixes: tuple[str, ...]) -> dict[str, str]:
        """All environment variables whose names start with one of the prefixes."""

    def system_facts(self) -> dict[str, str]:
        """What the running kernel and C library say of themselves (system, machine, release, libc...)."""

    def find_interpreter(self, spec: str) -> str | None:
        """An interpreter for a version such as ``3.9``, found on PATH, in pyenv, conda or uv; None if there is none."""

    def disk_space(self, path: str) -> DiskSpace:
        """Free space and write permission at a path or its nearest existing parent."""

    def interrupt(self) -> None:
        """End every program that was started and is still running; from now on none is started."""


class Host(ProbeHost, Protocol):
    """A real machine: it can also be acted upon. Only installer and verifier use these."""

    def stream(
        self,
        argv: Sequence[str],
        *,
        on_text: Callable[[str], None],
        deadline: Deadline,
        env: Mapping[str, str] | None = None,
        drop_env: Sequence[str] = (),
        cwd: str | None = None,
        terminal: bool = False,
        lock: EnvironmentLock | None = None,
    ) -> CommandResult:
        """Run a program and hand over its output as it comes; end its whole process group when the deadline passes.

        While it prints nothing, ``on_text`` gets an empty text about once a second.

        ``terminal`` gives the program a pseudo-terminal, so that it draws its own progress. ``drop_env`` names variables
        that it must not see. ``lock`` is held by the program too, also when envfix is killed. The result's ``stdout`` is
        the tail of the output (at most 64 KiB).
        """

    def script_path(self, script: str) -> str:
        """Where ``envfix/target/SCRIPT`` lies on this machine."""

    def write_text(self, path: str, text: str) -> None:
        """Write a file at once and whole (a temporary file renamed over it); raises ``OSError``."""

    def remove_tree(self, path: str) -> None:
        """Delete a folder that envfix itself made; raises ``OSError``."""

    def make_temporary_folder(self) -> str:
        """A new empty folder that only this user can read."""

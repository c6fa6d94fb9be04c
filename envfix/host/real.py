"""The machine envfix runs on: the only module that starts programs, opens files and reads the environment."""

from __future__ import annotations

import atexit
import contextlib
import errno
import glob
import os
import platform
import selectors
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from envfix.host import signals
from envfix.host.interface import CommandResult, Deadline, DiskSpace, FileResult
from envfix.host.locking import EnvironmentLock
from envfix.model.language import stated

HEAD_LIMIT, END_LIMIT = 1_000_000, 3_000_000
# How often a program that prints nothing is told of.
IDLE_TICK = 1.0
TAIL_LIMIT = 64 * 1024
# Seconds between two looks at a program whose output is kept open by another one.
LOOK_UP = 0.05
_SCRIPTS = Path(__file__).resolve().parent.parent / "target"


class RealHost:
    """Asks and acts upon the real machine (implements ``Host``)."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._interrupted = threading.Event()
        # Who interrupts finds every program that was started, also one of this moment in another thread.
        self._starting = threading.Lock()

    def run(
        self, argv: Sequence[str], *, timeout: float, env: Mapping[str, str] | None = None, cwd: str | None = None
    ) -> CommandResult:
        """See ``ProbeHost.run``: of long output 1 MB from the start and 3 MB up to the end are kept.

        The whole process group ends at the time limit.
        """
        with _ended_on_interruption() as started:
            try:
                with self._starting, signals.postponed():
                    process = subprocess.Popen(
                        list(argv),
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE,
                        env={**os.environ, **env} if env else None,
                        cwd=cwd,
                        start_new_session=True,
                    )
                    started.append(process)
                    self._running.add(process)
            except OSError as error:
                return _not_started(error)
            try:
                return self._answer(process, timeout)
            finally:
                self._running.discard(process)

    def _answer(self, process: subprocess.Popen[bytes], timeout: float) -> CommandResult:
        if self._interrupted.is_set():
            _end_group(process)
        readers = [_LimitedReader(stream) for stream in (process.stdout, process.stderr) if stream is not None]
        timed_out = not _wait_beside(process, readers, Deadline(timeout))
        # Also after a normal end: a grandchild that kept the pipes open must not keep envfix waiting.
        for reader in readers:
            reader.join(0.0 if timed_out else 1.0)
        if timed_out or any(reader.is_alive() for reader in readers):
            _end_group(process)
            for reader in readers:
                reader.join(1.0)
        out, err = (reader.text() for reader in readers)
        return CommandResult(
            outcome="timed-out" if timed_out else "exited",
            returncode=None if timed_out else process.returncode,
            stdout=out,
            stderr=err,
            truncated=any(reader.truncated for reader in readers),
        )

    def run_script(
        self, python: str | None, script: str, arguments: Sequence[str] = (), *, timeout: float
    ) -> CommandResult:
        """See ``ProbeHost.run_script``."""
        # envfix's own interpreter is isolated (-I); the target's never is: PYTHONPATH and the user site are among the faults.
        start = [sys.executable, "-I"] if python is None else [python]
        quiet = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONIOENCODING": "utf-8"}
        return self.run([*start, self.script_path(script), *arguments], timeout=timeout, env=quiet)

    def script_path(self, script: str) -> str:
        """See ``Host.script_path``."""
        return str(_SCRIPTS / script)

    def read_text(self, path: str, *, limit: int = 1_000_000) -> FileResult:
        """See ``ProbeHost.read_text``; anything but a regular file is unreadable (a pipe would block)."""
        try:
            if not os.path.isfile(path):
                os.stat(path)
                return FileResult(outcome="unreadable", problem=stated("not a regular file"))
            with open(path, "rb") as stream:
                return FileResult(outcome="read", text=_decoded(stream.read(limit)))
        except (FileNotFoundError, NotADirectoryError):
            return FileResult(outcome="absent")
        except (OSError, ValueError) as error:
            return FileResult(outcome="unreadable", problem=_reason(error))

    @contextlib.contextmanager
    def open_bytes(self, path: str | None) -> Iterator[IO[bytes]]:
        """A file of any kind and size to read from, None for standard input; raises ``OSError``."""
        if path is None:
            yield sys.stdin.buffer
            return
        with open(path, "rb") as stream:
            yield stream

    def glob(self, pattern: str) -> tuple[str, ...]:
        """See ``ProbeHost.glob``."""
        return tuple(sorted(glob.glob(pattern)))

    def which(self, name: str) -> tuple[str, ...]:
        """See ``ProbeHost.which``."""
        hits: list[str] = []
        for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
            hit = shutil.which(name, path=folder) if folder else None
            if hit is not None and hit not in hits:
                hits.append(hit)
        return tuple(hits)

    def real_path(self, path: str) -> str:
        """See ``ProbeHost.real_path``."""
        return os.path.realpath(path)

    def getenv(self, name: str) -> str | None:
        """See ``ProbeHost.getenv``."""
        return os.environ.get(name)

    def environ(self, prefixes: tuple[str, ...]) -> dict[str, str]:
        """See ``ProbeHost.environ``."""
        return {name: value for name, value in sorted(os.environ.items()) if name.startswith(prefixes)}

    def system_facts(self) -> dict[str, str]:
        """See ``ProbeHost.system_facts``: also names envfix's own prefix, so that it is never taken for the target."""
        family, version = _libc()
        return {
            "system": sys.platform,
            "machine": platform.machine(),
            "release": platform.release(),
            "libc": family,
            "libc_version": version,
            "home": os.path.expanduser("~"),
            "working_folder": _working_folder(),
            "own_prefix": sys.prefix,
            "own_python": sys.executable,
        }

    def find_interpreter(self, spec: str) -> str | None:
        """See ``ProbeHost.find_interpreter``: pyenv's and conda's first, then what python-discovery finds on PATH and in uv."""
        from python_discovery import PythonInfo, get_interpreter

        near = _pyenv_interpreters(spec)
        if spec.startswith("2"):  # python-discovery asks none that old; envfix recognises it and says so
            return (*near, *self.which(f"python{spec}"), None)[0]
        own = os.path.dirname(sys.executable)

        def is_not_ours(info: PythonInfo) -> bool:
            # By its folder: python-discovery tells the prefix of the interpreter behind a virtual environment.
            return os.path.dirname(info.executable or "") != own

        for first in (*((path,) for path in near), ()):
            with contextlib.suppress(Exception):  # a broken interpreter: the next one may do
                hit = get_interpreter(spec, try_first_with=first, predicate=is_not_ours)
                if hit is not None:
                    return hit.executable
        with contextlib.suppress(Exception):  # nothing else has it: the one behind envfix's own environment
            hit = get_interpreter(spec)
            if hit is not None and hit.system_executable and os.path.dirname(hit.system_executable) != own:
                return hit.system_executable
        return None

    def disk_space(self, path: str) -> DiskSpace:
        """See ``ProbeHost.disk_space``."""
        place = os.path.abspath(path)
        while not os.path.exists(place) and os.path.dirname(place) != place:
            place = os.path.dirname(place)
        try:
            usage = shutil.disk_usage(place)
        except OSError as error:
            return DiskSpace(free=None, total=None, writable=False, problem=_reason(error))
        writable = os.path.isdir(place) and os.access(place, os.W_OK | os.X_OK)
        return DiskSpace(free=usage.free, total=usage.total, writable=writable, problem=None)

    def interrupt(self) -> None:
        """See ``ProbeHost.interrupt``."""
        with self._starting:
            self._interrupted.set()
        for process in list(self._running):
            _end_group(process)

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
        """See ``Host.stream``; the child is ended as well when the caller is interrupted."""
        environment = {name: value for name, value in os.environ.items() if name not in drop_env}
        environment.update(env or {})
        reading, writing = _open_channel(terminal=terminal)
        tail = bytearray()
        with contextlib.closing(os.fdopen(reading, "rb", 0)), _ended_on_interruption() as started:
            try:
                with signals.postponed():
                    process = subprocess.Popen(
                        list(argv),
                        stdin=subprocess.DEVNULL,
                        stdout=writing,
                        stderr=writing,
                        env=environment,
                        cwd=cwd,
                        start_new_session=True,
                        pass_fds=() if lock is None else (lock.descriptor,),
                    )
                    started.append(process)
            except OSError as error:
                return _not_started(error)
            finally:
                os.close(writing)
            if lock is not None:
                lock.sign(process.pid)
            in_time = _pump(reading, process, on_text, deadline, tail)
            if not in_time:
                _end_group(process)
            code = process.wait()
        return CommandResult(
            outcome="exited" if in_time else "timed-out",
            returncode=code if in_time else None,
            stdout=tail.decode("utf-8", "replace"),
        )

    def write_text(self, path: str, text: str) -> None:
        """See ``Host.write_text``."""
        target = Path(os.path.realpath(path))
        if target.exists() and not target.is_file():
            # A pipe, /dev/stdout, /dev/null: written into, never replaced by a file.
            with open(target, "w", encoding="utf-8") as stream:
                stream.write(text)
            return
        import tempfile

        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(text)
            os.chmod(temporary, _mode_for(target))
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise

    def remove_tree(self, path: str) -> None:
        """See ``Host.remove_tree``."""
        with signals.postponed():  # who ends a program often sends two signals
            shutil.rmtree(path)

    def make_temporary_folder(self) -> str:
        """See ``Host.make_temporary_folder``."""
        import tempfile

        with signals.postponed():
            folder = tempfile.mkdtemp(prefix="envfix-")
            # For an interruption that comes before its user knows of it.
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return folder


def _mode_for(target: Path) -> int:
    """The mode that a file has, or that a new one gets."""
    try:
        return stat.S_IMODE(os.stat(target).st_mode)
    except OSError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask


def _decoded(data: bytes) -> str:
    """Text as UTF-8, or as UTF-16 where it says so: PowerShell's ``>`` writes that."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    return data.decode("utf-8", "replace")


class _LimitedReader(threading.Thread):
    """Drains one pipe to its end, so that the child never blocks, but keeps only the first and the last part."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self._stream = stream
        self._head, self._tail = bytearray(), bytearray()
        self.truncated = False
        self.start()

    def run(self) -> None:
        with contextlib.suppress(OSError, ValueError), self._stream:
            while chunk := self._stream.read1(65536):  # type: ignore[attr-defined]
                room = HEAD_LIMIT - len(self._head)
                self._head += chunk[:room]
                self._tail += chunk[room:]
                if len(self._tail) > 2 * END_LIMIT:
                    self._cut()

    def _cut(self) -> None:
        self.truncated |= len(self._tail) > END_LIMIT
        del self._tail[:-END_LIMIT]

    def text(self) -> str:
        self._cut()
        return bytes(self._head + self._tail).decode("utf-8", "replace")


def _pump(
    reading: int, process: subprocess.Popen[bytes], on_text: Callable[[str], None], deadline: Deadline, tail: bytearray
) -> bool:
    """Hand over output until the program has ended (True) or its deadline has passed (False).

    While there is none, an empty text comes about once a second, so that somebody can notice.
    """
    heard = time.monotonic()
    with selectors.DefaultSelector() as selector:
        selector.register(reading, selectors.EVENT_READ)
        while deadline.left > 0:
            if selector.select(min(max(deadline.left, 0.0), 0.2)):
                try:
                    chunk = os.read(reading, 65536)
                except OSError as error:  # a pseudo-terminal whose other end is closed answers EIO
                    if error.errno != errno.EIO:
                        raise
                    chunk = b""
                if not chunk:
                    return _wait(process, deadline)
                tail += chunk
                del tail[:-TAIL_LIMIT]
                heard = time.monotonic()
                on_text(chunk.decode("utf-8", "replace"))
            elif process.poll() is not None:
                return True
            elif time.monotonic() - heard >= IDLE_TICK:
                heard = time.monotonic()
                on_text("")
    return False


def _wait(process: subprocess.Popen[bytes], deadline: Deadline) -> bool:
    try:
        process.wait(max(deadline.left, 0.0))
    except subprocess.TimeoutExpired:
        return False
    return True


def _wait_beside(process: subprocess.Popen[bytes], readers: Sequence[_LimitedReader], deadline: Deadline) -> bool:
    """Whether the program ends in time.

    ``Popen.wait`` with a time limit looks up every 50 ms, which is a quarter of a diagnosis; the end of its output is told
    at once, and comes with the end of nearly every program.
    """
    for reader in readers:
        while reader.is_alive() and process.poll() is None and deadline.left > 0:
            reader.join(min(LOOK_UP, deadline.left))
    return _wait(process, deadline)


def _open_channel(*, terminal: bool) -> tuple[int, int]:
    if not terminal:
        return os.pipe()
    import fcntl
    import pty
    import struct
    import termios

    reading, writing = pty.openpty()
    fcntl.ioctl(writing, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    return reading, writing


@contextlib.contextmanager
def _ended_on_interruption() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Whatever breaks the block off, Ctrl-C above all, ends what was started in it first."""
    started: list[subprocess.Popen[bytes]] = []
    try:
        yield started
    except BaseException:
        with signals.undisturbed():
            for process in started:
                _end_group(process)
        raise


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End the program and everything it started: politely, then for certain."""
    for number, patience in ((signal.SIGTERM, 2.0), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
            if number == signal.SIGTERM and not _group_alive(process.pid):
                return


def _group_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _not_started(error: OSError) -> CommandResult:
    if isinstance(error, FileNotFoundError):
        return CommandResult(outcome="not-found", stderr=_reason(error))
    return CommandResult(outcome="not-permitted", stderr=_reason(error))


def _reason(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)


def _working_folder() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was deleted while the user stood in it
        return ""


def _libc() -> tuple[str, str]:
    try:
        text = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, ValueError, OSError):
        text = ""
    family, _, version = text.partition(" ")
    if family == "glibc":
        return family, version
    musl = glob.glob("/lib/ld-musl-*.so.1")
    return ("musl", "") if musl else ("", "")


def _pyenv_interpreters(spec: str) -> list[str]:
    """Interpreters that pyenv keeps in folders named by their version, newest patch release first."""
    root = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    folders = [
        *glob.glob(os.path.join(root, "versions", spec)),
        *glob.glob(os.path.join(root, "versions", spec + ".*")),
    ]
    folders.sort(
        key=lambda folder: [int(part) if part.isdigit() else -1 for part in folder.rpartition("/")[2].split(".")]
    )
    return [os.path.join(folder, "bin", "python") for folder in reversed(folders)]

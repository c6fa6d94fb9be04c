"""Makes the private environment of a checkout, whole or not at all, then starts the script that wants it anew.

``_prepare.py SCRIPT FOLDER ARGUMENTS...``; the environment of ``test`` also gets what the tests need.
It stands alone, on the standard library of Python 3.10: what envfix itself needs is what this installs.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

HERE = Path(__file__).resolve().parent.parent
PROJECT = HERE / "pyproject.toml"
STAMP = ".envfix-installed"
# What steers pip or Python away from the environment; the user's index, proxy and certificate stay.
MISLEADING = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PYTHONPATH", "PYTHONHOME")
ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
# What pip writes, what it means, and the one thing to do; what is in the way of all the others stands first.
REASONS = (
    (
        r"No space left on device|Disk quota exceeded",
        "there is no room on the disk",
        "free some room, then start again",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|certificate verify failed",
        "the certificate of the package index, or of a proxy before it, is not trusted here",
        "tell pip which file to trust: python3 -m pip config set global.cert FILE",
    ),
    (
        r"ProxyError|Cannot connect to proxy|Tunnel connection failed",
        "the proxy does not answer, or refuses",
        "correct or unset the proxy: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, or proxy in pip.conf",
    ),
    (
        r"NewConnectionError|NameResolutionError|ConnectTimeout|ReadTimeout|Connection refused|Network is unreachable",
        "the package index cannot be reached from here",
        "check the network, or name a mirror that answers: PIP_INDEX_URL=https://... or index-url in pip.conf",
    ),
    (
        r"is not a trusted or secure host",
        "pip asks no index without encryption (http)",
        "use its https address, or tell pip to trust it: PIP_TRUSTED_HOST=HOST",
    ),
    (
        r"No matching distribution found for (\S+)",
        "the package index has no {0} for this Python",
        "name an index that has all packages: PIP_INDEX_URL=https://... or index-url in pip.conf",
    ),
)


class _Ended(BaseException):
    """Ctrl-C, ``kill`` or a closed terminal."""


def main() -> int:
    """Make it, or say in one line why not; the exit code is envfix's own for that."""
    script, folder = sys.argv[1], Path(sys.argv[2])
    for number in ENDING:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _end)
    try:
        with _alone():
            code = 0 if _is_new(folder) else _make(folder, for_tests=Path(script).name == "test")
    except _Ended:
        _say("error: interrupted; the next start begins anew")
        return 130
    except OSError as error:
        _say(f"error: {error.strerror or error}: {error.filename or folder}")
        _say("hint: envfix keeps its own environment in its checkout: put that where you may write")
        return 3
    if code == 0:
        os.execv("/bin/sh", ["sh", script, *sys.argv[3:]])  # noqa: S606
    return code


def _is_new(folder: Path) -> bool:
    """Another terminal may have made it meanwhile."""
    stamp = folder / STAMP
    return stamp.exists() and stamp.stat().st_mtime >= PROJECT.stat().st_mtime


def _make(folder: Path, *, for_tests: bool) -> int:
    what = "the test environment" if for_tests else "its own environment"
    _say(f"envfix: preparing {what} in {folder} (once) ...")
    try:
        code = _made(folder, for_tests=for_tests)
    except BaseException:
        for number in ENDING:
            signal.signal(number, signal.SIG_IGN)
        shutil.rmtree(folder, ignore_errors=True)
        raise
    if code != 0:
        shutil.rmtree(folder, ignore_errors=True)
    return code


def _made(folder: Path, *, for_tests: bool) -> int:
    if folder.exists():
        shutil.rmtree(folder)
    python = str(folder / "bin" / "python")
    steps = [
        [sys.executable, "-m", "venv", str(folder)],
        [python, "-m", "pip", "install", "--quiet", "--editable", str(HERE)],
        *([[python, __file__, "--group", "test"]] if for_tests else []),
        # Also where PYTHONDONTWRITEBYTECODE is set: without bytecode every start takes twice as long.
        [python, "-m", "compileall", "-q", str(HERE / "envfix")],
    ]
    for step in steps:
        code, text = _run(step)
        if code != 0 and "compileall" not in step:
            return _refuse(text)
    (folder / STAMP).touch()
    # Newer than what it was made from, whatever the clock says: it would be made again and again.
    made = max(time.time(), PROJECT.stat().st_mtime + 1)
    os.utime(folder / STAMP, (made, made))
    return 0


def _install_group(name: str) -> NoReturn:
    """Install a [dependency-groups] of pyproject.toml, as pip itself does from 25.1 on; runs in the new environment."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    with PROJECT.open("rb") as file:
        wanted = tomllib.load(file)["dependency-groups"][name]
    os.execv(sys.executable, [sys.executable, "-m", "pip", "install", "--quiet", *wanted])  # noqa: S606


def _run(command: list[str]) -> tuple[int, str]:
    """The exit code and the words of a program that ends with this one."""
    variables = {name: value for name, value in os.environ.items() if name not in MISLEADING}
    variables |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
    with tempfile.TemporaryDirectory(prefix="envfix-") as temporary, tempfile.TemporaryFile() as words:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=subprocess.STDOUT,
            env={**variables, "TMPDIR": temporary},
            start_new_session=True,
        )
        try:
            code = process.wait()
        except _Ended:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        words.seek(0)
        return code, words.read().decode("utf-8", "replace")


def _refuse(text: str) -> int:
    """What was in the way, from pip's words; all of them where nobody knows what they mean."""
    for pattern, reason, hint in REASONS:
        match = re.search(pattern, text)
        if match is not None:
            _say(f"error: envfix cannot fetch what it needs itself: {reason.format(*match.groups())}")
            _say(f"hint: {hint}")
            break
    else:
        _say(text.strip())
        _say("error: envfix's own environment cannot be made; the reason stands above")
    return 3


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """One at a time in this checkout: a second terminal waits for the first."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    place = os.open(HERE, os.O_RDONLY)
    try:
        try:
            fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("envfix: another start prepares it; waiting for that ...")
            fcntl.flock(place, fcntl.LOCK_EX)
        except OSError:  # some network disks know no locks
            pass
        yield
    finally:
        os.close(place)


def _end(_number: int, _frame: object) -> NoReturn:
    raise _Ended


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # nobody may listen any more
        os.write(2, f"{text}\n".encode())


if __name__ == "__main__":
    if sys.argv[1:2] == ["--group"]:
        _install_group(sys.argv[2])
    sys.exit(main())

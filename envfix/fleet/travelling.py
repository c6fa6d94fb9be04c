"""What travels to a node: the line that starts a Python there, and the lines it reads."""

from __future__ import annotations

import base64
import json
import secrets
import zlib
from collections.abc import Sequence
from typing import Any, Literal

from envfix.errors import SnapshotError
from envfix.fleet.asking import Asked
from envfix.model import reasons

COLLECTOR = "envfix_collector.py"
# What probes run in other interpreters, with what it imports.
SCRIPTS = (
    "envfix_interpreter_facts.py",
    "envfix_native_facts.py",
    "envfix_torch_import.py",
    "envfix_gpu_facts.py",
)
# Reads its program from its first line. Neither the working folder nor the user's modules and variables come in its way.
_BOOT = "import sys; del sys.path[:1]; exec(sys.stdin.readline())"
# The system's own first: what stands first on PATH may be a shim that changes the variables of all it starts.
_PYTHONS = ("/usr/bin/python3", "/usr/libexec/platform-python", "python3", "python", "/usr/bin/python2.7", "python2.7")
# Without single quotes, signs of exclamation and backslashes: it goes through shells of any kind.
_FIND_PYTHON = (
    f"for p in {' '.join(_PYTHONS)}; do"
    ' q=$(command -v "$p" 2>/dev/null) &&'
    ' "$q" -E -S -c "import sys; sys.exit(sys.version_info < (2, 7))" </dev/null >/dev/null 2>&1 &&'
    f' exec "$q" -B -s -E -c "{_BOOT}" <&3 3<&-; done; echo "there is no Python on this node" >&2; exit 127'
)
# What a profile reads, or whoever takes its place, is not what goes to the collector.
_ASIDE = "exec 3<&0 </dev/null; "
_LOGIN = _ASIDE + 'test -x /bin/bash || exec /bin/sh -lc "$1"; exec /bin/bash -lc "$1"'
_QUOTED_LOGIN = _LOGIN.replace('"', '\\"').replace("$", "\\$")
_KEPT = ("HOME", "USER", "LOGNAME", "SHELL", "SLURMD_NODENAME")
State = Literal["as it is", "log-in", "fresh log-in", "fresh log-in with its cards"]


def start(state: State) -> tuple[str, ...]:
    """The words that start the collector on a node.

    ``log-in``: in what a log-in there sets up (PATH, modules), which is the node's own state. ``fresh log-in``: nothing of
    the variables that were carried there, or set for the job that asks, comes along; but the cards that it was given, if
    it has asked for some.
    """
    if state == "as it is":
        return ("/bin/sh", "-c", _ASIDE + _FIND_PYTHON)
    if state == "log-in":
        return ("/bin/sh", "-c", _LOGIN, "sh", _FIND_PYTHON)
    kept = (*_KEPT, "CUDA_VISIBLE_DEVICES") if state == "fresh log-in with its cards" else _KEPT
    variables = " ".join(f'{name}="${name}"' for name in kept)
    return (
        "/bin/sh",
        "-c",
        f'exec /usr/bin/env -i {variables} /bin/sh -c "{_QUOTED_LOGIN}" sh "$1"',
        "sh",
        _FIND_PYTHON,
    )


class Language:
    """How this conversation is written: the program line, a line for a round, and where an answer stands between cookies."""

    def __init__(self, files: dict[str, str], *, lifetime: float) -> None:
        self.cookie = "envfix-" + secrets.token_hex(12)
        self._files, self._lifetime = files, lifetime

    @property
    def program(self) -> str:
        """The first line: the collector and the scripts of the probes, packed."""
        packed = base64.b64encode(zlib.compress(json.dumps(self._files).encode("ascii"), 9)).decode("ascii")
        return (
            "import base64, json, zlib; "
            f"ENVFIX_FILES = json.loads(zlib.decompress(base64.b64decode('{packed}')).decode('ascii')); "
            f"exec(ENVFIX_FILES['{COLLECTOR}']); main(ENVFIX_FILES, '{self.cookie}', {int(self._lifetime) + 1})\n"
        )

    def round(self, asked: Sequence[Asked], seconds: float, *, together: bool = True) -> str:
        """One line of questions; ``together``: whoever asks stays until they are answered, so that an end of it ends all."""
        return json.dumps({"ask": asked, "seconds": seconds, "together": together}) + "\n"

    def answers(self, text: str) -> Any:
        """What was answered, from the text up to the second cookie; raises ``SnapshotError``."""
        try:
            return json.loads(text.split(self.cookie)[1])
        except (ValueError, IndexError, RecursionError) as error:
            raise SnapshotError(reasons.DAMAGED) from error

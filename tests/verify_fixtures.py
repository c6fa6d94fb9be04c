"""What the tests of the verifier share: hosts that replay canned events, real environments, made-up packages."""

from __future__ import annotations

import base64
import hashlib
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from envfix.host.interface import CommandResult, Deadline
from envfix.host.locking import EnvironmentLock
from envfix.host.real import RealHost
from envfix.model.outcome import Verification

SYSTEM_PYTHON = "/usr/bin/python3"
TARGET_SCRIPTS = str(Path(RealHost().script_path("")))


class CannedHost(RealHost):
    """Answers ``stream`` with prepared pieces of text; ``{cookie}`` in them becomes the cookie of the call."""

    def __init__(self, pieces: Sequence[str], result: CommandResult | None = None) -> None:
        self.pieces = pieces
        self.result = result or CommandResult(outcome="exited", returncode=0)
        self.seen_left: list[float] = []
        self.argv: Sequence[str] = ()
        self.scratch = ""

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
        """Hand over the pieces, noting after each how much time is left."""
        del env, drop_env, cwd, terminal, lock
        self.argv = argv
        self.scratch = json.loads(argv[-1])["scratch"]
        for piece in self.pieces:
            on_text(piece.replace("{cookie}", argv[2]))
            self.seen_left.append(deadline.left)
        return self.result


class DriverHost(RealHost):
    """Runs another script in place of the ladder."""

    def __init__(self, script: Path) -> None:
        self.script = script

    def script_path(self, script: str) -> str:
        """The replacement, whatever is asked for."""
        del script
        return str(self.script)


def event(kind: str, **fields: Any) -> str:
    """One line as the script in the target writes it."""
    return "\n{cookie}" + json.dumps({"event": kind, **fields}) + "\n"


def climbed(*names: str, status: str = "passed", **fields: Any) -> str:
    """Start and end of rungs."""
    end: dict[str, Any] = {"status": status, "seconds": 0.5, "message": "fine", "detail": {}, **fields}
    return "".join(event("start", rung=name, limit=1) + event("end", rung=name, **end) for name in names)


def outline(verification: Verification) -> dict[str, str]:
    """Rung names and their status."""
    return {rung.name: rung.status for rung in verification.rungs}


def run(*argv: str) -> None:
    """Run a program that must succeed."""
    result = RealHost().run(argv, timeout=300)
    assert result.ok, f"{argv}: {result.stdout}{result.stderr}"


def uv(*arguments: str) -> None:
    """Run uv, quietly."""
    from uv import find_uv_bin

    run(find_uv_bin(), "--quiet", *arguments)


def system_torch() -> None:
    """Skip the test where the system's Python has no torch and torchvision (Debian's packages are enough)."""
    result = RealHost().run([SYSTEM_PYTHON, "-c", "import torch, torchvision"], timeout=120)
    if not result.ok:
        pytest.skip(f"{SYSTEM_PYTHON} has no python3-torch and python3-torchvision: {result.failure}")


def environment_with_system_torch(folder: Path) -> str:
    """The interpreter of a new environment that sees the system's torch and torchvision."""
    uv("venv", "--system-site-packages", "--python", SYSTEM_PYTHON, str(folder))
    return str(folder / "bin" / "python")


def make_wheel(folder: Path, name: str, version: str, files: Mapping[str, str]) -> Path:
    """A pure-Python wheel with these files."""
    info = f"{name}-{version}.dist-info"
    content = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [f"{info}/RECORD,,"]
    for path, text in content.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record.append(f"{path},sha256={digest},{len(text.encode())}")
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in {**content, f"{info}/RECORD": "\n".join(record) + "\n"}.items():
            archive.writestr(path, text)
    return wheel

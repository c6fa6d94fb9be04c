"""Runs the real command line as its own process, as an installed program would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent.parent
# -I keeps the caller's PYTHON* variables and folder away from envfix itself; its children still see them.
START = f"import sys; sys.path.insert(0, {str(CHECKOUT)!r}); from envfix.__main__ import run; run()"
ENVFIX = (sys.executable, "-I", "-c", START)


class Finished:
    """What a run of envfix left behind."""

    def __init__(self, code: int, stdout: bytes, stderr: bytes) -> None:
        self.code = code
        self.raw = stdout
        self.stdout = stdout.decode("utf-8", "replace")
        self.stderr = stderr.decode("utf-8", "replace")

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document on standard output; anything before or after it is an error."""
        value = json.loads(self.stdout)
        assert isinstance(value, dict)
        return value

    def __repr__(self) -> str:
        return f"<code {self.code}>\n{self.stdout}\n--- stderr ---\n{self.stderr}"


def envfix(
    *arguments: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | str | None = None,
    timeout: float = 30.0,
    start: Sequence[str] = ENVFIX,
) -> Finished:
    """Run ``envfix`` with these arguments; ``env`` is its whole environment (default: this one, cleaned)."""
    result = subprocess.run(
        [*start, *arguments],
        env=dict(cleaned_environment() if env is None else env),
        cwd=cwd,
        capture_output=True,
        timeout=timeout,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    finished = Finished(result.returncode, result.stdout, result.stderr)
    assert "Traceback" not in finished.stderr, finished
    return finished


def cleaned_environment(**changes: str) -> dict[str, str]:
    """The environment of the tests without what steers envfix, pip, conda or an interpreter."""
    steering = (
        "ENVFIX_",
        "PIP_",
        "UV_",
        "CONDA",
        "PYTHON",
        "VIRTUAL_ENV",
        "CUDA_",
        "LD_",
        "NO_COLOR",
        "FORCE_COLOR",
        "COLUMNS",
        "LANG",
        "LC_",
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith(steering)}
    cache = os.environ.get("ENVFIX_CACHE_DIR")
    return {**kept, **({"ENVFIX_CACHE_DIR": cache} if cache else {}), "PIP_CONFIG_FILE": os.devnull, **changes}

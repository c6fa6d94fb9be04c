"""Fixtures that more than one test module uses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from envfix.tables.loader import Tables, load

CHECKOUT = Path(__file__).resolve().parent.parent
PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"  # noqa: TID251


@pytest.fixture(scope="session")
def tables() -> Tables:
    """Envfix's own tables."""
    return load()


@pytest.fixture(autouse=True)
def _no_overrides(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests see neither the caller's overrides nor its cache."""
    for name in [name for name in os.environ if name.startswith("ENVFIX_")]:  # noqa: TID251
        monkeypatch.delenv(name)
    monkeypatch.setenv("ENVFIX_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "envfix-cache"))


def interpreter(version: str) -> str:
    """The path of a real CPython ``X.Y``; the test is skipped where this machine has none."""
    for path in sorted(PYENV.glob(f"{version}.*/bin/python"), reverse=True):
        return str(path)
    pytest.skip(f"no CPython {version} under {PYENV}")

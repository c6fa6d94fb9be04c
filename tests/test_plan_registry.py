"""Plans against the real default registry, on the real Pythons of this machine: what pip and uv resolve is what is planned."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import interpreter
from tests.fakes.running import cleaned_environment, envfix

PYTHONS = ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13")
MACHINES = {
    "no card": ("--gpu", "none"),
    "driver 470 and an RTX 3090": ("--driver", "470.57.02", "--gpu", "RTX 3090"),
    "driver 580 and an RTX 5090": ("--driver", "580.95.05", "--gpu", "RTX 5090"),
}


def plan(python: str, *arguments: str) -> dict[str, Any]:
    document = envfix(
        "plan", "--json", "--index", "pypi", "--python", python, *arguments, env=cleaned_environment(), timeout=120
    ).document
    assert isinstance(document, dict)
    return document


@pytest.mark.online
@pytest.mark.slow
@pytest.mark.parametrize(
    "version", [PYTHONS[0], PYTHONS[-1]]
)  # pip fetches whole wheels to read their metadata: 3 GB each
def test_pip_of_that_python_resolves_the_planned_stack(version: str, tmp_path: Path) -> None:
    python = interpreter(version)
    answer = plan(python)
    assert answer["status"] == "ok", answer
    (command,) = answer["commands"]
    assert command[:4] == ["python", "-m", "pip", "install"]
    subprocess.run([python, "-m", "venv", str(tmp_path / "env")], check=True, timeout=120)
    report = tmp_path / "report.json"
    options = ["--dry-run", "--quiet", "--no-input", "--report", str(report)]
    argv = [str(tmp_path / "env" / "bin" / "python"), *command[1:], *options]
    subprocess.run(argv, check=True, timeout=300, env=cleaned_environment(), capture_output=True)
    resolved = {
        row["metadata"]["name"]: row["metadata"]["version"] for row in json.loads(report.read_text())["install"]
    }
    assert resolved["torch"] == answer["choice"]["torch"]
    assert resolved["torchvision"] == answer["choice"]["torchvision"]
    assert "ultralytics" in resolved


@pytest.mark.online
@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("version", PYTHONS)
def test_uv_resolves_the_planned_torch(version: str, machine: str) -> None:
    answer = plan(interpreter(version), *MACHINES[machine])
    if answer["status"] == "conflict":
        assert answer["blocked_by"] in ("driver", "interpreter"), answer["reasons"]
        assert not any("uv refuses" in reason for reason in answer["reasons"])
        return
    versions = {row["name"]: row["version"] for row in answer["downloads"]}
    assert versions["torch"] == answer["choice"]["torch"]
    assert versions["torchvision"] == answer["choice"]["torchvision"]
    assert answer["download_bytes"] > 100_000_000

"""Docker is here, the card too, but nothing brings them together.

What it checks
    docker is on PATH and the driver works, but neither a program of NVIDIA's container toolkit nor a runtime in
    ``/etc/docker/daemon.json`` nor a device description (CDI) is to be seen.

Why it matters
    Only for work in containers: ``docker run --gpus all`` answers "could not select device driver with capabilities: [[gpu]]".
    Programs outside of containers are not concerned.

How to fix
    The administrator installs nvidia-container-toolkit, runs ``nvidia-ctk runtime configure --runtime=docker`` and restarts docker.
    Another image changes nothing.

Sources
    NVIDIA container toolkit installation guide.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.rules._devices import container, under_wsl
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del environment, tables
    state = machine.device_state.value
    tools = state.containers if state is not None else None
    # Docker Desktop under WSL and a docker inside a container have their own ways.
    if tools is None or "docker" not in tools.engines or container(machine) or under_wsl(machine):
        return
    if tools.toolkit or tools.runtime or tools.cdi or not machine.gpus.value or machine.driver.value is None:
        return
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.INFO,
        message="Containers of docker cannot get a GPU here: NVIDIA's container toolkit is not installed.",
        because=(
            cite(
                "machine.device_state",
                machine.device_state,
                "docker is there, no nvidia-ctk, no nvidia runtime, no CDI file",
            ),
        ),
        remedies=(
            Remedy(
                text="Only if you work in containers: ask the administrator for nvidia-container-toolkit, configured for docker.",
                safe=False,
            ),
        ),
    )


RULE = Rule(
    code="CTR102",
    cause="container_toolkit_missing",
    title="NVIDIA's container toolkit is not installed",
    needs=("machine.device_state",),
    check=check,
    rank=90,
)

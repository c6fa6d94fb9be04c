"""Docker is here, the card too, but nothing brings them together.

What you see
    "could not select device driver "" with capabilities: [[gpu]]", "unknown or invalid runtime name: nvidia",
    Podman's "unresolvable CDI devices nvidia.com/gpu=all".

Why
    Docker asks NVIDIA's container toolkit for the GPU. It is not installed, not configured for this docker (also:
    docker of Snap or in rootless mode), or docker was not restarted. Programs outside of containers are not
    concerned.

How envfix knows
    docker is on PATH and the driver works, but neither a program of the toolkit nor a runtime in
    ``/etc/docker/daemon.json`` nor a device description (CDI) is to be seen. In a log the texts above.

How to mend
    The administrator installs nvidia-container-toolkit, runs ``nvidia-ctk runtime configure --runtime=docker`` and
    restarts docker.

What not to do
    Do not change the image, and do not leave --gpus out.

Sources
    NVIDIA container toolkit installation guide.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Signature
from envfix.rules._devices import container, under_wsl
from envfix.rules._log import LogSide
from envfix.rules._log_patterns import CLI_NO_LIBRARY, GPU_ASKED_FOR, IN_CONTAINER, NO_GPU_RESOURCE, NO_NVIDIA_SMI
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
        message=say("Containers of docker cannot get a GPU here: NVIDIA's container toolkit is not installed."),
        because=(
            cite(
                "machine.device_state",
                machine.device_state,
                say("docker is there, no nvidia-ctk, no nvidia runtime, no CDI file"),
            ),
        ),
        remedies=(
            Remedy(
                text=say(
                    "Only if you work in containers: ask the administrator for"
                    " nvidia-container-toolkit, configured for docker."
                ),
                safe=False,
            ),
        ),
    )


LOG = LogSide(
    signatures=(
        Signature(
            pattern=(
                r"could not select device driver ['\"\\]{0,4}(?:nvidia)?['\"\\]{0,4} with capabilities: \[\[[\w\x20]{0,40}"
                r"(?:gpu|compute|utility)"
            ),
            confidence=0.97,
        ),
        Signature(
            pattern=r"(?i)unknown or invalid runtime name: nvidia|unknown runtime specified nvidia", confidence=0.96
        ),
        Signature(
            pattern=(
                r"nvidia-container-(?:runtime|cli|toolkit)(?:-hook)?[\"'\\]{0,4}: (?:executable file not found"
                r"|command not found|not found|no such file)"
            ),
            confidence=0.95,
        ),
        Signature(
            pattern=(
                r"nvidia-docker2?: command not found|plugin [\"'\\]{0,4}nvidia-docker[\"'\\]{0,4} not found"
                r"|create nvidia_driver_[\d.]+: "
            ),
            confidence=0.92,
        ),
        Signature(
            pattern=(
                r"(?:(?:error )?setting up CDI devices: )?unresolvable CDI devices? [^\n]{0,40}nvidia\.com/gpu"
                r"|failed to discover GPU vendor from CDI"
                r"|stat nvidia\.com/gpu=\S+: no such file"
            ),
            confidence=0.93,
        ),
        Signature(
            pattern=(
                r"no runtime for [\"'\\]{0,4}nvidia[\"'\\]{0,4} is configured"
                r"|RuntimeHandler [\"'\\]{0,4}nvidia[\"'\\]{0,4} not supported"
                r"|RuntimeClass [^\n]{0,40}nvidia[^\n]{0,10} not found"
            ),
            confidence=0.92,
        ),
        Signature(pattern=r"unknown flag: --gpus", confidence=0.85),
        Signature(
            pattern=(
                r"nvidia-container-cli: ldcache error: (?:open failed|process)"
                r"|ldcache error: open failed: /sbin/ldconfig"
            ),
            confidence=0.7,
            quoted=True,
        ),
        Signature(
            pattern=(
                r"nvidia-container-cli: (?:container error: cgroup subsystem devices not found"
                r"|mount error: failed to add device rules)|bpf_prog_query\(BPF_CGROUP_DEVICE\) failed"
            ),
            confidence=0.75,
            quoted=True,
        ),
        Signature(pattern=CLI_NO_LIBRARY, confidence=0.35, quoted=True),
        Signature(pattern=NO_GPU_RESOURCE, confidence=0.55),
        Signature(
            pattern=r"executable file [`']?nvidia-smi[`']? not found|\"?nvidia-smi\"?: executable file not found in \$PATH",
            confidence=0.4,
            beside=(GPU_ASKED_FOR,),
        ),
        Signature(pattern=NO_NVIDIA_SMI, confidence=0.3, beside=(IN_CONTAINER,)),
    ),
    message=(
        later(
            "Docker (or Podman) cannot give a container the GPU here: NVIDIA's container toolkit"
            " is not installed, or not configured for it."
        )
    ),
    remedies=(
        Remedy(
            text=later(
                "Ask the administrator to install nvidia-container-toolkit on the host, to"
                " configure it for docker and to restart docker: `nvidia-ctk runtime configure"
                " --runtime=docker`, then `systemctl restart docker`."
            ),
            safe=False,
        ),
        Remedy(
            text=later("With Podman: a CDI file is needed (`nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml`)."),
            safe=False,
        ),
    ),
    tell_apart=Remedy(
        text=later("On the host: see whether the driver answers, the toolkit is there and docker knows it."),
        commands=(("nvidia-smi",), ("nvidia-ctk", "--version"), ("docker", "info")),
    ),
    explains=("container_without_gpu",),
)


RULE = Rule(
    code="CTR102",
    cause="container_toolkit_missing",
    title=later("NVIDIA's container toolkit is not installed"),
    needs=("machine.device_state",),
    check=check,
    rank=90,
    log=LOG,
)

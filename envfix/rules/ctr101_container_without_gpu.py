"""The container was started without the GPU that its host has.

What you see
    "Found no NVIDIA driver on your system" or "nvidia-smi: command not found" inside a container, "WARNING: The
    NVIDIA Driver was not detected" in the banner of NVIDIA's images.

Why
    Devices and driver library are put into a container only when the GPU is asked for at its start. The CUDA inside
    the image changes nothing.

How envfix knows
    envfix runs in a container (traces of Docker, Podman, Kubernetes ...), the host's NVIDIA card or its loaded
    kernel module can be seen from inside, but there are no ``/dev/nvidia*`` devices and no driver library. In a log
    the texts above beside traces of a container, surest with a ``docker run`` that asks for no GPU.

How to mend
    Start the container with the GPU (``docker run --gpus all``, a device reservation in compose, a GPU request in
    Kubernetes, --nv with Apptainer). The host needs the NVIDIA container toolkit.

What not to do
    Do not install a driver in the image: it does not help and does harm later.

Sources
    NVIDIA container toolkit documentation.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature, Weigh
from envfix.rules._cards import nvidia_displays
from envfix.rules._log import LogSide, Reading
from envfix.rules._log_patterns import (
    CANNOT_START,
    DRIVER_ANSWERS,
    GPU_ASKED_FOR,
    IN_CONTAINER,
    NO_CUDA_GPUS,
    NO_DRIVER,
    NO_GPU_RESOURCE,
    NO_LIBCUDA,
    NO_NVIDIA_SMI,
    NOT_AVAILABLE,
)
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

_WAYS = {
    "kubernetes": later(
        "Ask for a GPU in the pod: resources.limits of nvidia.com/gpu, on a node with the NVIDIA device plugin."
    ),
    "apptainer": later("Start the container with --nv."),
}
_DOCKER = later(
    "Start the container with its GPU: `docker run --gpus all ...`, or a device reservation in the compose file."
)


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del environment, tables
    layers, place = machine.driver_layers.value, machine.platform.value
    if layers is None or place is None or place.container is None or place.wsl:
        return
    cards = nvidia_displays(machine)
    driver_inside = layers.nvml != "absent" or layers.device_nodes or layers.smi_exit is not None
    if driver_inside or machine.driver.is_unknown or machine.gpus.value or not (cards or layers.kernel):
        return
    seen = ", ".join(card.name or f"NVIDIA [{card.vendor_id}:{card.device_id}]" for card in cards)
    host = seen or say("its kernel module {kernel}", kernel=layers.kernel)
    source = machine.displays.source if seen else machine.driver_layers.source
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR,
        message=say("The host has an NVIDIA card, but this container was started without it."),
        because=(
            cite("machine.platform", machine.platform, say("a {container} container", container=place.container)),
            Evidence(fact="machine.displays", value=say("the host shows {host}", host=host), source=source),
            cite("machine.driver_layers", machine.driver_layers, say("no /dev/nvidia* and no driver library in here")),
            *_hidden(machine),
        ),
        remedies=(Remedy(text=_WAYS.get(place.container, _DOCKER), safe=False),),
    )


def _hidden(machine: Machine) -> Iterator[Evidence]:
    """The variable by which a container says that it wants no card."""
    asked = machine.variables.get("NVIDIA_VISIBLE_DEVICES")
    if asked in ("void", "none"):
        yield Evidence(
            fact="machine.variables", value=f"NVIDIA_VISIBLE_DEVICES={asked}", source=say("the container's environment")
        )


# A command that starts a container, with its options.
_STARTED = r"(?:docker|podman) run (?P<options>[^\n]{0,400})"


def _without_gpu(with_traces: float, otherwise: float | None) -> Weigh:
    """Surer where the log shows a container, and more so the command that started it without a GPU."""

    def weigh(hit: Hit, log: Log) -> float | None:
        del hit
        if log.found(DRIVER_ANSWERS):
            # The table may be the host's, pasted beside what the container says.
            return with_traces * 0.4 if log.found(IN_CONTAINER) else None
        started = log.found(_STARTED)
        if started and not log.found(GPU_ASKED_FOR):
            return max(with_traces, 0.85)
        if log.found(IN_CONTAINER):
            return with_traces * 0.5 if log.found(GPU_ASKED_FOR) else with_traces
        return otherwise

    return weigh


_LOOKS_AT = (DRIVER_ANSWERS, GPU_ASKED_FOR, IN_CONTAINER, _STARTED)


def _with_facts(reading: Reading, by_log: float) -> float | None:
    """Outside a container it is not this; inside, a host that is not seen proves nothing."""
    if reading.proved:
        return None
    place = reading.machine.platform.value
    return by_log * 0.3 if place is not None and place.container is None else by_log


LOG = LogSide(
    signatures=(
        Signature(
            pattern=r"The NVIDIA Driver was not detected\.? GPU functionality will not be available", confidence=0.93
        ),
        Signature(
            pattern=(
                r"Use (?:the NVIDIA Container Toolkit|'?(?:nvidia-)?docker run(?: --gpus all)?'?)[^\n]{0,40} to start "
                r"this container"
            ),
            confidence=0.8,
        ),
        Signature(
            pattern=r"executable file [`']?nvidia-smi[`']? not found|\"?nvidia-smi\"?: executable file not found in \$PATH",
            confidence=0.8,
        ),
        Signature(pattern=NO_NVIDIA_SMI, weigh=_without_gpu(0.75, 0.4), looks_at=_LOOKS_AT),
        Signature(pattern=NO_DRIVER, weigh=_without_gpu(0.75, 0.38), looks_at=_LOOKS_AT),
        Signature(pattern=NO_LIBCUDA, weigh=_without_gpu(0.7, 0.4), looks_at=_LOOKS_AT),
        Signature(pattern=NO_CUDA_GPUS, weigh=_without_gpu(0.5, 0.1), looks_at=_LOOKS_AT),
        Signature(pattern=NOT_AVAILABLE, weigh=_without_gpu(0.4, 0.08), looks_at=_LOOKS_AT),
        Signature(pattern=CANNOT_START, weigh=_without_gpu(0.3, 0.1), looks_at=_LOOKS_AT),
        Signature(
            pattern=r"CUDA driver version is insufficient for CUDA runtime version",
            weigh=_without_gpu(0.4, None),
            looks_at=_LOOKS_AT,
            beside=(NO_NVIDIA_SMI,),
        ),
        Signature(pattern=r"NVIDIA_VISIBLE_DEVICES=(?:void|none)\b", confidence=0.6),
        Signature(pattern=NO_GPU_RESOURCE, confidence=0.5),
    ),
    message=later(
        "The container was probably started without a GPU: neither the driver's library nor its devices are in it."
    ),
    remedies=(
        Remedy(
            text=later("Start the container again with its GPU."),
            commands=(("docker", "run", "--gpus", "all", "--ipc=host", "IMAGE"),),
        ),
        Remedy(
            text=(
                later(
                    "In a compose file reserve the device (driver: nvidia, capabilities: [gpu]);"
                    " in Kubernetes set resources.limits of nvidia.com/gpu."
                )
            )
        ),
        Remedy(
            text=later("With Apptainer or Singularity add --nv. Install no driver inside the image."),
            commands=(("apptainer", "exec", "--nv", "IMAGE", "nvidia-smi"),),
        ),
    ),
    tell_apart=Remedy(
        text=later("Inside: see whether the devices are there. On the host: see whether its driver answers."),
        commands=(("ls", "/dev/nvidiactl"), ("nvidia-smi",)),
    ),
    explains=("no_nvidia_gpu", "cuda_driver_library_missing", "cuda_does_not_start", "driver_too_old_for_wheel"),
    with_facts=_with_facts,
)


RULE = Rule(
    code="CTR101",
    cause="container_without_gpu",
    title=later("The container was started without the GPU"),
    needs=("machine.platform", "machine.driver_layers"),
    check=check,
    rank=12,
    log=LOG,
)

"""The container was started without the GPU that its host has.

What it checks
    envfix runs in a container (traces of Docker, Podman, Kubernetes ...), the host's NVIDIA card or its loaded kernel
    module can be seen from inside, but there are no ``/dev/nvidia*`` devices and no driver library: they are put into a
    container only when the GPU is asked for at its start.

Why it matters
    torch says "Found no NVIDIA driver on your system", although the host is in order. The CUDA inside the image changes nothing.

How to fix
    Start the container with the GPU (``docker run --gpus all``, a device reservation in compose, a GPU request in
    Kubernetes). The host needs the NVIDIA container toolkit. A driver installed in the image does not help and does harm later.

Sources
    NVIDIA container toolkit documentation.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.rules._cards import nvidia_displays
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

_WAYS = {
    "kubernetes": "Ask for a GPU in the pod: resources.limits of nvidia.com/gpu, on a node with the NVIDIA device plugin.",
    "apptainer": "Start the container with --nv.",
}
_DOCKER = "Start the container with its GPU: `docker run --gpus all ...`, or a device reservation in the compose file."


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
    host = seen or f"its kernel module {layers.kernel}"
    source = machine.displays.source if seen else machine.driver_layers.source
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR,
        message="The host has an NVIDIA card, but this container was started without it.",
        because=(
            cite("machine.platform", machine.platform, f"a {place.container} container"),
            Evidence(fact="machine.displays", value=f"the host shows {host}", source=source),
            cite("machine.driver_layers", machine.driver_layers, "no /dev/nvidia* and no driver library in here"),
            *_hidden(machine),
        ),
        remedies=(Remedy(text=_WAYS.get(place.container, _DOCKER), safe=False),),
    )


def _hidden(machine: Machine) -> Iterator[Evidence]:
    """The variable by which a container says that it wants no card."""
    asked = machine.variables.get("NVIDIA_VISIBLE_DEVICES")
    if asked in ("void", "none"):
        yield Evidence(
            fact="machine.variables", value=f"NVIDIA_VISIBLE_DEVICES={asked}", source="the container's environment"
        )


RULE = Rule(
    code="CTR101",
    cause="container_without_gpu",
    title="The container was started without the GPU",
    needs=("machine.platform", "machine.driver_layers"),
    check=check,
    rank=12,
)

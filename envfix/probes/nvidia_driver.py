"""The NVIDIA driver and its cards: NVML first, then kernel files, nvidia-smi and the driver library; broken is not absent."""

from __future__ import annotations

import contextlib
import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from envfix.errors import UsageError
from envfix.host.interface import CommandResult, ProbeHost
from envfix.host.target import Answer, ask
from envfix.model.facts import (
    DeviceFile,
    Driver,
    DriverLayers,
    Gpu,
    GpuActivity,
    GpuProcess,
    MigInstance,
    Observed,
    UnopenedCard,
    absent,
    found,
    unknown,
)
from envfix.model.language import say, stated
from envfix.model.versions import ComputeCapability, CudaVersion, DriverVersion

SCRIPT = "envfix_gpu_facts.py"
KERNEL_FILES = ("/proc/driver/nvidia/version", "/sys/module/nvidia/version")
JETSON_RELEASE = "/etc/nv_tegra_release"
SMI_FIELDS = ("index", "uuid", "name", "driver_version", "memory.total", "memory.free", "pci.bus_id")
MIB = 1024 * 1024
NvmlState = Literal["works", "absent", "error", "no-answer"]
# NVML: this user or this job may not use the card; the others it may.
NOT_PERMITTED = 4
# What the script tells of a card under the very names of the record.
_CARD_FIELDS = (
    "uuid",
    "memory_total",
    "memory_free",
    "pci_bus",
    "pci_id",
    "mig",
    "compute_mode",
    "persistence",
    "display_active",
    "ecc",
    "ecc_errors",
    "repair",
    "virtualization",
    "licensed",
    "fabric",
    "memory_reserved",
)
_STATES: dict[str, NvmlState] = {"works": "works", "absent": "absent", "error": "error"}


class NvidiaFacts(NamedTuple):
    """Driver, cards, and what each layer of the driver said."""

    driver: Observed[Driver]
    gpus: Observed[tuple[Gpu, ...]]
    layers: Observed[DriverLayers]


class KernelModule(NamedTuple):
    """Version and flavour of the loaded kernel module."""

    version: str
    flavour: Literal["open", "proprietary"] | None


def parse_kernel_module(text: str) -> KernelModule | None:
    """Read /proc/driver/nvidia/version or /sys/module/nvidia/version.

    Two layouts of the first line exist, and a bare number in /sys::

        NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.57.02  Tue Jul 13 16:14:05 UTC 2021
        NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.54.14  Release Build  (dvs-builder@U16)
    """
    first = text.strip().partition("\n")[0]
    match = re.search(r"(?<![\d.])(\d{2,4}(?:\.\d+){1,2})(?![\d.])", first)
    if match is None:
        return None
    if "Open Kernel Module" in first:
        return KernelModule(match[1], "open")
    return KernelModule(match[1], "proprietary" if "Kernel Module" in first else None)


def parse_library_version(path: str) -> str | None:
    """The version in the name of a user-space driver file: ``libnvidia-ml.so.550.163.01``, ``libcuda.so.535.104.05``."""
    match = re.search(r"\.so\.(\d{2,4}\.\d+(?:\.\d+)?)$", path)
    return match[1] if match else None


def parse_smi_cards(text: str) -> tuple[Gpu, ...]:
    """The cards in nvidia-smi's CSV answer to ``SMI_FIELDS`` (memory in MiB); lines of another shape are skipped."""
    return tuple(
        Gpu(
            index=int(row[0]),
            uuid=row[1],
            name=row[2],
            memory_total=_mib(row[4]),
            memory_free=_mib(row[5]),
            pci_bus=row[6],
        )
        for row in _smi_rows(text)
        if row[0].isdecimal()
    )


def parse_smi_driver(text: str) -> DriverVersion | None:
    """The driver version in the same answer."""
    return next((_version(row[3]) for row in _smi_rows(text)), None)


def _smi_rows(text: str) -> Iterator[list[str]]:
    """Lines of the right shape; one that cannot be split at all ends the answer."""
    with contextlib.suppress(csv.Error):
        for row in csv.reader(text.splitlines(), skipinitialspace=True):
            if len(row) == len(SMI_FIELDS):
                yield row


def parse_cards(rows: Sequence[Mapping[str, Any]]) -> tuple[Gpu, ...]:
    """The cards as the script lists them; rows without a name are cards the driver could not open."""
    return tuple(_card(row) for row in rows if row.get("name"))


def _card(row: Mapping[str, Any]) -> Gpu:
    known = {key: row[key] for key in _CARD_FIELDS if key in row}
    return Gpu(
        index=int(row["index"]),
        name=str(row["name"]),
        capability=_capability(row.get("capability")),
        processes=msgspec.convert(row.get("processes", ()), tuple[GpuProcess, ...]),
        activity=msgspec.convert(row["activity"], GpuActivity) if row.get("activity") else None,
        mig_instances=msgspec.convert(row.get("mig_instances", ()), tuple[MigInstance, ...]),
        **known,
    )


def parse_unopened(rows: Sequence[Mapping[str, Any]]) -> tuple[UnopenedCard, ...]:
    """The cards without a name: NVML counts them and does not open them."""
    return tuple(
        UnopenedCard(index=int(row["index"]), code=row.get("code"), problem=row.get("problem"))
        for row in rows
        if not row.get("name")
    )


def _mib(text: str) -> int | None:
    return int(text) * MIB if text.isdecimal() else None


def _capability(text: str | None) -> ComputeCapability | None:
    try:
        return ComputeCapability.parse(text) if text else None
    except ValueError:
        return None


def _version(text: str | None) -> DriverVersion | None:
    try:
        return DriverVersion.parse(text) if text else None
    except ValueError:
        return None


def parse_override(text: str) -> tuple[Gpu, ...]:
    """``ENVFIX_GPU``: ``name:capability:MiB`` joined by ``;``, the last two optional; raises ``ValueError``."""
    cards = []
    for index, part in enumerate(filter(None, (piece.strip() for piece in text.split(";")))):
        name, _, rest = part.partition(":")
        capability, _, memory = rest.partition(":")
        cards.append(
            Gpu(
                index=index,
                name=name.strip(),
                capability=ComputeCapability.parse(capability) if capability else None,
                memory_total=int(memory) * MIB if memory else None,
            )
        )
    return tuple(cards)


def probe(host: ProbeHost, *, timeout: float) -> NvidiaFacts:
    """Everything the NVIDIA driver says, and how it fails."""
    answer = ask(host, None, SCRIPT, timeout=timeout)
    nvml: Mapping[str, Any] = (answer.facts or {}).get("nvml") or {}
    kernel = _kernel_module(host)
    smi = None if nvml.get("state") == "works" else _ask_smi(host, timeout)
    facts = _from_layers(answer, nvml, kernel, smi, host.glob("/dev/nvidia*"))
    return _overridden(host, _on_jetson(host, facts))


def _on_jetson(host: ProbeHost, facts: NvidiaFacts) -> NvidiaFacts:
    """A Jetson before JetPack 6 has libcuda and nothing else of a driver: its driver comes with L4T and has no number."""
    if facts.driver.source != "libcuda" or host.read_text(JETSON_RELEASE).outcome != "read":
        return facts
    return facts._replace(driver=absent(JETSON_RELEASE, stated("the driver of a Jetson is part of its L4T release")))


def _kernel_module(host: ProbeHost) -> tuple[str, KernelModule] | None:
    for path in KERNEL_FILES:
        module = parse_kernel_module(host.read_text(path).text)
        if module is not None:
            return path, module
    return None


def _ask_smi(host: ProbeHost, timeout: float) -> CommandResult | None:
    for path in host.which("nvidia-smi")[:1]:
        return host.run([path, f"--query-gpu={','.join(SMI_FIELDS)}", "--format=csv,noheader,nounits"], timeout=timeout)
    return None


def _from_layers(
    answer: Answer,
    nvml: Mapping[str, Any],
    kernel: tuple[str, KernelModule] | None,
    smi: CommandResult | None,
    nodes: tuple[str, ...],
) -> NvidiaFacts:
    state = _STATES.get(str(nvml.get("state")), "no-answer")
    layers = DriverLayers(
        nvml=state,
        nvml_code=nvml.get("code"),
        nvml_problem=answer.problem or nvml.get("text"),
        kernel=kernel[1].version if kernel else None,
        library=parse_library_version(nvml.get("library") or ""),
        smi=_said(smi),
        smi_exit=smi.returncode if smi else None,
        device_nodes=nodes,
        unopened=parse_unopened(nvml.get("gpus") or []),
        **_around(answer.facts or {}),
    )
    observed_layers = found(layers, stated("NVML, kernel files, nvidia-smi and /dev"))
    if state == "works":
        driver, gpus = _from_nvml(nvml, kernel)
    elif state == "absent" and smi is None and kernel is None:
        libcuda: Mapping[str, Any] = (answer.facts or {}).get("libcuda") or {}
        driver, gpus = _from_driver_library(libcuda)
    elif state == "absent" or (layers.nvml_code is None and smi is not None and parse_smi_cards(smi.stdout)):
        # Also when NVML could not even say what is wrong (unloadable, crashed, hanging), but nvidia-smi works all the same.
        driver, gpus = _without_nvml(kernel, smi)
    else:
        problem = _problem(layers)
        driver, gpus = unknown("NVML", problem), unknown("NVML", problem)
    return NvidiaFacts(driver, gpus, observed_layers)


def _around(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What the script saw around NVML: device files, the loader's libcuda, the driver's complaints."""
    libcuda: Mapping[str, Any] = facts.get("libcuda") or {}
    path = "" if libcuda.get("state", "absent") == "absent" and libcuda else libcuda.get("library")
    return {
        "files": tuple(msgspec.convert(row, DeviceFile) for row in facts.get("files") or ()),
        "control_error": facts.get("control_error"),
        "libcuda": path,
        "libcuda_version": parse_library_version(path or ""),
        "libcuda_cuda": _cuda(libcuda.get("cuda")),
        "libcuda_bare": facts.get("libcuda_bare"),
        "kernel_log": tuple(map(str, facts.get("kernel_log") or ())),
    }


def _cuda(number: int | None) -> CudaVersion | None:
    return CudaVersion.from_number(number) if number else None


def _from_nvml(
    nvml: Mapping[str, Any], kernel: tuple[str, KernelModule] | None
) -> tuple[Observed[Driver], Observed[tuple[Gpu, ...]]]:
    version = _version(nvml.get("driver"))
    flavour = kernel[1].flavour if kernel else None
    cuda = _cuda(nvml.get("cuda"))
    driver: Observed[Driver] = (
        found(Driver(version=version, cuda=cuda, module=flavour), "NVML")
        if version
        else unknown("NVML", stated("it gives no readable driver version ({value})", value=repr(nvml.get("driver"))))
    )
    rows = nvml.get("gpus") or []
    cards = parse_cards(rows)
    lost = [card for card in parse_unopened(rows) if card.code != NOT_PERMITTED]
    if lost:
        return driver, unknown(
            "NVML", stated("{count} of {count_2} cards cannot be opened", count=len(lost), count_2=len(rows))
        )
    if rows and not cards:
        return driver, unknown("NVML", stated("none of {count} cards may be used here", count=len(rows)))
    return driver, found(cards, "NVML") if cards else absent("NVML", stated("the driver works but sees no card"))


def _from_driver_library(libcuda: Mapping[str, Any]) -> tuple[Observed[Driver], Observed[tuple[Gpu, ...]]]:
    """No NVML, no kernel files, no nvidia-smi: only the CUDA driver library may still be there."""
    if libcuda.get("state", "absent") == "absent":
        looked = stated("NVML, /proc/driver/nvidia, nvidia-smi, libcuda")
        return absent(looked), absent(looked)
    answer = libcuda.get("text") or f"it answers {libcuda.get('code')}"
    problem = stated("libcuda is present, but no other part of the driver ({answer})", answer=answer)
    cards = parse_cards(libcuda.get("gpus") or [])
    return unknown("libcuda", problem), found(cards, "libcuda") if cards else unknown("libcuda", problem)


def _without_nvml(
    kernel: tuple[str, KernelModule] | None, smi: CommandResult | None
) -> tuple[Observed[Driver], Observed[tuple[Gpu, ...]]]:
    """The management library cannot answer, but other traces of a driver are there."""
    cards = parse_smi_cards(smi.stdout) if smi and smi.ok else ()
    version = parse_smi_driver(smi.stdout) if smi and smi.ok else None
    said = _said(smi) or (
        stated("NVML and nvidia-smi are missing here") if smi is None else stated("its answer is not readable")
    )
    gpus: Observed[tuple[Gpu, ...]] = found(cards, "nvidia-smi") if cards else unknown("nvidia-smi", said)
    if kernel and _version(kernel[1].version):
        path, module = kernel
        return found(Driver(version=DriverVersion.parse(module.version), module=module.flavour), path), gpus
    if version:
        return found(Driver(version=version), "nvidia-smi"), gpus
    return unknown("nvidia-smi", said), gpus


def _said(smi: CommandResult | None) -> str | None:
    """What nvidia-smi said when it failed; a broken driver prints its reason on standard output."""
    if smi is None or smi.ok:
        return None
    text = (smi.stdout.strip() or smi.stderr.strip()).partition("\n")[0]
    return text[:300] or smi.failure


def _problem(layers: DriverLayers) -> str:
    if layers.nvml == "no-answer":
        return stated("asking the driver failed: {nvml_problem}", nvml_problem=layers.nvml_problem)
    return layers.smi or layers.nvml_problem or stated("NVML answers error {nvml_code}", nvml_code=layers.nvml_code)


def _overridden(host: ProbeHost, facts: NvidiaFacts) -> NvidiaFacts:
    """Apply ``ENVFIX_DRIVER`` and ``ENVFIX_GPU``, which then are the source of the fact."""
    driver, gpus = facts.driver, facts.gpus
    said = host.getenv("ENVFIX_DRIVER")
    if said:
        version = _version(said)
        if said.strip().lower() == "none":
            driver = absent("ENVFIX_DRIVER")
        elif version is None:
            raise UsageError(
                say("ENVFIX_DRIVER={said!r} is not a driver version", said=said[:40]),
                hint=say("for example 550.54.14, or none"),
            )
        else:
            driver = found(Driver(version=version), "ENVFIX_DRIVER")
    cards = host.getenv("ENVFIX_GPU")
    if cards:
        try:
            parsed = () if cards.strip().lower() == "none" else parse_override(cards)
            if not parsed and cards.strip().lower() != "none":
                raise ValueError(stated("it names no card"))  # noqa: TRY301 - told like any other nonsense
            gpus = found(parsed, "ENVFIX_GPU") if parsed else absent("ENVFIX_GPU")
        except ValueError as error:
            raise UsageError(f"ENVFIX_GPU: {error}", hint=say('for example "RTX 3090:8.6:24576", or none')) from error
        if parsed and not said and driver.is_absent:
            driver = unknown("ENVFIX_GPU", stated("a card is named, but not its driver: set ENVFIX_DRIVER as well"))
    return NvidiaFacts(driver, gpus, facts.layers)

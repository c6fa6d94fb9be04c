"""A forward-compatibility libcuda is found first, on a machine that it does not support.

What you see
    "Error 804: forward compatibility was attempted on non supported HW", CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE.

Why
    NVIDIA's packages cuda-compat hold a newer libcuda for an older driver (a folder ``compat``). They work on
    data-centre cards only. On others CUDA does not start at all, although without that folder the driver would
    serve it.

How envfix knows
    The loader's libcuda lies in such a folder, its version is not the driver's, and the cards are of another kind;
    in a log the text above.

How to mend
    Take the folder off the loader's path (LD_LIBRARY_PATH, /etc/ld.so.conf.d). In a container use an image for an
    older CUDA. Where the driver really is too old, a torch for an older CUDA or a newer driver is the answer.

What not to do
    Do not install cuda-compat: it is what fails here.

Sources
    NVIDIA CUDA compatibility guide (errors 803 and 804, supported hardware).
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import DriverLayers, Environment, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Signature
from envfix.model.versions import DriverVersion
from envfix.model.words import counted
from envfix.rules._cards import COMPAT_FOLDERS, compat_supported, is_compat
from envfix.rules._devices import container, cuda_works, torch_said
from envfix.rules._log import LogSide
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

PATH = "LD_LIBRARY_PATH"


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    if cuda_works(environment):
        return
    said = torch_said(environment, "Error 804", "forward compatibility was attempted")
    layers = machine.driver_layers.value
    place = layers.libcuda if layers is not None and is_compat(machine) else None
    if said is None and not (layers and place and _is_unsupported(layers, machine, tables)):
        return
    seen = (
        say("the loader takes {place}", place=place) if place else say("the loader's libcuda is not the driver's own")
    )
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR,
        message=say("A CUDA compatibility library is loaded that these cards do not support: CUDA cannot start."),
        because=(
            *((said,) if said else ()),
            cite("machine.driver_layers", machine.driver_layers, seen),
            cite(
                "machine.gpus",
                machine.gpus,
                counted(card.name for card in machine.gpus.value or ()) or None,
            ),
        ),
        remedies=tuple(_remedies(machine)),
    )


def _is_unsupported(layers: DriverLayers, machine: Machine, tables: Tables) -> bool:
    driver, version = machine.driver.value, layers.libcuda_version
    if driver is None or version is None or DriverVersion.parse(version) == driver.version:
        return False
    return compat_supported(machine, tables) is False


def _remedies(machine: Machine) -> Iterator[Remedy]:
    folders = machine.variables.get(PATH, "").split(":")
    kept = [folder for folder in folders if folder and not any(word in f"{folder}/" for word in COMPAT_FOLDERS)]
    if len(kept) < len([folder for folder in folders if folder]):
        command = ("export", f"{PATH}={':'.join(kept)}") if kept else ("unset", PATH)
        yield Remedy(
            text=say("Take the folder off {path} (also where it is set: ~/.bashrc, a module file).", path=PATH),
            commands=(command,),
        )
    elif container(machine):
        yield Remedy(text=say("Use an image for a CUDA that the host's driver serves."), safe=False)
    else:
        yield Remedy(
            text=say("Ask the administrator to remove the cuda-compat package or its line in /etc/ld.so.conf.d."),
            safe=False,
        )


LOG = LogSide(
    signatures=(
        Signature(
            pattern=(
                r"(?:(?:(?:Unexpected error from cudaGetDeviceCount\(\)\. )?Did you run some cuda functions before "
                r"calling NumCudaDevices\(\) )?that might have already set an error\? )?(?:Error 804: )?forward "
                r"compatibility "
                r"was attempted on non[-\s]supported HW"
            ),
            confidence=0.97,
        ),
        Signature(
            pattern=r"cudaErrorCompatNotSupportedOnDevice|(?:failed call to \w+: "
            r")?CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE|[Ee]rror 804\b"
            r"|error \(804\)|error=804",
            confidence=0.95,
        ),
        Signature(pattern=r"unsupported display driver\s?/\s?cuda driver combination|[Ee]rror 803\b", confidence=0.3),
    ),
    message=later(
        "A newer CUDA library (cuda-compat) is loaded in place of the driver's own, and these"
        " cards do not support that: CUDA cannot start."
    ),
    remedies=(
        Remedy(
            text=later("Take the compat folder off the loader's path; LD_LIBRARY_PATH shows whether it is there."),
            commands=(("unset", PATH),),
        ),
        Remedy(
            text=later(
                "In a container: use an image for a CUDA that the host's driver serves (`nvidia-smi` shows it)."
            ),
            safe=False,
        ),
        Remedy(text=later("Or have the host's driver updated to one that serves the image's CUDA."), safe=False),
    ),
    tell_apart=Remedy(
        text=later("See which libcuda the loader takes."), commands=(("ldconfig", "-p"), ("printenv", PATH))
    ),
    explains=("driver_too_old_for_wheel", "cuda_does_not_start", "no_nvidia_gpu"),
)


RULE = Rule(
    code="DRV106",
    cause="cuda_compat_unsupported_hw",
    title=later("A compatibility library that these cards do not support"),
    needs=("machine.driver_layers",),
    check=check,
    rank=14,
    explains=("driver_too_old_for_wheel",),
    log=LOG,
)

"""Under WSL the loader does not find the libcuda of Windows' driver.

What you see
    "Could not load library libcudnn_cnn_infer.so.8. Error: libcuda.so: cannot open shared object file" at the first
    convolution, although ``is_available()`` says True; or torch finds no card at all.

Why
    Windows puts its driver's libcuda into ``/usr/lib/wsl/lib``. It is hidden when a Linux driver was installed over
    it (the loader takes a libcuda from elsewhere), or when the name ``libcuda.so`` without a number leads nowhere,
    by which cuDNN 8 (torch before 2.4) loads it.

How envfix knows
    The loader's libcuda and whether the bare name loads; in a log the text above, or the driver not found beside
    traces of WSL.

How to mend
    Put ``/usr/lib/wsl/lib`` first on LD_LIBRARY_PATH. Remove a Linux driver that was installed inside WSL: the
    driver is Windows'.

What not to do
    Do not install a Linux driver inside WSL.

Sources
    NVIDIA: CUDA on WSL user guide; public reports on cuDNN 8 under WSL.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from packaging.version import InvalidVersion, Version

from envfix.model.facts import DriverLayers, Environment, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.rules._devices import torch_said, under_wsl
from envfix.rules._environments import NEW_ENV
from envfix.rules._log import LogSide
from envfix.rules._log_context import LOOKS_AT, by_place
from envfix.rules._log_patterns import DRIVER_ANSWERS, IN_CONTAINER, NO_CUDA_GPUS, NO_DRIVER, UNDER_WSL, VISIBLE_SET
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

FOLDER = "/usr/lib/wsl"
PATH = "LD_LIBRARY_PATH"
# The first torch whose cuDNN no longer asks for the bare name.
FIRST_WITH_CUDNN_9 = Version("2.4")


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    layers = machine.driver_layers.value
    if layers is None or not under_wsl(machine):
        return
    covered = bool(layers.libcuda) and not (layers.libcuda or "").startswith(FOLDER)
    not_found = torch_said(environment, "Found no NVIDIA driver")
    if covered:
        message = say(
            "A Linux driver lies over the one of Windows: the loader takes {libcuda}.", libcuda=layers.libcuda
        )
        severity = Severity.ERROR
    elif not_found and _is_there(machine):
        message = say("torch does not find the driver of Windows, whose libcuda lies in {folder}/lib.", folder=FOLDER)
        severity = Severity.ERROR
    elif _breaks_convolutions(layers, environment):
        message = say(
            "Computing will stop in cuDNN, which does not find the driver of Windows: the name"
            " libcuda.so leads nowhere."
        )
        severity = Severity.WARNING
    else:
        return
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=severity,
        message=message,
        because=(
            *((not_found,) if not_found else ()),
            cite(
                "machine.driver_layers",
                machine.driver_layers,
                say("libcuda.so.1 is {libcuda}", libcuda=layers.libcuda or say("not found")),
            ),
        ),
        remedies=tuple(_remedies(machine, covered=covered)),
    )


def _is_there(machine: Machine) -> bool:
    state = machine.device_state.value
    return state is not None and bool(state.wsl_libraries)


def _breaks_convolutions(layers: DriverLayers, environment: Environment) -> bool:
    torch = environment.torch.value
    if layers.libcuda_bare is not False or torch is None or torch.cuda is None:
        return False
    try:
        return Version(torch.version) < FIRST_WITH_CUDNN_9
    except InvalidVersion:
        return False


def _remedies(machine: Machine, *, covered: bool) -> Iterator[Remedy]:
    before = machine.variables.get(PATH)
    value = f"{FOLDER}/lib:{before}" if before else f"{FOLDER}/lib"
    yield Remedy(
        text=say("Put the folder of Windows' driver first on the loader's path (and into ~/.bashrc)."),
        commands=(("export", f"{PATH}={value}"),),
    )
    if covered:
        yield Remedy(
            text=say("Remove the NVIDIA driver packages that were installed inside WSL; keep the driver of Windows."),
            safe=False,
        )


_BARE = r"libcuda\.so: cannot open shared object file"


_CUDNN = r"Could not load library libcudnn\S{0,40} Error: (?:\S*/)?libcuda\.so: cannot open shared object file"


def _bare_name(hit: Hit, log: Log) -> float | None:
    """The bare name is what cuDNN 8 loads; elsewhere WSL is the likeliest place for it, unless it is a container."""
    after_cudnn = re.search(r"Could not load library libcudnn\S*\.? Error:\s*$", hit.before[-200:])
    if after_cudnn:
        return 0.95 if log.found(UNDER_WSL) else 0.85
    return 0.75 if log.found(UNDER_WSL) else None if log.found(IN_CONTAINER) else 0.55


LOG = LogSide(
    signatures=(
        Signature(pattern=_BARE, weigh=_bare_name, looks_at=(UNDER_WSL, IN_CONTAINER)),
        Signature(pattern=_CUDNN, confidence=0.9),
        Signature(pattern=NO_DRIVER, weigh=by_place(None, wsl=0.5, answers=None), looks_at=LOOKS_AT),
        Signature(pattern=NO_DRIVER, confidence=0.85, beside=(UNDER_WSL, DRIVER_ANSWERS)),
        Signature(pattern=NO_CUDA_GPUS, confidence=0.4, beside=(UNDER_WSL,), unless=(VISIBLE_SET,)),
        Signature(pattern=r"libcuda\.so\.1: cannot open shared object file", confidence=0.7, beside=(UNDER_WSL,)),
        Signature(pattern=r"/usr/lib/wsl/lib/libcuda\.so\.1 is not a symbolic link", confidence=0.5),
    ),
    message=later("Under WSL the loader does not find the driver's libcuda, which Windows puts into /usr/lib/wsl/lib."),
    remedies=(
        Remedy(
            text=later("Put the folder of Windows' driver first on the loader's path (and into ~/.bashrc)."),
            commands=(("export", f"{PATH}={FOLDER}/lib"),),
        ),
        Remedy(
            text=later("Remove a Linux driver that was installed inside WSL; keep the driver of Windows."), safe=False
        ),
        Remedy(
            text=later("Or use a torch from 2.4 on, whose cuDNN 9 does not ask for the bare name."),
            commands=((*NEW_ENV, "--torch", f">={FIRST_WITH_CUDNN_9}"),),
        ),
    ),
    tell_apart=Remedy(
        text=later("See which libcuda the loader knows."), commands=(("ldconfig", "-p"), ("ls", "-l", f"{FOLDER}/lib"))
    ),
    explains=("cuda_does_not_start", "libcuda_link_missing", "no_nvidia_gpu", "cudnn_version_conflict"),
)


RULE = Rule(
    code="CTR105",
    cause="wsl_libcuda_path",
    title=later("WSL: the loader does not find Windows' libcuda"),
    needs=("machine.platform", "machine.driver_layers"),
    check=check,
    rank=17,
    explains=("cuda_does_not_start",),
    log=LOG,
)

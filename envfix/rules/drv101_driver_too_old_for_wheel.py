"""The NVIDIA driver is older than the CUDA inside torch needs.

What you see
    "The NVIDIA driver on your system is too old (found version 11040)", "CUDA driver version is insufficient for
    CUDA runtime version", error 35, "the provided PTX was compiled with an unsupported toolchain".
    ``torch.cuda.is_available()`` is False and training silently runs on the processor.

Why
    A torch wheel brings its own CUDA libraries and needs only the driver. Within one CUDA major family an older
    driver is enough down to that family's floor (11.x: 450.80.02, 12.x: 525.60.13, 13.x: 580.65.06 on Linux). Below
    the floor CUDA does not start.

How envfix knows
    The version of the driver against the floor of the CUDA that torch was built with; in a log the texts above.
    "found version 11040" is CUDA 11.4, the newest that the driver serves. Without any driver an older CUDA says the
    same: where nvidia-smi is missing too, the log alone is not enough.

How to mend
    Take a torch built for an older CUDA family, which needs no rights, or ask the administrator for a newer driver.

What not to do
    Do not install a CUDA toolkit or conda's cudatoolkit: the toolkit is not the driver. nvcc's number need not
    equal torch's.

Sources
    NVIDIA CUDA Toolkit release notes (table of minimum drivers), CUDA compatibility guide.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.language import later, look_up, say
from envfix.model.log import Hit, Log, Signature
from envfix.rules._cards import driver_system, uses_supported_compat
from envfix.rules._devices import cuda_works, torch_said, under_wsl
from envfix.rules._environments import NEW_ENV
from envfix.rules._log import LogSide, Reading
from envfix.rules._log_patterns import DRIVER_ANSWERS, NO_DRIVER, NO_LIBCUDA, NO_NVIDIA_SMI
from envfix.rules._roots import root_of_torch
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

# The sources of the table in words.
SOURCES = {
    "compatibility-guide": later("NVIDIA's compatibility guide"),
    "release-notes": later("NVIDIA's release notes"),
    "driver-tables": later("public tables of drivers"),
}


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    driver, torch = machine.driver.value, environment.torch.value
    if driver is None or torch is None or torch.cuda is None or cuda_works(environment):
        return
    floor = tables.drivers.floor(torch.cuda, driver_system(machine))
    if floor is None or driver.version >= floor.family or uses_supported_compat(machine, tables, floor.family):
        return
    administrator = (
        say("Or update the NVIDIA driver of Windows to")
        if under_wsl(machine)
        else say("Or ask the administrator for driver")
    )
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        follows_from=root_of_torch(machine, environment),
        severity=Severity.ERROR,
        message=say(
            "The driver {version} is older than {family}, the oldest that can run the CUDA {cuda}"
            " inside torch {build}.",
            version=driver.version,
            family=floor.family,
            cuda=torch.cuda,
            build=torch.build,
        ),
        because=(
            *((said,) if (said := torch_said(environment, "driver on your system is too old")) else ()),
            cite("machine.driver", machine.driver, driver.version),
            cite("environment.torch", environment.torch, f"{torch.build} (CUDA {torch.cuda})"),
            Evidence(
                fact="tables.drivers",
                value=say("CUDA {cuda} needs {family} or newer", cuda=torch.cuda, family=floor.family),
                source=_in_words(floor.source),
            ),
        ),
        remedies=(
            Remedy(
                text=say("Let envfix choose a torch that this driver can run, in an environment of its own."),
                commands=(NEW_ENV,),
            ),
            Remedy(
                text=say("{administrator} {family} or newer.", administrator=administrator, family=floor.family),
                safe=False,
            ),
        ),
    )


def _in_words(sources: str) -> str:
    """``compatibility-guide + release-notes`` as people say it."""
    names = [look_up(SOURCES.get(name, later("envfix's table of drivers"))) for name in sources.split(" + ")]
    return say(" and ").join(dict.fromkeys(names)).replace(" and NVIDIA's ", " and ")


def _as_cuda(found: str) -> str:
    """``11040`` as the CUDA 11.4 that it stands for."""
    return f"{int(found) // 1000}.{int(found) % 1000 // 10}"


def _message(reading: Reading) -> str:
    number = reading.groups.get("found")
    serves = say(" serves CUDA {as_cuda} only and", as_cuda=_as_cuda(number)) if number else ""
    return say("The NVIDIA driver{serves} is too old for the CUDA inside this torch.", serves=serves)


# Without any driver an older CUDA runtime says the same as with one that is too old.
_WITHOUT_DRIVER = (NO_NVIDIA_SMI, NO_LIBCUDA, NO_DRIVER)


def _insufficient(hit: Hit, log: Log) -> float:
    """Less sure where nothing of a driver is there at all."""
    del hit
    if log.found(DRIVER_ANSWERS):
        return 0.95
    return 0.4 if any(map(log.found, _WITHOUT_DRIVER)) else 0.93


LOG = LogSide(
    signatures=(
        Signature(
            pattern=r"NVIDIA driver on your system is too old(?: \(found version (?P<found>\d{4,5})\))?",
            confidence=0.97,
        ),
        Signature(
            pattern=r"(?:Check failed: error == cudaSuccess \(35 vs\. 0\) "
            r"|Cuda failure (?:\d+ )?')?CUDA driver version is insufficient for CUDA runtime version"
            r"|cudaErrorInsufficientDriver"
            r"|CUDA_ERROR_INSUFFICIENT_DRIVER",
            weigh=_insufficient,
            looks_at=(DRIVER_ANSWERS, *_WITHOUT_DRIVER),
        ),
        Signature(
            pattern=r"(?i)CUDA (?:initialization )?(?:failure|error)(?: with error| code)?:?\s?\(?35\b", confidence=0.85
        ),
        # Code of a newer toolkit is compiled on the machine, and the driver does not understand it.
        Signature(
            pattern=r"(?:the )?provided PTX was compiled with an unsupported toolchain"
            r"|(?:Call to \w+ results in )?CUDA_ERROR_UNSUPPORTED_PTX_VERSION"
            r"|cudaErrorUnsupportedPtxVersion",
            confidence=0.8,
        ),
        Signature(
            pattern=r"Found CUDA version (?P<found>\d{4,5}), but JAX was built against version \d{4,5}, which is newer",
            confidence=0.85,
        ),
        Signature(
            pattern=r"driver supports(?: only)? (?:up to )?CUDA \d+\.\d+, but .{0,60} (?:requires|needs) CUDA",
            confidence=0.7,
        ),
    ),
    message=_message,
    remedies=(
        Remedy(
            text=later("Let envfix choose a torch that this driver can run, in an environment of its own."),
            commands=(NEW_ENV,),
        ),
        Remedy(
            text=later("Or have the driver updated, which needs administrator rights; a CUDA toolkit changes nothing."),
            safe=False,
        ),
    ),
    tell_apart=Remedy(text=later("See which driver is loaded and which CUDA it serves."), commands=(("nvidia-smi",),)),
    explains=("no_nvidia_gpu", "cuda_does_not_start"),
)


RULE = Rule(
    code="DRV101",
    cause="driver_too_old_for_wheel",
    title=later("The driver is too old for the CUDA inside torch"),
    needs=("machine.driver", "environment.torch"),
    check=check,
    rank=30,
    explains=("cuda_does_not_start",),
    log=LOG,
)

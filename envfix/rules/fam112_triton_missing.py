"""Triton, which torch.compile uses, is not installed.

What you see
    "A matching Triton is not available, some optimizations will not be enabled", "No module named 'triton'",
    "Cannot find a working triton installation".

Why
    Triton has no official wheel for Windows, and some builds of torch come without it. It bites only in
    ``torch.compile`` and in some kernels of xformers and other packages. Training and prediction with YOLO do
    without it.

How envfix knows
    torch's metadata asks for triton on this platform, and there is none; on Windows, where it has no official
    wheel, only if xformers is installed, which then prints that warning. In a log the texts above.

How to mend
    Ignore the warning, or install the triton that torch's metadata names; on Windows the port
    ``triton-windows``.

What not to do
    Do not reinstall torch or CUDA, and do not rename wheels: that changes nothing.

Sources
    Requires-Dist of torch; the installed packages.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Signature
from envfix.rules._changing import in_place
from envfix.rules._family import evidence, installed, key_of, requirements
from envfix.rules._log import LogSide, Reading
from envfix.rules._rule import Rule
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del machine, tables
    here, interpreter = installed(environment), environment.interpreter.value
    torch = here.get("torch")
    if torch is None or environment.torch.value is None or any("triton" in name for name in here):
        return
    wanted = [
        asked.requirement
        for asked in requirements(environment, iter((torch,)))
        if "triton" in key_of(asked.requirement.name)
    ]
    on_windows = interpreter is not None and interpreter.platform_tag.startswith("win") and "xformers" in here
    if not wanted and not on_windows:
        return
    remedy = (
        in_place(
            environment,
            say("Install it, if you use torch.compile."),
            "install",
            f"{wanted[0].name}{wanted[0].specifier}",
        )
        if wanted
        else Remedy(text=say("Ignore the warning: xformers only loses an optimisation."))
    )
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.INFO,
        message=say("Triton is not installed: torch.compile will not work, everything else does."),
        because=evidence(torch),
        remedies=(remedy,),
    )


WARNED = r"A matching Triton is not available, some optimizations will not be enabled"
MISSING = r"No module named '?triton\b(?:\.language|\.runtime|\.compiler)?'?(?:[\s;]|$)"


def _gravity(reading: Reading) -> Severity:
    """A warning of xformers harms nothing, an import that fails does."""
    return Severity.INFO if reading.log.found(WARNED) else Severity.ERROR


LOG = LogSide(
    signatures=(
        Signature(pattern=WARNED, confidence=0.95),
        Signature(pattern=MISSING, confidence=0.93, looks_at=(WARNED,)),
        Signature(
            pattern=r"Cannot find a working triton installation|\bTritonMissing\b|Triton is not installed"
            r"|[Tt]riton not (?:found|installed)",
            confidence=0.93,
        ),
        Signature(
            pattern=r"(?:satisfies the requirement|No matching distribution found for"
            r"|not provide the package) (?:torch )?triton\b",
            confidence=0.92,
        ),
        Signature(pattern=r"there are no versions of triton\b", confidence=0.85, quoted=True),
        Signature(pattern=r"Distribution `triton==[^`\n]{1,200}` can't be installed", confidence=0.6),
        Signature(pattern=r"Triton is not supported on current platform", confidence=0.85),
        Signature(pattern=r"Windows not yet supported for torch\.compile", confidence=0.7),
        Signature(pattern=r"DLL load failed while importing libtriton: ", confidence=0.5),
    ),
    message=later(
        "Triton is not installed: torch.compile and some kernels that are written in it do not"
        " work, everything else does."
    ),
    remedies=(
        Remedy(text=later("If the program goes on, ignore it: only an optimisation is lost.")),
        Remedy(
            text=later("If it stops there, switch torch.compile off for this run."),
            commands=(("env", "TORCHDYNAMO_DISABLE=1", "python", "YOUR_PROGRAM.py"),),
        ),
        Remedy(
            text=later("Or install it: the version that torch's metadata names on Linux, the port for Windows there."),
            commands=(("python", "-m", "pip", "install", "triton-windows"),),
        ),
    ),
    severity=_gravity,
)


RULE = Rule(
    code="FAM112",
    cause="triton_missing",
    title=later("Triton is not installed"),
    needs=("environment.torch", "environment.distributions", "environment.interpreter"),
    check=check,
    rank=90,
    log=LOG,
)

"""The processor lacks instructions that a library uses.

What you see
    "Illegal instruction (core dumped)", exit code 132, "received signal SIGILL", on Windows 0xC000001D; "The TensorFlow library was
    compiled to use AVX instructions, but these aren't available". The program ends at once and without a Python message.

Why
    Old processors and some virtual machines offer no AVX or AVX2, and the binary uses them. On ARM boards OpenBLAS of numpy 1.19.5
    takes the core for another one.

How envfix knows
    An import that ended with "Illegal instruction" (signal 4); the instruction sets that the processor, or the virtual machine,
    offers; in a log the texts above. "an illegal instruction was encountered" is the card's, another thing.

How to mend
    Have the virtual machine pass the processor's features on, or use another machine, or an older build.

What not to do
    Drivers have nothing to do with it.

Sources
    How the import ended; /proc/cpuinfo.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.model.regex import regex
from envfix.rules._family import NEW_ENVIRONMENT, import_evidence, import_failure, import_works
from envfix.rules._log import LogSide, Reading
from envfix.rules._rule import Rule
from envfix.tables.loader import Tables

SAYS = regex(r"killed by signal 4\b|Illegal instruction|SIGILL", re.IGNORECASE)


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    platform = machine.platform.value
    del tables
    said = bool(SAYS.search(import_failure(environment) or ""))
    flags = environment.binaries.value.cpu_flags if environment.binaries.value else None
    intel = platform is not None and platform.machine in ("x86_64", "AMD64")
    lacks = intel and flags is not None and "avx" not in flags
    if not said and (not lacks or import_works(environment) or environment.torch.value is None):
        return
    offers = (
        say("it offers {flags}", flags=", ".join(flags))
        if flags
        else say("which instruction sets it offers is not known")
    )
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR if said else Severity.INFO,
        message=say("Importing torch ends with an instruction that this processor does not have.")
        if said
        else say("This processor offers no AVX instructions: some libraries end with 'Illegal instruction' here."),
        because=(
            Evidence(fact="environment.binaries", value=offers, source="/proc/cpuinfo"),
            *import_evidence(environment),
        ),
        remedies=(
            Remedy(
                text=say(
                    "In a virtual machine, ask its administrator to pass the processor's features (AVX, AVX2) on."
                ),
                safe=False,
            ),
            NEW_ENVIRONMENT,
        ),
    )


def _weigh_illegal(hit: Hit, log: Log) -> float | None:
    """On ARM boards it is nearly always numpy's OpenBLAS, and the instruction sets are fine."""
    del hit
    return 0.6 if log.found(_ARM) else 0.85


_ARM = r"aarch64|tegra|Jetson|JetPack"


def _mends(reading: Reading) -> Iterator[Remedy]:
    if reading.log.found(_ARM):
        yield Remedy(
            text=say(
                "On an ARM board, tell numpy's OpenBLAS which core this is; numpy 1.19.5 takes it for another one."
            ),
            commands=(("export", "OPENBLAS_CORETYPE=ARMV8"),),
        )
    yield Remedy(
        text=say(
            "In a virtual machine, have its administrator pass the processor's own features on"
            " (CPU type host, with AVX and AVX2)."
        ),
        safe=False,
    )
    yield Remedy(
        text=say(
            "Otherwise take another machine, or an older build of the library that ends so;"
            " drivers and CUDA have nothing to do with it."
        )
    )


LOG = LogSide(
    signatures=(
        Signature(
            pattern=r"Illegal instruction|illegal hardware instruction|illegal instruction \(core dumped\)",
            weigh=_weigh_illegal,
            looks_at=(_ARM,),
        ),
        Signature(pattern=r"\bSIGILL\b", weigh=_weigh_illegal, looks_at=(_ARM,)),
        Signature(
            pattern=r"(?i)(?:exit(?:ed)?|return(?:ed)?|died)[\w\s]{0,20}(?:code|status)[:\s]{1,2}(?:132\b"
            r"|-4\b)|killed by signal 4\b",
            confidence=0.7,
        ),
        Signature(pattern=r"(?i)0xC000001D|-1073741795|3221225501", confidence=0.75, quoted=True),
        Signature(
            pattern=r"(?:The TensorFlow library was |This version of jaxlib was )?(?:compiled|built) (?:to use|using|with) "
            r"(?P<wanted>AVX\w*|SSE[\w.]*|FMA)[\w,\x20]{0,40}instructions, (?:but these aren't|which your CPU)"
            r"|was compiled to use (?P<wanted2>[\w,\x20.]{2,60}?) instructions, but these aren't available",
            confidence=0.96,
            quoted=True,
        ),
        Signature(
            pattern=r"NumPy was built with baseline optimizations|CPU ISA level is lower than required"
            r"|CPU does not support x86-64-v[234]"
            r"|This system does not meet the minimum requirements for use of the Intel\(R\) Math Kernel Library",
            confidence=0.95,
        ),
        Signature(pattern=r"Missing required CPU features", confidence=0.7),
        Signature(
            pattern=r"(?i)your (?:cpu|processor|machine) does(?:n't| not) support (?:the )?(?P<wanted>AVX\w*|SSE4[\w.]*)",
            confidence=0.9,
        ),
        Signature(pattern=r"uncaught target signal 4", confidence=0.85),
    ),
    message=(
        later("The processor, or the virtual machine, lacks {wanted}, which a library uses."),
        later("The program uses an instruction that this processor, or the virtual machine, does not have."),
    ),
    remedies=lambda reading: tuple(_mends(reading)),
    tell_apart=Remedy(
        text=later("See whether the processor offers avx and avx2, and where the program ends."),
        commands=(("lscpu",), ("python", "-X", "faulthandler", "-c", "import torch")),
    ),
    explains=("torch_import_fails",),
)


RULE = Rule(
    code="LIB111",
    cause="cpu_without_avx",
    title=later("The processor lacks instructions"),
    needs=("environment.torch",),
    check=check,
    rank=40,
    explains=("torch_import_fails",),
    log=LOG,
)

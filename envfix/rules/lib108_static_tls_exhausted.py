"""A library that is loaded late finds no room for its thread-local data.

What you see
    "libgomp.so.1: cannot allocate memory in static TLS block", "dlopen: cannot load any more object with static TLS".

Why
    libgomp and a few others need a place that is small and given away at the start; mostly on aarch64 (Jetson) and with an older
    glibc. It has nothing to do with main memory.

How envfix knows
    An import, or a log, with these words.

How to mend
    Load that library first: LD_PRELOAD with the path that the message names, or import torch before the other packages.

What not to do
    More memory or swap changes nothing.

Sources
    The message of the import; glibc's notes on static TLS (2.32 made more room).
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Signature
from envfix.model.regex import regex
from envfix.rules._family import NEW_ENVIRONMENT, import_evidence, import_failure
from envfix.rules._log import LogSide
from envfix.rules._rule import Rule
from envfix.tables.loader import Tables

SAYS = regex(r"(?P<path>/[^\s:]+)?:? ?cannot allocate memory in static TLS block")


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del machine, tables
    said = SAYS.search(import_failure(environment) or "")
    interpreter = environment.interpreter.value
    if said is None or interpreter is None:
        return
    library = said["path"] or "libgomp.so.1"
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR,
        message=say(
            "The library {library} is loaded too late: there is no room left for its thread-local data.",
            library=library,
        ),
        because=import_evidence(environment),
        remedies=(
            Remedy(
                text=say("Load it before everything else."),
                commands=(
                    ("env", f"LD_PRELOAD={library}", interpreter.executable, "-c", "import torch"),
                    ("export", f"LD_PRELOAD={library}"),
                ),
            ),
            NEW_ENVIRONMENT,
        ),
    )


LOG = LogSide(
    signatures=(
        Signature(
            pattern=r"(?P<library>[^\s:'\"]+\.so[.\d]*): cannot allocate memory in static TLS block", confidence=0.98
        ),
        Signature(pattern=r"cannot allocate memory in static TLS block", confidence=0.97),
        Signature(pattern=r"(?:dlopen: )?cannot load any more object with static TLS", confidence=0.96),
    ),
    message=(
        later("The library {library} is loaded too late: there is no room left for its thread-local data."),
        later("A library is loaded too late: there is no room left for its thread-local data."),
    ),
    remedies=lambda reading: (
        Remedy(
            text=say("Load that library before everything else."),
            commands=(("export", f"LD_PRELOAD={reading.groups.get('library', '/PATH/TO/libgomp.so.1')}"),),
        ),
        Remedy(
            text=say(
                "Or change the order: the package that fails (torch, cv2 or sklearn) is imported first in the program."
            ),
        ),
    ),
    explains=("torch_import_fails",),
)


RULE = Rule(
    code="LIB108",
    cause="static_tls_exhausted",
    title=later("No room for thread-local data"),
    needs=("environment.torch_import",),
    check=check,
    rank=45,
    explains=("torch_import_fails",),
    log=LOG,
)

"""NumPy 2 beside a torch (or an OpenCV) that was compiled against NumPy 1.

What you see
    "A module that was compiled using NumPy 1.x cannot be run in NumPy 2.0.1", "_ARRAY_API not found", "Numpy is
    not available", "numpy.dtype size changed, may indicate binary incompatibility".

Why
    NumPy 2 changed what compiled code sees of it. torch before 2.3 was built for NumPy 1, OpenCV before 4.10 as
    well: they can no longer exchange arrays. Each picture that YOLO reads goes that way.

How envfix knows
    The NumPy that is found first against the one that the installed torch was built for; what torch said when
    it was to hand an array to NumPy. In a log the texts above; sizes and numbers in them show which side is the
    newer one.

How to mend
    Hold NumPy below 2, or take a newer torch.

What not to do
    Do not reinstall the same NumPy, and do not take another Python: that changes nothing.

Sources
    Metadata of numpy; the table of companions (read in the wheels of torch); the message of the import.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from packaging.version import Version

from envfix.model.facts import Distribution, Environment, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.model.regex import regex
from envfix.rules._changing import in_place
from envfix.rules._family import (
    NEW_ENVIRONMENT,
    evidence,
    import_evidence,
    import_failure,
    installed,
    version,
)
from envfix.rules._log import LogSide
from envfix.rules._roots import root_of_torch
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

SAYS = regex(
    r"compiled using NumPy 1|_ARRAY_API not found|Numpy is not available|multiarray failed to import"
    r"|Failed to initialize NumPy",
    re.IGNORECASE,
)
OPENCV_WITH_NUMPY_2 = Version("4.10")


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    numpy = installed(environment).get("numpy")
    own = version(numpy.version) if numpy else None
    if numpy is None or own is None or own.major < 2:
        return
    victim = _torch(environment, tables) or _opencv(environment)
    if victim is None:
        return
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        follows_from=root_of_torch(machine, environment),
        severity=Severity.ERROR,
        message=say(
            "NumPy {version} is installed, but {victim} was built for NumPy 1: they cannot exchange arrays.",
            version=numpy.version,
            victim=victim,
        ),
        because=(*evidence(numpy), *_said(environment)),
        remedies=(
            in_place(
                environment,
                say("Hold NumPy below 2 in this environment."),
                "install",
                *_bounds(environment, tables),
            ),
            NEW_ENVIRONMENT,
        ),
    )


def _torch(environment: Environment, tables: Tables) -> str | None:
    """The torch that NumPy 2 does not fit, by its release or by its own words."""
    torch, interpreter = environment.torch.value, environment.interpreter.value
    if torch is None or interpreter is None:
        return None
    release = version(torch.build)
    old = release is not None and tables.companions.numpy_major(release, interpreter.platform_tag, interpreter.tag) == 1
    said = environment.torch_import.value
    complains = said is not None and SAYS.search(f"{said.numpy_problem} {import_failure(environment)}") is not None
    # A build of one's own may have an old number and yet be built for NumPy 2: then what torch says counts.
    own_build = release is not None and release.is_prerelease
    works = own_build and said is not None and said.ok and said.numpy_problem is None
    return f"torch {torch.build}" if complains or (old and not works) else None


def _opencv(environment: Environment) -> str | None:
    for name, item in installed(environment).items():
        own = version(item.version) if name.startswith("opencv-") else None
        if own is not None and own < OPENCV_WITH_NUMPY_2 and item.installer != "conda":
            return f"{item.name} {item.version}"
    return None


def _said(environment: Environment) -> tuple[Evidence, ...]:
    said = environment.torch_import.value
    if said is not None and said.numpy_problem:
        return (cite("environment.torch_import", environment.torch_import, said.numpy_problem),)
    torch = (
        (cite("environment.torch", environment.torch, environment.torch.value.build),)
        if environment.torch.value
        else ()
    )
    return (*torch, *import_evidence(environment))


def _bounds(environment: Environment, tables: Tables) -> tuple[str, ...]:
    """NumPy, and what must be held back beside it of those that are installed."""
    interpreter = environment.interpreter.value
    bounds = tables.companions.numpy_1_bounds(interpreter.tag) if interpreter else {}
    here: dict[str, Distribution] = installed(environment)
    held = [f"{name}{bound}" for name, bound in bounds.items() if name != "numpy" and name in here]
    return ("numpy<2", *held)


NO_NUMPY = r"No module named 'numpy'"


def _unavailable(hit: Hit, log: Log) -> float | None:
    """Torch says it too where there is no NumPy at all."""
    del hit
    return 0.3 if log.found(NO_NUMPY) else 0.85


def _initialized(hit: Hit, log: Log) -> float | None:
    del log
    return None if "No module named" in hit.groups.get("why", "") else 0.9


def _size(hit: Hit, log: Log) -> float | None:
    """A description of a type has 96 bytes in NumPy 1 and 88 in NumPy 2; a warning alone harms nobody."""
    del log
    if hit.before.rstrip().endswith("Warning:"):
        return None
    sizes = (hit.groups.get("compiled"), hit.groups.get("here"))
    return {("96", "88"): 0.95, ("88", "96"): 0.75}.get((str(sizes[0]), str(sizes[1])), 0.5)


def _abi(hit: Hit, log: Log) -> float | None:
    """0x1000009 is NumPy 1, 0x2000000 NumPy 2; small numbers are releases of one of them."""
    del log
    built, here = int(hit.groups["built"], 16), int(hit.groups["here"], 16)
    if built < 0x1000000 <= here or built >> 24 != here >> 24:
        return 0.95
    return 0.5


LOG = LogSide(
    signatures=(
        Signature(
            pattern=r"A module that was compiled using NumPy 1\.x cannot be run in NumPy (?P<numpy>[\d.]*\d)",
            confidence=0.97,
        ),
        Signature(
            pattern=r"downgrade to 'numpy<2' or try to upgrade the affected module|modules will need time to support NumPy 2",
            confidence=0.95,
            quoted=True,
        ),
        Signature(pattern=r"_ARRAY_API not found", confidence=0.95),
        Signature(pattern=r"Numpy is not available", weigh=_unavailable, looks_at=(NO_NUMPY,)),
        Signature(pattern=r"Failed to initialize NumPy: (?P<why>[^\n]{1,80})", weigh=_initialized),
        Signature(
            pattern=r"module compiled against (?:ABI"
            r"|API) version 0x(?P<built>[0-9a-f]+) but this version of numpy is 0x(?P<here>[0-9a-f]+)",
            weigh=_abi,
        ),
        Signature(
            pattern=r"numpy\.(?:dtype|ndarray|ufunc"
            r"|random\S*) size changed, may indicate binary incompatibility\. Expected (?P<compiled>\d+)"
            r" from C header, got (?P<here>\d+) from PyObject",
            weigh=_size,
        ),
        Signature(pattern=r"was compiled against NumPy C-API version 0x[0-9a-f]+", confidence=0.7),
        Signature(pattern=r"numpy\.core\.(?:multiarray|umath) failed to import", confidence=0.8),
        Signature(pattern=r"`?(?P<gone>np\.\w+)`? was removed in the NumPy 2\.0 release", confidence=0.93),
        Signature(
            pattern=r"module 'numpy' has no attribute '(?:float_|complex_|unicode_|string_|Inf|Infinity|NaN|sctypes"
            r"|product|cumproduct|in1d"
            r"|trapz|row_stack|cast|obj2sctype|issctype|find_common_type|sometrue|alltrue|asfarray|maximum_sctype)'",
            confidence=0.85,
        ),
        Signature(pattern=r"Could not infer dtype of numpy\.", confidence=0.85),
        Signature(pattern=r"expected np\.ndarray \(got numpy\.ndarray\)", confidence=0.85),
        Signature(pattern=r"Unable to avoid copy while creating an array as requested", confidence=0.7),
        Signature(pattern=r"No module named 'numpy\._core'", confidence=0.6),
        Signature(
            pattern=r"Numba needs NumPy (?P<most>\d+\.\d+) or less\. Got NumPy (?P<numpy>\d+\.\d+)", confidence=0.7
        ),
        Signature(
            pattern=r"module 'numpy' has no attribute '(?:bool|int|float|object|complex|str|long|typeDict)'",
            confidence=0.4,
        ),
    ),
    message=(
        later("A package uses {gone}, which NumPy 2 has dropped."),
        later(
            "NumPy {numpy} is installed, but a compiled module was built for an older NumPy: they"
            " cannot exchange arrays."
        ),
        (
            later(
                "The installed NumPy is not the one that a compiled module (torch, OpenCV or"
                " another) was built for, mostly NumPy 2 for NumPy 1."
            )
        ),
    ),
    remedies=(
        Remedy(
            text=later("Hold NumPy below 2 in this environment."),
            commands=(("python", "-m", "pip", "install", "numpy<2"),),
        ),
        NEW_ENVIRONMENT,
    ),
    tell_apart=Remedy(
        text=later("See which NumPy is loaded, and from where."),
        commands=(("python", "-c", "import numpy; print(numpy.__version__, numpy.__file__)"),),
    ),
)


RULE = Rule(
    code="FAM107",
    cause="numpy2_abi",
    title=later("NumPy 2 beside a torch built for NumPy 1"),
    needs=("environment.distributions", "environment.torch"),
    check=check,
    rank=39,
    explains=("torch_import_fails",),
    log=LOG,
)

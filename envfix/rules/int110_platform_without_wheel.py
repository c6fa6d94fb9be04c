"""There is no torch wheel for this operating system or processor.

What you see
    On an Intel Mac "Could not find a version that satisfies the requirement torch==2.3.0 (from versions: ...,
    2.2.2)"; on Alpine Linux "Error relocating ...libcudnn.so: __strtod_internal: symbol not found"; uv's "doesn't
    have a source distribution or wheel for the current platform".

Why
    torch is built for Linux with glibc, Windows and macOS on 64-bit processors. Intel Macs were served up to 2.2.2, a
    Python for Intel on an Apple processor counts as one, Alpine's C library is musl, there is nothing for 32-bit ARM,
    and CUDA libraries exist for no Mac. pip finds no matching distribution, whatever the version of Python or pip. A
    wheel for another C library does not load.

How envfix knows
    In a log: a list of versions that ends with 2.2.2, uv's words about the platform, the loader's words on musl.
    On a machine: the table of wheels holds none for the target's platform (32-bit ARM, POWER ...), the C library is
    musl (Alpine Linux), or the Mac has an Intel processor, or the Python on an Apple one is translated, and this
    Python is newer than the last torch for it.

How to mend
    Use a platform that is served: an image with glibc (Debian, Ubuntu) instead of Alpine, a native arm64 Python on
    Apple processors, the last torch that was made for an Intel Mac.

What not to do
    A compatibility layer on Alpine or building from source is no first step.

Sources
    The table of torch wheels; the interpreter's own platform; messages of pip, uv and the loader.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Interpreter, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.rules._choices import (
    NO_DISTRIBUTION,
    NOT_SUPPORTED,
    POETRY_NO_CANDIDATES,
    TELL_APART,
    UV_NO_FILE,
    UV_NO_TAG,
    UV_PLATFORMS,
    WISH,
    first_choice,
    is_elsewhere,
    of_candidates,
    of_file,
    of_tag,
    of_wheel_file,
    weighing,
    weight,
)
from envfix.rules._environments import NEW_ENV
from envfix.rules._log import LogSide, Reading
from envfix.rules._rule import Rule, cite
from envfix.rules._wheels import (
    dotted,
    is_newer_than,
    is_served,
    libc_family,
    needs_a_wheel,
    pythons_with_wheels,
    with_python,
)
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    interpreter = environment.interpreter.value
    if interpreter is None or interpreter.bits == 0 or not needs_a_wheel(environment):
        return
    if libc_family(machine) == "musl":
        yield _finding(environment, interpreter, say("torch wheels need glibc, and this system has musl"), (_IMAGE,))
        return
    # What is installed came from somewhere; that it fails has another reason.
    if not environment.torch.is_absent or is_served(tables, interpreter):
        return
    served = pythons_with_wheels(tables, interpreter.platform_tag)
    if not served:
        why = say("none was ever made for this platform, as far as envfix knows")
        yield _finding(environment, interpreter, why, (_OTHER_MACHINE,))
    elif interpreter.platform_tag == "macosx_x86_64" and is_newer_than(interpreter, served[-1]):
        yield _intel_mac(machine, environment, interpreter, tables)


_IMAGE = Remedy(
    text=later(
        "Use an image or a machine with glibc: Debian or Ubuntu instead of Alpine"
        " (python:3.11-slim, not python:3.11-alpine)."
    )
)
_OTHER_MACHINE = Remedy(
    text=later("Use a 64-bit system with an x86_64 or ARM processor, or a build of torch by the maker of this system.")
)


def _finding(environment: Environment, interpreter: Interpreter, why: str, remedies: tuple[Remedy, ...]) -> Finding:
    return Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR,
        message=say(
            "There is no torch wheel for this platform ({platform_tag}): {why}.",
            platform_tag=interpreter.platform_tag,
            why=why,
        ),
        because=(
            cite("environment.interpreter", environment.interpreter, interpreter.platform_tag),
            Evidence(fact="tables.wheels", value=why, source=say("the table of torch wheels")),
        ),
        remedies=remedies,
    )


def _intel_mac(machine: Machine, environment: Environment, interpreter: Interpreter, tables: Tables) -> Finding:
    newest = tables.wheels.find("torch", platform="macosx_x86_64")[0].version
    last = pythons_with_wheels(tables, "macosx_x86_64")[-1]
    why = say(
        "the last torch for Intel Macs is {newest}, for Python up to {dotted}", newest=newest, dotted=dotted(last)
    )
    if machine.platform.value is not None and machine.platform.value.machine == "arm64":
        native = Remedy(
            text=say("This Python is translated: use a native arm64 Python, for which current wheels exist.")
        )
        return _finding(environment, interpreter, why, (native,))
    return _finding(environment, interpreter, why, (with_python(dotted(last)),))


_INTEL_MAC = (
    Remedy(
        text=later("On an Apple processor use a native arm64 Python: this must print arm64."),
        commands=(("python", "-c", "import platform; print(platform.machine())"),),
    ),
    Remedy(
        text=later("On an Intel Mac take the last torch that was made for it."),
        commands=((*NEW_ENV, "--python", "3.11", "--torch", "==2.2.2"),),
    ),
)


def _is_mac(reading: Reading) -> bool:
    choice = first_choice(reading)
    if choice is not None and choice.kind == "above":
        return True
    return any("macosx" in hit.text + hit.after[:600] or "osx-64" in hit.after[:900] for hit in reading.hits[:2])


def _message(reading: Reading) -> str:
    choice = first_choice(reading)
    if choice is not None and choice.kind == "above":
        return say(
            "torch for Macs with an Intel processor ended with 2.2.2, and {package} {wished} was asked for.",
            package=choice.package,
            wished=choice.wished,
        )
    if any("symbol not found" in hit.text or "ld-linux" in hit.text for hit in reading.hits):
        return say("torch needs glibc, and this system has another C library (musl, as in Alpine Linux).")
    return say("There is no wheel of what was asked for on this operating system or processor.")


def _mends(reading: Reading) -> tuple[Remedy, ...]:
    if _is_mac(reading):
        return _INTEL_MAC
    return (_IMAGE, _OTHER_MACHINE)


def _nvidia(hit: Hit, log: Log) -> float | None:
    """A list of requirements that was frozen on Linux asks for CUDA libraries."""
    del log
    return 0.8 if is_elsewhere(hit.before + hit.after) else 0.4


def _conda_mac(hit: Hit, log: Log) -> float | None:
    """Conda is asked for CUDA on a Mac."""
    del log
    return 0.85 if "/osx-" in hit.after or "osx-64" in hit.before[-800:] or "osx-arm64" in hit.before[-800:] else None


def _with_facts(reading: Reading, by_log: float) -> float | None:
    """Whether this is one of the platforms for which nobody builds wheels; another one may miss a single release."""
    if reading.proved:
        return None
    place = reading.machine.platform.value
    if place is None:
        return by_log
    arm = place.machine.lower() in ("arm64", "aarch64")
    odd = (
        (place.system == "win32" and arm)
        or (place.system == "darwin" and not arm)
        or (place.libc is not None and place.libc.family == "musl")
    )
    return max(by_log, 0.8) if odd else by_log * 0.5


LOG = LogSide(
    signatures=(
        Signature(pattern=WISH, weigh=weighing("platform_without_wheel", weight)),
        Signature(pattern=NO_DISTRIBUTION, unless=(WISH,), weigh=weighing("platform_without_wheel", weight)),
        Signature(pattern=r"none of the wheel's tags match: cp\d+[^\n]{0,200}/torch-\d", confidence=0.3, quoted=True),
        Signature(pattern=NOT_SUPPORTED, weigh=weighing("platform_without_wheel", of_wheel_file)),
        Signature(pattern=UV_NO_TAG, weigh=weighing("platform_without_wheel", of_tag), quoted=True),
        Signature(pattern=UV_NO_FILE, weigh=weighing("platform_without_wheel", of_file), quoted=True),
        Signature(pattern=UV_PLATFORMS, confidence=0.6, quoted=True),
        Signature(pattern=POETRY_NO_CANDIDATES, weigh=weighing("platform_without_wheel", of_candidates)),
        Signature(pattern=r"Error relocating [^\s:]{1,300}: \S{1,120}: symbol not found", confidence=0.93, quoted=True),
        Signature(
            pattern=r"(?:Error loading shared library )?ld-linux-(?:x86-64|aarch64)\.so\.[12]: (?:No such file|cannot"
            r" open)",
            confidence=0.88,
            quoted=True,
        ),
        Signature(
            pattern=r"mach-o(?: file)?, but is an incompatible architecture \(have '[^'\n]{1,30}', need '[^'\n]{1,30}'",
            beside=(r"torch",),
            confidence=0.8,
            quoted=True,
        ),
        Signature(
            pattern=r"satisfies the requirement nvidia-(?:cublas|cuda|cudnn|cufft|cufile|curand|cusolver|cusparse"
            r"|nccl|nvtx|nvjitlink|nvshmem)\S{0,60}",
            weigh=_nvidia,
            quoted=True,
        ),
        Signature(
            pattern=r"(?:PackagesNotFoundError|ResolvePackageNotFound)[^\n]{0,100}\n(?:[^\n]*\n){0,12}?\s*-"
            r" (?:\S{1,20}::)?"
            r"(?:cudatoolkit|pytorch-cuda|pytorch-gpu|cudnn|nccl)\b",
            weigh=_conda_mac,
            quoted=True,
        ),
        Signature(
            pattern=r"has no `[^`]{0,120}sys_platform == 'darwin'[^`]{0,120}`-compatible wheels",
            beside=(r"Because (?:torch|torchvision|torchaudio)\b",),
            confidence=0.9,
            quoted=True,
        ),
    ),
    message=_message,
    remedies=_mends,
    tell_apart=TELL_APART,
    explains=("wheel_not_on_index",),
    with_facts=_with_facts,
)

RULE = Rule(
    code="INT110",
    cause="platform_without_wheel",
    title=later("no torch wheel for this platform"),
    needs=("environment.interpreter", "environment.torch"),
    check=check,
    rank=29,
    explains=("torch_not_installed", "torch_import_fails", "wheel_python_mismatch"),
    log=LOG,
)

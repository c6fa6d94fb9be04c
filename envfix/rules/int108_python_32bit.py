"""The interpreter is a 32-bit program; torch exists for 64 bits only.

What you see
    "Could not find a version that satisfies the requirement torch (from versions: none)" or "(from versions: 0.1.2,
    0.1.2.post1, 0.1.2.post2)" with a Python in a folder such as ``Python38-32``, or a failing build of
    ``torch-0.1.2.post2.tar.gz``.

Why
    There is no 32-bit wheel: pip says "no matching distribution", or falls back to an ancient source package (0.1.2)
    and fails to build it.

How envfix knows
    In a log: the folder or the first line of that Python ("32 bit (Intel)"); without them such a list may also come
    from a Python that is too new. On a machine: the target's pointers have 32 bits while the processor has 64, and
    torch is not installed.

How to mend
    Install a 64-bit Python and make a new environment with it.

What not to do
    Build tools, another pip or another setuptools change nothing.

Sources
    The size of a pointer in the interpreter; the table of torch wheels; messages of pip and uv.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.rules._choices import (
    ANCIENT,
    NO_DISTRIBUTION,
    NOT_SUPPORTED,
    TELL_APART,
    UV_NO_TAG,
    WISH,
    is_32bit,
    of_tag,
    of_wheel_file,
    weighing,
    weight,
)
from envfix.rules._environments import NEW_ENV
from envfix.rules._log import LogSide
from envfix.rules._rule import Rule, cite
from envfix.rules._wheels import needs_a_wheel, well_served, with_python
from envfix.tables.loader import Tables

WIDE = ("x86_64", "AMD64", "aarch64", "arm64", "ARM64")


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    interpreter, platform = environment.interpreter.value, machine.platform.value
    if interpreter is None or platform is None or interpreter.bits != 32 or platform.machine not in WIDE:
        return
    if not needs_a_wheel(environment):
        return
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR,
        message=say(
            "This Python ({executable}) is a 32-bit program: torch exists for 64-bit Python only.",
            executable=interpreter.executable,
        ),
        because=(
            cite(
                "environment.interpreter",
                environment.interpreter,
                say("32 bits, {platform_tag}", platform_tag=interpreter.platform_tag),
            ),
            cite(
                "machine.platform",
                machine.platform,
                say("the processor has 64 bits ({machine})", machine=platform.machine),
            ),
        ),
        remedies=(with_python(well_served(tables, platform.tag)),),
    )


def _ancient(hit: Hit, log: Log) -> float | None:
    """Pip builds the placeholder of old: this Python has no wheel, because of its bits or of its age."""
    del log
    return 0.92 if is_32bit(hit.before + hit.after) else 0.4


def _folder(hit: Hit, log: Log) -> float | None:
    """A 32-bit Python where torch is about to be installed."""
    del log
    return 0.88 if "torch" in hit.before + hit.text + hit.after else None


LOG = LogSide(
    signatures=(
        Signature(pattern=WISH, weigh=weighing("python_32bit", weight)),
        Signature(pattern=NO_DISTRIBUTION, unless=(WISH,), weigh=weighing("python_32bit", weight)),
        Signature(pattern=NOT_SUPPORTED, weigh=weighing("python_32bit", of_wheel_file)),
        Signature(pattern=UV_NO_TAG, weigh=weighing("python_32bit", of_tag), quoted=True),
        Signature(pattern=r"WinError 193\b", confidence=0.6),
        Signature(pattern=ANCIENT, weigh=_ancient, quoted=True),
        Signature(
            pattern=r"[Pp]ython\d{2,3}-32[\\/]|32 bit \(Intel\)\]",
            beside=(
                (
                    r"(?i)no matching distribution|could not find a version|[/\\]torch[/\\]setup\.py"
                    r"|not a supported wheel|wheel for torch|torch-0\.1\.2"
                ),
            ),
            weigh=_folder,
            quoted=True,
        ),
    ),
    message=later("This Python may be a 32-bit program: torch exists for 64-bit Python only."),
    remedies=(
        Remedy(
            text=later("Install a 64-bit Python and make the environment with it."),
            commands=((*NEW_ENV, "--python", "3.11"),),
        ),
    ),
    tell_apart=TELL_APART,
    explains=("torch_not_installed", "wheel_not_on_index"),
)

RULE = Rule(
    code="INT108",
    cause="python_32bit",
    title=later("the Python has 32 bits"),
    needs=("environment.interpreter", "environment.torch", "machine.platform"),
    check=check,
    rank=23,
    explains=("platform_without_wheel", "torch_not_installed", "wheel_python_mismatch"),
    log=LOG,
)

"""There is no torch wheel for this Python, or the torch found was built for another one.

What you see
    "Could not find a version that satisfies the requirement torch==1.13.1 (from versions: 2.0.0, 2.0.1, ...)", uv's
    "has no wheels with a matching Python ABI tag (e.g., `cp313`)", "torch-1.13.1+cu117-cp310-cp310-win_amd64.whl is
    not a supported wheel on this platform".

Why
    Each release of torch has wheels for some Pythons only. pip says "no matching distribution found for torch",
    whatever its own version, and lists only versions that this Python could have. A torch of another Python (through
    PYTHONPATH, a shared folder, PyPy over the system's packages) is listed, but ``import torch`` cannot load its
    core.

How envfix knows
    In a log: the list itself. One that begins after the wish means a Python that is too new (2.0.0: 3.11 on Windows,
    2.2.0: 3.12, 2.6.0: 3.13), one that ends with the last release for an old Python means one that is too old
    (1.10.2: 3.6, 1.13.1: 3.7, 2.4.1: 3.8).
    On a machine: the tables of wheels hold none for the target's version and kind of Python (too new, too old, PyPy)
    on this platform, while torch is not installed. And where a torch is found: the ending of its compiled core
    (``_C.cpython-311-...``) against what this interpreter loads.

How to mend
    Make an environment with a Python that this torch supports, or take a torch that this Python has, with its
    siblings.

What not to do
    Upgrading pip, removing the pin without looking, or renaming a wheel changes nothing.

Sources
    The table of torch wheels; the files of the installed torch; the interpreter's own ABI; messages of pip, uv and
    Poetry.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from envfix.model.facts import Environment, Interpreter, Machine, ModuleCopy
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Signature
from envfix.rules._choices import (
    ANCIENT,
    NO_DISTRIBUTION,
    NOT_SUPPORTED,
    POETRY_NO_CANDIDATES,
    TELL_APART,
    UV_FOUND,
    UV_NO_FILE,
    UV_NO_TAG,
    WISH,
    as_text,
    first_choice,
    of_candidates,
    of_file,
    of_tag,
    of_wheel_file,
    python_for,
    weighing,
    weight,
)
from envfix.rules._environments import NEW_ENV, startup_of
from envfix.rules._log import LogSide, Reading
from envfix.rules._log_context import as_by_log
from envfix.rules._roots import root_of_torch
from envfix.rules._rule import Rule, cite
from envfix.rules._wheels import (
    dotted,
    is_newer_than,
    is_served,
    libc_family,
    pythons_with_wheels,
    well_served,
    with_python,
)
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    interpreter = environment.interpreter.value
    if interpreter is None:
        return
    foreign = _built_for_another(environment)
    if foreign is not None:
        finding = _foreign(environment, interpreter, foreign, tables)
        yield msgspec.structs.replace(finding, follows_from=root_of_torch(machine, environment))
    elif environment.torch.is_absent and interpreter.bits == 64 and libc_family(machine) != "musl":
        yield from _no_wheel(environment, interpreter, tables)


def _built_for_another(environment: Environment) -> ModuleCopy | None:
    """The torch that would be imported, if none of its cores is for this interpreter."""
    startup = startup_of(environment)
    copies = [one for one in startup.copies if one.name == "torch" and one.kind != "folder"]
    if not copies or not copies[0].built_for or not startup.abi:
        return None
    return None if any(_loads(startup.abi, ending) for ending in copies[0].built_for) else copies[0]


def _loads(abi: str, ending: str) -> bool:
    """Whether an interpreter of this ABI takes a core with this ending; one without a name, or with abi3, is taken by many."""
    return (
        ending in ("", "abi3") or ending.startswith(abi) or abi.startswith(ending) or not ending.startswith("cpython-")
    )


def _foreign(environment: Environment, interpreter: Interpreter, torch: ModuleCopy, tables: Tables) -> Finding:
    abi = startup_of(environment).abi or ""
    name = "PyPy" if interpreter.implementation == "pypy" else "Python"
    return Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR,
        message=say(
            "The torch in {location} was built for another Python ({built_for}) than this {name} {version}.",
            location=torch.location,
            built_for=", ".join(torch.built_for),
            name=name,
            version=interpreter.version,
        ),
        because=(
            Evidence(
                fact="environment.startup", value=f"{torch.location}/_C.{torch.built_for[0]}", source=say("its files")
            ),
            cite("environment.interpreter", environment.interpreter, say("this interpreter loads {abi}", abi=abi)),
        ),
        remedies=(with_python(well_served(tables, interpreter.platform_tag)),),
    )


def _no_wheel(environment: Environment, interpreter: Interpreter, tables: Tables) -> Iterator[Finding]:
    platform = interpreter.platform_tag
    served = () if is_served(tables, interpreter) else pythons_with_wheels(tables, platform)
    if not served:
        return
    if not interpreter.tag.startswith("cp"):
        why = say("wheels are for CPython, this is {implementation}", implementation=interpreter.implementation)
    elif is_newer_than(interpreter, served[-1]):
        why = say(
            "this Python is newer than any that envfix knows wheels for ({dotted} to {dotted_2})",
            dotted=dotted(served[0]),
            dotted_2=dotted(served[-1]),
        )
    else:
        why = say(
            "wheels exist for Python {dotted} to {dotted_2}", dotted=dotted(served[0]), dotted_2=dotted(served[-1])
        )
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR,
        message=say(
            "There is no torch wheel for this Python ({tag}, {version}) on {platform}: {why}.",
            tag=interpreter.tag,
            version=interpreter.version,
            platform=platform,
            why=why,
        ),
        because=(
            cite(
                "environment.interpreter",
                environment.interpreter,
                say("{tag} at {executable}", tag=interpreter.tag, executable=interpreter.executable),
            ),
            Evidence(fact="tables.wheels", value=why, source=say("tables of {origin}", origin=tables.origin)),
        ),
        remedies=(with_python(well_served(tables, platform)),),
    )


def _message(reading: Reading) -> str:
    """What was asked for, and what this Python could have."""
    choice = first_choice(reading)
    if choice is not None and choice.wished:
        name = f"{choice.package} {choice.wished}"
        if choice.kind == "below":
            return say(
                "There is no {name} for this Python: the oldest that it can have is {first_text}.",
                name=name,
                first_text=choice.first_text,
            )
        if choice.kind == "above":
            return say(
                "There is no {name} for this Python: the newest that it can have is {last_text}.",
                name=name,
                last_text=choice.last_text,
            )
        return say("There is no {name} for this Python, as far as pip sees.", name=name)
    groups = reading.groups
    if "have" in groups:
        return say(
            "This torch needs Python {need}, and this is {have}.",
            need=groups.get("need", say("of another version")),
            have=groups["have"],
        )
    if "which" in groups:
        return say(
            "There is no wheel of {package} {which} for this Python.",
            package=groups.get("package", "torch"),
            which=groups["which"].lstrip("="),
        )
    if "file" in groups:
        return say("The file {file} is for another Python than this one.", file=groups["file"])
    return say("There is no wheel of this torch for this Python.")


def _mends(reading: Reading) -> tuple[Remedy, ...]:
    choice = first_choice(reading)
    python = python_for(reading.tables, choice)
    if choice is None or choice.wish is None or python is None:
        return (with_python(well_served(reading.tables, "linux_x86_64")),)
    release = as_text(choice.wish)
    return (
        Remedy(
            text=say("Make an environment with a Python that has torch {release}.", release=release),
            commands=((*NEW_ENV, "--python", python, "--torch", f"=={release}"),),
        ),
        Remedy(
            text=say("Or take a torch that this Python has; its siblings go with it."),
            commands=(NEW_ENV,),
        ),
    )


LOG = LogSide(
    signatures=(
        Signature(pattern=WISH, weigh=weighing("wheel_python_mismatch", weight)),
        Signature(pattern=NO_DISTRIBUTION, unless=(WISH,), weigh=weighing("wheel_python_mismatch", weight)),
        Signature(
            pattern=r"none of the wheel's tags match: cp\d+[^\n]{0,200}/torch-\d|No compatible version found for: torch\b",
            confidence=0.5,
            quoted=True,
        ),
        Signature(pattern=NOT_SUPPORTED, weigh=weighing("wheel_python_mismatch", of_wheel_file)),
        Signature(pattern=UV_NO_TAG, weigh=weighing("wheel_python_mismatch", of_tag), quoted=True),
        Signature(pattern=UV_NO_FILE, weigh=weighing("wheel_python_mismatch", of_file), quoted=True),
        Signature(pattern=UV_FOUND, confidence=0.93, quoted=True),
        Signature(pattern=POETRY_NO_CANDIDATES, weigh=weighing("wheel_python_mismatch", of_candidates)),
        Signature(
            pattern=r"Package '?(?P<package>torch|torchvision|torchaudio)'? requires a different Python:"
            r" (?P<have>\S{1,20}) not in '(?P<need>[^'\n]{1,60})'",
            confidence=0.95,
            quoted=True,
        ),
        Signature(
            pattern=r"(?:torch|torchvision|torchaudio) (?:\([^)\n]{1,40}\) )?requires Python"
            r" (?P<need>[<>=!~][^\n]{1,60}?),? so it will not be (?:satisfied|installable) for Python",
            confidence=0.9,
            quoted=True,
        ),
        Signature(
            pattern=r"the requested Python version \((?P<have>[^)\n]{1,40})\) does not satisfy"
            r" Python(?P<need>[<>=!~][^\s]{1,40})",
            beside=(r"\b(?:torch|torchvision|torchaudio)[=<>]",),
            confidence=0.7,
            quoted=True,
        ),
        Signature(
            pattern=r"Python version mismatch: module was compiled for Python (?P<need>[\d.]{3,6})",
            confidence=0.85,
            quoted=True,
        ),
        Signature(
            pattern=r"(?:pytorch|torchvision|torchaudio)[^\n]{0,80} would require (?:[^\n]{0,60}\n)?[^\n]{0,20}python"
            r" (?P<need>[<>=\d][^\n,]{1,40})",
            confidence=0.55,
            quoted=True,
        ),
        Signature(
            pattern=r"- (?:pytorch|torchvision|torchaudio)[^\n]{0,120} ->"
            r" python\[?(?:version=)?(?P<need>'?[<>=\d][^\n]{1,80})",
            beside=(r"UnsatisfiableError|incompatible with the existing python installation",),
            confidence=0.7,
            quoted=True,
        ),
        Signature(pattern=ANCIENT, confidence=0.45, quoted=True),
        Signature(
            pattern=r"incompatible with the existing python installation in your environment",
            beside=(r"\bpytorch\b",),
            confidence=0.75,
            quoted=True,
        ),
        Signature(
            pattern=r"(?:Python 3\.1\d\+? (?:is )?not (?:yet )?supported|not supported on Python 3\.1\d)",
            beside=(r"torch",),
            confidence=0.55,
            quoted=True,
        ),
    ),
    message=_message,
    remedies=_mends,
    tell_apart=TELL_APART,
    explains=("wheel_not_on_index",),
    with_facts=as_by_log,
)

RULE = Rule(
    code="INT109",
    cause="wheel_python_mismatch",
    title=later("no torch wheel for this Python"),
    needs=("environment.interpreter", "environment.torch"),
    check=check,
    rank=30,
    explains=("torch_not_installed", "torch_import_fails"),
    log=LOG,
)

"""A copy in the user's own packages is used instead of the environment's.

What it checks
    torch, torchvision, numpy or ultralytics lie both in the user's own packages
    (``~/.local/lib/python3.X/site-packages``) and in the target's own site-packages, and the user's copy comes
    first on the path.

Why it matters
    ``pip install --user`` puts packages where every Python of the same version sees them, conda environments
    included. ``conda list`` and ``pip list`` show the environment's torch, programs get the other one: a CPU build,
    another CUDA, another NumPy.

How to fix
    Switch the user's packages off for this environment (PYTHONNOUSERSITE=1), or remove the user's copy.
    Reinstalling into the environment changes nothing: the user's copy still comes first.

Sources
    The target's own path, in the order in which Python looks; folders on it.
"""

from __future__ import annotations

import os.path
from collections.abc import Iterator

from envfix.model.facts import Environment, Interpreter, Machine, ModuleCopy
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.rules._changing import lacks_pip
from envfix.rules._environments import command, conda_name, startup_of
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    interpreter = environment.interpreter.value
    hidden = list(_hidden(environment, interpreter)) if interpreter is not None else []
    if interpreter is None or not hidden:
        return
    pairs = ", ".join(f"{one.name} {one.version or '?'} instead of {two.version or '?'}" for one, two in hidden)
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=_severity(interpreter, hidden),
        message=f"The user's own packages come before those of {interpreter.prefix}: {pairs}.",
        because=tuple(evidence for pair in hidden for evidence in _evidence(environment, *pair)),
        remedies=_remedies(machine, environment, interpreter, hidden),
    )


def _severity(interpreter: Interpreter, hidden: list[tuple[ModuleCopy, ModuleCopy]]) -> Severity:
    """Outside of environments a newer copy of one's own is what ``--user`` is for; equal copies do no harm yet."""
    differing = [first.name for first, second in hidden if first.version != second.version]
    if interpreter.kind == "system" or not differing:
        return Severity.INFO
    return Severity.ERROR if "torch" in differing else Severity.WARNING


def _hidden(environment: Environment, interpreter: Interpreter) -> Iterator[tuple[ModuleCopy, ModuleCopy]]:
    """Pairs of the user's copy that is taken and the environment's own that it hides."""
    copies = [one for one in startup_of(environment).copies if one.kind != "folder"]
    for name in dict.fromkeys(one.name for one in copies):
        same = [one for one in copies if one.name == name]
        own = [one for one in same[1:] if os.path.dirname(one.location) in interpreter.site_packages]
        if same[0].user_site and own:
            yield same[0], own[0]


def _evidence(environment: Environment, first: ModuleCopy, second: ModuleCopy) -> Iterator[Evidence]:
    for copy, said in ((first, "comes first"), (second, "is hidden by it")):
        value = f"{copy.location} ({copy.version or 'version unknown'}) {said}"
        yield Evidence(fact="environment.startup", value=value, source=environment.interpreter.source)
    for record in environment.conda_records.value or ():
        if record.name == "pytorch" and first.name == "torch":
            shown = f"`conda list` shows pytorch {record.version} {record.build}"
            yield cite("environment.conda_records", environment.conda_records, shown)


def _remedies(
    machine: Machine, environment: Environment, interpreter: Interpreter, hidden: list[tuple[ModuleCopy, ModuleCopy]]
) -> tuple[Remedy, ...]:
    remedies = [
        Remedy(
            text="Switch the user's own packages off in this shell; to keep it, put the line into the shell's start file.",
            commands=(("export", "PYTHONNOUSERSITE=1"),),
        )
    ]
    if interpreter.kind == "conda" and command(machine, "conda") is not None:
        name = conda_name(interpreter.prefix)
        target = ("--prefix", interpreter.prefix) if name == interpreter.prefix else ("--name", name)
        argv = ("conda", "env", "config", "vars", "set", *target, "PYTHONNOUSERSITE=1")
        remedies.append(Remedy(text="Or for this environment only, whenever it is activated.", commands=(argv,)))
    names = tuple(first.name for first, _ in hidden)
    remedies.append(
        Remedy(
            text="Or remove the user's copy: pip names the files first, and they must be those of the user's own packages.",
            # Another tool would not look among the user's own packages.
            commands=() if lacks_pip(environment) else ((interpreter.executable, "-m", "pip", "uninstall", *names),),
            safe=False,
        )
    )
    return tuple(remedies)


RULE = Rule(
    code="INT104",
    cause="user_site_shadowing",
    title="the user's own packages hide the environment's",
    needs=("environment.interpreter", "environment.startup"),
    check=check,
    rank=21,
    explains=(
        "cpu_only_build_installed",
        "driver_too_old_for_wheel",
        "numpy2_abi",
        "sm_too_new_for_wheel",
        "sm_too_old_for_wheel",
        "torchvision_torch_mismatch",
        "torchvision_cpu_with_cuda_torch",
        "torchaudio_torch_mismatch",
        "torch_import_fails",
    ),
)

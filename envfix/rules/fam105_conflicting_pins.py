"""An installed package asks for another torch, torchvision or NumPy than the one that is installed.

What it checks
    What installed packages state in their metadata for this platform and Python, against the versions that are
    installed. torchvision, torchaudio and compiled extensions have causes of their own.

Why it matters
    pip prints "requires torch==..., but you have torch ... which is incompatible" once and goes on. The next
    installation may replace torch again, in one direction or the other.

How to fix
    Take the release of that package that belongs to the installed torch, or resolve both in one command.
    ``--no-deps`` and ``--force-reinstall`` hide the conflict only.

Sources
    Requires-Dist in the metadata of the installed packages.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Evidence, Finding, Severity
from envfix.rules._changing import in_place
from envfix.rules._family import EXTENSIONS, NEW_ENVIRONMENT, Asked, installed, key_of, requirements, version
from envfix.rules._rule import Rule
from envfix.tables.loader import Tables

JUDGED = ("torch", "torchvision", "torchaudio", "numpy")
ELSEWHERE = EXTENSIONS | {"torchvision", "torchaudio"}


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del machine, tables
    broken = [(asked, has) for asked, has in unsatisfied(environment) if not only_too_old(asked, has)]
    if not broken:
        return
    asked, has = broken[0]
    name = asked.requirement.name
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.WARNING,
        message=f"The package {asked.by.name} {asked.by.version} asks for {name}{asked.requirement.specifier},"
        f" but {name} {has} is installed.",
        because=tuple(_stated(one, version_here) for one, version_here in broken[:5]),
        remedies=(
            in_place(
                environment,
                "Take a release of that package which goes with what is installed: this finds it and leaves the rest as it is.",
                "install", "-U", asked.by.name, f"{name}=={has}",
            ),
            NEW_ENVIRONMENT,
        ),
    )  # fmt: skip


def unsatisfied(environment: Environment) -> Iterator[tuple[Asked, str]]:
    """Requirements on the torch family that what is installed does not meet, with the version that is installed."""
    here = {name: item.version for name, item in installed(environment).items() if name in JUDGED}
    if environment.torch.value:
        here["torch"] = environment.torch.value.build
    for asked in requirements(environment, of=here):
        name = key_of(asked.requirement.name)
        has = version(here.get(name))
        if has is None or asked.requirement.url or key_of(asked.by.name) in ELSEWHERE or asked.extra is not None:
            continue
        if not asked.requirement.specifier.contains(has.public, prereleases=True) and not _met(asked, str(has)):
            yield asked, str(has)


def _met(asked: Asked, has: str) -> bool:
    """A pin with a local label (torch==2.1.2+cu118) is met only by that very build."""
    return asked.requirement.specifier.contains(has, prereleases=True)


def only_too_old(asked: Asked, has: str) -> bool:
    """Whether what is installed only is not new enough."""
    here = version(has)
    for clause in asked.requirement.specifier:
        if here is not None and not clause.contains(here.public, prereleases=True):
            bound = version(clause.version)
            if clause.operator not in (">=", ">", "~=") or bound is None or here > bound:
                return False
    return True


def _stated(asked: Asked, has: str) -> Evidence:
    value = f"{asked.by.name} {asked.by.version} asks for {asked.requirement.name}{asked.requirement.specifier}; installed: {has}"
    return Evidence(fact="environment.distributions", value=value, source=f"{asked.by.location}/{asked.by.metadata}")


RULE = Rule(
    code="FAM105",
    cause="conflicting_pins",
    title="An installed package asks for another torch",
    needs=("environment.distributions", "environment.interpreter"),
    check=check,
    rank=38,
)

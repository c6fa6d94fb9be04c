"""An installed library needs a newer torch.

What it checks
    What installed packages ask for in their metadata, transformers' optional torch included, against the installed
    torch.

Why it matters
    The library switches its torch parts off ("PyTorch >= 2.4 is required but found 2.2") or fails on modules that
    are not there yet.

How to fix
    A newer torch, as new as driver and card allow; where they do not, hold the library back. Editing the check away
    changes nothing.

Sources
    Requires-Dist in the metadata of the installed packages.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.rules._changing import pip
from envfix.rules._family import NEW_ENVIRONMENT, Asked, requirements, version
from envfix.rules._rule import Rule, cite
from envfix.rules.fam105_conflicting_pins import only_too_old, unsatisfied
from envfix.tables.loader import Tables

# Their torch is an extra, yet they look for it whenever it is installed.
OPTIONAL = ("transformers", "diffusers", "accelerate")


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del machine, tables
    torch = environment.torch.value
    if torch is None:
        return
    broken = [
        asked
        for asked, has in unsatisfied(environment)
        if asked.requirement.name == "torch" and only_too_old(asked, has)
    ]
    broken += [asked for asked in _optional(environment) if only_too_old(asked, torch.build)]
    if not broken:
        return
    first = broken[0]
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.WARNING,
        message=f"torch {torch.build} is too old for {first.by.name} {first.by.version},"
        f" which asks for torch {first.requirement.specifier}.",
        because=(
            cite("environment.torch", environment.torch, torch.build),
            *(
                Evidence(
                    fact="environment.distributions",
                    value=f"{asked.by.name} {asked.by.version} asks for torch {asked.requirement.specifier}",
                    source=f"{asked.by.location}/{asked.by.metadata}",
                )
                for asked in broken[:5]
            ),
        ),
        remedies=(
            NEW_ENVIRONMENT,
            Remedy(
                text=f"Or hold {first.by.name} back to a release that goes with this torch.",
                commands=pip(environment, "install", f"{first.by.name}<{first.by.version}", f"torch=={torch.version}"),
            ),
        ),
    )


def _optional(environment: Environment) -> Iterator[Asked]:
    torch = environment.torch.value
    here = version(torch.build) if torch else None
    for asked in requirements(environment, of=("torch",)):
        wanted = asked.requirement
        optional = asked.by.name.lower() in OPTIONAL and wanted.name == "torch" and asked.extra == "torch"
        if optional and here is not None and not wanted.specifier.contains(here.public, prereleases=True):
            yield asked


RULE = Rule(
    code="FAM110",
    cause="torch_too_old_for_library",
    title="A library needs a newer torch",
    needs=("environment.torch", "environment.distributions", "environment.interpreter"),
    check=check,
    rank=39,
)

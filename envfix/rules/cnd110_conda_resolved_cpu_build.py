"""conda chose a build without CUDA, on a machine that has an NVIDIA card.

What it checks
    The build string in conda's record of pytorch or torchvision says ``cpu``, or the package ``cpuonly`` is
    installed, while there is an NVIDIA card and torch has no CUDA.

Why it matters
    conda takes a CPU build without a word where it saw no driver (login node, container, before the driver was
    installed) or where a channel with CPU builds only comes first. Installing cudatoolkit afterwards does not
    change the build.

How to fix
    Ask for the CUDA variant by its build string, with CONDA_OVERRIDE_CUDA set where conda sees no driver, or put a
    pip wheel into the environment.

Sources
    conda-meta of the target's prefix.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import CondaRecord, Environment, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.rules._changing import conda
from envfix.rules._family import NEW_ENVIRONMENT, has_nvidia_card, records
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    torch, known = environment.torch.value, records(environment)
    chosen = [
        row for name, row in known.items() if name in ("pytorch", "libtorch", "torchvision") and "cpu" in row.build
    ]
    chosen += [row for name, row in known.items() if name == "cpuonly"]
    if not chosen or torch is None or torch.cuda is not None or torch.hip or not has_nvidia_card(machine):
        return
    first = chosen[0]
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR,
        message=f"Conda chose a build of {first.name} without CUDA ({first.version} {first.build}),"
        " although there is an NVIDIA card.",
        because=(
            *(_recorded(environment, row) for row in chosen),
            cite("environment.torch", environment.torch, torch.build),
        ),
        remedies=_remedies(machine, environment, known),
    )


def _recorded(environment: Environment, row: CondaRecord) -> Evidence:
    value = f"{row.name} {row.version} {row.build}" + (f" from {row.channel}" if row.channel else "")
    return Evidence(fact="environment.conda_records", value=value, source=environment.conda_records.source)


def _remedies(machine: Machine, environment: Environment, known: dict[str, CondaRecord]) -> tuple[Remedy, ...]:
    commands = conda(machine, environment, "remove", "cpuonly") if "cpuonly" in known else ()
    commands += conda(machine, environment, "install", "pytorch=*=*cuda*")
    text = "Or ask conda for a CUDA build by its build string, on a machine where nvidia-smi works (else set CONDA_OVERRIDE_CUDA)."
    return (NEW_ENVIRONMENT, Remedy(text=text, commands=commands, safe=False))


RULE = Rule(
    code="CND110",
    cause="conda_resolved_cpu_build",
    title="conda chose a build without CUDA",
    needs=("environment.conda_records", "environment.torch"),
    check=check,
    rank=31,
    explains=("cpu_only_build_installed",),
)

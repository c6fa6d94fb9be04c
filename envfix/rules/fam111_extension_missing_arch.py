"""A compiled extension holds no code for the card that torch itself can use.

What it checks
    The GPU code inside the libraries of packages built on torch (torchvision included) against the compute
    capability of the cards.

Why it matters
    torch runs on the card, and the first call of the extension ends with "no kernel image is available for
    execution on the device".

How to fix
    Build the extension again with TORCH_CUDA_ARCH_LIST set to this card, or take a wheel that was built for it.
    Another torch changes nothing.

Sources
    The section .nv_fatbin of the extension's libraries.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Binary, Environment, Gpu, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.versions import ComputeCapability
from envfix.rules._family import NEW_ENVIRONMENT
from envfix.rules._rule import Rule, cite
from envfix.tables.architectures import SmList, runs_on
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    cards = [(card, card.capability) for card in machine.gpus.value or () if card.capability is not None]
    packages: dict[str, list[Binary]] = {}
    for file in environment.binaries.value.files if environment.binaries.value else ():
        if file.sm or file.ptx:
            packages.setdefault(file.package, []).append(file)
    for package, files in packages.items():
        unfit = [(card, capability) for card, capability in cards if not _runs(files, capability)]
        if unfit:
            yield _finding(machine, package, files, unfit, len(cards))
            return


def _runs(files: list[Binary], capability: ComputeCapability) -> bool:
    """Whether any library of the package has code for the card; portable code counts, for the driver may compile it."""
    sm = tuple(sorted({one for file in files for one in file.sm or ()}))
    ptx = tuple(sorted({one for file in files for one in file.ptx}))
    return bool(runs_on(capability, SmList(sm=sm, ptx=ptx), driver_is_direct=True))


def _finding(
    machine: Machine, package: str, files: list[Binary], unfit: list[tuple[Gpu, ComputeCapability]], cards: int
) -> Finding:
    names = ", ".join(f"{card.name} ({capability.sm})" for card, capability in unfit)
    wanted = ";".join(dict.fromkeys(str(capability) for _, capability in unfit))
    built = " ".join(sorted({one.sm for file in files for one in file.sm or ()}))
    return Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR if len(unfit) == cards else Severity.WARNING,
        message=f"The compiled code of {package} holds nothing for {names}: its GPU functions cannot run there.",
        because=(
            Evidence(
                fact="environment.binaries", value=f"built for {built or 'portable code only'}", source=files[0].path
            ),
            cite("machine.gpus", machine.gpus, names),
        ),
        remedies=(
            Remedy(text=f'Build {package} again for this card, with TORCH_CUDA_ARCH_LIST="{wanted}" set.'),
            NEW_ENVIRONMENT,
        ),
    )


RULE = Rule(
    code="FAM111",
    cause="extension_missing_arch",
    title="An extension has no code for this card",
    needs=("machine.gpus", "environment.binaries"),
    check=check,
    rank=39,
)

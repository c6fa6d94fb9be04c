"""Another cuDNN is used than the one torch was built with.

What it checks
    The version of the installed nvidia-cudnn package against the one that torch's metadata pins; a cuDNN on
    LD_LIBRARY_PATH or loaded by the import from outside the environment, of the same major number as torch's own.

Why it matters
    "cuDNN version incompatibility: PyTorch was compiled against ... but found runtime version ...", "Could not load
    library libcudnn_...", "unable to find an engine": convolutions fail, everything else works.

How to fix
    Take the external cuDNN off the path, or bring the pip package back to the version that torch names. Copying
    cuDNN files into torch or installing cuDNN system-wide makes it worse.

Sources
    Requires-Dist of torch, metadata of nvidia-cudnn, the files on LD_LIBRARY_PATH, the libraries of the process.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from envfix.model.facts import Distribution, Environment, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.rules._changing import in_place
from envfix.rules._family import (
    NEW_ENVIRONMENT,
    evidence,
    import_evidence,
    import_failure,
    import_works,
    installed,
    key_of,
    requirements,
    version,
)
from envfix.rules._libraries import is_bundled, loaded, loaded_from_outside, older, placed, shadowing, without_path
from envfix.rules._rule import Rule
from envfix.tables.loader import Tables

SAYS = re.compile(
    r"cuDNN version incompatibility|Could not load library libcudnn|undefined symbol: cudnn\w+", re.IGNORECASE
)


class Pinned(NamedTuple):
    """The cuDNN package that torch asks for and the one that is installed."""

    item: Distribution
    wanted: str
    too_old: bool
    other_major: bool


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    said = environment.torch_import.value
    text = f"{import_failure(environment) or ''} {said.cuda_problem if said else ''}"
    pinned, shadows = pin(environment), shadowing(machine, environment, cudnn=True)
    outside = tuple(path for path in loaded_from_outside(environment, cudnn=True) if is_bundled(path, environment))
    if pinned is not None and (pinned.too_old or pinned.other_major):
        severity = Severity.WARNING if import_works(environment) and not pinned.other_major else Severity.ERROR
        message = (
            f"torch was built with cuDNN {pinned.wanted}, but {pinned.item.name} {pinned.item.version} is installed."
        )
    elif SAYS.search(text):
        severity, message = Severity.ERROR, "torch meets another cuDNN than the one it was built with."
    elif outside:
        severity = Severity.WARNING
        message = f"torch loads a cuDNN from outside ({outside[0]}) instead of the one that came with it."
    elif environment.torch_import.is_unknown and any(older(library, environment) for library in shadows):
        severity, message = (
            Severity.WARNING,
            "An older cuDNN on LD_LIBRARY_PATH is found before the one that came with torch.",
        )
    else:
        return
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=severity,
        message=message,
        because=(
            *(evidence(pinned.item) if pinned else ()),
            *placed(machine, shadows),
            *loaded(environment, outside),
            *(_said(environment) if SAYS.search(text) else ()),
        ),
        remedies=(*_remedies(environment, pinned, shadowed=bool(shadows or outside)), NEW_ENVIRONMENT),
    )


def pin(environment: Environment) -> Pinned | None:
    """The cuDNN that torch pins against what is installed under that name; None where it pins nothing or nothing is installed."""
    here = installed(environment)
    torch = here.get("torch")
    for asked in requirements(environment, iter((torch,))) if torch else ():
        name, exact = key_of(asked.requirement.name), re.fullmatch(r"==([\d.]+)", str(asked.requirement.specifier))
        item = here.get(name)
        if not name.startswith("nvidia-cudnn") or exact is None or item is None:
            continue
        wanted, own = version(exact[1]), version(item.version)
        if wanted is not None and own is not None:
            too_old = own.release[:2] < wanted.release[:2]
            return Pinned(item, exact[1], too_old, own.major != wanted.major)
    return None


def _said(environment: Environment) -> tuple[Evidence, ...]:
    said = environment.torch_import.value
    problem = said.cuda_problem if said else None
    cuda = Evidence(fact="environment.torch_import", value=problem or "", source=environment.torch_import.source)
    return (*import_evidence(environment), *((cuda,) if problem else ()))


def _remedies(environment: Environment, pinned: Pinned | None, *, shadowed: bool) -> Iterator[Remedy]:
    if pinned is not None and (pinned.too_old or pinned.other_major):
        yield in_place(
            environment,
            "Bring cuDNN back to what this torch names.",
            "install",
            f"{pinned.item.name}=={pinned.wanted}",
        )
    if shadowed:
        yield without_path(environment)


RULE = Rule(
    code="LIB102",
    cause="cudnn_version_conflict",
    title="Another cuDNN than torch's own",
    needs=("environment.torch", "environment.distributions"),
    check=check,
    rank=41,
    explains=("torch_import_fails",),
)

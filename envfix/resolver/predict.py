"""A plan applied to facts: the environment as it would be afterwards, so that it can be judged before anything is done."""

from __future__ import annotations

import msgspec
from packaging.version import Version

from envfix.model.facts import (
    NOT_ASKED,
    Binaries,
    Distribution,
    Environment,
    ModuleCopy,
    Observed,
    Startup,
    TorchBuild,
    VisionBuild,
    absent,
    found,
    unknown,
)
from envfix.model.language import stated
from envfix.model.plan import Choice, Plan
from envfix.model.versions import CudaVersion
from envfix.tables.loader import Tables

SOURCE = stated("the plan")
PREFIX = "yolo-env"


def predicted(environment: Environment, plan: Plan, tables: Tables) -> Environment:
    """A new environment of the same Python with the planned stack in it, in the shell and on the paths of today.

    What only looking can tell (an import, compiled files) is unknown by choice. Raises ``ValueError`` for a plan without
    a choice.
    """
    choice, interpreter = plan.choice, environment.interpreter.value
    if choice is None or interpreter is None:
        raise ValueError("there is nothing planned to be applied")
    site = f"{PREFIX}/lib/python/site-packages"
    place = msgspec.structs.replace(
        interpreter,
        executable=f"{PREFIX}/bin/python",
        asked=SOURCE,
        prefix=PREFIX,
        kind="venv",
        site_packages=(site,),
        externally_managed=False,
        writable=True,
        shadows=(),
        started=None,
        scripts=f"{PREFIX}/bin",
    )
    not_asked: Observed[Binaries] = unknown(SOURCE, NOT_ASKED)
    return msgspec.structs.replace(
        environment,
        interpreter=found(place, SOURCE),
        distributions=found(_distributions(choice, site), SOURCE),
        torch=found(_torch(choice, plan, tables, site), SOURCE),
        torchvision=_vision(choice),
        torch_import=unknown("import torch", NOT_ASKED),
        elsewhere=absent(SOURCE),
        startup=found(_startup(environment, choice, site), SOURCE),
        conda_records=absent(SOURCE),
        binaries=not_asked,
    )


def _torch(choice: Choice, plan: Plan, tables: Tables, site: str) -> TorchBuild:
    code = tables.architectures.built(Version(choice.torch), choice.variant, plan.target.platform)
    return TorchBuild(
        version=choice.torch,
        build=f"{choice.torch}{choice.local_label}",
        location=f"{site}/torch",
        cuda=_cuda(choice),
        sm=code.sm if code else None,
        ptx=code.ptx if code else (),
    )


def _cuda(choice: Choice) -> CudaVersion | None:
    return None if choice.variant == "cpu" else CudaVersion.parse(choice.variant)


def _vision(choice: Choice) -> Observed[VisionBuild]:
    if choice.torchvision is None:
        return absent(SOURCE)
    return found(
        VisionBuild(
            version=choice.torchvision,
            build=f"{choice.torchvision}{choice.local_label}",
            cuda=_cuda(choice),
            torch_pin=choice.torch,
        ),
        SOURCE,
    )


def _distributions(choice: Choice, site: str) -> tuple[Distribution, ...]:
    versions = {"torch": choice.torch, "torchvision": choice.torchvision}
    return tuple(
        Distribution(name=name, version=f"{version}{choice.local_label}", location=site, installer="uv")
        for name, version in versions.items()
        if version is not None
    )


def _startup(environment: Environment, choice: Choice, site: str) -> Startup:
    """The shell and its variables stay; what hides torch from a fresh environment (PYTHONPATH) still comes first."""
    before = environment.startup.value or Startup()
    variable = before.variables.get("PYTHONPATH", "")
    hiding = tuple(
        copy for copy in before.copies if any(copy.location.startswith(entry) for entry in variable.split(":") if entry)
    )
    own = ModuleCopy(name="torch", location=f"{site}/torch", kind="package", version=choice.torch)
    return msgspec.structs.replace(
        before, home=PREFIX, path_files=(), active=(), bypassed=None, copies=(*hiding, own), own_commands=()
    )

"""Keeps a stack in place: a pip constraints file with every pin and bound of a plan, so that nothing replaces torch."""

from __future__ import annotations

import re

from envfix.lockers.interface import LockError
from envfix.model.language import say
from envfix.model.plan import REGISTRY, PackagePin, Plan, PlanTarget

FILENAME = "envfix-constraints.txt"


def constraints(plan: Plan) -> str:
    """The constraints file of a plan: a header with its meaning and its machine, then one line for each package.

    Raises ``LockError`` for a plan without an answer.
    """
    if plan.status != "ok" or plan.choice is None:
        raise LockError(say("this plan has no answer, so there is nothing to hold in place"))
    choice = plan.choice
    header = [
        f"# torch {choice.torch} ({choice.variant}) and what belongs to it, as chosen by envfix.",
        f"# Later installs in this environment keep it with:  pip install -c {FILENAME} PACKAGE",
        f"# For {_machine(plan.target)}.",
    ]
    if choice.index_url and choice.index != REGISTRY:
        header.append(f"# torch comes from {choice.index_url}")
    return "\n".join([*header, *_lines(plan.packages)]) + "\n"


def _lines(packages: tuple[PackagePin, ...]) -> list[str]:
    """One line for each bounded package: constraints know no extras, and an unbounded name bounds nothing."""
    lines: dict[str, str] = {}
    for pin in packages:
        name = re.sub(r"\[.*?\]", "", pin.name).strip()
        if pin.specifier.strip() and "@" not in pin.specifier:
            lines.setdefault(name, f"{name}{pin.specifier.strip()}")
    family = [lines.pop(name) for name in ("torch", "torchvision", "torchaudio") if name in lines]
    return [*family, *(lines[name] for name in sorted(lines))]


def _machine(target: PlanTarget) -> str:
    driver = f", NVIDIA driver {target.driver} or newer" if target.driver else ""
    return f"Python {target.python} ({target.tag}) on {target.platform}{driver}"

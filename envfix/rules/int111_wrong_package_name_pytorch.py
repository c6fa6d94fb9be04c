"""The package installed by pip is called ``pytorch``, which is only a placeholder.

What it checks
    A distribution ``pytorch`` of version 1.0.2 or older is installed: on the Python package index that name holds
    no torch.

Why it matters
    ``import torch`` finds nothing, although "pytorch" is listed. (In conda the package is called ``pytorch``; there
    it is the real one, and its metadata says ``torch``.)

How to fix
    Remove the placeholder and install ``torch``. Build tools or another pip do not make it work.

Sources
    Metadata folders of the target.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Severity
from envfix.rules._changing import in_place
from envfix.rules._environments import IN_NEW_ENVIRONMENT
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

# The versions of the placeholder on the index: 0.1.2 and 1.0.2.
PLACEHOLDER = re.compile(r"(?:0\.|1\.0\.)")


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del machine, tables
    interpreter = environment.interpreter.value
    rows = [row for row in environment.distributions.value or () if row.name.lower() == "pytorch"]
    if interpreter is None or not rows or not PLACEHOLDER.match(rows[0].version):
        return
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR if environment.torch.is_absent else Severity.INFO,
        message=f"The package `pytorch` {rows[0].version} is a placeholder with no torch in it; the real one is `torch`.",
        because=(
            cite(
                "environment.distributions",
                environment.distributions,
                f"pytorch {rows[0].version} in {rows[0].location}",
            ),
        ),
        remedies=(
            in_place(environment, "Remove the placeholder.", "uninstall", "--yes", "pytorch"),
            *((IN_NEW_ENVIRONMENT,) if environment.torch.is_absent else ()),
        ),
    )


RULE = Rule(
    code="INT111",
    cause="wrong_package_name_pytorch",
    title="pytorch is not torch",
    needs=("environment.interpreter", "environment.distributions", "environment.torch"),
    check=check,
    rank=28,
    explains=("torch_not_installed",),
)

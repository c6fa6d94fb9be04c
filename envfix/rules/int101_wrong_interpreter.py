"""torch is installed, but in another Python than the one that is run.

What it checks
    The target has no torch, while an environment near by does: a conda environment that is not active, a virtual environment in
    this folder, another pyenv version, the user's own packages.

Why it matters
    ``conda list`` or an editor shows torch, and the terminal says "No module named 'torch'". Reinstalling puts it into the wrong
    place once more.

How to fix
    Run the interpreter that has it (``python -m pip`` and ``python -m ultralytics`` with the same path), or activate that
    environment first.

Sources
    Files of the environments near by; the target's own ``sys.prefix``.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del machine, tables
    interpreter, others = environment.interpreter.value, environment.elsewhere.value
    if interpreter is None or not environment.torch.is_absent or not others:
        return
    first = others[0]
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR,
        message=f"torch {first.torch} is installed in {first.prefix}, but the Python here is {interpreter.executable},"
        " which has none.",
        because=(
            cite("environment.interpreter", environment.interpreter, interpreter.executable),
            cite("environment.torch", environment.torch, "there is no folder named torch"),
            *(
                Evidence(
                    fact="environment.elsewhere",
                    value=f"{other.prefix}: torch {other.torch}",
                    source=environment.elsewhere.source,
                )
                for other in others[:5]
            ),
        ),
        remedies=(
            Remedy(
                text="Run the Python that has it, or look at that environment first.",
                commands=(
                    ("envfix", "diagnose", "--python", first.prefix),
                    (f"{first.prefix}/bin/python", "-c", "import torch"),
                ),
            ),
        ),
    )


RULE = Rule(
    code="INT101",
    cause="wrong_interpreter",
    title="torch is in another Python",
    needs=("environment.interpreter", "environment.torch"),
    check=check,
    rank=20,
    explains=("torch_not_installed",),
)

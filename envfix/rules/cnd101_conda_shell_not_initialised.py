"""conda is installed, but this shell cannot activate its environments.

What it checks
    A conda installation lies near by, CONDA_SHLVL is not set (which conda's hook does in every shell that loads
    it), and the Python that is used is none of conda's.

Why it matters
    ``conda activate`` answers "command not found" or "Run 'conda init' before 'conda activate'", and what follows
    runs and installs in another Python. Scripts, notebooks, batch jobs and new shells without the hook are
    affected.

How to fix
    Load conda's hook in this shell or script, or use ``conda run`` or the environment's own Python by its path.
    Anaconda itself need not be installed again.

Sources
    Folders of conda near by; the variable CONDA_SHLVL.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.rules._environments import activation, startup_of
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del machine, tables
    interpreter, startup = environment.interpreter.value, startup_of(environment)
    if interpreter is None or not startup.conda_roots or "CONDA_SHLVL" in startup.variables:
        return
    if interpreter.kind != "system" or "CONDA_PREFIX" in startup.variables:
        return  # a virtual environment is used on purpose; one of conda's works without the hook
    root = startup.conda_roots[0]
    wanted = next((other for other in environment.elsewhere.value or () if other.conda), None)
    bites = environment.torch.is_absent and wanted is not None
    prefix = wanted.prefix if wanted is not None else root
    init = (f"{root}/bin/conda", "init", *((startup.shell,) if startup.shell else ()))
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.WARNING if bites else Severity.INFO,
        message=f"This shell has not loaded the conda of {root}: `conda activate` does not work here.",
        because=(
            Evidence(fact="environment.startup", value=f"{root}/condabin/conda", source=environment.startup.source),
            cite("environment.startup", environment.startup, "CONDA_SHLVL is not set"),
        ),
        remedies=(
            Remedy(
                text="Load conda in this shell, then activate the environment.",
                commands=activation(startup, prefix, conda=True, activate=None),
            ),
            Remedy(text="Or let conda prepare the shells you open from now on.", commands=(init,)),
        ),
    )


RULE = Rule(
    code="CND101",
    cause="conda_shell_not_initialised",
    title="this shell cannot activate conda environments",
    needs=("environment.interpreter", "environment.startup"),
    check=check,
    rank=24,
)

"""conda is installed, but this shell cannot activate its environments.

What you see
    "CondaError: Run 'conda init' before 'conda activate'", "Your shell has not been properly configured to use
    'conda activate'", "conda: command not found", "'mamba' is running as a subprocess and can't modify the parent shell".

Why
    ``conda activate`` is a function of the shell that conda's hook defines. Scripts, notebooks ("!" lines), batch jobs and new
    shells without the hook have none, and what follows runs and installs in another Python.

How envfix knows
    A conda installation lies near by, CONDA_SHLVL is not set (which conda's hook does in every shell that loads
    it), and the Python that is used is none of conda's. In a log: the texts above.

How to mend
    Load conda's hook in this shell or script, or use ``conda run`` or the environment's own Python by its path.

What not to do
    Anaconda itself need not be installed again.

Sources
    Folders of conda near by; the variable CONDA_SHLVL; conda's documentation of ``conda init`` and ``conda run``.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Signature
from envfix.rules._environments import activation, startup_of
from envfix.rules._log import LogSide
from envfix.rules._log_patterns import not_found
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
        message=say("This shell has not loaded the conda of {root}: `conda activate` does not work here.", root=root),
        because=(
            Evidence(fact="environment.startup", value=f"{root}/condabin/conda", source=environment.startup.source),
            cite("environment.startup", environment.startup, say("CONDA_SHLVL is not set")),
        ),
        remedies=(
            Remedy(
                text=say("Load conda in this shell, then activate the environment."),
                commands=activation(startup, prefix, conda=True, activate=None),
            ),
            Remedy(text=say("Or let conda prepare the shells you open from now on."), commands=(init,)),
        ),
    )


LOG = LogSide(
    signatures=(
        Signature(pattern=r"Run '(?P<tool>conda|mamba) init' (?:before|to be able to run)", confidence=0.97),
        Signature(
            pattern=r"Your shell has not been properly configured to use '(?P<tool>conda|mamba) (?:de)?activate'",
            confidence=0.97,
        ),
        Signature(
            pattern=r"'?(?P<tool>micromamba|mamba"
            r"|conda)(?:\.exe)?'? is running as a subprocess and can't modify the parent shell",
            confidence=0.97,
        ),
        Signature(pattern=r"critical libmamba Shell not initialized", confidence=0.96),
        Signature(
            pattern=r"CommandNotFoundError: (?:'(?:de)?activate' is not a conda command"
            r"|No command '(?:conda )?(?:de)?activate')",
            confidence=0.93,
        ),
        Signature(pattern=not_found("conda|mamba|micromamba"), confidence=0.82),
        Signature(pattern=not_found("activate"), confidence=0.7),
        Signature(
            pattern=r"(?:\bactivate|conda\.sh|etc/profile\.d/conda\.sh): No such file or directory|\bsource: not found"
            r"|source: no such file or directory: activate",
            confidence=0.5,
        ),
    ),
    message=(
        later(
            "This shell has not loaded `{tool}`: activating does not work in it, and what follows"
            " runs in another Python."
        ),
        later(
            "This shell does not know conda: activating does not work in it, and what follows runs in another Python."
        ),
    ),
    remedies=(
        Remedy(
            text=later(
                "Run the command in the environment without activating it; that works in scripts,"
                " notebooks and batch jobs."
            ),
            commands=(("conda", "run", "-n", "ENV", "python", "train.py"),),
        ),
        Remedy(
            text=later("Or load conda in the shell or script first (the folder of conda may have another name)."),
            commands=(("source", "~/miniconda3/etc/profile.d/conda.sh"), ("conda", "activate", "ENV")),
        ),
        Remedy(
            text=later("Or let conda prepare this kind of shell, then open a new one."),
            commands=(("conda", "init", "bash"),),
        ),
    ),
    tell_apart=Remedy(
        text=later("See whether conda is installed and where."),
        commands=(("ls", "~/miniconda3/bin/conda", "~/anaconda3/bin/conda"),),
    ),
)

RULE = Rule(
    code="CND101",
    cause="conda_shell_not_initialised",
    title=later("this shell cannot activate conda environments"),
    needs=("environment.interpreter", "environment.startup"),
    check=check,
    rank=24,
    log=LOG,
)

r"""A copy in the user's own packages is used instead of the environment's.

What you see
    Paths of ``~/.local/lib/python3.X/site-packages`` or ``AppData\Roaming\Python`` in tracebacks and in ``torch.__file__``
    although an environment is active; "Not uninstalling torch at ..., outside environment"; another version than the
    one just installed.

Why
    ``pip install --user`` puts packages where every Python of the same version sees them, conda environments
    included. ``conda list`` and ``pip list`` show the environment's torch, programs get the other one: a CPU build,
    another CUDA, another NumPy.

How envfix knows
    torch, torchvision, numpy or ultralytics lie both in the user's own packages
    (``~/.local/lib/python3.X/site-packages``) and in the target's own site-packages, and the user's copy comes
    first on the path. In a log: such a folder before an environment's, or files of both in one traceback.

How to mend
    Switch the user's packages off for this environment (PYTHONNOUSERSITE=1), or remove the user's copy.

What not to do
    Reinstalling into the environment changes nothing: the user's copy still comes first.

Sources
    The target's own path, in the order in which Python looks; folders on it; PEP 370 (per-user site-packages).
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterator

from envfix.model.facts import Environment, Interpreter, Machine, ModuleCopy
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.rules._changing import lacks_pip
from envfix.rules._environments import command, conda_name, startup_of
from envfix.rules._log import LogSide
from envfix.rules._log_pythons import LISTED
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    interpreter = environment.interpreter.value
    hidden = list(_hidden(environment, interpreter)) if interpreter is not None else []
    if interpreter is None or not hidden:
        return
    pairs = ", ".join(
        say(
            "{one} {version} instead of {version_2}",
            one=one.name,
            version=one.version or "?",
            version_2=two.version or "?",
        )
        for one, two in hidden
    )
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=_severity(interpreter, hidden),
        message=say(
            "The user's own packages come before those of {prefix}: {pairs}.", prefix=interpreter.prefix, pairs=pairs
        ),
        because=tuple(evidence for pair in hidden for evidence in _evidence(environment, *pair)),
        remedies=_remedies(machine, environment, interpreter, hidden),
    )


def _severity(interpreter: Interpreter, hidden: list[tuple[ModuleCopy, ModuleCopy]]) -> Severity:
    """Outside of environments a newer copy of one's own is what ``--user`` is for; equal copies do no harm yet."""
    differing = [first.name for first, second in hidden if first.version != second.version]
    if interpreter.kind == "system" or not differing:
        return Severity.INFO
    return Severity.ERROR if "torch" in differing else Severity.WARNING


def _hidden(environment: Environment, interpreter: Interpreter) -> Iterator[tuple[ModuleCopy, ModuleCopy]]:
    """Pairs of the user's copy that is taken and the environment's own that it hides."""
    copies = [one for one in startup_of(environment).copies if one.kind != "folder"]
    for name in dict.fromkeys(one.name for one in copies):
        same = [one for one in copies if one.name == name]
        own = [one for one in same[1:] if os.path.dirname(one.location) in interpreter.site_packages]
        if same[0].user_site and own:
            yield same[0], own[0]


def _evidence(environment: Environment, first: ModuleCopy, second: ModuleCopy) -> Iterator[Evidence]:
    for copy, said in ((first, say("comes first")), (second, say("is hidden by it"))):
        value = say(
            "{location} ({version}) {said}",
            location=copy.location,
            version=copy.version or say("version unknown"),
            said=said,
        )
        yield Evidence(fact="environment.startup", value=value, source=environment.interpreter.source)
    for record in environment.conda_records.value or ():
        if record.name == "pytorch" and first.name == "torch":
            shown = say("`conda list` shows pytorch {version} {build}", version=record.version, build=record.build)
            yield cite("environment.conda_records", environment.conda_records, shown)


def _remedies(
    machine: Machine, environment: Environment, interpreter: Interpreter, hidden: list[tuple[ModuleCopy, ModuleCopy]]
) -> tuple[Remedy, ...]:
    remedies = [
        Remedy(
            text=say(
                "Switch the user's own packages off in this shell; to keep it, put the line into"
                " the shell's start file."
            ),
            commands=(("export", "PYTHONNOUSERSITE=1"),),
        )
    ]
    if interpreter.kind == "conda" and command(machine, "conda") is not None:
        name = conda_name(interpreter.prefix)
        target = ("--prefix", interpreter.prefix) if name == interpreter.prefix else ("--name", name)
        argv = ("conda", "env", "config", "vars", "set", *target, "PYTHONNOUSERSITE=1")
        remedies.append(Remedy(text=say("Or for this environment only, whenever it is activated."), commands=(argv,)))
    names = tuple(first.name for first, _ in hidden)
    remedies.append(
        Remedy(
            text=say(
                "Or remove the user's copy: pip names the files first, and they must be those of"
                " the user's own packages."
            ),
            # Another tool would not look among the user's own packages.
            commands=() if lacks_pip(environment) else ((interpreter.executable, "-m", "pip", "uninstall", *names),),
            safe=False,
        )
    )
    return tuple(remedies)


# --- in a log ---

_USER = (
    r"[^\s'\"]{0,120}(?:\.local/lib/python\d\.\d+/site-packages"
    r"|AppData[/\\]{1,2}Roaming[/\\]{1,2}Python[/\\]{1,2}Python\d+[/\\]{1,2}site-packages)"
)
# A file of torch's family among the user's own packages.
USER_FILE = (
    rf"(?:File \")?(?P<user>{_USER})[/\\]{{1,2}}"
    r"(?P<package>torch|torchvision|torchaudio|numpy|ultralytics|xformers|triton|mmcv)\b"
)
ENVIRONMENT = (
    r"[/\\]envs[/\\]{1,2}[\w.<>-]+[/\\]{1,2}(?:lib|Lib|bin|python|Scripts)|[/\\]\.?v?env[\w-]{0,20}[/\\](?:lib|Lib|bin|Scripts)[/\\]"
    r"|conda\w*[/\\]{1,2}lib[/\\]python\d|\((?:[A-Za-z][\w.-]{0,40})\) [\w.-]{1,40}@[\w.-]{1,60}[:\s]"
)
# The same family out of an environment's own folder.
ENVIRONMENT_FILE = (
    r"(?:conda\w*|<ENV>|envs[/\\]{1,2}[\w.<>-]+|v?env[\w-]{0,20})[/\\]{1,2}(?:lib[/\\]{1,2}python\d\.\d+|Lib|lib)[/\\]{1,2}site-packages[/\\]{1,2}"
    r"(?:torch|torchvision|torchaudio|numpy|ultralytics|xformers|triton|mmcv|mmdet|detectron2)\b"
)
ERROR = r"Error\b|error:|No module named|undefined symbol|Traceback"
AT_IMPORT = r"ImportError|undefined symbol|cannot import name|module 'torch[\w.]*' has no attribute|OSError: "


def _weigh_file(hit: Hit, log: Log) -> float | None:
    """Files of the user's own packages beside those of an environment; alone they are simply where torch was installed."""
    del hit
    if not log.found(ERROR):
        return None
    if log.found(ENVIRONMENT_FILE):
        return 0.72
    if log.found(ENVIRONMENT):
        return 0.45
    return 0.3 if log.found(AT_IMPORT) else None


def _weigh_version(hit: Hit, log: Log) -> float | None:
    """Another version runs than the one that a list shows: of the user's own packages, or of another Python."""
    listed = {one.text.split()[-1].partition("+")[0] for one in log.found(LISTED)}
    return 0.5 if listed and hit.groups["runs"].partition("+")[0] not in listed else None


def _weigh_satisfied(hit: Hit, log: Log) -> float | None:
    del hit
    return 0.6 if log.found(ENVIRONMENT) and log.found(ERROR) else None


def _weigh_uninstall(hit: Hit, log: Log) -> float | None:
    del log
    return 0.85 if re.search(r"\.local|Roaming", hit.groups.get("user", "")) else None


LOG = LogSide(
    signatures=(
        Signature(
            pattern=rf"(?P<user>{_USER})['\"]?,?\s{{0,40}}['\"]?"
            r"[^\s'\"]{0,120}(?:conda|envs|venv|[/\\]v?env)[^\s'\"]{0,120}site-packages",
            confidence=0.9,
            quoted=True,
        ),
        Signature(
            pattern=rf"(?:print\()?\b(?:torch|torchvision|numpy)\.__(?:file|path)__\)?[^\n]{{0,20}} \[?['\"]?(?P<user>{_USER})",
            confidence=0.88,
            quoted=True,
        ),
        Signature(pattern=USER_FILE, weigh=_weigh_file, looks_at=(ENVIRONMENT, ENVIRONMENT_FILE, ERROR, AT_IMPORT)),
        Signature(
            pattern=r"torch\.__version__[)\s]{0,3}(?:Out\[\d+\]:)?\s*['\"]?(?P<runs>\d+\.\d+\.\d+[\w.+]*)",
            weigh=_weigh_version,
            looks_at=(LISTED,),
            quoted=True,
        ),
        Signature(
            pattern=rf"Requirement already satisfied: (?P<package>torch|torchvision|numpy)\b[^\n]{{0,60}}"
            rf" in (?P<user>{_USER}|\./\.local/lib/\S+)",
            weigh=_weigh_satisfied,
            looks_at=(ENVIRONMENT, ERROR),
        ),
        Signature(
            pattern=r"Not uninstalling (?P<package>torch|torchvision|torchaudio|numpy|ultralytics)"
            r" at (?P<user>[^\n,]{3,200}), outside environment",
            weigh=_weigh_uninstall,
        ),
    ),
    message=(
        later("Python takes {package} from the user's own packages ({user}), before those of the environment."),
        later("The user's own packages ({user}) come before those of the environment."),
        later("The user's own packages come before those of the environment."),
    ),
    remedies=(
        Remedy(
            text=later(
                "Switch the user's own packages off, then start the program again (`set PYTHONNOUSERSITE=1` in cmd)."
            ),
            commands=(("export", "PYTHONNOUSERSITE=1"),),
        ),
        Remedy(
            text=later("Or for one conda environment only, whenever it is activated."),
            commands=(("conda", "env", "config", "vars", "set", "--name", "ENV", "PYTHONNOUSERSITE=1"),),
        ),
        Remedy(
            text=later("Or remove the user's copy, outside of any environment; pip names the files first."),
            commands=(("python", "-m", "pip", "uninstall", "torch", "torchvision"),),
            safe=False,
        ),
    ),
    tell_apart=Remedy(
        text=later("See which torch is taken with the user's packages and without them (-s)."),
        commands=(
            ("python", "-c", "import torch; print(torch.__version__, torch.__file__)"),
            ("python", "-s", "-c", "import torch; print(torch.__version__, torch.__file__)"),
        ),
    ),
)

RULE = Rule(
    code="INT104",
    cause="user_site_shadowing",
    title=later("the user's own packages hide the environment's"),
    needs=("environment.interpreter", "environment.startup"),
    check=check,
    rank=21,
    explains=(
        "cpu_only_build_installed",
        "driver_too_old_for_wheel",
        "numpy2_abi",
        "sm_too_new_for_wheel",
        "sm_too_old_for_wheel",
        "torchvision_torch_mismatch",
        "torchvision_cpu_with_cuda_torch",
        "torchaudio_torch_mismatch",
        "torch_import_fails",
    ),
    log=LOG,
)

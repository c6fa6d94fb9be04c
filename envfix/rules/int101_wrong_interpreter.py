"""torch is installed, but in another Python than the one that is run.

What you see
    "ModuleNotFoundError: No module named 'torch'" (or 'ultralytics'), while ``conda list``, ``pip list`` or "Requirement already
    satisfied: torch in ..." show it; or an editor that says 'Import "torch" could not be resolved'.

Why
    Each Python has its own packages. ``pip``, ``yolo``, a notebook's kernel, an editor, ``sudo`` and, on Windows, ``python3`` may
    belong to another Python than the one in which torch was installed.

How envfix knows
    The target has no torch, while an environment near by does: one that is active, a conda environment, a virtual
    environment in this folder or above it, another pyenv version, the user's own packages, the operating system's
    Python. Also: an environment is active (CONDA_PREFIX, VIRTUAL_ENV) or was asked for, but the Python that starts
    is another one, for something else comes first on PATH or the environment's ``python`` is only a wrapper or a
    link to another one; and: ``pip`` or ``yolo`` on PATH belong to another Python than ``python``. In a log: the error above beside
    lines that show torch, beside two versions of Python, a notebook, ``sudo`` or a look at ``sys.executable``.

How to mend
    Activate the environment that has it, or run its own Python and its own ``yolo`` by their paths. Install with
    ``python -m pip``, which is always the pip of that very Python.

What not to do
    Do not reinstall torch: it goes to the wrong place once more. Copying site-packages or extending PYTHONPATH mixes two Pythons.

Sources
    Files of the environments near by and conda's records in them; the target's own ``sys.prefix``; what ``python``,
    ``pip`` and ``yolo`` on PATH really are, by their first lines; IPython's documentation on kernels for environments.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from envfix.model.facts import ActiveEnvironment, Command, Elsewhere, Environment, Interpreter, Machine, Startup
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.rules._changing import conda_program
from envfix.rules._elsewhere import misfit, rank, ranked
from envfix.rules._environments import (
    IN_NEW_ENVIRONMENT,
    about_commands,
    activation,
    command,
    has,
    has_own,
    is_foreign,
    is_of_shell,
    own_command,
    startup_of,
    variable,
)
from envfix.rules._log import LogSide, Reading
from envfix.rules._log_patterns import NO_MODULE_TORCH
from envfix.rules._log_pythons import (
    BANNER,
    CONDA_HAS_ALL,
    EDITOR,
    LOOKED,
    LOOKS_AT,
    NOTEBOOK,
    PIP_OF_SYSTEM,
    SATISFIED,
    STORE,
    SUDO,
    environment_of_prompt,
    is_isolated_build,
    torch_is_somewhere,
    versions,
)
from envfix.rules._roots import meant_environment, torch_of_meant
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

TRY = "import torch; print(torch.__version__)"


class Place(NamedTuple):
    """Where torch is, and what is wrong with that one on this machine (None: nothing that is known)."""

    where: Elsewhere
    misfit: str | None


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    interpreter = environment.interpreter.value
    if interpreter is None:
        return
    meant = meant_environment(interpreter, startup_of(environment))
    place = _place(machine, environment, interpreter, tables)
    if place is not None:
        yield _torch_is_elsewhere(machine, environment, interpreter, meant, place)
    elif meant is not None:
        yield _environment_is_passed_by(machine, environment, interpreter, meant)
    elif is_of_shell(interpreter):
        yield from _commands_of_another(machine, environment, interpreter)


def _place(machine: Machine, environment: Environment, interpreter: Interpreter, tables: Tables) -> Place | None:
    """The torch to point at: the one of the environment that is meant, unless it serves worse than another one."""
    meant = torch_of_meant(machine, environment)
    places: list[Elsewhere] = []
    if environment.torch.is_absent and not _belongs_here(environment, interpreter):
        places = ranked(machine, environment, tables)
    if meant is not None and (not places or rank(machine, tables, meant) <= rank(machine, tables, places[0])):
        places = [meant]
    return Place(places[0], misfit(machine, tables, places[0])) if places else None


def _belongs_here(environment: Environment, interpreter: Interpreter) -> bool:
    """Whether metadata or conda's record of this very environment names a torch: then it is its files that are gone."""
    recorded = any(
        row.name in ("pytorch", "libtorch") and row.prefix in (None, interpreter.prefix)
        for row in environment.conda_records.value or ()
    )
    return recorded or has_own(environment, "torch")


# --- torch is elsewhere ---


def _torch_is_elsewhere(
    machine: Machine,
    environment: Environment,
    interpreter: Interpreter,
    meant: ActiveEnvironment | None,
    place: Place,
) -> Finding:
    startup, first = startup_of(environment), place.where
    message = _where_torch_is(environment, interpreter, meant, first)
    return Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR,
        message=say("{message}; {misfit}.", message=message.rstrip(".。"), misfit=place.misfit)
        if place.misfit
        else message,
        because=(
            *_about_record(first.prefix, first.record),
            *_about_target(environment, interpreter, meant),
            _about_torch(environment, interpreter),
            *_about_later(machine, first.prefix),
            *about_commands(machine, startup, ("pip", "yolo")),
            *_about_places(environment, first),
        ),
        remedies=_to_elsewhere(interpreter, startup, meant, place, conda_program(machine, environment)),
    )


def _about_places(environment: Environment, first: Elsewhere) -> Iterator[Evidence]:
    """The place that is meant, unless conda's record has told it, and two others: more are not read on one screen."""
    others = [other for other in environment.elsewhere.value or () if other is not first]
    for other in [*([first] if first.record is None else []), *others[:2]]:
        value = f"{other.prefix}: torch {other.torch}"
        yield Evidence(fact="environment.elsewhere", value=value, source=environment.elsewhere.source)


def _about_torch(environment: Environment, interpreter: Interpreter) -> Evidence:
    torch, said = environment.torch, environment.torch_import.value
    if torch.value is not None and said is not None and not said.ok:
        error = (said.error or say("no reason was given")).partition("\n")[0]
        return cite(
            "environment.torch_import",
            environment.torch_import,
            say("torch {build} here: {error}", build=torch.value.build, error=error),
        )
    if torch.value is not None:
        return cite(
            "environment.torch",
            torch,
            say("torch {build} in {location}", build=torch.value.build, location=torch.value.location),
        )
    where = say(" in {site_packages}", site_packages=interpreter.site_packages[0]) if interpreter.site_packages else ""
    return cite(
        "environment.torch",
        torch,
        say("there is no folder named torch{where}", where=where) if torch.is_absent else None,
    )


def _what_it_has(environment: Environment) -> str:
    """What the Python that runs has in place of that torch."""
    torch, said = environment.torch.value, environment.torch_import.value
    if environment.torch.is_absent:
        return "none"
    if torch is None or (said is not None and not said.ok):
        return say("one that is broken")
    return f"torch {torch.build}"


def _where_torch_is(
    environment: Environment, interpreter: Interpreter, meant: ActiveEnvironment | None, first: Elsewhere
) -> str:
    here, startup, has_got = interpreter.executable, startup_of(environment), _what_it_has(environment)
    if meant is not None and first.prefix == meant.prefix:
        if meant is startup.bypassed:
            return say(
                "torch {torch} is installed in {prefix}, but {started} starts another Python"
                " ({here}), which has {has_got}.",
                torch=first.torch,
                prefix=meant.prefix,
                started=interpreter.started,
                here=here,
                has_got=has_got,
            )
        lost = say("no Python of its own that works: ") if meant.python is None else ""
        return say(
            "The environment {prefix} is active and has torch {torch}, but {lost}`python` is"
            " {here}, which has {has_got}.",
            prefix=meant.prefix,
            torch=first.torch,
            lost=lost,
            here=here,
            has_got=has_got,
        )
    if first.kind == "user":
        return say(
            "torch {torch} is among the user's own packages for Python {python_version}, but"
            " the Python here is {version} at {here}, which does not see it.",
            torch=first.torch,
            python_version=first.python_version,
            version=interpreter.version,
            here=here,
        )
    if interpreter.kind == "base":
        return say(
            "torch {torch} is installed in {prefix}, but the Python here is conda's base, which has none.",
            torch=first.torch,
            prefix=first.prefix,
        )
    return say(
        "torch {torch} is installed in {prefix}, but the Python here is {here}, which has none.",
        torch=first.torch,
        prefix=first.prefix,
        here=here,
    )


def _about_record(prefix: str, record: str | None) -> tuple[Evidence, ...]:
    if record is None:
        return ()
    source = f"{prefix}/conda-meta"
    return (
        Evidence(
            fact="environment.elsewhere",
            value=say("`conda list` of that environment shows {record}", record=record),
            source=source,
        ),
    )


def _about_target(
    environment: Environment, interpreter: Interpreter, meant: ActiveEnvironment | None
) -> Iterator[Evidence]:
    startup = startup_of(environment)
    if meant is not None and meant is not startup.bypassed:
        yield variable(meant.variable, meant.prefix)
    for name, meaning in startup.aliases.items():
        if name in ("python", "python3"):
            yield Evidence(
                fact="environment.startup",
                value=say("alias {name}={meaning}", name=name, meaning=meaning),
                source=say("the shell's files"),
            )
    home = startup.variables.get("PYTHONHOME")
    if home:
        yield variable("PYTHONHOME", home)
    said = say(
        "{executable} runs, whose packages are in {prefix}",
        executable=interpreter.executable,
        prefix=interpreter.prefix,
    )
    yield cite("environment.interpreter", environment.interpreter, said)


def _about_later(machine: Machine, prefix: str) -> tuple[Evidence, ...]:
    python = command(machine, "python")
    hidden = [path for path in (python.later if python else ()) if path.startswith(prefix + "/")]
    return tuple(
        Evidence(
            fact="machine.commands",
            value=say("{path} comes only later on PATH", path=path),
            source=machine.commands.source,
        )
        for path in hidden[:1]
    )


def _to_elsewhere(
    interpreter: Interpreter, startup: Startup, meant: ActiveEnvironment | None, place: Place, conda: str | None
) -> tuple[Remedy, ...]:
    first = place.where
    if meant is not None and meant is startup.bypassed and meant.prefix == first.prefix:
        ways = _unwrapped(meant, interpreter.started or f"{meant.prefix}/bin/python", conda)
    elif first.python is None:
        ways = _revived(interpreter, first)
    else:
        ways = _ways(startup, first.prefix, first.python, conda=first.conda, activate=first.activate)
    if place.misfit and IN_NEW_ENVIRONMENT not in ways:
        return (IN_NEW_ENVIRONMENT, *ways)
    # What lies in another Python by chance is seldom what is meant: then a stack of one's own is the other way.
    by_chance = first.kind in ("pyenv", "user", "system") and IN_NEW_ENVIRONMENT not in ways
    return (*ways, IN_NEW_ENVIRONMENT) if by_chance or not ways else ways


def _revived(interpreter: Interpreter, first: Elsewhere) -> tuple[Remedy, ...]:
    """A virtual environment whose Python is gone takes another one of the same version; else a new one is needed."""
    same = interpreter.version.split(".")[:2] == (first.python_version or "").split(".")
    if first.activate is None or not first.activate.endswith("/bin/activate") or not same:
        return (IN_NEW_ENVIRONMENT,)
    commands = (
        ("find", f"{first.prefix}/bin", "-xtype", "l", "-delete"),
        (interpreter.executable, "-m", "venv", "--upgrade", "--without-pip", first.prefix),
    )
    text = say(
        "Give that environment a Python {python_version} again: take its dead links away, then link this one.",
        python_version=first.python_version,
    )
    return (Remedy(text=text, commands=commands, safe=False), IN_NEW_ENVIRONMENT)


def _ways(
    startup: Startup, prefix: str, python: str | None, *, conda: bool, activate: str | None
) -> tuple[Remedy, ...]:
    """How to come to an environment: by activating it, by its path."""
    remedies = []
    lines = activation(startup, prefix, conda=conda, activate=activate) if python else ()
    if lines:
        remedies.append(
            Remedy(text=say("Activate that environment; `python`, `pip` and `yolo` are its own then."), commands=lines)
        )
    if python:
        commands = ((python, "-c", TRY), ("envfix", "diagnose", "--python", python))
        text = say("Or run its own Python by its path") if lines else say("Run the Python that has it, by its path")
        remedies.append(Remedy(text=say("{text}; nothing has to be installed.", text=text), commands=commands))
    return tuple(remedies)


def _unwrapped(meant: ActiveEnvironment, name: str, conda: str | None) -> tuple[Remedy, ...]:
    """How an environment gets its own Python back, whose name another one has taken."""
    if meant.python is not None:
        commands = (("mv", name, f"{name}.wrapper"), ("ln", "-s", meant.python, name))
        return (
            Remedy(text=say("Give the name `python` back to the environment's own Python."), commands=commands),
            Remedy(
                text=say("Or run it by its own path."), commands=(("envfix", "diagnose", "--python", meant.python),)
            ),
        )
    if meant.conda and conda:
        argv = (conda, "install", "--prefix", meant.prefix, "--force-reinstall", "python")
        text = say("The environment has no Python of its own (any more): let conda put it back.")
        return (Remedy(text=text, commands=(argv,), safe=False),)
    return (IN_NEW_ENVIRONMENT,)


# --- an environment is passed by ---


def _environment_is_passed_by(
    machine: Machine, environment: Environment, interpreter: Interpreter, meant: ActiveEnvironment
) -> Finding:
    startup = startup_of(environment)
    return Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=_severity(environment, meant),
        message=_why_passed_by(interpreter, startup, meant),
        because=(
            *_about_record(meant.prefix, meant.conda_record),
            *_about_target(environment, interpreter, meant),
            *about_commands(machine, startup, ("pip", "yolo")),
            *_about_later(machine, meant.prefix),
        ),
        remedies=_back_to(interpreter, startup, meant, conda_program(machine, environment)),
    )


def _severity(environment: Environment, meant: ActiveEnvironment) -> Severity:
    """Without torch it is the reason; with torch a trap, unless nobody can mean that environment."""
    if environment.torch.is_absent:
        return Severity.ERROR
    is_base = meant.prefix in startup_of(environment).conda_roots
    return Severity.INFO if is_base or not meant.exists else Severity.WARNING


def _why_passed_by(interpreter: Interpreter, startup: Startup, meant: ActiveEnvironment) -> str:
    here = interpreter.executable
    if meant is startup.bypassed:
        return say(
            "The Python {started} is not that of its environment {prefix}: it starts {here}.",
            started=interpreter.started,
            prefix=meant.prefix,
            here=here,
        )
    if not meant.exists:
        return say(
            "{variable} names {prefix}, which does not exist any more; `python` is {here}.",
            variable=meant.variable,
            prefix=meant.prefix,
            here=here,
        )
    if meant.python is None:
        return say(
            "The environment {prefix} is active but has no Python of its own that works; `python` is {here}.",
            prefix=meant.prefix,
            here=here,
        )
    return say(
        "The environment {prefix} is active, but `python` is {here}: what is installed there is not what runs here.",
        prefix=meant.prefix,
        here=here,
    )


def _back_to(
    interpreter: Interpreter, startup: Startup, meant: ActiveEnvironment, conda: str | None
) -> tuple[Remedy, ...]:
    if meant is startup.bypassed:
        return _unwrapped(meant, interpreter.started or f"{meant.prefix}/bin/python", conda)
    if meant.exists and meant.python is None and meant.conda and conda:
        argv = (conda, "install", "--prefix", meant.prefix, "python")
        return (Remedy(text=say("Give the environment a Python of its own."), commands=(argv,), safe=False),)
    ways = _ways(startup, meant.prefix, meant.python, conda=meant.conda, activate=meant.activate)
    forget = Remedy(text=say("Forget that environment in this shell."), commands=(("unset", meant.variable),))
    return ways or (forget,)


# --- pip or yolo of another Python ---


def _commands_of_another(machine: Machine, environment: Environment, interpreter: Interpreter) -> Iterator[Finding]:
    startup = startup_of(environment)
    foreign = [
        one
        for one in (command(machine, "pip", "pip3"), command(machine, "yolo"))
        if one is not None and is_foreign(one, startup)
    ]
    if not foreign:
        return
    # A Python without pip or ultralytics has no command of that name: then another one is only good to know.
    own = {"pip": "pip", "pip3": "pip", "yolo": "ultralytics"}
    hidden = [one for one in foreign if has_own(environment, own[one.name])]
    torchless = [one for one in foreign if one.name == "yolo" and _has_no_torch(environment, one)]
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.WARNING if hidden or torchless else Severity.INFO,
        message=say(
            "{whose}, not to `python` ({executable}){without}.",
            whose=_whose(foreign),
            executable=interpreter.executable,
            without=_without(torchless),
        ),
        because=(
            cite(
                "environment.interpreter",
                environment.interpreter,
                say("`python` runs in {prefix}", prefix=interpreter.prefix),
            ),
            *about_commands(machine, startup, ("pip", "pip3", "yolo")),
            *(
                cite("environment.elsewhere", environment.elsewhere, say("no torch in {prefix}", prefix=one.prefix))
                for one in torchless
            ),
        ),
        remedies=(
            *_target_first(startup, interpreter, hidden),
            *(_own(environment, interpreter, one, torchless) for one in foreign),
        ),
    )


def _whose(foreign: list[Command]) -> str:
    """Which Python each of the commands belongs to."""
    prefixes = list(dict.fromkeys(one.prefix for one in foreign))
    if len(prefixes) > 1:
        each = say(" and ").join(
            say("`{one}` ({path}) to the Python in {prefix}", one=one.name, path=one.path, prefix=one.prefix)
            for one in foreign
        )
        return say("The commands belong to other Pythons, {each}", each=each)
    named = say(" and ").join(f"`{one.name}` ({one.path})" for one in foreign)
    words = ("commands", "belong") if len(foreign) > 1 else ("command", "belongs")
    return say(
        "The {words} {named} {words_2} to the Python in {prefixes}",
        words=words[0],
        named=named,
        words_2=words[1],
        prefixes=prefixes[0],
    )


def _without(torchless: list[Command]) -> str:
    return say(", and that Python of `yolo` has no torch") if torchless else ""


def _has_no_torch(environment: Environment, one: Command) -> bool:
    """Whether the Python of a command was looked at and has no torch; the user's and the system's packages count for all."""
    places, torch = environment.elsewhere, environment.torch.value
    if places.is_unknown or one.prefix is None:
        return False
    if torch is not None and torch.location.startswith(f"{one.prefix}/"):
        return False
    return not any(
        place.kind in ("user", "system") or place.prefix == one.prefix or place.python == one.interpreter
        for place in places.value or ()
    )


def _target_first(startup: Startup, interpreter: Interpreter, hidden: list[Command]) -> Iterator[Remedy]:
    """Activating puts the target's own commands before the others, where it has them."""
    script = f"{interpreter.prefix}/bin/activate" if interpreter.kind == "venv" else None
    conda = interpreter.kind in ("conda", "base")
    lines = activation(startup, interpreter.prefix, conda=conda, activate=script) if hidden else ()
    if lines:
        yield Remedy(text=say("Activate this Python's environment: its own commands come first then."), commands=lines)


def _own(environment: Environment, interpreter: Interpreter, foreign: Command, torchless: list[Command]) -> Remedy:
    if foreign.name == "yolo":
        own = own_command(environment, "yolo")
        if own is not None and own.problem is None:
            return Remedy(text=say("Call this Python's own `yolo` by its path."), commands=((own.path, "checks"),))
        if has(environment, "ultralytics"):
            code = "from ultralytics.cfg import entrypoint; entrypoint()"
            call = (interpreter.executable, "-c", code, "checks")
            return Remedy(text=say("Call this Python's own ultralytics through it."), commands=(call,))
        if torchless:
            return IN_NEW_ENVIRONMENT
        argv: tuple[str, ...] = (foreign.interpreter or foreign.path, "-c", TRY)
        return Remedy(
            text=say("This Python has no ultralytics; `yolo` runs with the torch of its own."), commands=(argv,)
        )
    if has_own(environment, "pip"):
        argv = (interpreter.executable, "-m", "pip", "--version")
        return Remedy(text=say("Install with this Python's own pip: `python -m pip install ...`."), commands=(argv,))
    if interpreter.ensurepip and interpreter.kind != "system":
        argv = (interpreter.executable, "-m", "ensurepip", "--upgrade")
        return Remedy(text=say("This Python has no pip: give it one."), commands=(argv,), safe=False)
    return IN_NEW_ENVIRONMENT


# --- in a log ---

NO_MODULE = (
    r"No module named '?(?P<module>ultralytics|torchvision|torchaudio|yolov5|cv2|mmcv|mmdet|detectron2|transformers)"
    r"'?(?:[\s'\"]|$)"
)


def _weigh(hit: Hit, log: Log) -> float | None:
    """How sure a missing module means another Python: by what else the log says of Pythons and of torch."""
    if is_isolated_build(log):
        return 0.15
    if torch_is_somewhere(log, hit):
        return 0.92
    if log.found(SUDO) or log.found(STORE) or len(versions(log)) > 1:
        return 0.85
    if log.found(LOOKED):
        return 0.8
    inside = environment_of_prompt(log) is not None
    if log.found(NOTEBOOK) or log.found(EDITOR):
        return 0.8 if inside else 0.62
    if log.found(PIP_OF_SYSTEM):
        return 0.6
    return 0.48 if inside else 0.4


def _weigh_other(hit: Hit, log: Log) -> float | None:
    """The same for a module that is seldom there without torch: it may as well not be installed."""
    if hit.groups.get("module") == "ultralytics":
        banner = any(one.offset < hit.offset for one in log.found(BANNER))
        return 0.85 if banner else _weigh(hit, log)
    module = hit.groups.get("module", "")
    listed = re.search(rf"(?m)^\s*{module}[ \t]+\d|satisfied:? {module}\b", hit.before + hit.after)
    return 0.8 if listed else 0.35 if module in ("torchvision", "torchaudio", "cv2") else None


def _weigh_satisfied(hit: Hit, log: Log) -> float | None:
    """Two tools that both find torch installed, one of them in another place."""
    del hit
    return 0.7 if log.found(CONDA_HAS_ALL) else None


def _message(reading: Reading) -> str:
    log = reading.log
    named = sorted(versions(log))
    torch, interpreter = reading.environment.torch.value, reading.environment.interpreter.value
    if torch is not None and interpreter is not None and log.found(NO_MODULE_TORCH):
        return say(
            "The Python that is looked at ({executable}) has torch {build}: it was another one that ran.",
            executable=interpreter.executable,
            build=torch.build,
        )
    if log.found(SUDO):
        return say("`sudo` starts the operating system's Python, which does not have the environment's packages.")
    if torch_is_somewhere(log, reading.hits[0]):
        where = reading.groups.get("satisfied")
        place = say(" ({aside})", aside=where) if where else ""
        return say("torch is installed{place}, but the Python that ran is another one, which has none.", place=place)
    if len(named) > 1:
        return say("Several Pythons are in use here ({named}); the one that ran has no torch.", named=", ".join(named))
    if log.found(NOTEBOOK) or log.found(EDITOR):
        return say(
            "The Python behind this notebook or editor has no torch; what a terminal installs may go to another one."
        )
    return say("The Python that ran has no torch; if torch was installed, then into another Python.")


_OWN = "import sys; print(sys.executable)"


def _log_remedies(reading: Reading) -> tuple[Remedy, ...]:
    log = reading.log
    torch, interpreter = reading.environment.torch.value, reading.environment.interpreter.value
    if torch is not None and interpreter is not None and log.found(NO_MODULE_TORCH):
        return (
            Remedy(
                text=say("Start your program with the Python that has torch."),
                commands=((interpreter.executable, "YOUR_PROGRAM.py"),),
            ),
        )
    start = Remedy(
        text=say(
            "Activate the environment that has torch and start the program with its `python` (not"
            " `python3`, not with sudo)."
        ),
        commands=(("conda", "activate", "ENV"), ("python", "-c", "import torch; print(torch.__version__)")),
    )
    kernel = Remedy(
        text=say("Give the notebook that environment's Python as its kernel, then choose it in the notebook's menu."),
        commands=(
            ("conda", "run", "-n", "ENV", "python", "-m", "pip", "install", "ipykernel"),
            ("conda", "run", "-n", "ENV", "python", "-m", "ipykernel", "install", "--user", "--name", "ENV"),
        ),
    )
    install = Remedy(
        text=say("Whatever you install, install it with the very Python that will run it: `python -m pip`, not `pip`."),
        commands=(("python", "-m", "pip", "--version"),),
    )
    if log.found(NOTEBOOK):
        return (kernel, install)
    if log.found(EDITOR):
        return (
            Remedy(text=say("Choose that environment's interpreter in the editor's settings of the project.")),
            start,
        )
    return (start, install)


def _with_facts(reading: Reading, by_log: float) -> float | None:
    """The log misses torch, and the Python that is looked at has it: it was another one that ran."""
    if reading.proved:
        return None
    has_torch = reading.environment.torch.value is not None
    return max(by_log, 0.8) if has_torch and reading.log.found(NO_MODULE_TORCH) else None


LOG = LogSide(
    signatures=(
        Signature(pattern=NO_MODULE_TORCH, weigh=_weigh, looks_at=LOOKS_AT),
        Signature(
            pattern=r"Error while finding (?:module specification|spec) for '(?:torch|ultralytics)[\w.]*'"
            r" \((?:ModuleNotFoundError|ImportError): No module named",
            weigh=_weigh,
            looks_at=LOOKS_AT,
        ),
        Signature(pattern=NO_MODULE, weigh=_weigh_other, looks_at=LOOKS_AT),
        Signature(pattern=SATISFIED, weigh=_weigh_satisfied, looks_at=LOOKS_AT),
        Signature(
            pattern=r"Import \"(?:torch|ultralytics|torchvision)[\w.]{0,40}\" could not be resolved"
            r"|Unresolved reference '?torch\b",
            confidence=0.85,
        ),
    ),
    message=_message,
    remedies=_log_remedies,
    tell_apart=Remedy(
        text=later("Ask the Python that fails who it is and whether torch is in it; compare with `conda env list`."),
        commands=(("python", "-c", _OWN), ("python", "-m", "pip", "show", "torch")),
    ),
    explains=("torch_not_installed", "cli_not_on_path"),
    with_facts=_with_facts,
)

RULE = Rule(
    code="INT101",
    cause="wrong_interpreter",
    title=later("torch is in another Python"),
    needs=("environment.interpreter", "environment.elsewhere"),
    check=check,
    rank=20,
    explains=("torch_not_installed", "cli_not_on_path"),
    log=LOG,
)

"""A setting makes pip install into another place than this Python looks, or refuse to install at all.

What you see
    "Can not perform a '--user' install. User site-packages are not visible in this virtualenv", or "Successfully
    installed" and an ``import torch`` that finds nothing.

Why
    PIP_TARGET, PIP_PREFIX and PIP_ROOT, or ``target``, ``prefix`` and ``root`` in pip's configuration files, name a
    folder that is not on the target's path; or PIP_USER (``user``) is set in a virtual environment, which does not
    see the user's own packages.

How envfix knows
    The variables, pip's configuration files and the target's own path; in a log the refusal, surest where no option
    --user was typed.

How to mend
    Unset the variable, or take the line out of the file, where environments are used.

What not to do
    Do not extend PYTHONPATH by the folder, and do not install as root.

Sources
    The variables; the configuration files of pip; the target's own path.
"""

from __future__ import annotations

import os.path
from collections.abc import Iterator
from typing import NamedTuple

from envfix.model.facts import Environment, Interpreter, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.rules._environments import variable
from envfix.rules._fetching import settings_of, take_back
from envfix.rules._log import LogSide
from envfix.rules._log_patterns import NO_MODULE_TORCH
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

_TRUE = ("1", "true", "yes", "on", "y", "t")
_OPTIONS = ("target", "prefix", "root", "user")


class Setting(NamedTuple):
    """An option of pip, its value, and the file that sets it (None: a variable of the shell)."""

    option: str
    value: str
    file: str | None

    @property
    def shown(self) -> str:
        """As its user wrote it."""
        return (
            f"PIP_{self.option.upper()}={self.value}"
            if self.file is None
            else say("the setting {option} = {self_} in {file}", option=self.option, self_=self.value, file=self.file)
        )

    @property
    def evidence(self) -> Evidence:
        """The setting and where it stands."""
        if self.file is None:
            return variable(f"PIP_{self.option.upper()}", self.value)
        return Evidence(fact="machine.network", value=f"{self.option} = {self.value}", source=self.file)


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    interpreter = environment.interpreter.value
    if interpreter is None:
        return
    misleading = [one for one in _settings(machine) if _misleads(one, interpreter)]
    refused = [one for one in misleading if one.option == "user"]
    elsewhere = [one for one in misleading if one.option != "user"]
    if elsewhere:
        named = ", ".join(one.shown for one in elsewhere)
        yield _finding(
            environment,
            interpreter,
            elsewhere,
            say("{named} makes pip install to where this Python does not look.", named=named),
        )
    if refused:
        text = say(
            "{shown} makes pip refuse every installation here: a virtual environment takes no '--user' install.",
            shown=refused[0].shown,
        )
        yield _finding(environment, interpreter, refused, text)


def _settings(machine: Machine) -> Iterator[Setting]:
    """A variable is stronger than the files."""
    for option in _OPTIONS:
        value = machine.variables.get(f"PIP_{option.upper()}")
        if value:
            yield Setting(option, value, None)
            continue
        for row in settings_of(machine, "option", tool="pip", name=option)[:1]:
            yield Setting(option, row.value, row.configured_in)


def _misleads(setting: Setting, interpreter: Interpreter) -> bool:
    if setting.option == "user":
        return setting.value.lower() in _TRUE and interpreter.kind == "venv" and not interpreter.user_site_enabled
    folder = os.path.normpath(setting.value)
    if setting.option == "prefix":
        return os.path.normpath(interpreter.prefix) != folder
    if setting.option == "root":
        return folder != "/"
    return folder not in [os.path.normpath(entry) for entry in interpreter.search_path]


def _finding(environment: Environment, interpreter: Interpreter, settings: list[Setting], message: str) -> Finding:
    variables = tuple(f"PIP_{one.option.upper()}" for one in settings if one.file is None)
    unset = (Remedy(text=say("Unset it before installing into an environment."), commands=(("unset", *variables),)),)
    return Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.WARNING if environment.torch.is_absent else Severity.INFO,
        message=f"{message[0].upper()}{message[1:]}",
        because=(
            *(one.evidence for one in settings),
            cite(
                "environment.interpreter",
                environment.interpreter,
                say("{executable} looks elsewhere", executable=interpreter.executable),
            ),
        ),
        remedies=(
            *(unset if variables else ()),
            *(take_back(one.file, one.option) for one in settings if one.file is not None),
        ),
    )


_FLAG = r"pip3? install[^\n]{0,200} (?:--user|-t |--target|--prefix)"
_SETTING = r"\bPIP_(?:USER|TARGET|PREFIX|ROOT)\s?=\s?\S|global\.(?:user|target|prefix|root)\s?="


def _refused(hit: Hit, log: Log) -> float:
    """Whoever typed the option knows it; a setting is what is not seen."""
    del hit
    if log.found(_SETTING):
        return 0.93
    return 0.5 if log.found(_FLAG) else 0.8


LOG = LogSide(
    signatures=(
        Signature(
            pattern=(
                r"Can\s?not (?:perform|combine)(?: a)? '?--user'? install|Can not combine '--user' and '--(?:prefix"
                r"|target)'"
            ),
            weigh=_refused,
            looks_at=(_FLAG, _SETTING),
        ),
        Signature(
            pattern=r"can't combine user with prefix, exec_prefix/home", weigh=_refused, looks_at=(_FLAG, _SETTING)
        ),
        Signature(
            pattern=r"Target directory (?P<folder>\S+) already exists\. Specify --upgrade to force replacement",
            confidence=0.5,
        ),
        Signature(pattern=_SETTING, confidence=0.6, beside=(NO_MODULE_TORCH,)),
        Signature(
            pattern=r"Cannot set --home and --prefix together|Option 'install' uses prefix and target", confidence=0.5
        ),
    ),
    message=(
        later("pip installs into {folder}, which is not where this Python looks."),
        later(
            "A setting or option makes pip install into another place than this environment, or"
            " refuse to install at all."
        ),
    ),
    remedies=(
        Remedy(
            text=later("See the setting and where it stands."), commands=(("python", "-m", "pip", "config", "debug"),)
        ),
        Remedy(
            text=later("Unset it, and install without --user or --target into the environment."),
            commands=(("unset", "PIP_USER", "PIP_TARGET", "PIP_PREFIX"), ("python", "-m", "pip", "install", "PACKAGE")),
        ),
    ),
    tell_apart=Remedy(
        text=later("See what pip was told by files and variables."),
        commands=(("python", "-m", "pip", "config", "list"),),
    ),
)


RULE = Rule(
    code="VAR102",
    cause="pip_installs_elsewhere",
    title=later("a setting makes pip install elsewhere"),
    needs=("environment.interpreter",),
    check=check,
    rank=71,
    log=LOG,
)

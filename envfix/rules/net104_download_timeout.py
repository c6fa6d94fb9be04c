"""The time limit for downloads is so short that a torch wheel will hardly come through.

What it checks
    A time limit of less than five seconds in the settings of pip, uv or conda (usual are 15, 30 and 60 seconds).

Why it matters
    A torch stack is two or three gigabytes. The limit is for a pause in the stream, and such pauses are common on long routes:
    "Read timed out", often near the end of a wheel.

How to fix
    Take the setting back or raise it; a near mirror that carries the variant helps more.

Sources
    Configuration files and variables of pip, uv and conda.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine, NetworkSetting
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.rules._fetching import settings_of, take_back, torch_is_wanted
from envfix.rules._rule import Rule
from envfix.tables.loader import Tables

SHORT = 5.0


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    for setting in settings_of(machine, "option", name="timeout"):
        seconds = _seconds(setting)
        if seconds is None or seconds >= SHORT:
            continue
        yield Finding(
            code=RULE.code,
            cause=RULE.cause,
            severity=Severity.WARNING if torch_is_wanted(environment) else Severity.INFO,
            message=f"Downloads by {setting.tool} end after a pause of {setting.value} seconds, which is too short for torch.",
            because=(Evidence(fact="machine.network", value=f"timeout {setting.value}", source=setting.configured_in),),
            remedies=(take_back(setting.configured_in, "the time limit"), *_longer(setting)),
        )


def _seconds(setting: NetworkSetting) -> float | None:
    try:
        return float(setting.value)
    except ValueError:
        return None


def _longer(setting: NetworkSetting) -> Iterator[Remedy]:
    commands = {
        "pip": ("pip", "config", "set", "global.timeout", "120"),
        "uv": ("export", "UV_HTTP_TIMEOUT=300"),
        "conda": ("conda", "config", "--set", "remote_read_timeout_secs", "120"),
    }
    if setting.tool in commands:
        yield Remedy(text="Or set a longer one.", commands=(commands[setting.tool],))


RULE = Rule(
    code="NET104",
    cause="download_timeout",
    title="The time limit for downloads is very short",
    needs=("machine.network",),
    check=check,
    rank=74,
)

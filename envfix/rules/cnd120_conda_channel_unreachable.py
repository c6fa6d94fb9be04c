"""conda cannot read its configuration, or channels named there do not answer.

What you see
    "CondaHTTPError: HTTP 000 CONNECTION FAILED for url <...>", "HTTP 404 NOT FOUND", "UnavailableInvalidChannel: The channel is not
    accessible or is invalid", mamba's "Download error (6) Could not resolve host".

Why
    conda asks every channel before it does anything. One dead mirror among them, often added by somebody else long ago, ends
    everything at "Collecting package metadata". A mirror may also lack a channel that ``.condarc`` maps to it.

How envfix knows
    Whether the .condarc files are YAML that conda can read, whether conda is told to stay offline, and, with ``envfix
    diagnose --network``, whether each configured channel answers for this platform. For channels that do not, the official
    address and its known mirrors are asked as well. In a log: the texts above; certificates and proxies are another cause.

How to mend
    Put a .condarc in place that names only channels that answer (the finding prints one), keep a copy of the old file, and
    clear the cached lists. Or do without conda for torch: the wheels go into an environment of their own.

What not to do
    Switching ssl_verify off mends nothing.

Sources
    conda's configuration files in conda's own order; the channels' answers; the table of mirrors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from envfix.model.facts import ChannelState, CondaInstall, CondaSettings, Environment, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.language import later, retold, say
from envfix.model.log import Hit, Log, Signature
from envfix.model.regex import regex
from envfix.rules._environments import NEW_ENV
from envfix.rules._fetching import torch_is_wanted
from envfix.rules._log import LogSide
from envfix.rules._rule import Rule
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    conda = machine.conda.value
    settings = conda.settings if conda else None
    if conda is None or settings is None:
        return
    severity = Severity.WARNING if _is_needed(conda, environment) else Severity.INFO
    for problem in settings.problems:
        yield _finding(
            say("The configuration of conda cannot be used: {problem}", problem=problem),
            (_evidence("problem", problem),),
            (_look(conda),),
            severity,
        )
    if settings.offline:
        where = settings.set_in.get("offline", say("its configuration"))
        yield _finding(
            say("A setting in {where} keeps conda offline, so it can get no package", where=where),
            (_evidence(say("offline: true"), where),),
            (Remedy(text=say("Take that line out of {where}.", where=where)),),
            Severity.INFO,
        )
    dead = unreachable(conda, settings)
    if dead:
        yield _dead_channels(conda, settings, dead, severity)


def _is_needed(conda: CondaInstall, environment: Environment) -> bool:
    """Whether this user depends on conda: in its environments, or to get torch at all; an old .condarc alone hurts nobody."""
    interpreter = environment.interpreter.value
    in_conda = interpreter is not None and interpreter.kind in ("conda", "base")
    return in_conda or conda.active_prefix is not None or (conda.program is not None and torch_is_wanted(environment))


def unreachable(conda: CondaInstall, settings: CondaSettings) -> tuple[ChannelState, ...]:
    """Configured channels that do not answer; of a mirrored one it is enough that one address answers."""
    alive = {state.name for state in conda.states if state.reachable and state.name in settings.mirrored_channels}
    return tuple(one for one in conda.states if not one.reachable and not one.suggested and one.name not in alive)


def _dead_channels(
    conda: CondaInstall, settings: CondaSettings, dead: tuple[ChannelState, ...], severity: Severity
) -> Finding:
    names = ", ".join(f"{state.name} ({retold(state.problem or '')})" for state in dead)
    many = len(dead) > 1
    return _finding(
        say(
            "Nothing can be installed by conda while {which} of its configuration {which_2} not answer: {names}",
            which=say("channels") if many else say("a channel"),
            which_2="do" if many else "does",
            names=names,
        ),
        tuple(_evidence(f"{state.name}: {retold(state.problem or '')}", state.location) for state in dead),
        tuple(_remedies(conda, settings)),
        severity,
    )


def _remedies(conda: CondaInstall, settings: CondaSettings) -> Iterator[Remedy]:
    content = working_condarc(conda.states)
    if content:
        path = settings.set_in.get("channels", "~/.condarc").split(",")[0]
        path = path if path in conda.configuration_files else "~/.condarc"
        yield Remedy(
            text=say(
                "Keep a copy of {path} and write this into it; every address in it answered just now:\n{content}",
                path=path,
                content=content,
            ),
            commands=(
                *((("cp", path, f"{path}.before"),) if path in conda.configuration_files else ()),
                *(((conda.program, "clean", "--index-cache"),) if conda.program else ()),
            ),
        )
    yield Remedy(
        text=say(
            "{which} conda's channels aside: the wheels of torch need none of them.",
            which=say("Or leave") if content else say("Leave"),
        ),
        commands=(NEW_ENV,),
    )


def working_condarc(states: tuple[ChannelState, ...]) -> str:
    """The text of a .condarc that names only addresses that answered, in the old order; empty where none did."""
    names = dict.fromkeys(state.name for state in states)
    lines = [f"  - {address}" for name in names for address in _answering(name, states)]
    return "\n".join(("channels:", *dict.fromkeys(lines), "channel_priority: strict")) if lines else ""


def _answering(name: str, states: tuple[ChannelState, ...]) -> list[str]:
    """The configured addresses of a channel that answer, or else the first other one that does."""
    good = [one for one in states if one.name == name and one.reachable and not (one.problem and one.suggested)]
    configured = [one.location for one in good if not one.suggested]
    return configured or [one.location for one in good][:1]


def _evidence(value: str, source: str) -> Evidence:
    return Evidence(fact="machine.conda", value=value, source=source)


def _finding(
    message: str,
    because: tuple[Evidence, ...],
    remedies: tuple[Remedy, ...],
    severity: Severity,
) -> Finding:
    return Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=severity,
        message=say("{message}.", message=message.rstrip(".")),
        because=because,
        remedies=remedies,
    )


def _look(conda: CondaInstall) -> Remedy:
    return Remedy(
        text=say("Look at what conda makes of its files, then correct that one or move it aside."),
        commands=((conda.program, "config", "--show-sources"),) if conda.program else (),
    )


# --- in a log ---

# Not the channel but what is between: certificates, proxies.
_BETWEEN = regex(r"(?i)ssl|certificate|proxy")
# libcurl's numbers: certificates 35, 58, 60, 77; proxies 5, 56, 97; time 28.
_CURL = {"35": 0.2, "58": 0.2, "60": 0.15, "77": 0.15, "5": 0.2, "97": 0.2, "56": 0.5, "28": 0.6}


def _weigh_http(hit: Hit, log: Log) -> float | None:
    """A channel that does not answer, unless what follows speaks of certificates or a proxy."""
    del log
    after = re.sub(r"ssl_verify|<?https?://\S+", "", hit.after[:900])
    if hit.groups.get("status") == "407" or _BETWEEN.search(after):
        return 0.35
    return 0.93


def _weigh_curl(hit: Hit, log: Log) -> float | None:
    del log
    number = re.search(r"\((\d+)\)", hit.text)
    return _CURL.get(number[1] if number else "", 0.85)


LOG = LogSide(
    signatures=(
        Signature(
            pattern=r"CondaHTTPError: HTTP (?P<status>\d{3}|None)[^\n<]{0,60}(?:for url <(?P<url>[^>\s]{3,300}))?",
            weigh=_weigh_http,
        ),
        Signature(
            pattern=r"UnavailableInvalidChannel(?:: (?:HTTP (?P<status>\d{3})[^\n]{0,60})?)?"
            r"|The channel is not accessible or is invalid",
            confidence=0.95,
        ),
        Signature(pattern=r"The remote server could not find the (?:noarch )?directory for the", confidence=0.9),
        Signature(pattern=r"An HTTP error occurred when trying to retrieve this URL", weigh=_weigh_http),
        Signature(
            pattern=r"Download error \(\d{1,2}\)[^\n\[]{0,120}\[(?P<url>[^\]\s]{0,300}(?:repodata|/linux-64/"
            r"|/win-64/|/noarch/|/osx-)[^\]\s]{0,200})",
            weigh=_weigh_curl,
        ),
        Signature(
            pattern=r"Multi-download failed|Transfer finalized, status: [45]\d\d|Subdir [^\n]{1,200} not loaded!"
            r"|Could not load repodata from cache",
            weigh=_weigh_http,
        ),
        Signature(
            pattern=r"failed to (?:fetch|download|get) repodata|EnforceUnusedAdapter called with url", confidence=0.8
        ),
        Signature(
            pattern=r"ConfigurationLoadError: |LoadError: Load Error: in |ChannelNotAllowed|"
            r"CondaValueError: [^\n]{0,80}(?:channel_alias|default_channels)",
            confidence=0.85,
        ),
    ),
    message=(
        later(
            "conda got no answer it could use from {url} (HTTP {status}): the channel is down, has"
            " moved, or the mirror lacks it."
        ),
        later("conda got no answer it could use from {url}: the channel is down, has moved, or the mirror lacks it."),
        later("A channel that conda asks does not answer, or conda's configuration cannot be read."),
    ),
    remedies=(
        Remedy(
            text=later(
                "See which file names that channel, take it out or correct it there, and clear the cached lists."
            ),
            commands=(("conda", "config", "--show-sources"), ("conda", "clean", "--index-cache", "--yes")),
        ),
        Remedy(
            text=later("Or pass over the configured channels this once."),
            commands=(("conda", "create", "-n", "ENV", "--override-channels", "-c", "conda-forge", "python=3.11"),),
        ),
        Remedy(
            text=later("Or leave conda's channels aside: the wheels of torch need none of them."),
            commands=(NEW_ENV,),
        ),
    ),
    tell_apart=Remedy(
        text=later("Let envfix ask each configured channel."), commands=(("envfix", "diagnose", "--network"),)
    ),
)

RULE = Rule(
    code="CND120",
    cause="conda_channel_unreachable",
    title=later("conda's channels do not answer, or its configuration cannot be read"),
    needs=("machine.conda",),
    check=check,
    rank=73,
    log=LOG,
)

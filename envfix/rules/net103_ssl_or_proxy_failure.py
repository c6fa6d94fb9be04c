"""Packages cannot be fetched: a Python without ssl, a certificate file that is not there, or a proxy that cannot work.

What it checks
    Whether the target can load its ssl module; whether certificate files that pip, conda and Python are told to use exist;
    and proxy settings that cannot work: an address nobody can read, a local proxy addressed by https, a SOCKS proxy without
    PySocks in the target, two spellings of a variable that contradict each other.

Why it matters
    Every download fails: "the ssl module in Python is not available", "Could not find a suitable TLS CA certificate bundle",
    "Missing dependencies for SOCKS support". pip then says that no version of torch exists, which is not true.

How to fix
    Correct or unset the one setting that is wrong. Switching the check of certificates off for good is no cure.

Sources
    The target's own answer; proxy and certificate variables; settings of pip, uv and conda.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar
from urllib.parse import urlsplit

from envfix.model.facts import Environment, Machine, NetworkSetting
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.rules._fetching import holds, settings_of, take_back, torch_is_wanted, variable_of
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

LOCAL = ("127.0.0.1", "localhost", "::1")
Key = TypeVar("Key")
BY_HTTPS = "is a local one addressed by https, but such proxies speak http"
SCHEMES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    wanted = torch_is_wanted(environment)
    yield from _without_ssl(environment, wanted=wanted)
    yield from _certificates(machine)
    yield from _proxies(machine, environment, wanted=wanted)


def _without_ssl(environment: Environment, *, wanted: bool) -> Iterator[Finding]:
    interpreter = environment.interpreter.value
    if interpreter is None or interpreter.ssl_problem is None:
        return
    if interpreter.kind in ("conda", "base"):
        remedy = Remedy(
            text="Activate the environment: its libraries are found only then.",
            commands=(("conda", "activate", interpreter.prefix),),
        )
    else:
        remedy = Remedy(
            text="Make an environment with another Python; this one must be built again with OpenSSL's development files.",
            commands=(("envfix", "install", "--new-env", "yolo-env", "--python", "3.11"),),
        )
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR if wanted else Severity.WARNING,
        message="This Python cannot load its ssl module, so its pip can fetch nothing over https.",
        because=(cite("environment.interpreter", environment.interpreter, interpreter.ssl_problem),),
        remedies=(remedy,),
    )


def _certificates(machine: Machine) -> Iterator[Finding]:
    broken = [setting for setting in settings_of(machine, "certificates") if setting.problem is not None]
    for (value, problem), settings in _alike(broken, lambda one: (one.value, one.problem)).items():
        # OpenSSL and uv pass over a file that is not there; pip and conda stop.
        passed_over = all(setting.name == "SSL_CERT_FILE" for setting in settings)
        yield _finding(
            settings,
            f"The certificate file {value}, set by {_names(settings)}, cannot be used: {problem}",
            Severity.INFO if passed_over else Severity.WARNING,
        )


def _proxies(machine: Machine, environment: Environment, *, wanted: bool) -> Iterator[Finding]:
    proxies = [one for one in settings_of(machine, "proxy") if one.name != "no_proxy"]
    broken = [one for one in proxies if _broken(one) is not None]
    for (value, problem), settings in _alike(broken, lambda one: (one.value, _broken(one))).items():
        yield _finding(settings, f"The proxy {value}, set by {_names(settings)}, {problem}", Severity.WARNING)
    by_name: dict[str, NetworkSetting] = {}
    for setting in proxies:
        if setting.tool == "everything":
            first = by_name.setdefault(setting.name, setting)
            if first.value.rstrip("/") != setting.value.rstrip("/"):
                text = (
                    f"The variables {first.name} and {setting.name.upper()} name different proxies"
                    f" ({first.value}, {setting.value}): some programs use the one, some the other"
                )
                yield _finding([first], text, Severity.INFO)
    effective = next((by_name[name] for name in ("https_proxy", "all_proxy") if name in by_name), None)
    installed = environment.distributions.value
    if effective is None or installed is None or not effective.value.lower().startswith("socks"):
        return
    if not holds(environment, "pysocks") and not settings_of(machine, "proxy", tool="pip"):
        text = f"The SOCKS proxy {effective.value} cannot be used by pip in this environment, which has no PySocks"
        yield _finding([effective], text, Severity.WARNING if wanted else Severity.INFO)


def _alike(settings: list[NetworkSetting], key: Callable[[NetworkSetting], Key]) -> dict[Key, list[NetworkSetting]]:
    """Settings that are wrong for one reason."""
    groups: dict[Key, list[NetworkSetting]] = {}
    for setting in settings:
        groups.setdefault(key(setting), []).append(setting)
    return groups


def _names(settings: list[NetworkSetting]) -> str:
    """The variables, or the options with the files they stand in."""
    names = [variable_of(one.configured_in) or f"{one.name} in {one.configured_in}" for one in settings]
    return " and ".join((", ".join(names[:-1]), names[-1]) if len(names) > 1 else names)


def _broken(setting: NetworkSetting) -> str | None:
    """What makes a proxy's address unusable."""
    value = setting.value if "://" in setting.value else f"http://{setting.value}"
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is no address of a proxy"
    if not host or parts.scheme.lower() not in SCHEMES:
        return "is no address of a proxy"
    if parts.scheme == "https" and host in LOCAL:
        return BY_HTTPS
    return None


def _finding(settings: list[NetworkSetting], problem: str, severity: Severity) -> Finding:
    """One finding for settings that are wrong for one reason."""
    return Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=severity,
        message=f"{problem}.",
        because=tuple(map(_evidence, settings)),
        remedies=(*_by_http(settings), *_taken_back(settings)),
    )


def _by_http(settings: list[NetworkSetting]) -> Iterator[Remedy]:
    of_shell = [
        one for one in settings if one.kind == "proxy" and one.tool == "everything" and _broken(one) == BY_HTTPS
    ]
    if of_shell:
        words = [
            f"{name}={one.value.replace('https://', 'http://', 1)}"
            for one in of_shell
            for name in (one.name, one.name.upper())
        ]
        text = "Write http instead of https; what goes through it stays encrypted."
        yield Remedy(text=text, commands=(("export", *dict.fromkeys(words)),))


def _taken_back(settings: list[NetworkSetting]) -> Iterator[Remedy]:
    variables = [name for one in settings if (name := variable_of(one.configured_in))]
    if len(variables) > 1:
        text = f"Unset {', '.join(variables)} (and take them out of your shell's start file)."
        yield Remedy(text=text, commands=(("unset", *variables),))
        settings = [one for one in settings if not variable_of(one.configured_in)]
    yield from (take_back(one.configured_in, one.name) for one in settings)


def _evidence(setting: NetworkSetting) -> Evidence:
    return Evidence(fact="machine.network", value=f"{setting.name}={setting.value}", source=setting.configured_in)


RULE = Rule(
    code="NET103",
    cause="ssl_or_proxy_failure",
    title="Packages cannot be fetched: ssl, certificates or proxy",
    needs=("machine.network",),
    check=check,
    rank=72,
)

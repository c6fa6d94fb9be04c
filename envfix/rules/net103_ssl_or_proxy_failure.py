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

from collections.abc import Iterator
from urllib.parse import urlsplit

from envfix.model.facts import Environment, Machine, NetworkSetting
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.rules._fetching import holds, settings_of, take_back, torch_is_wanted
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

LOCAL = ("127.0.0.1", "localhost", "::1")
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
    for setting in settings_of(machine, "certificates"):
        if setting.problem is None:
            continue
        # OpenSSL and uv pass over a file that is not there; pip and conda stop.
        passed_over = setting.name == "SSL_CERT_FILE"
        yield Finding(
            code=RULE.code,
            cause=RULE.cause,
            severity=Severity.INFO if passed_over else Severity.WARNING,
            message=f"The certificate file {setting.value} cannot be used: {setting.problem}.",
            because=(_evidence(setting),),
            remedies=(take_back(setting.configured_in, setting.name),),
        )


def _proxies(machine: Machine, environment: Environment, *, wanted: bool) -> Iterator[Finding]:
    proxies = [one for one in settings_of(machine, "proxy") if one.name != "no_proxy"]
    for setting in proxies:
        problem = _broken(setting)
        if problem is not None:
            yield _of_proxy(setting, problem, Severity.WARNING)
    by_name: dict[str, NetworkSetting] = {}
    for setting in proxies:
        if setting.tool == "everything":
            first = by_name.setdefault(setting.name, setting)
            if first.value.rstrip("/") != setting.value.rstrip("/"):
                yield _of_proxy(
                    first,
                    f"The variables {first.name} and {setting.name.upper()} name different proxies"
                    f" ({first.value}, {setting.value}): some programs use the one, some the other",
                    Severity.INFO,
                )
    effective = next((by_name[name] for name in ("https_proxy", "all_proxy") if name in by_name), None)
    installed = environment.distributions.value
    if effective is None or installed is None or not effective.value.lower().startswith("socks"):
        return
    if not holds(environment, "pysocks") and not settings_of(machine, "proxy", tool="pip"):
        problem = f"The SOCKS proxy {effective.value} cannot be used by pip in this environment, which has no PySocks"
        yield _of_proxy(effective, problem, Severity.WARNING if wanted else Severity.INFO)


def _broken(setting: NetworkSetting) -> str | None:
    """What makes a proxy's address unusable."""
    value = setting.value if "://" in setting.value else f"http://{setting.value}"
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return f"The setting {setting.value} is no address of a proxy"
    if not host or parts.scheme.lower() not in SCHEMES:
        return f"The setting {setting.value} is no address of a proxy"
    if parts.scheme == "https" and host in LOCAL:
        return f"The local proxy {setting.value} is addressed by https, but such proxies speak http"
    return None


def _of_proxy(setting: NetworkSetting, problem: str, severity: Severity) -> Finding:
    remedies = [take_back(setting.configured_in, setting.name)]
    corrected = setting.value.replace("https://", "http://", 1)
    if "addressed by https" in problem and setting.tool == "everything":
        remedies.insert(
            0,
            Remedy(
                text="Write http instead of https; what goes through it stays encrypted.",
                commands=(("export", f"{setting.name}={corrected}", f"{setting.name.upper()}={corrected}"),),
            ),
        )
    return Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=severity,
        message=f"{problem}.",
        because=(_evidence(setting),),
        remedies=tuple(remedies),
    )


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

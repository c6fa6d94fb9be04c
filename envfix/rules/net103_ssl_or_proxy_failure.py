"""Packages cannot be fetched: a certificate is not trusted, a proxy or firewall refuses, or this Python has no ssl.

What you see
    "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self signed certificate in certificate chain", uv's
    "invalid peer certificate: UnknownIssuer", "Cannot connect to proxy", "the ssl module in Python is not available".
    pip then says that no version of torch exists, which is not true.

Why
    A company's or campus's network opens encrypted connections with a certificate of its own, which Python does not
    know; a proxy is needed and not set, or set wrongly; a conda Python is started outside its environment and does
    not find OpenSSL; or the clock is wrong, so that no certificate is valid.

How envfix knows
    In a log: the messages of OpenSSL, rustls, urllib3, curl, git and conda. They explain an empty list of versions
    below them.
    On a machine: whether the target can load its ssl module; whether certificate files that pip, conda and Python are
    told to use exist; and proxy settings that cannot work: an address nobody can read, a local proxy addressed by
    https, a SOCKS proxy without PySocks in the target, two spellings of a variable that contradict each other.

How to mend
    Give the network's own certificate to the program (``SSL_CERT_FILE``, ``PIP_CERT``, or ``--native-tls`` for uv),
    set the right proxy, activate the environment. Correct or unset the one setting that is wrong.

What not to do
    Do not switch the check of certificates off for good (``--trusted-host``, ``ssl_verify: false``), and do not look
    for another torch: the versions are there.

Sources
    The target's own answer; proxy and certificate variables; settings of pip, uv and conda; messages of the programs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar
from urllib.parse import urlsplit

from envfix.model.facts import Environment, Machine, NetworkSetting
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.language import later, look_up, say
from envfix.model.log import Hit, Log, Signature
from envfix.rules._downloads import fetches, runs, succeeded
from envfix.rules._environments import NEW_ENV
from envfix.rules._fetching import holds, settings_of, take_back, torch_is_wanted, variable_of
from envfix.rules._log import LogSide, Reading
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

LOCAL = ("127.0.0.1", "localhost", "::1")
Key = TypeVar("Key")
BY_HTTPS = later("is a local one addressed by https, but such proxies speak http")
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
            text=say("Activate the environment: its libraries are found only then."),
            commands=(("conda", "activate", interpreter.prefix),),
        )
    else:
        remedy = Remedy(
            text=say(
                "Make an environment with another Python; this one must be built again with"
                " OpenSSL's development files."
            ),
            commands=((*NEW_ENV, "--python", "3.11"),),
        )
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR if wanted else Severity.WARNING,
        message=say("This Python cannot load its ssl module, so its pip can fetch nothing over https."),
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
            say(
                "The certificate file {value}, set by {names}, cannot be used: {problem}",
                value=value,
                names=_names(settings),
                problem=problem,
            ),
            Severity.INFO if passed_over else Severity.WARNING,
        )


def _proxies(machine: Machine, environment: Environment, *, wanted: bool) -> Iterator[Finding]:
    proxies = [one for one in settings_of(machine, "proxy") if one.name != "no_proxy"]
    broken = [one for one in proxies if _broken(one) is not None]
    for (value, problem), settings in _alike(broken, lambda one: (one.value, _broken(one))).items():
        yield _finding(
            settings,
            say("The proxy {value}, set by {names}, {problem}", value=value, names=_names(settings), problem=problem),
            Severity.WARNING,
        )
    by_name: dict[str, NetworkSetting] = {}
    for setting in proxies:
        if setting.tool == "everything":
            first = by_name.setdefault(setting.name, setting)
            if first.value.rstrip("/") != setting.value.rstrip("/"):
                text = say(
                    "The variables {first} and {setting} name different proxies ({first_2},"
                    " {setting_2}): some programs use the one, some the other",
                    first=first.name,
                    setting=setting.name.upper(),
                    first_2=first.value,
                    setting_2=setting.value,
                )
                yield _finding([first], text, Severity.INFO)
    effective = next((by_name[name] for name in ("https_proxy", "all_proxy") if name in by_name), None)
    installed = environment.distributions.value
    if effective is None or installed is None or not effective.value.lower().startswith("socks"):
        return
    if not holds(environment, "pysocks") and not settings_of(machine, "proxy", tool="pip"):
        text = say(
            "The SOCKS proxy {effective} cannot be used by pip in this environment, which has no PySocks",
            effective=effective.value,
        )
        yield _finding([effective], text, Severity.WARNING if wanted else Severity.INFO)


def _alike(settings: list[NetworkSetting], key: Callable[[NetworkSetting], Key]) -> dict[Key, list[NetworkSetting]]:
    """Settings that are wrong for one reason."""
    groups: dict[Key, list[NetworkSetting]] = {}
    for setting in settings:
        groups.setdefault(key(setting), []).append(setting)
    return groups


def _names(settings: list[NetworkSetting]) -> str:
    """The variables, or the options with the files they stand in."""
    names = [
        variable_of(one.configured_in) or say("{one} in {configured_in}", one=one.name, configured_in=one.configured_in)
        for one in settings
    ]
    return say(" and ").join((", ".join(names[:-1]), names[-1]) if len(names) > 1 else names)


def _broken(setting: NetworkSetting) -> str | None:
    """What makes a proxy's address unusable."""
    value = setting.value if "://" in setting.value else f"http://{setting.value}"
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return say("is no address of a proxy")
    if not host or parts.scheme.lower() not in SCHEMES:
        return say("is no address of a proxy")
    if parts.scheme == "https" and host in LOCAL:
        return look_up(BY_HTTPS)
    return None


def _finding(settings: list[NetworkSetting], problem: str, severity: Severity) -> Finding:
    """One finding for settings that are wrong for one reason."""
    return Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=severity,
        message=say("{problem}.", problem=problem),
        because=tuple(map(_evidence, settings)),
        remedies=(*_by_http(settings), *_taken_back(settings)),
    )


def _by_http(settings: list[NetworkSetting]) -> Iterator[Remedy]:
    of_shell = [
        one
        for one in settings
        if one.kind == "proxy" and one.tool == "everything" and _broken(one) == look_up(BY_HTTPS)
    ]
    if of_shell:
        words = [
            f"{name}={one.value.replace('https://', 'http://', 1)}"
            for one in of_shell
            for name in (one.name, one.name.upper())
        ]
        text = say("Write http instead of https; what goes through it stays encrypted.")
        yield Remedy(text=text, commands=(("export", *dict.fromkeys(words)),))


def _taken_back(settings: list[NetworkSetting]) -> Iterator[Remedy]:
    variables = [name for one in settings if (name := variable_of(one.configured_in))]
    if len(variables) > 1:
        text = say("Unset {variables} (and take them out of your shell's start file).", variables=", ".join(variables))
        yield Remedy(text=text, commands=(("unset", *variables),))
        settings = [one for one in settings if not variable_of(one.configured_in)]
    yield from (take_back(one.configured_in, one.name) for one in settings)


def _evidence(setting: NetworkSetting) -> Evidence:
    return Evidence(fact="machine.network", value=f"{setting.name}={setting.value}", source=setting.configured_in)


_CERTIFICATE = Remedy(
    text=later(
        "Get the certificate file of your network (ask its administrator), and tell all programs"
        " of this shell to use it."
    ),
    commands=(("export", "SSL_CERT_FILE=NETWORK.pem", "REQUESTS_CA_BUNDLE=NETWORK.pem", "PIP_CERT=NETWORK.pem"),),
)
_OWN_STORE = Remedy(
    text=later("Newer programs can use the certificates of the operating system instead."),
    commands=(
        ("python", "-m", "pip", "install", "--use-feature=truststore", "torch"),
        ("uv", "pip", "install", "--native-tls", "torch"),
    ),
)
_PROXY = Remedy(
    text=later(
        "Set the proxy that this network wants (mostly http:// also for https), or unset one that"
        " is not there any more."
    ),
    commands=(("export", "HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT", "HTTP_PROXY=http://USER:PASSWORD@HOST:PORT"),),
)
_MODULE = (
    Remedy(
        text=later("Activate the environment first: a conda Python finds its OpenSSL only then."),
        commands=(("conda", "activate", "ENVIRONMENT"),),
    ),
    Remedy(
        text=later("If it is a Python that was built from source, use another one: its ssl module was left out."),
        commands=((*NEW_ENV, "--python", "3.11"),),
    ),
)
_CLOCK = Remedy(
    text=later("Set the clock of this machine right: no certificate is valid at the time it shows."),
    commands=(("date",),),
)


def _what(reading: Reading) -> str:
    """Which of the kinds of failure the surest text is."""
    for hit in reading.hits:
        for kind in ("clock", "module", "proxy", "certificate", "network"):
            if hit.groups.get(kind):
                return kind
    return "certificate"


def _message(reading: Reading) -> str:
    return {
        "clock": say("A certificate is refused because of its dates: the clock of this machine is probably wrong."),
        "module": say("This Python cannot load its ssl module, so it can fetch nothing over https."),
        "proxy": say("The proxy refuses or cannot be reached, so packages cannot be fetched."),
        "certificate": say(
            "The certificate that the network shows is not trusted here (often a company opens"
            " encrypted connections), so nothing can be fetched."
        ),
        "network": say(
            "The server cannot be reached from here: no name service, no route, or a firewall or proxy in between."
        ),
    }[_what(reading)]


def _mends(reading: Reading) -> tuple[Remedy, ...]:
    return {
        "clock": (_CLOCK, _CERTIFICATE),
        "module": _MODULE,
        "proxy": (_PROXY,),
        "certificate": (_CERTIFICATE, _OWN_STORE, _PROXY),
        "network": (_PROXY,),
    }[_what(reading)]


def _forbidden(hit: Hit, log: Log) -> float | None:
    """An answer 403: a firewall's, but of torch's index it means that there is no such file."""
    del log
    return None if "/whl/" in hit.text else 0.6


def _unreachable(hit: Hit, log: Log) -> float | None:
    del log
    return None if succeeded(hit) or not fetches(hit) or runs(hit) else 0.6


def _handshake(hit: Hit, log: Log) -> float | None:
    del log
    return 0.3 if succeeded(hit) else 0.85


LOG = LogSide(
    signatures=(
        Signature(
            pattern=r"(?P<clock>certificate (?:is not yet valid|has expired)|certificate verify failed: certificate"
            r" has expired"
            r"|invalid peer certificate: (?:certificate )?(?:NotValidYet|not valid yet|Expired|expired))",
            confidence=0.9,
            quoted=True,
        ),
        Signature(
            pattern=r"(?P<certificate>CERTIFICATE_VERIFY_FAILED\]?[\s'\",:]{0,4}certificate verify failed"
            r"|SSLCertVerificationError\("
            r"|certificate verify failed: (?:self[-\s]signed|unable to get)|invalid peer certificate:\s?\w"
            r"|There was a problem confirming the ssl certificate|SSL certificate problem:|server certificate"
            r" verification failed"
            r"|cannot verify \S{1,80} certificate)",
            confidence=0.95,
            quoted=True,
        ),
        Signature(
            pattern=r"(?P<certificate>urlopen error \[SSL: CERTIFICATE_VERIFY_FAILED)",
            confidence=0.95,
            quoted=True,
        ),
        Signature(
            pattern=r"(?P<module>ssl module in Python is not available|because the SSL module is not available|No"
            r" module named '?_ssl\b"
            r"|DLL load failed while importing _ssl|Can't connect to HTTPS URL because)",
            confidence=0.96,
            quoted=True,
        ),
        Signature(
            pattern=r"(?P<proxy>ProxyError\(|ProxyError: |Cannot connect to proxy|Unable to connect to proxy|Tunnel"
            r" connection failed: \d{3}"
            r"|407 Proxy Authentication|CONNECT tunnel failed, response \d{3}|Received HTTP code \d{3} from proxy"
            r" after CONNECT"
            r"|Could not resolve proxy|Missing dependencies for SOCKS support|Unable to determine SOCKS version"
            r"|ProxySchemeUnknown"
            r"|Please check proxy URL|InvalidProxyURL|Not supported proxy scheme|proxy connect aborted|tunnel error:"
            r" \w)",
            confidence=0.94,
            quoted=True,
        ),
        Signature(
            pattern=r"(?P<proxy>ValueError: check_hostname requires server_hostname)",
            confidence=0.9,
        ),
        Signature(pattern=r"(?P<proxy>CondaProxyError|ProxyError: Conda cannot proceed)", confidence=0.95, quoted=True),
        Signature(
            pattern=r"(?P<certificate>CondaSSLError|requests\.exceptions\.SSLError|Caused by SSLError\("
            r"|SSLError\(SSL\w*Error\(|\bSSLError\s{5,60}Traceback"
            r"|\[SSL: (?:WRONG_VERSION_NUMBER|UNEXPECTED_EOF_WHILE_READING|TLSV1\w*|SSLV3\w*|BAD_SIGNATURE"
            r"|UNSAFE_LEGACY_RENEGOTIATION_DISABLED"
            r"|DH_KEY_TOO_SMALL|EE_KEY_TOO_SMALL|CA_MD_TOO_WEAK|NO_PROTOCOLS_AVAILABLE|HTTP_REQUEST"
            r"|INVALID_SESSION_ID|KRB5_S_INIT)"
            r"|SSLEOFError\(|SSLZeroReturnError\(|SSLZeroReturnError: |EOF occurred in violation of protocol"
            r"|OpenSSL appears to be unavailable|HTTPSConnectionPool[^\n]{0,300}SSLError\()",
            weigh=_handshake,
            quoted=True,
        ),
        Signature(
            pattern=r"(?P<certificate>curl: \((?:35|51|58|59|60|77)\)|curl return value (?:35|51|60|77)\b"
            r"|gnutls_handshake\(\) failed"
            r"|OpenSSL SSL_connect:|schannel: (?:next InitializeSecurityContext|SNI or|CertGetCertificateChain))",
            confidence=0.88,
            quoted=True,
        ),
        Signature(
            pattern=r"(?P<certificate>Could not find a suitable TLS CA certificate bundle|error setting certificate"
            r" (?:verify locations|file))",
            confidence=0.95,
            quoted=True,
        ),
        Signature(
            pattern=r"(?:HTTP error 403 while getting|403 Client Error: \w+ for url:|HTTP status client error \(403"
            r" Forbidden\) for url \()[^\n]{0,160}",
            weigh=_forbidden,
            quoted=True,
        ),
        Signature(
            pattern=r"(?P<network>getaddrinfo failed|Temporary failure in name resolution|Name or service not known"
            r"|nodename nor servname"
            r"|Could not resolve host|failed to lookup address information|NameResolutionError\(|Network is"
            r" unreachable|WinError 10061\b"
            r"|WinError 11001\b|\[Errno 11001\]|\[Errno 111\] Connection refused|No route to host)",
            weigh=_unreachable,
            quoted=True,
        ),
    ),
    message=_message,
    remedies=_mends,
    tell_apart=Remedy(
        text=later("See whether the ssl module loads and whether the index answers."),
        commands=(
            ("python", "-c", "import ssl; print(ssl.OPENSSL_VERSION)"),
            ("python", "-m", "pip", "index", "versions", "torch"),
        ),
    ),
    explains=(
        "wheel_not_on_index",
        "wheel_python_mismatch",
        "python_32bit",
        "platform_without_wheel",
        "download_timeout",
        "conda_channel_unreachable",
        "torch_not_installed",
    ),
)

RULE = Rule(
    code="NET103",
    cause="ssl_or_proxy_failure",
    title=later("Packages cannot be fetched: ssl, certificates or proxy"),
    needs=("machine.network",),
    check=check,
    rank=72,
    log=LOG,
)

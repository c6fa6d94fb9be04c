"""Proxies, certificates, time limits and strategies that decide how packages are fetched."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import msgspec

from envfix.host.interface import ProbeHost
from envfix.model.documents import without_secrets
from envfix.model.facts import NetworkSetting, NetworkSettings, Observed, found
from envfix.model.language import stated
from envfix.probes import conda, package_sources
from envfix.probes.package_sources import Setting, without_credentials

SOURCE = stated("proxy and certificate variables, settings of pip, uv and conda")
# Read by Python's requests and pip; of two spellings the small one counts.
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
# Whom each variable matters to: requests (in pip and conda) reads the first two, OpenSSL and uv the others.
CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
_PIP_OPTIONS = {"timeout": "timeout", "default-timeout": "timeout", "retries": "retries"}
# Where pip puts packages; variables for it are facts of their own.
_PIP_PLACES = ("target", "prefix", "root", "user")
_UV_OPTIONS = {
    "UV_HTTP_TIMEOUT": "timeout",
    "UV_REQUEST_TIMEOUT": "timeout",
    "HTTP_TIMEOUT": "timeout",
    "UV_INDEX_STRATEGY": "index-strategy",
    "UV_TORCH_BACKEND": "torch-backend",
    "UV_OFFLINE": "offline",
}
_UV_FILE_OPTIONS = ("index-strategy", "torch-backend", "offline")


def probe(host: ProbeHost) -> Observed[NetworkSettings]:
    """Every setting once, in the order in which it would be used; a certificate file that is not there says so."""
    prefix = host.getenv("VIRTUAL_ENV") or host.getenv("CONDA_PREFIX")
    tools = package_sources.read_settings(host, prefix)
    settings = [
        *_proxies(host),
        *_certificates(host),
        *_of_pip(tools.pip),
        *_places_of_pip(host, tools.pip),
        *_of_uv(host, tools.uv),
        *_of_conda(host),
    ]
    return found(NetworkSettings(settings=tuple(_checked(host, one) for one in settings)), SOURCE)


def _proxies(host: ProbeHost) -> Iterator[NetworkSetting]:
    for name in PROXIES:
        for spelled in (name, name.upper()):
            value = host.getenv(spelled)
            if value:
                yield _setting(
                    "proxy", "everything", name, value, stated("environment variable {spelled}", spelled=spelled)
                )


def _certificates(host: ProbeHost) -> Iterator[NetworkSetting]:
    for name in CERTIFICATES:
        value = host.getenv(name)
        if value:
            yield _setting("certificates", "everything", name, value, stated("environment variable {name}", name=name))


def _of_pip(options: Mapping[str, Setting]) -> Iterator[NetworkSetting]:
    for option, kind in (("proxy", "proxy"), ("cert", "certificates"), *((name, "option") for name in _PIP_OPTIONS)):
        setting = options.get(option)
        if setting is not None:
            name = _PIP_OPTIONS.get(option, option)
            yield _setting(kind, "pip", name, setting.value, setting.configured_in)


def _places_of_pip(host: ProbeHost, options: Mapping[str, Setting]) -> Iterator[NetworkSetting]:
    home = host.system_facts().get("home", "~")
    for option in _PIP_PLACES:
        setting = options.get(option)
        if setting is not None and not setting.configured_in.startswith("environment variable"):
            value = f"{home}{setting.value[1:]}" if setting.value.startswith("~/") else setting.value
            yield _setting("option", "pip", option, value, setting.configured_in)


def _of_uv(host: ProbeHost, options: Mapping[str, Setting]) -> Iterator[NetworkSetting]:
    for variable, name in _UV_OPTIONS.items():
        value = host.getenv(variable)
        if value:
            yield _setting("option", "uv", name, value, stated("environment variable {variable}", variable=variable))
    for name in _UV_FILE_OPTIONS:
        setting = options.get(name)
        if setting is not None:
            yield _setting("option", "uv", name, setting.value, setting.configured_in)


def _of_conda(host: ProbeHost) -> Iterator[NetworkSetting]:
    settings, _ = conda.read_settings(host)
    for scheme, address in settings.proxies.items():
        yield _setting("proxy", "conda", f"proxy_servers {scheme}", address, settings.set_in["proxy_servers"])
    verify = settings.ssl_verify
    if verify is not None:
        kind = "certificates" if _is_path(verify) else "option"
        yield _setting(kind, "conda", "ssl_verify", verify, settings.set_in["ssl_verify"])
    if settings.read_timeout is not None:
        where = settings.set_in["remote_read_timeout_secs"]
        yield _setting("option", "conda", "timeout", settings.read_timeout, where)


def _is_path(text: str) -> bool:
    """Whether ssl_verify names a file; it may also be yes, no or ``truststore``."""
    return re.search(r"[/\\.]", text) is not None


def _setting(kind: str, tool: str, name: str, value: str, configured_in: str) -> NetworkSetting:
    shown: str = without_secrets(without_credentials(value.strip()))
    return msgspec.convert(
        {"kind": kind, "tool": tool, "name": name, "value": shown, "configured_in": configured_in}, NetworkSetting
    )


def _checked(host: ProbeHost, setting: NetworkSetting) -> NetworkSetting:
    """A certificate file or folder that cannot be used says why (one byte is read of a file)."""
    if setting.kind != "certificates" or setting.name == "SSL_CERT_DIR":  # which may name several folders
        return setting
    home = host.system_facts().get("home", "~")
    path = f"{home}{setting.value[1:]}" if setting.value.startswith("~/") else setting.value
    answer = host.read_text(path, limit=1)
    problem = None
    if answer.outcome == "absent":
        problem = stated("there is no such file")
    elif answer.outcome == "unreadable" and answer.problem != "not a regular file":
        problem = stated("it cannot be read: {problem}", problem=answer.problem)
    elif answer.outcome == "read" and not answer.text:
        problem = stated("the file is empty")
    return msgspec.structs.replace(setting, problem=problem)

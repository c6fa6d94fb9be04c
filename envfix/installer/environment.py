"""The one cleaned environment in which pip and uv are run: nothing is taken from a place that the plan did not name."""

from __future__ import annotations

import os
from collections.abc import Mapping

import msgspec

from envfix.host.interface import ProbeHost
from envfix.probes.package_sources import Setting, Settings, read_settings

# Variables that send an installer to another interpreter or folder than the one it is told.
_MISLEADING = (
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONSTARTUP",
    "PYTHONUSERBASE",
    "PYTHONNOUSERSITE",
    "PYTHONPLATLIBDIR",
    "__PYVENV_LAUNCHER__",
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "CONDA_DEFAULT_ENV",
)
# What of pip's and uv's own variables says how to reach the network or where to cache; all others are dropped.
_KEPT = frozenset(
    {
        "PIP_CACHE_DIR",
        "PIP_CERT",
        "PIP_CLIENT_CERT",
        "PIP_DEFAULT_TIMEOUT",
        "PIP_DISABLE_PIP_VERSION_CHECK",
        "PIP_PROXY",
        "PIP_RETRIES",
        "PIP_TIMEOUT",
        "PIP_TRUSTED_HOST",
        "UV_CACHE_DIR",
        "UV_CONCURRENT_BUILDS",
        "UV_CONCURRENT_DOWNLOADS",
        "UV_CONCURRENT_INSTALLS",
        "UV_HTTP_CONNECT_TIMEOUT",
        "UV_HTTP_RETRIES",
        "UV_HTTP_TIMEOUT",
        "UV_INSECURE_HOST",
        "UV_KEYRING_PROVIDER",
        "UV_LINK_MODE",
        "UV_NATIVE_TLS",
        "UV_NO_CACHE",
        "UV_OFFLINE",
        "UV_REQUEST_TIMEOUT",
        "UV_SYSTEM_CERTS",
    }
)
_PROXIES = ("ALL_PROXY", "HTTPS_PROXY", "https_proxy", "all_proxy")


class InstallerEnvironment(msgspec.Struct, frozen=True, kw_only=True):
    """Variables to set and to drop for pip and uv; may hold credentials, so it is never shown or recorded."""

    variables: dict[str, str]
    drop: tuple[str, ...]
    settings: Settings


def environment_for_installers(host: ProbeHost, prefix: str | None = None) -> InstallerEnvironment:
    """The user's environment without what misleads installers, with the user's own registry, proxy and certificates.

    ``prefix`` is the environment whose pip.conf counts as well. The registry that pip or uv is configured to use stays
    the default one for both; extra indexes and find-links are dropped, every configuration file is switched off.
    """
    settings = read_settings(host, prefix)
    own = host.environ(("PIP_", "UV_"))
    drop = [*_MISLEADING, *(name for name in own if name not in _KEPT)]
    variables = {
        "PIP_CONFIG_FILE": os.devnull,
        "UV_NO_CONFIG": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        "NO_COLOR": "1",
        # uv draws its progress only on a terminal it believes in.
        "TERM": "xterm-256color",
        **_registry(settings),
        **_certificates(host, settings),
        **_network(host, settings, own),
    }
    return InstallerEnvironment(variables=variables, drop=tuple(drop), settings=settings)


def certificates(host: ProbeHost, prefix: str | None = None) -> str | None:
    """The certificate bundle the user names for uv or pip, in the order the installer would take them."""
    return _certificates(host, read_settings(host, prefix)).get("SSL_CERT_FILE") or host.getenv("SSL_CERT_FILE")


def _registry(settings: Settings) -> dict[str, str]:
    default = settings.default_index()
    if default is None:
        return {}
    # As variables, not arguments: the address may carry a password, and every user of the machine sees arguments.
    return {"UV_DEFAULT_INDEX": default.location, "PIP_INDEX_URL": default.location}


def _certificates(host: ProbeHost, settings: Settings) -> dict[str, str]:
    found: dict[str, str] = {}
    if not host.getenv("SSL_CERT_FILE"):
        named = settings.pip.get("cert")
        bundle = named.value if named else host.getenv("REQUESTS_CA_BUNDLE") or host.getenv("CURL_CA_BUNDLE")
        # A bundle may also be a folder for requests; uv takes files only.
        if bundle and host.read_text(bundle, limit=1).outcome == "read":
            found["SSL_CERT_FILE"] = bundle
    for option in ("native-tls", "system-certs"):
        if settings.uv.get(option, Setting(value="", configured_in="")).value == "True":
            found["UV_SYSTEM_CERTS"] = "1"
            found["UV_NATIVE_TLS"] = "1"
    return found


def _network(host: ProbeHost, settings: Settings, own: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    proxy = settings.pip.get("proxy")
    if proxy and not any(host.getenv(name) for name in _PROXIES):
        found["ALL_PROXY"] = proxy.value
    timeout = settings.pip.get("default-timeout") or settings.pip.get("timeout")
    if timeout and timeout.value.strip().isdigit() and not own.get("UV_HTTP_TIMEOUT"):
        found["UV_HTTP_TIMEOUT"] = timeout.value.strip()
    trusted = settings.pip.get("trusted-host")
    if trusted and not own.get("UV_INSECURE_HOST"):
        found["UV_INSECURE_HOST"] = " ".join(trusted.value.split())
    cache = settings.uv.get("cache-dir")
    if cache and not own.get("UV_CACHE_DIR"):
        found["UV_CACHE_DIR"] = cache.value
    return found

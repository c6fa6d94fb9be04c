"""Which way packages come to this machine: from which host each, and through which proxy; never with a password."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

import msgspec
from packaging.utils import canonicalize_name

from envfix.host.interface import ProbeHost

_FILE_URL = re.compile(r'url = "(https?://[^"\s]+/([^"/\s]+))"')
_PROXIES = {"http": ("HTTP_PROXY", "http_proxy"), "https": ("HTTPS_PROXY", "https_proxy")}


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """``hosts`` is where each package comes from, ``proxies`` the proxy for ``http`` and ``https`` (``host:port``).

    ``direct`` are the hosts and domains that no proxy is asked for (``NO_PROXY``).
    """

    hosts: Mapping[str, str] = {}
    proxies: Mapping[str, str] = {}
    direct: tuple[str, ...] = ()

    def host_of(self, package: str) -> str | None:
        """Where this package comes from."""
        return self.hosts.get(canonicalize_name(package))

    def proxy_for(self, address: str) -> str | None:
        """The proxy through which this address is asked."""
        parts = urlsplit(address)
        host = parts.hostname or ""
        for name in self.direct:
            bare = name.lstrip("*").lstrip(".")
            if name == "*" or host == bare or (bare and host.endswith(f".{bare}")):
                return None
        return self.proxies.get(parts.scheme)


NO_ROUTE = Route()


def find_route(host: ProbeHost, variables: Mapping[str, str], lock: str = "") -> Route:
    """The route that an installer run with these variables takes to the files of ``lock``."""

    def value(name: str) -> str:
        return variables.get(name) or host.getenv(name) or ""

    everything = value("ALL_PROXY") or value("all_proxy")
    proxies = {}
    for scheme, names in _PROXIES.items():
        address = next(filter(None, map(value, names)), everything)
        if address:
            proxies[scheme] = bare_host(address if "://" in address else f"http://{address}")
    direct = (value("NO_PROXY") or value("no_proxy")).replace(" ", ",").split(",")
    return Route(hosts=hosts_of(lock), proxies=proxies, direct=tuple(filter(None, direct)))


def hosts_of(lock: str) -> dict[str, str]:
    """The host of each package whose file's address stands in the lock."""
    found: dict[str, str] = {}
    for match in _FILE_URL.finditer(lock):
        name = unquote(match[2]).removesuffix(".tar.gz").removesuffix(".zip")
        name = name.partition("-")[0] if name.endswith(".whl") else name.rpartition("-")[0]
        found[canonicalize_name(name)] = bare_host(match[1])
    return found


def bare_host(address: str) -> str:
    """``host:port`` of an address, without user name and password."""
    return urlsplit(address).netloc.rpartition("@")[2]

"""Downloads resolved files by envfix itself, resuming what was interrupted: as the user has set pip and uv up for the network."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

from envfix.errors import InstallError
from envfix.host.fetch import FetchError, NetworkSettings, WantedFile, fetch, measure, path_of
from envfix.host.interface import Host
from envfix.installer.environment import InstallerEnvironment
from envfix.installer.interface import DownloadError, PermissionsError, SpaceError, StalledError
from envfix.installer.lock_reader import LockedFile
from envfix.model.language import say
from envfix.model.reporter import Reporter
from envfix.probes.package_sources import without_credentials

IDLE_LIMIT = 600.0
# What a try waits for a byte at least; a proxy that looks for viruses takes its time, and its users have said so.
TIMEOUT = 15.0
_ERRORS: dict[str, type[InstallError]] = {"space": SpaceError, "stalled": StalledError, "permission": PermissionsError}


def download(
    host: Host,
    environment: InstallerEnvironment,
    files: Sequence[LockedFile],
    store: str,
    *,
    addresses: Sequence[str],
    idle_limit: float,
    offline: bool,
    reporter: Reporter,
) -> dict[str, str]:
    """Bring these files into ``store``, hash-checked; the answer is where each address lies now.

    ``addresses`` are index addresses as the user gave them, maybe with a password. Raises ``InstallError`` or one of its
    kinds; what has arrived, half files included, is kept for the next try.
    """
    logins = [*addresses, *(source.location for source in environment.settings.sources)]
    wanted = [msgspec.structs.replace(_wanted(file), login=login_for(file.url, logins)) for file in files]
    reporter.stage(say("downloading packages"))
    try:
        return fetch(
            wanted,
            store,
            settings=network_settings(host, environment, idle_limit=idle_limit, offline=offline),
            reporter=reporter,
        )
    except FetchError as error:
        raise _ERRORS.get(error.kind, DownloadError)(error.message, hint=error.hint) from error


def measured_rate(
    host: Host, environment: InstallerEnvironment, files: Sequence[LockedFile], *, addresses: Sequence[str]
) -> float | None:
    """Bytes a second at which the largest of these files begins to arrive; None where that cannot be told."""
    largest = max(
        (file for file in files if file.url.startswith("http")), key=lambda file: file.size or 0, default=None
    )
    if largest is None:
        return None
    logins = [*addresses, *(source.location for source in environment.settings.sources)]
    wanted = msgspec.structs.replace(_wanted(largest), login=login_for(largest.url, logins))
    return measure(wanted, network_settings(host, environment))


def has_begun(file: LockedFile, store: str) -> bool:
    """Whether a part of the file, or all of it, lies in ``store`` from an earlier try."""
    path = path_of(_wanted(file), store)
    return os.path.exists(path) or os.path.exists(f"{path}.part")


def remove_files(lock: str, store: str) -> None:
    """Delete the files of a lock that lie in ``store``, with the folders that held them."""
    begin = Path(store).resolve().as_uri() if store else None
    for address in re.findall(r'"(file://[^"]+)"', lock):
        if begin is not None and address.startswith(f"{begin}/"):
            path = unquote(urlsplit(address).path)
            with contextlib.suppress(OSError):
                os.unlink(path)
                shutil.rmtree(os.path.dirname(path))


def _wanted(file: LockedFile) -> WantedFile:
    return WantedFile(
        url=without_credentials(file.url),
        filename=file.filename,
        size=file.size,
        sha256=file.sha256,
        called=f"{file.name} {file.version}",
    )


def network_settings(
    host: Host, environment: InstallerEnvironment, *, idle_limit: float = IDLE_LIMIT, offline: bool = False
) -> NetworkSettings:
    """How envfix itself reaches the network: as the user has set pip and uv up for it."""
    variables, pip = environment.variables, environment.settings.pip

    def value(name: str) -> str | None:
        return variables.get(name) or host.getenv(name)

    def option(name: str) -> str | None:
        return pip[name].value.strip() if name in pip else None

    own_bundle = option("cert") if "UV_SYSTEM_CERTS" not in variables else None
    wait = value("UV_HTTP_TIMEOUT") or ""
    return NetworkSettings(
        proxy=variables.get("ALL_PROXY"),
        certificates=value("SSL_CERT_FILE") or own_bundle or _system_bundle(variables),
        client_certificate=option("client-cert") or host.getenv("SSL_CLIENT_CERT"),
        insecure_hosts=tuple((value("UV_INSECURE_HOST") or "").replace(",", " ").split()),
        timeout=min(max(TIMEOUT, float(wait) if wait.isdigit() else 0.0), idle_limit),
        idle_limit=idle_limit,
        offline=offline,
    )


def login_for(url: str, addresses: Sequence[str]) -> tuple[str, str] | None:
    """User name and password for a file: its own, or those of the address on the same server that is most like it."""
    parts = urlsplit(url)
    if parts.username is not None:
        return unquote(parts.username), unquote(parts.password or "")
    best: tuple[int, tuple[str, str]] | None = None
    for address in addresses:
        with contextlib.suppress(ValueError):
            other = urlsplit(address)
            same = (other.scheme, other.hostname, other.port) == (parts.scheme, parts.hostname, parts.port)
            if other.username is not None and same:
                alike = len(os.path.commonpath([other.path or "/", parts.path or "/"]))
                if best is None or alike > best[0]:
                    best = alike, (unquote(other.username), unquote(other.password or ""))
    return best[1] if best else None


def _system_bundle(variables: Mapping[str, str]) -> str | None:
    if "UV_SYSTEM_CERTS" not in variables:
        return None
    import ssl

    paths = ssl.get_default_verify_paths()
    return paths.cafile or paths.capath

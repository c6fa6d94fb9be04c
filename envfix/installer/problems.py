"""Turns the words of a failed uv into what happened and what to do: a pure function of text."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from envfix.errors import InstallError
from envfix.installer.interface import (
    TORCH_FAMILY,
    BrokenOffError,
    DownloadError,
    PermissionsError,
    Refusal,
    SpaceError,
)
from envfix.installer.route import NO_ROUTE, Route, bare_host
from envfix.model.language import later, look_up, say

# The stand-in project that carries the request; users never see its name.
STAND_IN = "envfix-request"
# uv wipes a line (\x1b[2K) or returns to its start before it draws anew: what follows is a line of its own.
_NEW_LINE = re.compile(r"\x1b\[2K|\r\n?")
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07")
_DRAWN = re.compile(r"Preparing packages\.\.\.|-{10,} |^warning: The `--pylock` option|^hint: .*`--system-certs`")
_LINES = 14
# Where pip itself stumbles, its last line tells why; the lines of its source do not.
_TRACEBACK = re.compile(r"^(?:error: Exception:\n)?Traceback \(most recent call last\):\n(?:[ \t].*\n)*", re.MULTILINE)
UNRECOGNISED = later("the lines above are the installer's own")


class _Sign(msgspec.Struct, frozen=True, kw_only=True):
    """A recognised failure: the pattern in uv's words, and ours.

    ``{0}`` is the pattern's first group, ``{source}`` the package index with its host, ``{file}`` what was fetched,
    ``{origin}`` the host it is from, ``{proxy}`` the proxy with its host; a sign with ``proxied`` counts only where a
    proxy is in between.
    """

    pattern: str
    message: str
    hint: str
    kind: Literal["unsatisfiable", "network", "other"] = "other"
    error: type[InstallError] = InstallError
    proxied: bool = False


def _network(pattern: str, message: str, hint: str, *, proxied: bool = False, passing: bool = False) -> _Sign:
    error = BrokenOffError if passing else DownloadError
    return _Sign(pattern=pattern, message=message, hint=hint, kind="network", error=error, proxied=proxied)


_AGAIN = later("try again: packages that have arrived are kept; or choose another index with --index")
_LATER = later("try again in some minutes: packages that have arrived are kept; or choose another index with --index")
_NO_CONNECTION = r"tcp connect error|Connection refused|os error 111|Network is unreachable"
# The most telling first: a full disk also looks like a failed download.
_SIGNS = (
    _Sign(
        pattern=r"No space left on device|os error 28|Disk quota exceeded|os error 122|not enough space on the disk",
        message=later("the disk is full (or your quota is used up)"),
        hint=later("free some room; UV_CACHE_DIR moves uv's cache and TMPDIR temporary files to another disk"),
        error=SpaceError,
    ),
    _Sign(
        pattern=r"Failed to initialize cache at `([^`]+)`",
        message=later("uv cannot write into its cache {0}"),
        hint=later("name a folder that you may write: UV_CACHE_DIR=FOLDER"),
        error=PermissionsError,
    ),
    _network(
        r"Hash mismatch for `[^`]+`",
        later("{file}{origin} is not the one its index promised (wrong hash)"),
        later("the download or a mirror is damaged or stale: try again, or choose another index with --index"),
    ),
    _Sign(
        pattern=r"externally managed",
        message=later("this Python belongs to the operating system and must not be changed"),
        hint=later("make an environment of your own with --new-env PATH"),
        error=PermissionsError,
    ),
    _Sign(
        pattern=r"Read-only file system|os error 30",
        message=later("the file system is read-only"),
        hint=later("make the environment elsewhere with --new-env PATH"),
        error=PermissionsError,
    ),
    _Sign(
        pattern=r"Permission denied|os error 13|os error 5\)|Access is denied",
        message=later("writing is not permitted"),
        hint=later("make an environment of your own with --new-env PATH"),
        error=PermissionsError,
    ),
    _network(
        r"407 Proxy Authentication Required|proxy authorization required",
        later("{proxy} asks for a user name and a password (407)"),
        "write them into the proxy's address: HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT",
    ),
    _network(
        r"tunnel error: failed to create",
        later("{proxy} cannot be reached"),
        later("correct or unset the proxy: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, or proxy in pip.conf"),
    ),
    _network(
        rf"dns error|failed to lookup address|{_NO_CONNECTION}",
        later("{proxy} cannot be reached"),
        later("correct or unset the proxy: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, or proxy in pip.conf"),
        proxied=True,
    ),
    _network(
        r"tunnel error",
        later("{proxy} does not let through to {source}"),
        later("ask who runs the proxy to allow that host, or choose another index with --index"),
    ),
    _network(
        r"InvalidContentType|WRONG_VERSION_NUMBER",
        later("no secure connection to {source} can be made: what answers there does not speak https"),
        later("check the address of the index and the proxy"),
    ),
    _network(
        r"certificate expired|CertExpired|NotValidYet|not valid yet|invalid peer certificate: Expired",
        later("no secure connection to {source} can be made: its certificate is out of date"),
        later("check the clock of this machine, or choose another index with --index"),
    ),
    _network(
        r"certificate not valid for name|NotValidForName",
        later("no secure connection to {source} can be made: the certificate belongs to another host"),
        later("check the address of the index and the proxy"),
    ),
    _network(
        r"invalid peer certificate|UnknownIssuer|certificate verify failed",
        later("no secure connection to {source} can be made: nobody this machine trusts has signed its certificate"),
        later("behind a company proxy name its certificate file in SSL_CERT_FILE (or as cert in pip.conf)"),
    ),
    _network(
        r"dns error|failed to lookup address",
        later("the name of {source} cannot be found (DNS)"),
        later("check the network, or the index set for pip or uv"),
    ),
    _network(
        _NO_CONNECTION,
        later("{source} does not accept connections"),
        later("check the network and the proxy, or choose another index with --index"),
    ),
    _network(
        r"operation timed out|timed out|timeout",
        later("{source} stopped answering in time"),
        later("try again: packages that have arrived are kept; UV_HTTP_TIMEOUT (seconds) allows for a slow network"),
        passing=True,
    ),
    _network(
        r"\b(401 Unauthorized|403 Forbidden)",
        later("{source} refuses access ({0})"),
        later("check user name and password of the index, or choose another one with --index"),
    ),
    _network(
        r"Failed to download[\s\S]*HTTP\s+status\s+client\s+error\s+\((404 Not Found|410 Gone)\)",
        later("{source} has no longer {file} ({0})"),
        later("run the same command again: it looks anew for what is there; or choose another index with --index"),
    ),
    _network(
        r"\b(429 Too Many Requests)",
        later("{source} gets too many requests from this network ({0})"),
        _LATER,
        passing=True,
    ),
    _network(
        r"HTTP\s+status\s+(?:server|client)\s+error\s+\((\d+ [^)]*)\)",
        later("{source} answers with error {0}"),
        _LATER,
        passing=True,
    ),
    # 0x..3c is "<": a page, not an archive.
    _network(
        r"unexpected header \(actual: 0x[0-9a-f]{0,6}3c,",
        later("instead of {file} {source} sent a web page, as networks do that want a login"),
        later(
            "open any page in a browser to log in to the network, then try again; or choose another index with --index"
        ),
    ),
    # uv follows ten redirects and takes the answer to the last one for the file.
    _network(
        r"unable to locate the end of central directory|unexpected header",
        later("{source} sent something else than {file}"),
        later("check the address of the index, or choose another one with --index"),
    ),
    _network(
        r"Received some unexpected (?:JSON|HTML)|Unsupported `Content-Type`",
        later("{source} sent something else than a list of packages"),
        later("check the address of the index, or choose another one with --index"),
    ),
    _network(
        r"connection closed|connection reset|IncompleteBody|end of file before message|error decoding response"
        r"|unexpected end of file|error reading a body",
        later("{source} broke off in the middle of {file}"),
        _AGAIN,
        passing=True,
    ),
    _network(
        r"Failed to extract archive|Bad CRC|Bad uncompressed size|Bad compressed size|Invalid zip file|Failed to unzip",
        later("{file} is damaged as {source} sends it"),
        later("try again, or choose another index with --index"),
        passing=True,
    ),
    _network(
        r"error sending request|Failed to fetch",
        later("{source} cannot be asked"),
        later("check the network and the proxy, or choose another index with --index"),
    ),
    _network(
        r"because the network was disabled|network (?:connectivity )?is disabled",
        later("a file is needed that is not on this disk, and going to the network is switched off"),
        later("leave out --offline, or name a folder of wheels with --index"),
    ),
    _Sign(
        pattern=r"there is no version of (torch\S*==\S+?) and the request wants",
        message=later("the index has no {0}"),
        hint=later(
            "check the address of the index (a login page of the network looks like this too), or"
            " choose another one with --index"
        ),
        kind="unsatisfiable",
    ),
    _Sign(
        pattern=r"No solution found|requirements are unsatisfiable",
        message=later("no set of packages satisfies the request"),
        hint=later("loosen a version, or take another Python"),
        kind="unsatisfiable",
    ),
    _Sign(
        pattern=r"Failed to build `([^`]+)`",
        message=later("{0} has no wheel for this Python and platform, and building it from source failed"),
        hint=later("take another Python or another version of it"),
        kind="unsatisfiable",
    ),
    _Sign(
        pattern=r"Unable to uninstall `([^`]+)`|Failed to uninstall",
        message=later("a package that is in the way cannot be removed, because its file list is missing"),
        hint=later("make a fresh environment with --new-env PATH"),
    ),
)
_FILE = re.compile(r"(?:Failed to download|Hash mismatch for) `([^`]+)`")
_ADDRESS = re.compile(r"https?://[^\s`)]+")
_NOT_FOUND = re.compile(r"([A-Za-z0-9._-]+) was not found in the package registry")


def refusal(text: str, route: Route = NO_ROUTE) -> Refusal:
    """Why there is no resolution, in one sentence and in uv's own words; ``route`` is the way to the indexes."""
    telling = telling_lines(text)
    sign, message = _recognise(telling, route)
    if sign is None:
        return Refusal(kind="other", message=say("the installer gave up"), text=telling)
    hint: str | None = sign.hint
    missing = _NOT_FOUND.search(telling)
    if sign.kind == "unsatisfiable" and missing:
        message, hint = (
            say("the index has no package named {missing}", missing=missing[1]),
            say("check the spelling, or the index"),
        )
        if missing[1] in TORCH_FAMILY:  # also where it answers 403: the official one does so for what it has not got
            message += say(", or does not let you see it")
            hint = say("check the address of the index and its login, or choose another one with --index")
    is_of_machine = sign.error in (SpaceError, PermissionsError)
    return Refusal(kind="machine" if is_of_machine else sign.kind, message=message, text=telling, hint=hint)


def install_error(text: str, doing: str, route: Route = NO_ROUTE) -> InstallError:
    """The error for a failed run of uv; ``doing`` is what was tried (``installing the packages``)."""
    telling = telling_lines(text)
    sign, message = _recognise(telling, route)
    quoted = f"\n{telling}" if telling else ""
    if sign is None:
        return InstallError(say("{doing} failed", doing=doing) + quoted, hint=UNRECOGNISED)
    return sign.error(
        say("{doing} failed: {message}{quoted}", doing=doing, message=message, quoted=quoted), hint=sign.hint
    )


def missing_package(text: str) -> str | None:
    """The package that no index has, when that is what the refusal says."""
    match = _NOT_FOUND.search(text)
    return match[1] if match else None


def telling_lines(text: str) -> str:
    """The installer's own words from its first error on, without drawing, at most 14 lines."""
    plain = _TRACEBACK.sub("error: ", _ANSI.sub("", _NEW_LINE.sub("\n", text)))
    lines = [line.rstrip() for line in plain.splitlines() if not _DRAWN.search(line)]
    start = next((number for number, line in enumerate(lines) if line.lstrip().startswith("error:")), None)
    chosen = lines[start:] if start is not None else lines[-_LINES:]
    chosen = [line[:400] for line in chosen if line.strip()][:_LINES]
    own = {
        f"{STAND_IN} depends on": "the request wants",
        f"{STAND_IN} depend on": "the request wants",
        STAND_IN: "request",
    }
    telling = "\n".join(chosen)
    for theirs, ours in own.items():
        telling = telling.replace(theirs, ours)
    return _without_secrets(telling)


def _without_secrets(text: str) -> str:
    return re.sub(r"(?<=://)[^/\s@]+@", "", text)


def _recognise(text: str, route: Route) -> tuple[_Sign | None, str]:
    file = _FILE.search(text)
    address = _ADDRESS.search(text)
    package = file[1] if file else ""
    host = bare_host(address[0]) if address else route.host_of(re.split("[=@<>~! ]", package)[0])
    proxy = route.proxy_for(address[0] if address else f"https://{host or ''}")
    words = {
        "source": say("the package index {host}", host=host) if host else say("the package index"),
        "origin": say(" from {host}", host=host) if host else "",
        "file": say("the file of {package}", package=package) if package else say("the answer"),
        "proxy": say("the proxy {proxy}", proxy=proxy) if proxy else say("the proxy"),
    }
    for sign in _SIGNS:
        match = re.search(sign.pattern, text, re.IGNORECASE)
        if match is not None and not (sign.proxied and proxy is None):
            return sign, look_up(sign.message).format(*(match.groups() or ("",)), **words)
    return None, ""

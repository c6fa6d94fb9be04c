"""Turns the words of a failed uv into what happened and what to do: a pure function of text."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from envfix.errors import InstallError
from envfix.installer.interface import DownloadError, PermissionsError, Refusal, SpaceError

# The stand-in project that carries the request; users never see its name.
STAND_IN = "envfix-request"
# uv wipes a line (\x1b[2K) or returns to its start before it draws anew: what follows is a line of its own.
_NEW_LINE = re.compile(r"\x1b\[2K|\r\n?")
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07")
_DRAWN = re.compile(r"Preparing packages\.\.\.|-{10,} |^warning: The `--pylock` option")
_LINES = 14


class _Sign(msgspec.Struct, frozen=True, kw_only=True):
    """A recognised failure: the pattern in uv's words, and ours; ``{0}`` is the pattern's first group."""

    pattern: str
    message: str
    hint: str
    kind: Literal["unsatisfiable", "network", "other"] = "other"
    error: type[InstallError] = InstallError


# The most telling first: a full disk also looks like a failed download.
_SIGNS = (
    _Sign(
        pattern=r"No space left on device|os error 28|Disk quota exceeded|os error 122|not enough space on the disk",
        message="the disk is full (or your quota is used up)",
        hint="free some room; UV_CACHE_DIR moves uv's cache and TMPDIR temporary files to another disk",
        error=SpaceError,
    ),
    _Sign(
        pattern=r"Hash mismatch for `([^`]+)`",
        message="the file of {0} is not the one its index promised (wrong hash)",
        hint="the download or a mirror is damaged or stale: try again, or choose another index with --index",
        kind="network",
        error=DownloadError,
    ),
    _Sign(
        pattern=r"externally managed",
        message="this Python belongs to the operating system and must not be changed",
        hint="make an environment of your own with --new-env PATH",
        error=PermissionsError,
    ),
    _Sign(
        pattern=r"Read-only file system|os error 30",
        message="the file system is read-only",
        hint="make the environment elsewhere with --new-env PATH",
        error=PermissionsError,
    ),
    _Sign(
        pattern=r"Permission denied|os error 13|os error 5\)|Access is denied",
        message="writing is not permitted",
        hint="make an environment of your own with --new-env PATH",
        error=PermissionsError,
    ),
    _Sign(
        pattern=r"invalid peer certificate|UnknownIssuer|certificate verify failed|InvalidContentType|CertExpired",
        message="no secure connection to the package index can be made",
        hint="behind a company proxy name its certificate file in SSL_CERT_FILE",
        kind="network",
        error=DownloadError,
    ),
    _Sign(
        pattern=r"dns error|failed to lookup address",
        message="the name of the package index cannot be found (DNS)",
        hint="check the network, or the index set for pip or uv",
        kind="network",
        error=DownloadError,
    ),
    _Sign(
        pattern=r"tcp connect error|Connection refused|os error 111|Network is unreachable",
        message="the package index does not accept connections",
        hint="check the network and the proxy, or choose another index with --index",
        kind="network",
        error=DownloadError,
    ),
    _Sign(
        pattern=r"operation timed out|timed out|timeout",
        message="the package index stopped answering in time",
        hint="try again: what has arrived is kept; UV_HTTP_TIMEOUT (seconds) allows for a slow network",
        kind="network",
        error=DownloadError,
    ),
    _Sign(
        pattern=r"\b(401 Unauthorized|403 Forbidden|407 Proxy Authentication Required)",
        message="the package index refuses access ({0})",
        hint="check user name and password of the index, or choose another one with --index",
        kind="network",
        error=DownloadError,
    ),
    _Sign(
        pattern=r"HTTP status (?:server|client) error \((\d+ [^)]*)\)",
        message="the package index answers with error {0}",
        hint="try again later, or choose another index with --index",
        kind="network",
        error=DownloadError,
    ),
    _Sign(
        pattern=r"connection closed|connection reset|IncompleteBody|end of file before message|error decoding response"
        r"|unexpected end of file|error reading a body|Unsupported `Content-Type`",
        message="the package index broke off or sent something else than the file",
        hint="try again, or choose another index with --index",
        kind="network",
        error=DownloadError,
    ),
    _Sign(
        pattern=r"error sending request|Failed to fetch",
        message="the package index cannot be asked",
        hint="check the network and the proxy, or choose another index with --index",
        kind="network",
        error=DownloadError,
    ),
    _Sign(
        pattern=r"because the network was disabled|network (?:connectivity )?is disabled",
        message="a file is needed that is not on this disk, and going to the network is switched off",
        hint="leave out --offline, or name a folder of wheels with --index",
        kind="network",
        error=DownloadError,
    ),
    _Sign(
        pattern=r"No solution found|requirements are unsatisfiable",
        message="no set of packages satisfies the request",
        hint="loosen a version, or take another Python",
        kind="unsatisfiable",
    ),
    _Sign(
        pattern=r"Failed to build `([^`]+)`",
        message="{0} has no wheel for this Python and platform, and building it from source failed",
        hint="take another Python or another version of it",
        kind="unsatisfiable",
    ),
    _Sign(
        pattern=r"Unable to uninstall `([^`]+)`|Failed to uninstall",
        message="a package that is in the way cannot be removed, because its file list is missing",
        hint="make a fresh environment with --new-env PATH",
    ),
)
_NOT_FOUND = re.compile(r"([A-Za-z0-9._-]+) was not found in the package registry")


def refusal(text: str) -> Refusal:
    """Why there is no resolution, in one sentence and in uv's own words."""
    telling = telling_lines(text)
    sign, message = _recognise(telling)
    if sign is None:
        return Refusal(kind="other", message="the installer gave up", text=telling)
    hint: str | None = sign.hint
    missing = _NOT_FOUND.search(telling)
    if sign.kind == "unsatisfiable" and missing:
        message, hint = f"the index has no package named {missing[1]}", "check the spelling, or the index"
    return Refusal(kind=sign.kind, message=message, text=telling, hint=hint)


def install_error(text: str, doing: str) -> InstallError:
    """The error for a failed run of uv; ``doing`` is what was tried (``installing the packages``)."""
    telling = telling_lines(text)
    sign, message = _recognise(telling)
    quoted = f"\n{telling}" if telling else ""
    if sign is None:
        return InstallError(f"{doing} failed{quoted}", hint="the lines above are the installer's own")
    return sign.error(f"{doing} failed: {message}{quoted}", hint=sign.hint)


def missing_package(text: str) -> str | None:
    """The package that no index has, when that is what the refusal says."""
    match = _NOT_FOUND.search(text)
    return match[1] if match else None


def telling_lines(text: str) -> str:
    """The installer's own words from its first error on, without drawing, at most 14 lines."""
    plain = _ANSI.sub("", _NEW_LINE.sub("\n", text))
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


def _recognise(text: str) -> tuple[_Sign | None, str]:
    for sign in _SIGNS:
        match = re.search(sign.pattern, text, re.IGNORECASE)
        if match is not None:
            return sign, sign.message.format(*(match.groups() or ("",)))
    return None, ""

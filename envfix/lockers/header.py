"""What a lock needs, as comments at the top of a lockfile: sentences for people, and one line that envfix reads back."""

from __future__ import annotations

import re

import msgspec

from envfix.lockers.interface import ANEW, LockFileError
from envfix.model.language import say
from envfix.model.lock import Lock, Needs

_MARK = "envfix-needs:"
# What pip, uv and conda read behind the # of an address; anything else there may be a token.
_KEPT = re.compile(r"(?:sha\d+|md5|egg|subdirectory)=")
_LINE = re.compile(rf"\s*#+\s*{_MARK}[ \t]*(\{{.*\}})\s*")


def comments(lock: Lock) -> list[str]:
    """The lines of the header, each beginning with ``# ``; nothing in them depends on when or where they were written."""
    torch = lock.package("torch") or lock.package("pytorch")
    count = f"{len(lock.packages)} package{'' if len(lock.packages) == 1 else 's'}"
    variant = f" ({lock.needs.variant})" if torch and "+" not in torch.version and lock.needs.variant else ""
    what = f"torch {torch.version}{variant} and what belongs to it" if torch else count
    sentences = [f"Locked by envfix from {lock.source}: {what}.", *lock.needs.in_words()]
    return [f"# {sentence}" for sentence in sentences] + [f"# {_MARK} {needs_json(lock.needs)}"]


def needs_json(needs: Needs) -> str:
    """The needs as one line of JSON with a fixed order."""
    return msgspec.json.encode(needs).decode()


def read_needs(text: str) -> Needs | None:
    """The needs that a header states; None where there is none. Raises ``LockFileError`` for one that is damaged."""
    damaged = None
    # Line by line: a pattern for the whole text would try every blank line with all that follow it.
    for line, content in enumerate(text.split("\n"), 1) if _MARK in text else ():
        if _MARK not in content:
            continue
        found = _LINE.fullmatch(content)
        if found is not None:
            return _needs(found[1], line)
        damaged = damaged or line
    if damaged is not None:
        raise LockFileError(say("what this lock needs is not readable"), line=damaged, hint=ANEW)
    return None


def _needs(content: str, line: int) -> Needs:
    try:
        return msgspec.json.decode(content, type=Needs)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise LockFileError(
            say("what this lock needs is not readable: {error}", error=error), line=line, hint=ANEW
        ) from error


def bare(address: str) -> str:
    """An address (or a text with some) without user name, password, conda's token, query, and what is no checksum behind a ``#``.

    No index needs a query, and any name in one may be that of a secret. The user of an ssh address is no secret, and nobody gets
    in without. Not by urlsplit, which refuses some broken addresses: a password in one of these is a password as well.
    """
    plain = re.sub(r"(?<=ssh://)([^/?#\s:@]+)(?::[^/?#\s]*)?@", r"\1@", address)
    plain = re.sub(r"(?<!ssh://)(?<=://)[^/?#\s]*@", "", plain)
    # A password with a slash, a question mark or a # in it: what follows the colon is no port.
    plain = re.sub(r"(?<=://)[^/?#\s:@\[]+:(?!\d*(?:[/?#\s]|$))[^\s@]*@", "", plain)
    return re.sub(r"(?<![\w+.-])([A-Za-z][\w+.-]*)://(\S+)", _without_token, plain)


def _without_token(found: re.Match[str]) -> str:
    scheme, rest = found.groups()
    place, _, fragment = rest.partition("#")
    place = place.partition("?")[0]
    if scheme.lower() != "file":
        place = re.sub(r"(?<=[^/])/t/([^/]+)(?=/([^/]*)|$)", _unless_package, place)
    kept = "&".join(part for part in fragment.split("&") if _KEPT.match(part))
    return f"{scheme}://{place}{'#' if kept else ''}{kept}"


def _unless_package(found: re.Match[str]) -> str:
    """Some indexes sort packages by their first letters: ``/packages/t/torch/torch-1.8.0.tar.gz`` has no token in it."""
    folder, file = (re.sub(r"[-_.]+", "-", part or "").lower() for part in found.groups())
    return found[0] if file.startswith(f"{folder}-") else ""

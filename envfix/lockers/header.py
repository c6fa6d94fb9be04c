"""What a lock needs, as comments at the top of a lockfile: sentences for people, and one line that envfix reads back."""

from __future__ import annotations

import re

import msgspec

from envfix.lockers.interface import ANEW, LockFileError
from envfix.model.lock import Lock, Needs

_MARK = "envfix-needs:"
_HIDDEN = r"[\w.-]*(?:token|sig|signature|key|secret|password|passwd|auth|credential|credentials)"
_LINE = re.compile(rf"^\s*#+\s*{_MARK}[ \t]*(\{{.*\}})\s*$", re.MULTILINE)


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
    found = _LINE.search(text)
    if found is None:
        if _MARK in text:
            line = text[: text.index(_MARK)].count("\n") + 1
            raise LockFileError("what this lock needs is not readable", line=line, hint=ANEW)
        return None
    try:
        return msgspec.json.decode(found[1], type=Needs)
    except (msgspec.DecodeError, UnicodeError) as error:
        line = text[: found.start(1)].count("\n") + 1
        raise LockFileError(f"what this lock needs is not readable: {error}", line=line, hint=ANEW) from error


def bare(address: str) -> str:
    """An address (or a text with some) without user name, password, conda's token and secrets in its query.

    The user of an ssh address is no secret, and nobody gets in without. Not by urlsplit, which refuses some broken addresses:
    a password in one of these is a password as well.
    """
    plain = re.sub(r"(?<=ssh://)([^/?#\s:@]+)(?::[^/?#\s]*)?@", r"\1@", address)
    plain = re.sub(r"(?<!ssh://)(?<=://)[^/?#\s]*@", "", plain)
    plain = re.sub(r"(?<=[^/:])/t/[^/\s]+(?=/)", "", plain)
    plain = re.sub(rf"(?<=[?&]){_HIDDEN}=[^&#\s]*&?", "", plain, flags=re.IGNORECASE)
    return re.sub(r"[?&](?=#|\s|$)", "", plain)

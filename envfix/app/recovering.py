"""Before an environment is looked at: what an installation that did not end has left there is put back."""

from __future__ import annotations

import os.path
from collections.abc import Iterator

from envfix.errors import EnvfixError
from envfix.host import journal
from envfix.model.language import say
from envfix.model.reporter import Reporter

_LINKS = 20


def settle(path: str, reporter: Reporter) -> None:
    """Put the environment of this interpreter (or of this folder) back where an installation did not end, and say so.

    Costs one look at the disk where all is well. What another envfix works on, another user owns, or cannot be put back is only
    told: whoever wants to change the environment meets it again.
    """
    for prefix in prefixes(os.path.abspath(path)):
        if not journal.has_pending(prefix):
            continue
        from envfix.host.locking import BusyError
        from envfix.installer import acting
        from envfix.installer.interface import PermissionsError

        try:
            restored = acting.take_back(prefix, reporter)
        except (BusyError, PermissionsError) as error:  # somebody else's, and maybe still at work
            reporter.note(
                say("an installation into {prefix} has not ended yet: {error}", prefix=prefix, error=error.message)
            )
            continue
        except (EnvfixError, OSError) as error:
            reason = acting.reason(error) if isinstance(error, OSError) else str(error)
            hint = (error.hint if isinstance(error, EnvfixError) else None) or say("free some room or ask its owner")
            reporter.note(
                say(
                    "{prefix} is not whole: an installation into it did not end, and it cannot be"
                    " put back ({reason}). What to do: {hint}, then run any envfix command on it"
                    " again",
                    prefix=prefix,
                    reason=reason,
                    hint=hint,
                )
            )
            continue
        if restored is not None:
            reporter.note(acting.restored_in_words(restored))


def prefixes(path: str) -> Iterator[str]:
    """The folders that may be the environment's: for each link from the name that was given to the program behind it."""
    if os.path.isdir(path):
        yield path
        return
    for _ in range(_LINKS):
        yield os.path.dirname(os.path.dirname(path))
        if not os.path.islink(path):
            return
        path = os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(path)))

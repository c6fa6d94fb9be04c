"""Asks conda channels whether they answer: their lists of packages are asked for, not read.

A channel that fails is a result with a ``problem``, never an exception; all are asked side by side within one time limit.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from envfix.host.index import REDIRECT_LIMIT, _in_words, _local_path, _shown, _side_by_side
from envfix.model.facts import ChannelState
from envfix.model.language import stated

if TYPE_CHECKING:
    import requests

# The part for every platform, without which conda refuses a channel.
NOARCH = "noarch"
# A server that does not know the question for a head is asked for the file, which is then left unread.
_NO_HEAD = (400, 403, 405, 501)


class ChannelQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """One address to ask; it may carry credentials. ``suggested``: not configured, but known to carry the channel."""

    name: str
    url: str
    suggested: bool = False


def check_channels(
    questions: Sequence[ChannelQuestion],
    subdir: str,
    *,
    timeout: float = 5.0,
    proxies: Mapping[str, str] | None = None,
    certificates: str | None = None,
) -> tuple[ChannelState, ...]:
    """Ask every address for its parts ``noarch`` and ``subdir`` (``linux-64``): all answers, in order, within ``timeout``."""
    give_up = time.monotonic() + timeout
    asker = _Asker(give_up, timeout, dict(proxies or {}), certificates)
    return _side_by_side(
        [partial(_check, question, subdir, asker) for question in questions],
        give_up + 0.5,
        [_state(question, stated("no answer within {timeout} s", timeout=f"{timeout:g}")) for question in questions],
    )


def _state(question: ChannelQuestion, problem: str | None, *, reachable: bool = False) -> ChannelState:
    return ChannelState(
        name=_shown(question.name),
        location=_shown(question.url),
        reachable=reachable,
        problem=problem,
        suggested=question.suggested,
    )


def _check(question: ChannelQuestion, subdir: str, asker: _Asker) -> ChannelState:
    try:
        folder = _local_path(question.url)
        answers = {
            part: _in_folder(folder, part) if folder else asker.ask(question.url, part) for part in (NOARCH, subdir)
        }
    except Exception as error:  # noqa: BLE001 - whatever is odd about one address must not take the others along
        return _state(question, stated("cannot be asked: {kind}", kind=type(error).__name__))
    if answers[subdir] is None:
        return _state(question, None, reachable=True)
    if answers[NOARCH] is None:
        return _state(question, stated("holds nothing for {subdir}", subdir=subdir), reachable=True)
    return _state(question, answers[subdir])


def _in_folder(folder: str, part: str) -> str | None:
    return None if Path(folder, part, "repodata.json").is_file() else stated("there is no such channel in this folder")


class _Asker:
    """Asks for a list of packages until a common moment; the answer is None, or why there is none."""

    def __init__(self, give_up: float, timeout: float, proxies: dict[str, str], certificates: str | None) -> None:
        self._give_up = give_up
        self._timeout = timeout
        self._proxies = proxies
        self._certificates = certificates

    def ask(self, url: str, part: str) -> str | None:
        """Whether the list of one part is there."""
        import requests

        try:
            with requests.Session() as session:
                session.max_redirects = REDIRECT_LIMIT
                session.proxies.update(self._proxies)
                session.headers["User-Agent"] = "envfix"
                status = self._status(session, f"{url}/{part}/repodata.json")
        except requests.RequestException as error:
            return _in_words(error, self._timeout)
        if status in (404, 410):
            return stated("there is no such channel ({status})", status=status)
        if status in (401, 403):
            return f"refuses ({status})"
        return None if 200 <= status < 300 else stated("answers with error {status}", status=status)

    def _status(self, session: requests.Session, address: str) -> int:
        verify = self._certificates or True
        answer = session.head(address, timeout=self._left(), allow_redirects=True, verify=verify)
        if answer.status_code not in _NO_HEAD:
            return answer.status_code
        with session.get(address, timeout=self._left(), stream=True, verify=verify) as whole:
            return whole.status_code

    def _left(self) -> float:
        return max(self._give_up - time.monotonic(), 0.05)

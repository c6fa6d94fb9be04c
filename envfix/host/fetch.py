"""Downloads whole files and resumes them, also in a later run: checked while they are read, never longer than promised.

A file grows as ``FOLDER/<sha256>/<name>.part`` and gets its name when it is whole and right. A ``.part`` is all that a
failure, Ctrl-C or a power cut leaves behind. Two programs that want the same file do not fetch it twice at once.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import queue
import random
import re
import shutil
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit
from urllib.request import url2pathname

import msgspec

from envfix.errors import EnvfixError
from envfix.host.hashing import sha256_of
from envfix.model.language import later, look_up, say
from envfix.model.reporter import Reporter

if TYPE_CHECKING:
    import requests

Kind = Literal["network", "content", "space", "stalled", "permission"]
THREADS = 4
TRIES = 5
REDIRECT_LIMIT = 5
LONGEST_WAIT = 30.0
_CHUNK = 256 * 1024
_LOOK_UP = 0.1
# Left free on the disk by a file whose size nobody tells.
_RESERVE = 200_000_000
_OTHER_INDEX = later("try again later, or choose another index with --index")
_KEPT = later("try again: what has arrived is kept; or choose another index with --index")
_STALE = later("a mirror is damaged or stale: try again later, or choose another index with --index")
_GONE = later("its index names a file that is not there: choose another index with --index")
_LOGIN = later("check user name and password of the index, or choose another one with --index")
_PROXY = later("check the proxy in HTTPS_PROXY or in pip's configuration")
_ROOM = later("free some room, or keep downloads on another disk; what has arrived is kept")


class FetchError(EnvfixError):
    """A file could not be fetched, or is not the one it should be.

    ``kind``: ``network``, ``content`` (the wrong thing came), ``space``, ``permission`` or ``stalled``.
    """

    reference = "download"

    def __init__(self, message: str, *, kind: Kind, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.kind: Kind = kind


class WantedFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file: where it is, what it is called, and what its index promises of it.

    ``url`` carries no password, ``login`` is user name and password for its server. It may be a path on this disk.
    ``called`` is what messages call it, its name by default.
    """

    url: str
    filename: str
    size: int | None = None
    sha256: str | None = None
    login: tuple[str, str] | None = None
    called: str = ""

    @property
    def title(self) -> str:
        """What messages call it."""
        return self.called or self.filename


class NetworkSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How the network is reached; may hold a password (of the proxy), so it is never shown.

    ``proxy`` None means what the variables of the environment say, ``certificates`` is a bundle or folder to trust,
    ``insecure_hosts`` (``host`` or ``host:port``) are not checked. ``timeout`` is how long one try waits for a byte,
    ``idle_limit`` how long a file may go without one, ``back_off`` the first pause between tries, all in seconds.
    """

    proxy: str | None = None
    certificates: str | None = None
    client_certificate: str | None = None
    insecure_hosts: tuple[str, ...] = ()
    timeout: float = 15.0
    idle_limit: float = 600.0
    back_off: float = 0.5
    offline: bool = False


class _Broken(Exception):  # noqa: N818 - never leaves this module
    """A try that failed and is worth another one."""

    def __init__(self, message: str, *, wait: float | None = None, hint: str = _KEPT, silent: bool = False) -> None:
        super().__init__(message)
        self.wait, self.hint, self.silent = wait, hint, silent


class _Damaged(Exception):  # noqa: N818
    """What has arrived is not the file; it is worth one more try from the start."""


class _Stopped(Exception):  # noqa: N818
    """Somebody else has failed, or the user has had enough."""


def fetch(files: Sequence[WantedFile], folder: str, *, settings: NetworkSettings, reporter: Reporter) -> dict[str, str]:
    """Bring all files onto this disk, up to four at a time: the path of each, by its ``url``.

    What lies in ``folder`` already is checked and not fetched again; files on this disk are used where they are. Raises
    ``FetchError``. The reporter hears the bytes of all files together, without those that were there before.
    """
    team = _Team(files, folder, settings)
    try:
        return team.work(reporter)
    finally:
        team.stop.set()


def path_of(file: WantedFile, folder: str) -> str:
    """Where the file is or will be on this disk; raises ``FetchError`` for a name that is none."""
    try:
        local = _local_path(file.url)
    except ValueError as error:
        message = say("the address that the index gives for {filename} is broken", filename=file.filename)
        raise FetchError(message, kind="content", hint=_OTHER_INDEX) from error
    if local is not None:
        return local
    if not re.fullmatch(r"[^/\\\x00-\x1f]+", file.filename) or file.filename.startswith("."):
        raise FetchError(
            say("{filename!r} is no name of a file: it is not fetched", filename=file.filename),
            kind="content",
            hint=_OTHER_INDEX,
        )
    key = file.sha256 or hashlib.sha256(file.url.encode()).hexdigest()
    if not re.fullmatch(r"[0-9a-fA-F]{64}", key):
        message = say(
            "the hash that the index gives for {filename} is no hash: it is not fetched", filename=file.filename
        )
        raise FetchError(message, kind="content", hint=_OTHER_INDEX)
    return os.path.join(folder, key.lower(), file.filename)


class _Count:
    """How much of one file was missing at the start (None: not known), and how much of that has come."""

    def __init__(self, missing: int | None) -> None:
        self.missing = missing
        self.gained = 0


class _Team:
    """Shares the files out to threads. Only the caller's thread speaks to the reporter, and only it can be interrupted.

    Not a pool: the interpreter waits for a pool's threads at exit, and a name lookup cannot be interrupted.
    """

    def __init__(self, files: Sequence[WantedFile], folder: str, settings: NetworkSettings) -> None:
        self.stop = threading.Event()
        self.settings = settings
        self._folder = folder
        self._files = list({file.url: file for file in files}.values())
        self._counts = {file.url: _Count(_missing(file, folder)) for file in self._files}
        self._jobs: queue.SimpleQueue[WantedFile] = queue.SimpleQueue()
        self._events: queue.SimpleQueue[str | FetchError | BaseException | tuple[str, str]] = queue.SimpleQueue()
        self._shown = -1

    def work(self, reporter: Reporter) -> dict[str, str]:
        """All paths; raises the first failure."""
        _make_folder(self._folder)
        self._demand_room()
        # The biggest first: the small ones fill the gaps.
        for file in sorted(self._files, key=lambda file: -(file.size or 0)):
            self._jobs.put(file)
        for _ in range(min(THREADS, len(self._files))):
            threading.Thread(target=self._one_thread, daemon=True).start()
        found: dict[str, str] = {}
        while len(found) < len(self._files):
            with contextlib.suppress(queue.Empty):
                event = self._events.get(timeout=_LOOK_UP)
                if isinstance(event, BaseException):
                    raise event
                if isinstance(event, str):
                    reporter.note(event)
                else:
                    found[event[0]] = event[1]
                    reporter.packages(len(found), len(self._files))
            self._tell(reporter)
        return found

    def note(self, text: str) -> None:
        """Say something that stays on the screen."""
        self._events.put(text)

    def _one_thread(self) -> None:
        with contextlib.suppress(queue.Empty), contextlib.closing(_Line(self.settings)) as line:
            while not self.stop.is_set():
                file = self._jobs.get_nowait()
                try:
                    path = _Download(file, self._folder, self, line, self._counts[file.url]).run()
                except _Stopped:
                    return
                except BaseException as error:  # noqa: BLE001 - it is raised where somebody hears it
                    self._events.put(error)
                    return
                self._events.put((file.url, path))

    def _tell(self, reporter: Reporter) -> None:
        """One total; it never goes back, also where a file has to begin anew."""
        known = [count.missing for count in self._counts.values() if count.missing is not None]
        total = sum(known) if len(known) == len(self._counts) else None
        done = sum(count.gained for count in self._counts.values())
        done = done if total is None else min(done, total)
        if done > self._shown and total != 0:
            self._shown = done
            reporter.progress(done, total)

    def _demand_room(self) -> None:
        needed = sum(count.missing or 0 for count in self._counts.values())
        free = shutil.disk_usage(self._folder).free
        if needed > free:
            message = say(
                "not enough room at {folder}: {amount} needed, {amount_2} free",
                folder=self._folder,
                amount=_amount(needed),
                amount_2=_amount(free),
            )
            raise FetchError(message, kind="space", hint=_ROOM)


def measure(
    file: WantedFile, settings: NetworkSettings, *, seconds: float = 1.5, most: int = 16_000_000
) -> float | None:
    """Bytes a second at which the file arrives now, measured on its beginning; None where nothing arrives."""
    line = _Line(msgspec.structs.replace(settings, timeout=min(settings.timeout, 5.0)))
    try:
        with line.ask(file, {"Range": f"bytes=0-{most - 1}"}) as answer:
            if not answer.ok:
                return None
            began, done = time.monotonic(), 0
            for block in answer.iter_content(65_536):
                done += len(block)
                if done >= most or time.monotonic() - began > seconds:
                    break
            return done / max(time.monotonic() - began, 0.001) if done else None
    except (OSError, ValueError):  # what requests raises; the download itself will say what is wrong
        return None
    finally:
        line.close()


class _Line:
    """A thread's connection to the network, set up as the user wants it; to be closed."""

    def __init__(self, settings: NetworkSettings) -> None:
        self._settings = settings
        self._session: requests.Session | None = None

    def close(self) -> None:
        """No more files."""
        if self._session is not None:
            self._session.close()

    def ask(self, file: WantedFile, headers: Mapping[str, str]) -> requests.Response:
        """The answer, its body not read yet; raises what requests raises."""
        if self._session is None:
            self._session = self._new_session()
        return self._session.get(
            file.url,
            headers=headers,
            auth=file.login,
            stream=True,
            timeout=self._settings.timeout,
            verify=self._verify(file.url),
            proxies=self._proxies(file.url),
        )

    def _new_session(self) -> requests.Session:
        import requests

        session = requests.Session()
        session.max_redirects = REDIRECT_LIMIT
        session.headers["User-Agent"] = "envfix"
        # A file packed once more on the way would break sizes and resuming.
        session.headers["Accept-Encoding"] = "identity"
        session.cert = self._settings.client_certificate
        return session

    def _verify(self, url: str) -> str | bool:
        parts = urlsplit(url)
        if {parts.hostname, parts.netloc.rpartition("@")[2]} & set(self._settings.insecure_hosts):
            import urllib3

            # The user has decided this; one warning a request would not make them decide otherwise.
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
            return False
        return self._settings.certificates or True

    def _proxies(self, url: str) -> dict[str, str] | None:
        from requests.utils import should_bypass_proxies

        proxy = self._settings.proxy
        if proxy is None or should_bypass_proxies(url, no_proxy=None):
            return None
        return dict.fromkeys(("http", "https"), proxy if "://" in proxy else f"http://{proxy}")


class _Download:
    """Brings one file."""

    def __init__(self, file: WantedFile, folder: str, team: _Team, line: _Line, count: _Count) -> None:
        self._file, self._team, self._line, self._count = file, team, line, count
        self._settings = team.settings
        self._path = path_of(file, folder)
        self._host = _host_of(file.url)
        self._moved = time.monotonic()
        self._told_of_cuts = False

    def run(self) -> str:
        """The path of the whole, right file."""
        if _local_path(self._file.url) is not None:
            return self._in_place()
        _make_folder(os.path.dirname(self._path))
        with self._disk_trouble(), self._held_part() as part:
            if self._is_there():
                return self._path
            if self._settings.offline:
                message = say("it is not on this disk, and going to the network is switched off")
                raise self._error(message, hint=say("leave out --offline, or name a folder of wheels with --index"))
            self._bring(part)
            part.complete(self._path)
        return self._path

    def _in_place(self) -> str:
        name = self._file.filename
        try:
            wrong = self._file.sha256 is not None and sha256_of(self._path) != self._file.sha256.lower()
            os.stat(self._path)
        except OSError as error:
            raise FetchError(
                say("{path} cannot be read: {strerror}", path=self._path, strerror=error.strerror), kind="content"
            ) from error
        if wrong:
            raise FetchError(
                say("{path} is not the {name} it should be (wrong hash)", path=self._path, name=name), kind="content"
            )
        return self._path

    def _is_there(self) -> bool:
        """Whether an earlier run has brought it; a file that has gone bad since then is deleted."""
        if not os.path.isfile(self._path):
            return False
        right = _opens(self._path) if self._file.sha256 is None else sha256_of(self._path) == self._file.sha256.lower()
        if not right:
            os.unlink(self._path)
            self._count.missing = self._file.size
        return right

    @contextlib.contextmanager
    def _held_part(self) -> Iterator[_Part]:
        """The unfinished file, once no other program writes it."""
        told = False
        while True:
            part = _Part(f"{self._path}.part", self._file.url)
            if part.hold():
                break
            part.close()
            if not told:
                self._team.note(say("waiting for {title}: another program is fetching it", title=self._file.title))
                told = True
            self._pause(_LOOK_UP)
        try:
            if not os.path.isfile(self._path):
                part.read(self._file.size)
                if self._file.size is not None:  # another run may have added to it meanwhile
                    self._count.missing = self._file.size - part.at_start
            yield part
        finally:
            part.close()

    def _bring(self, part: _Part) -> None:
        self._moved = time.monotonic()
        tries, furthest, spoilt = 0, part.size, False
        while (trouble := self._try(part)) is not None:
            if isinstance(trouble, _Broken):
                gained, furthest = part.size > furthest, max(part.size, furthest)
                tries = 0 if gained else tries + 1
                self._go_on_or_fail(trouble, tries, gained=gained)
                continue
            part.restart()
            if spoilt:
                raise self._error(str(trouble), kind="content", hint=_STALE)
            self._team.note(say("{title}: {trouble}; fetching it anew", title=self._file.title, trouble=trouble))
            tries, furthest, spoilt = 0, 0, True

    def _try(self, part: _Part) -> _Broken | _Damaged | None:
        """One request, and as much of the file as it brings; None where that makes it whole and right."""
        try:
            if not self._is_whole(part):
                self._attempt(part)
            self._check(part)
        except (_Broken, _Damaged) as trouble:
            return trouble
        return None

    def _go_on_or_fail(self, trouble: _Broken, tries: int, *, gained: bool) -> None:
        """Wait before the next try, or give up: too many tries that brought nothing, or nothing for too long."""
        idle = time.monotonic() - self._moved
        if tries >= TRIES or idle >= self._settings.idle_limit:
            many = say(" ({tries} tries)", tries=tries) if tries > 1 else ""
            kind: Kind = "stalled" if trouble.silent else "network"
            raise self._error(f"{trouble}{many}", kind=kind, hint=trouble.hint)
        if not (gained and self._told_of_cuts):
            again = (
                say("going on from there")
                if gained
                else say("trying again ({value} of {tries})", value=tries + 1, tries=TRIES)
            )
            self._team.note(f"{trouble}; {again}")
            self._told_of_cuts |= gained
        # Everybody who was cut off at once should not come back at once.
        pause = self._settings.back_off * 2 ** max(tries - 1, 0) * random.uniform(0.75, 1.25)  # noqa: S311
        self._pause(pause if trouble.wait is None else trouble.wait)

    def _attempt(self, part: _Part) -> None:
        with self._ask(part) as answer:
            offset = self._offset(answer, part)
            length = answer.headers.get("Content-Length", "")
            told = length.isdigit() and "Transfer-Encoding" not in answer.headers
            end = offset + int(length) if told else None
            self._read(answer, part, offset, end)
        wanted = end if self._file.size is None else self._file.size
        if wanted is not None and part.size < wanted and not self._is_whole(part):
            so_far = f"{_amount(part.size)} of {_amount(wanted)} of {self._file.title}"
            raise _Broken(say("{host} broke off after {so_far}", host=self._host, so_far=so_far))

    def _is_whole(self, part: _Part) -> bool:
        if not part.size:
            return False
        return part.size == self._file.size or part.sha256 == (self._file.sha256 or "").lower()

    def _ask(self, part: _Part) -> requests.Response:
        import requests

        headers = {}
        # Without a hash, only the server can tell that what is here belongs to what it has now.
        if part.size and (self._file.sha256 is not None or part.validator):
            headers["Range"] = f"bytes={part.size}-"
            if part.validator:
                headers["If-Range"] = part.validator
        try:
            return self._line.ask(self._file, headers)
        except (requests.RequestException, OSError, ValueError) as error:
            raise self._not_connected(error) from error

    def _offset(self, answer: requests.Response, part: _Part) -> int:
        """Where in the file the body begins; raises what is wrong with an answer that brings nothing of it."""
        self._host = _host_of(answer.url)
        if self._file.sha256 is None and self._file.url.startswith("https:") and answer.url.startswith("http:"):
            message = say("it would come unencrypted from {host}, and there is no hash to check it by", host=self._host)
            raise self._error(message, kind="content", hint=_OTHER_INDEX)
        if answer.status_code == 200:
            return 0
        if answer.status_code == 416:
            raise _Damaged(say("{host} has less of it than what was kept", host=self._host))
        if answer.status_code != 206:
            raise self._refused(answer)
        match = re.fullmatch(r"bytes (\d+)-\d*/(\d+|\*)", answer.headers.get("Content-Range", "").strip())
        if match is None or int(match[1]) != part.size:
            raise _Damaged(say("{host} sent another part than it was asked for", host=self._host))
        if match[2].isdigit():
            self._compare_size(int(match[2]))
        return part.size

    def _read(self, answer: requests.Response, part: _Part, offset: int, end: int | None) -> None:
        folder_free = shutil.disk_usage(os.path.dirname(self._path)).free
        most = self._file.size or end or folder_free - _RESERVE
        if offset == 0:
            # Looked at before what is here is thrown away for it.
            head = b""
            while len(head) < 512 and (data := self._next(answer, most - len(head))):
                head += data
            self._look_at(answer, head)
            if end is not None and (end > most or self._file.sha256 is None):
                self._compare_size(end)
            if end is not None and end - part.size > folder_free:
                message = f"{_amount(end)} needed, {_amount(folder_free)} free"
                raise self._error(message, kind="space", hint=_ROOM)
            part.restart()
            part.remember_origin(answer)
            self._write(part, head)
        if self._count.missing is None and end is not None:
            self._count.missing = end - part.at_start
        while part.size < most and (data := self._next(answer, most - part.size)):
            self._write(part, data)
        if self._file.size is None and end is None and part.size >= most:
            raise self._error(
                say("{host} sends more than fits on this disk", host=self._host), kind="space", hint=_OTHER_INDEX
            )

    def _next(self, answer: requests.Response, most: int) -> bytes:
        """The next piece of the body as soon as there is one; nothing at its end."""
        import urllib3

        if self._team.stop.is_set():
            raise _Stopped
        # What has come, rather than a whole buffer: a cut or a stall then loses nothing.
        read = getattr(answer.raw, "read1", None) or answer.raw.read
        try:
            data: bytes = read(min(_CHUNK, most)) or b""
        except urllib3.exceptions.ReadTimeoutError as error:
            raise self._silence() from error
        except (urllib3.exceptions.HTTPError, OSError):
            return b""  # cut off: what has arrived counts
        if data:
            self._moved = time.monotonic()
        return data

    def _write(self, part: _Part, data: bytes) -> None:
        part.write(data)
        self._count.gained = max(self._count.gained, part.size - part.at_start)

    def _check(self, part: _Part) -> None:
        """Raises ``_Damaged`` unless it is the file that its index promised, or at least a whole archive."""
        if self._file.sha256 is not None:
            if part.sha256 != self._file.sha256.lower():
                raise _Damaged(say("{host} sent another file than its index promised (wrong hash)", host=self._host))
        elif not _opens(part.path, thoroughly=True):
            raise _Damaged(say("{host} sent a damaged file", host=self._host))

    def _look_at(self, answer: requests.Response, head: bytes) -> None:
        """Raises for a login page and the like, which would otherwise replace what has arrived."""
        if not head or head.startswith(b"PK") or not self._file.filename.endswith((".whl", ".zip")):
            return
        is_page = answer.headers.get("Content-Type", "").startswith("text/html")
        if is_page or re.match(rb"\s*<(!doctype|html|head|\?xml)", head, re.IGNORECASE):
            hint = say("a login page of this network? Open it in a browser; or choose another index with --index")
            raise self._error(
                say("{host} sent a web page instead of the file", host=self._host), kind="content", hint=hint
            )
        raise self._error(
            say("{host} sent something that is no wheel", host=self._host), kind="content", hint=_OTHER_INDEX
        )

    def _compare_size(self, size: int) -> None:
        if self._file.size is not None and size != self._file.size:
            message = say(
                "{host} has {size} bytes of it, its index promised {size_2}",
                host=self._host,
                size=size,
                size_2=self._file.size,
            )
            raise self._error(message, kind="content", hint=_STALE)

    def _refused(self, answer: requests.Response) -> Exception:
        """What a status that brings no file means: worth another try, or not."""
        status = answer.status_code
        if status in (408, 425, 429) or status >= 500:
            words = (
                say("answers that it was asked too often (429)")
                if status == 429
                else say("answers with error {status}", status=status)
            )
            return _Broken(f"{self._host} {words}", wait=_wait_of(answer), hint=_OTHER_INDEX)
        known = {
            401: (say("{host} asks for a user name and password (401)", host=self._host), _LOGIN),
            403: (say("{host} refuses access (403)", host=self._host), _LOGIN),
            404: (say("{host} does not have it (404)", host=self._host), _GONE),
            407: (say("the proxy asks for a user name and password (407)"), _PROXY),
            410: (say("{host} has it no longer (410)", host=self._host), _GONE),
        }
        message, hint = known.get(
            status, (say("{host} answers with error {status}", host=self._host, status=status), _OTHER_INDEX)
        )
        return self._error(message, hint=hint)

    def _silence(self) -> _Broken:
        return _Broken(
            say(
                "nothing has arrived from {host} for {timeout} s",
                host=self._host,
                timeout=f"{self._settings.timeout:g}",
            ),
            silent=True,
        )

    def _not_connected(self, error: Exception) -> Exception:
        """Why there is no answer, for good or for now."""
        import requests

        text = f"{error!r} {error.__cause__!r} {error.__context__!r}"
        if isinstance(error, requests.exceptions.ProxyError):
            return self._not_through_proxy(text)
        if isinstance(error, requests.exceptions.SSLError):
            return self._not_secure(text)
        if isinstance(error, requests.exceptions.Timeout):
            return self._silence()
        if isinstance(error, requests.exceptions.TooManyRedirects):
            return self._error(
                say(
                    "{host} redirects more than {redirect_limit} times", host=self._host, redirect_limit=REDIRECT_LIMIT
                ),
                hint=_OTHER_INDEX,
            )
        if isinstance(error, ValueError):  # a broken address, of the file or of the proxy
            return self._error(
                say("{host} or its proxy is no address that can be asked", host=self._host), hint=_OTHER_INDEX
            )
        for sign, path in (
            ("CA certificate bundle", self._settings.certificates),
            ("TLS c", self._settings.client_certificate),
        ):
            if sign in text and not isinstance(error, requests.RequestException):
                hint = say("check SSL_CERT_FILE, or cert and client-cert in pip's configuration")
                return self._error(say("the certificate file {path} is not there", path=path), hint=hint)
        if "NameResolutionError" in text or "gaierror" in text:
            message = say("the name of {host} cannot be found (DNS)", host=self._host)
            hint = say("check the network, or the index set for pip or uv")
            known_not = "[Errno -2]" in text or "not known" in text
            return self._error(message, hint=hint) if known_not else _Broken(message, hint=hint)
        hint = say("check the network and the proxy, or choose another index with --index")
        return _Broken(_connection_words(self._host, text), hint=hint)

    def _not_through_proxy(self, text: str) -> Exception:
        if "407" in text:
            return self._error(say("the proxy asks for a user name and password (407)"), hint=_PROXY)
        refused = re.search(r"Tunnel connection failed: (\d{3}[^'\")]*)", text)
        if refused and refused[1].startswith("4"):
            return self._error(
                say("the proxy does not let {host} through ({value})", host=self._host, value=refused[1].strip()),
                hint=_PROXY,
            )
        words = say("answers with error {value}", value=refused[1].strip()) if refused else say("does not answer")
        return _Broken(say("the proxy {words}", words=words), hint=_PROXY)

    def _not_secure(self, text: str) -> Exception:
        if re.search("certificate verify failed", text, re.IGNORECASE):
            words, hint = (
                say("is not trusted here"),
                say("behind a company proxy name its certificate file in SSL_CERT_FILE"),
            )
            if "expired" in text:
                words, hint = (
                    say("has expired"),
                    say("check the date of this machine; {other}", other=look_up(_OTHER_INDEX)),
                )
            elif "match" in text or "not valid for" in text:
                words, hint = say("is for another name"), _OTHER_INDEX
            return self._error(
                say("the certificate of {host} {words}: somebody may be in between", host=self._host, words=words),
                hint=hint,
            )
        if re.search("WRONG_VERSION_NUMBER|RECORD_LAYER|HTTP_REQUEST", text):
            return self._error(
                say("{host} does not speak TLS: http instead of https?", host=self._host), hint=_OTHER_INDEX
            )
        return _Broken(say("no secure connection to {host} can be made (TLS)", host=self._host), hint=_OTHER_INDEX)

    def _pause(self, seconds: float) -> None:
        if self._team.stop.wait(seconds):
            raise _Stopped

    @contextlib.contextmanager
    def _disk_trouble(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                full = say("the disk is full (or your quota is used up)")
                raise self._error(full, kind="space", hint=_ROOM) from error
            kind: Kind = "permission" if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) else "space"
            folder = os.path.dirname(os.path.dirname(self._path))
            message = say("{folder} cannot be used: {value}", folder=folder, value=error.strerror or error)
            raise self._error(message, kind=kind, hint=_ROOM) from error

    def _error(self, message: str, *, kind: Kind = "network", hint: str | None = None) -> FetchError:
        return FetchError(
            say("downloading {title} failed: {message}", title=self._file.title, message=message), kind=kind, hint=hint
        )


class _Part:
    """An unfinished file: hashed as it grows, and held so that no other program writes it too."""

    def __init__(self, path: str, url: str) -> None:
        self.path = path
        self.size = self.at_start = 0
        self.validator = ""
        self._held = False
        self._url = url
        self._origin = f"{path}.origin"
        self._digest = hashlib.sha256()
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
        self._file = os.open(path, flags | getattr(os, "O_BINARY", 0), 0o600)

    @property
    def sha256(self) -> str:
        """Of what is here so far."""
        return self._digest.hexdigest()

    def hold(self) -> bool:
        """Whether it is this program's now; False while another one has it, or has just given it its name."""
        try:
            import fcntl
        except ImportError:  # Windows: the hash tells when two have written it
            self._held = True
            return True
        with contextlib.suppress(BlockingIOError, FileNotFoundError):
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._held = os.path.samestat(os.fstat(self._file), os.stat(self.path))
        return self._held

    def read(self, most: int | None) -> None:
        """Take up what an earlier run has left, unless it is more than the file has (``most``)."""
        if most is not None and os.fstat(self._file).st_size > most:
            self.restart()
            return
        while chunk := os.read(self._file, 1 << 20):
            self._digest.update(chunk)
            self.size += len(chunk)
        self.at_start = self.size
        with contextlib.suppress(OSError, ValueError), open(self._origin, encoding="utf-8") as stream:
            url, _, validator = stream.read(10_000).partition("\n")
            # Another server calls the same file by another tag; the hash will tell.
            self.validator = validator.strip() if url == self._url else ""

    def remember_origin(self, answer: requests.Response) -> None:
        """Keep what proves later that the server still has the same file."""
        tag = answer.headers.get("ETag", "")
        self.validator = tag if tag.startswith('"') else answer.headers.get("Last-Modified", "")
        with open(self._origin, "w", encoding="utf-8", opener=_private) as stream:
            stream.write(f"{self._url}\n{self.validator}\n")

    def complete(self, path: str) -> None:
        """Give it its name: it is whole and right."""
        if os.name == "nt":  # Windows renames no open file; elsewhere it stays held until it has its name
            os.close(self._file)
            self._file = -1
        os.replace(self.path, path)
        self._forget_origin()

    def _forget_origin(self) -> None:
        with contextlib.suppress(OSError):
            os.unlink(self._origin)

    def restart(self) -> None:
        """Throw away what is here."""
        os.ftruncate(self._file, 0)
        os.lseek(self._file, 0, os.SEEK_SET)
        self.size, self.validator = 0, ""
        self._digest = hashlib.sha256()

    def write(self, data: bytes) -> None:
        """Add to it; raises ``OSError``, and what fitted counts."""
        view = memoryview(data)
        while view:
            written = os.write(self._file, view)
            self._digest.update(view[:written])
            self.size += written
            view = view[written:]

    def close(self) -> None:
        """Let go of it; an empty one is nothing worth keeping."""
        if self._file < 0:
            return
        with contextlib.suppress(OSError):
            mine = self._held and os.path.samestat(os.fstat(self._file), os.stat(self.path))
            if mine and os.fstat(self._file).st_size == 0:
                os.unlink(self.path)
                self._forget_origin()
        os.close(self._file)


def _missing(file: WantedFile, folder: str) -> int | None:
    """How much of a file is not on this disk; None where its size is not known."""
    path = path_of(file, folder)
    if os.path.isfile(path) or _local_path(file.url) is not None:
        return 0
    here = 0
    with contextlib.suppress(OSError):
        here = os.stat(f"{path}.part").st_size
    return None if file.size is None else max(file.size - here, 0)


def _opens(path: str, *, thoroughly: bool = False) -> bool:
    """Whether an archive is whole; ``thoroughly`` reads all of it."""
    if not path.removesuffix(".part").endswith((".whl", ".zip")):
        return os.stat(path).st_size > 0
    try:
        with zipfile.ZipFile(path) as archive:
            return not thoroughly or archive.testzip() is None
    except Exception:  # noqa: BLE001 - whatever a damaged archive makes zipfile raise
        return False


def _make_folder(path: str) -> None:
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
    except OSError as error:
        kind: Kind = "space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "permission"
        raise FetchError(
            say("{path} cannot be made: {strerror}", path=path, strerror=error.strerror), kind=kind, hint=_ROOM
        ) from error


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _local_path(url: str) -> str | None:
    """The path of a file on this disk; None for an address on the network."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return url2pathname(parts.path)
    return None if "://" in url else os.path.abspath(url)


def _host_of(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]


def _wait_of(answer: requests.Response) -> float | None:
    """What the server asks to wait, at most half a minute."""
    text = answer.headers.get("Retry-After", "").strip()
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        seconds = float(text) if text.isdigit() else parsedate_to_datetime(text).timestamp() - time.time()
        return min(max(seconds, 0.0), LONGEST_WAIT)
    return None


def _connection_words(host: str, text: str) -> str:
    known: tuple[tuple[str, str], ...] = (
        ("refused", say("refuses the connection")),
        ("Network is unreachable", say("cannot be reached: there is no network to it")),
        ("No route to host", say("cannot be reached: there is no route to it")),
        ("BadStatusLine", say("does not speak HTTP")),
    )
    return f"{host} " + next((words for sign, words in known if sign in text), say("drops the connection"))


def _amount(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{max(size / 1e6, 0.1):.1f} MB"

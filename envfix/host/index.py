"""Asks package indexes, pages and folders whether they answer and which torch wheels they hold.

The only module of envfix that speaks HTTP. An index that fails is a result with a ``problem``, never an exception: a
server may be slow, endless, broken or malicious, so time, bytes and redirects are limited.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import url2pathname

import msgspec

from envfix.model.facts import IndexState, PackageSource
from envfix.model.plan import REGISTRY

if TYPE_CHECKING:
    import requests

FAMILY = ("torch", "torchvision", "torchaudio")
PAGE_LIMIT = 20_000_000
REDIRECT_LIMIT = 5
FRESH = 600.0
_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
_ENDINGS = (".whl", ".tar.gz", ".zip", ".tar.bz2", ".egg")
T = TypeVar("T")


class IndexCandidate(msgspec.Struct, frozen=True, kw_only=True):
    """One place to ask. ``url`` None is the installer's own default registry; it may carry credentials.

    ``layout``: ``index`` has a page for each project (PEP 503 or 691), ``find-links`` is one page or folder with files.
    """

    name: str
    url: str | None
    layout: Literal["index", "find-links"] = "index"
    configured_in: str | None = None


class _Page(msgspec.Struct, frozen=True, kw_only=True):
    """What one address answered: the names of the package files it lists; None: no such page (``status`` says how)."""

    files: tuple[str, ...] | None
    status: int = 200


class _Listing(msgspec.Struct, frozen=True, kw_only=True):
    """The torch-family wheels an index holds, and what is odd about it; not ``complete`` when pages are missing."""

    files: tuple[str, ...]
    problem: str | None = None
    complete: bool = True


class _Failure(Exception):  # noqa: N818 - never leaves this module
    """Why an index cannot be used, in words for the user; ``answers`` when it is there but cannot be used."""


def candidates_from(
    sources: Sequence[PackageSource],
    official: Sequence[IndexCandidate],
    *,
    credentials: Callable[[str], str] = lambda location: location,
) -> tuple[IndexCandidate, ...]:
    """Everything worth asking, in order: the torch indexes given, the default registry, extra indexes, folders, pages.

    ``credentials`` gives an address back as the user wrote it (``Settings.with_credentials``).
    """
    chosen = list(official)
    indexes = [source for source in sources if source.kind == "index"]
    # uv installs, so its own setting counts before pip's.
    indexes.sort(key=lambda source: "UV_" not in source.configured_in and not source.configured_in.endswith(".toml"))
    default = indexes[0] if indexes else None
    chosen.append(
        IndexCandidate(
            name=REGISTRY,
            url=credentials(default.location) if default else None,
            configured_in=default.configured_in if default else None,
        )
    )
    for source in sources:
        if source.kind == "extra-index":
            chosen.append(
                IndexCandidate(name="extra-index", url=credentials(source.location), configured_in=source.configured_in)
            )
        elif source.kind == "find-links":
            chosen.append(
                IndexCandidate(
                    name="find-links",
                    url=credentials(source.location),
                    layout="find-links",
                    configured_in=source.configured_in,
                )
            )
    unique: dict[tuple[str | None, str], IndexCandidate] = {}
    for candidate in chosen:
        unique.setdefault((candidate.url, candidate.layout), candidate)
    return tuple(unique.values())


def check_indexes(
    candidates: Sequence[IndexCandidate],
    *,
    timeout: float = 4.0,
    cache_dir: str | None = None,
    offline: bool = False,
    certificates: str | None = None,
    packages: Sequence[str] = FAMILY,
) -> tuple[IndexState, ...]:
    """Ask all candidates side by side: all answers and failures, in their order, after about ``timeout`` seconds.

    ``offline`` asks only folders on this disk. ``certificates`` is a bundle to trust instead of the usual one. Answers
    younger than ten minutes are taken from ``cache_dir``; an older list is given along with the problem when the index
    fails now.
    """
    give_up = time.monotonic() + timeout
    asker = _Asker(give_up, timeout, certificates, tuple(packages))
    cache = _Cache(cache_dir)
    return _side_by_side(
        [partial(_check, candidate, asker, cache, offline=offline) for candidate in candidates],
        give_up + 0.5,
        [_too_late(candidate, timeout) for candidate in candidates],
    )


def default_registry() -> str:
    """The address of the registry that installers use when nothing else is configured."""
    from pypi_simple import PYPI_SIMPLE_ENDPOINT

    return PYPI_SIMPLE_ENDPOINT


def file_sizes(urls: Sequence[str], *, timeout: float = 4.0, certificates: str | None = None) -> dict[str, int]:
    """The size in bytes of each file that tells it when asked for its head; those that do not are left out."""
    give_up = time.monotonic() + timeout
    asker = _Asker(give_up, timeout, certificates, ())
    sizes = _side_by_side([partial(asker.size, url) for url in urls], give_up + 0.5, [None] * len(urls))
    return {url: size for url, size in zip(urls, sizes, strict=True) if size is not None}


def _side_by_side(tasks: Sequence[Callable[[], T]], until: float, otherwise: Sequence[T]) -> tuple[T, ...]:
    """Run every task in a thread of its own; a task still running at ``until`` is left alone and stood in for.

    Not a pool: the interpreter waits for a pool's threads at exit, and a name lookup cannot be interrupted.
    """
    results = list(otherwise)

    def work(number: int) -> None:
        results[number] = tasks[number]()

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(len(tasks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(until - time.monotonic(), 0.0))
    return tuple(results)


def _too_late(candidate: IndexCandidate, timeout: float) -> IndexState:
    return IndexState(
        name=candidate.name,
        location=_shown(candidate.url or ""),
        reachable=False,
        configured_in=candidate.configured_in,
        problem=_slow(timeout),
        seconds=timeout,
    )


def _check(candidate: IndexCandidate, asker: _Asker, cache: _Cache, *, offline: bool) -> IndexState:
    started = time.monotonic()
    location = ""
    try:
        url = candidate.url or default_registry()
        location = _shown(url)
        state = IndexState(
            name=candidate.name, location=location, reachable=False, configured_in=candidate.configured_in
        )
        folder = _local_path(url)
        kept, age = (None, 0.0) if folder else cache.read(location, candidate.layout, asker.packages)
        if offline and folder is None:
            return msgspec.structs.replace(state, problem="not asked: offline", files=kept)
        if kept is not None and age < FRESH:
            return msgspec.structs.replace(state, reachable=True, files=kept, problem=_none_of_torch(kept), seconds=0.0)
    except Exception as error:  # noqa: BLE001 - whatever is odd about one address must not take the others along
        return _too_odd(candidate, location, error)
    try:
        listing = _list_folder(folder, candidate.layout, asker.packages) if folder else asker.ask(url, candidate)
    except _Failure as failure:
        text = str(failure) if kept is None else f"{failure}; its list of files is {_ago(age)} old"
        return msgspec.structs.replace(state, problem=text, files=kept, seconds=_since(started))
    except Exception as error:  # noqa: BLE001
        return _too_odd(candidate, location, error)
    if folder is None and listing.complete:
        cache.write(location, candidate.layout, asker.packages, listing.files)
    return msgspec.structs.replace(
        state, reachable=True, files=listing.files, problem=listing.problem, seconds=_since(started)
    )


def _too_odd(candidate: IndexCandidate, location: str, error: Exception) -> IndexState:
    return IndexState(
        name=candidate.name,
        location=location or _shown(candidate.url or ""),
        reachable=False,
        configured_in=candidate.configured_in,
        problem=f"cannot be asked: {type(error).__name__}: {_one_line(error)}",
    )


class _Asker:
    """Fetches pages until a common moment, in limited sizes."""

    def __init__(self, give_up: float, timeout: float, certificates: str | None, packages: tuple[str, ...]) -> None:
        self._give_up = give_up
        self._timeout = timeout
        self._certificates = certificates
        self.packages = packages

    def ask(self, url: str, candidate: IndexCandidate) -> _Listing:
        """The torch-family files of an index; raises ``_Failure``."""
        with self._session() as session:
            if candidate.layout == "index":
                return self._ask_projects(session, url)
            page = self._page(session, url)
            if page.files is None:
                raise _Failure(f"there is no such page ({page.status})")
            files = _family(page.files, self.packages)
            return _Listing(files=files, problem=_none_of_torch(files))

    def _ask_projects(self, session: requests.Session, url: str) -> _Listing:
        files: list[str] = []
        missing: int | None = None
        for number, package in enumerate(self.packages):
            try:
                page = self._page(session, _project_address(url, package))
            except _Failure as failure:
                if number == 0:
                    raise
                # torch is listed: the index answers, though not for long enough.
                return _Listing(files=tuple(files), problem=f"its page of {package}: {failure}", complete=False)
            if page.files is not None:
                files += _family(page.files, (package,))
            elif number == 0:
                missing = page.status
        return _Listing(files=tuple(files), problem=_none_of_torch(files, missing))

    def size(self, url: str) -> int | None:
        """The size of one file, or None."""
        folder = _local_path(url)
        with contextlib.suppress(Exception):
            if folder is not None:
                return os.stat(folder).st_size
            with self._session() as session:
                answer = session.head(url, timeout=self._left(), allow_redirects=True)
                length = answer.headers.get("Content-Length", "")
                return int(length) if answer.ok and length.isdigit() else None
        return None

    def _session(self) -> requests.Session:
        import requests

        session = requests.Session()
        session.max_redirects = REDIRECT_LIMIT
        session.headers["Accept"] = _ACCEPT
        session.headers["User-Agent"] = "envfix"
        return session

    def _left(self) -> float:
        left = self._give_up - time.monotonic()
        if left <= 0:
            raise _Failure(_slow(self._timeout))
        return left

    def _page(self, session: requests.Session, url: str) -> _Page:
        import requests

        try:
            with session.get(url, timeout=self._left(), stream=True, verify=self._certificates or True) as answer:
                if answer.status_code in (403, 404, 410):
                    return _Page(files=None, status=answer.status_code)
                _refuse_status(answer.status_code)
                return _Page(files=_read_page(answer.headers.get("Content-Type", ""), self._body(answer)))
        except requests.RequestException as error:
            raise _Failure(_in_words(error, self._timeout)) from error

    def _body(self, answer: requests.Response) -> str:
        body = bytearray()
        for chunk in answer.iter_content(65536):
            body += chunk
            if len(body) > PAGE_LIMIT:
                raise _Failure(f"its page is larger than {PAGE_LIMIT // 1_000_000} MB: not read to the end")
            self._left()
        return body.decode("utf-8", "replace")


def _refuse_status(status: int) -> None:
    if status == 401:
        raise _Failure("asks for a user name and password (401)")
    if status == 407:
        raise _Failure("the proxy asks for a user name and password (407)")
    if status == 429:
        raise _Failure("answers that it was asked too often (429)")
    if not 200 <= status < 300:
        raise _Failure(f"answers with error {status}")


def _in_words(error: requests.RequestException, timeout: float) -> str:
    """Why a request failed, in the words of the person who has to mend it."""
    import requests

    text = repr(error)
    known: tuple[tuple[type[Exception], str], ...] = (
        (requests.exceptions.ProxyError, "the proxy does not answer or refuses"),
        (requests.exceptions.Timeout, _slow(timeout)),
        (requests.exceptions.TooManyRedirects, f"redirects more than {REDIRECT_LIMIT} times"),
        (requests.exceptions.ChunkedEncodingError, "broke off in the middle of its page"),
        (requests.exceptions.ContentDecodingError, "sends a page that cannot be unpacked"),
        (requests.exceptions.InvalidSchema, "is no address that can be asked over HTTP"),
        (requests.exceptions.MissingSchema, "is no address: http:// or https:// is missing"),
        (requests.exceptions.InvalidURL, "is no valid address"),
    )
    if isinstance(error, requests.exceptions.SSLError):
        return _tls_in_words(text)
    for kind, words in known:
        if isinstance(error, kind):
            return words
    for sign, words in (
        ("NameResolutionError", "its name cannot be found (DNS)"),
        ("refused", "refuses the connection"),
        ("Network is unreachable", "there is no network to it"),
        ("No route to host", "there is no route to it"),
        ("timed out", _slow(timeout)),
        ("reset by peer", "drops the connection"),
        ("RemoteDisconnected", "drops the connection"),
        ("BadStatusLine", "does not speak HTTP"),
    ):
        if sign in text:
            return words
    return f"cannot be asked: {type(error).__name__}"


def _tls_in_words(text: str) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in text or "certificate verify failed" in text:
        if "expired" in text:
            return "its certificate has expired"
        if "match" in text:
            return "its certificate is for another name"
        return "its certificate is not trusted here (a company proxy? then name its certificate in SSL_CERT_FILE)"
    if "WRONG_VERSION_NUMBER" in text or "RECORD_LAYER" in text:
        return "does not speak TLS: http instead of https?"
    return "no secure connection can be made (TLS)"


def _slow(timeout: float) -> str:
    return f"no answer within {timeout:g} s"


def _read_page(kind: str, body: str) -> tuple[str, ...]:
    """The names of the package files a page lists; raises ``_Failure`` when it is no list of packages."""
    media = kind.partition(";")[0].strip().lower()
    if media.endswith("json"):
        return _read_json(body)
    if media and "html" not in media and "xml" not in media and media != "text/plain":
        raise _Failure(f"answers with {media[:60]}, which is no list of packages")
    names, links = _read_html(body)
    if not names and (links or "<html" not in body[:10_000].lower()) and "pypi:repository-version" not in body:
        raise _Failure("answers, but not with a list of packages (a login page, or a broken proxy?)")
    return names


def _read_json(body: str) -> tuple[str, ...]:
    try:
        document = json.loads(body)
        return tuple(str(entry["filename"]) for entry in document["files"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _Failure("answers with broken JSON") from error


def _read_html(body: str) -> tuple[tuple[str, ...], int]:
    """Package file names, and how many links there are in all."""
    links = _Links()
    with contextlib.suppress(AssertionError):  # html.parser asserts on some malformed declarations
        links.feed(body)
    names = dict.fromkeys(filter(None, map(_file_name, links.targets)))
    return tuple(names), len(links.targets)


class _Links(HTMLParser):
    """Collects link targets.

    Not pypi-simple's parser: its BeautifulSoup takes 1.6 s for the 6 MB page of the official index, this one 0.25 s.
    """

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.targets: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the target of a link."""
        if tag == "a":
            self.targets += [value for name, value in attrs if name == "href" and value]


def _file_name(target: str) -> str | None:
    """The file a link leads to, when it is a package: ``whl/cu118/torch-2.0.1%2Bcu118-….whl#sha256=…``."""
    path = target.partition("#")[0].partition("?")[0]
    name = unquote(path.rpartition("/")[2])
    return name if name.lower().endswith(_ENDINGS) else None


def _family(files: Iterable[str], packages: Sequence[str]) -> tuple[str, ...]:
    """The wheels among the files that belong to one of the packages."""
    starts = tuple(f"{package.replace('-', '_').lower()}-" for package in packages)
    return tuple(name for name in files if name.endswith(".whl") and name.lower().startswith(starts))


def _none_of_torch(files: Sequence[str], status: int | None = None) -> str | None:
    if files:
        return None
    return f"answers, but has no torch ({status})" if status else "answers, but has no torch"


def _project_address(url: str, package: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{package}/"))


def _local_path(url: str) -> str | None:
    """The path of a folder or file on this disk; None for an address on the network."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return url2pathname(parts.path)
    if "://" not in url:
        return os.path.expanduser(url)
    return None


def _list_folder(path: str, layout: Literal["index", "find-links"], packages: Sequence[str]) -> _Listing:
    """The torch-family wheels below a folder, or in a page lying on disk; raises ``_Failure``."""
    try:
        if layout == "find-links":
            files = _family(_names_at(Path(path)), packages)
        elif not os.path.isdir(path):
            raise _Failure("there is no such folder")
        else:
            files = tuple(
                name
                for package in packages
                if Path(path, package).is_dir()
                for name in _family(_names_at(Path(path, package)), (package,))
            )
    except FileNotFoundError as error:
        raise _Failure("there is no such folder or file") from error
    except OSError as error:
        raise _Failure(f"cannot be read: {error.strerror}") from error
    return _Listing(files=files, problem=_none_of_torch(files))


def _names_at(path: Path) -> tuple[str, ...]:
    if path.is_dir():
        page = path / "index.html"
        if not page.is_file():
            return tuple(sorted(entry.name for entry in path.iterdir()))
        path = page
    with path.open("rb") as stream:
        return _read_html(stream.read(PAGE_LIMIT).decode("utf-8", "replace"))[0]


class _Cache:
    """One small file for each index that answered; a broken or unwritable cache is as good as none."""

    def __init__(self, folder: str | None) -> None:
        self._folder = None if folder is None else Path(folder, "indexes")

    def read(self, location: str, layout: str, packages: Sequence[str]) -> tuple[tuple[str, ...] | None, float]:
        """The files kept for an index and their age in seconds."""
        path = self._path(location, layout, packages)
        if path is None:
            return None, 0.0
        try:
            kept: Mapping[str, Any] = json.loads(path.read_text("utf-8"))
            age = time.time() - float(kept["at"])
            if kept["location"] == location and age >= 0:
                return tuple(str(name) for name in kept["files"]), age
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return None, 0.0

    def write(self, location: str, layout: str, packages: Sequence[str], files: Sequence[str]) -> None:
        """Keep the files of an index that answered just now."""
        path = self._path(location, layout, packages)
        if path is None:
            return
        text = json.dumps({"location": location, "at": time.time(), "files": list(files)})
        temporary = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(text, "utf-8")
            temporary.replace(path)

    def _path(self, location: str, layout: str, packages: Sequence[str]) -> Path | None:
        if self._folder is None:
            return None
        key = hashlib.sha256("\n".join((location, layout, *packages)).encode()).hexdigest()[:24]
        return self._folder / f"{key}.json"


def _shown(url: str) -> str:
    """The address without user name and password."""
    try:
        parts = urlsplit(url)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if "@" in parts.netloc else url
    except ValueError:
        return url.rpartition("@")[2]


def _since(started: float) -> float:
    return round(time.monotonic() - started, 3)


def _ago(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]

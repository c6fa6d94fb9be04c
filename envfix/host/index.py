"""Asks package indexes, pages and folders whether they answer and which torch wheels they hold.

The only module of envfix that speaks HTTP. An index that fails is a result with a ``problem``, never an exception: a
server may be slow, endless, broken or malicious, so time, bytes and redirects are limited.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar
from urllib.parse import urlsplit, urlunsplit
from urllib.request import url2pathname

import msgspec

from envfix.host.index_cache import IndexCache
from envfix.host.index_pages import Page, PageError, of_packages, read_addresses, read_links, read_page
from envfix.model.facts import IndexState, PackageSource
from envfix.model.language import stated
from envfix.model.plan import REGISTRY
from envfix.model.words import time_span

if TYPE_CHECKING:
    import requests

FAMILY = ("torch", "torchvision", "torchaudio")
PAGE_LIMIT = 20_000_000
REDIRECT_LIMIT = 5
FRESH = 600.0
# The pages by which an unknown tree shows itself, those that most mirrors have.
_VARIANTS_TO_TRY = ("cpu", "cu118", "cu126", "cu128", "cu130", "cu121", "cu124", "cu132")
_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
T = TypeVar("T")
Layout = Literal["index", "find-links", "tree", "any"]


class IndexCandidate(msgspec.Struct, frozen=True, kw_only=True):
    """One place to ask. ``url`` None is the installer's own default registry; it may carry credentials.

    ``layout``: ``index`` has a page for each project (PEP 503 or 691), ``find-links`` is one page or folder with files,
    ``tree`` has one of these for each variant (``url/cu118``; ``flat``: a page of files), ``any`` is to be found out.
    """

    name: str
    url: str | None
    layout: Layout = "index"
    flat: bool = False
    configured_in: str | None = None


class _Listing(msgspec.Struct, frozen=True, kw_only=True):
    """The torch-family wheels an index holds, and what is odd about it; not ``complete`` when pages are missing.

    ``layout`` is how it turned out to be laid out, ``flat`` a tree whose variants are pages of files.
    """

    files: tuple[str, ...]
    layout: Layout
    problem: str | None = None
    complete: bool = True
    flat: bool = False


class _Failure(Exception):  # noqa: N818 - never leaves this module
    """Why an index cannot be used, in words for the user."""


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
    return _told_apart(unique.values())


def _told_apart(candidates: Iterable[IndexCandidate]) -> tuple[IndexCandidate, ...]:
    """The same with a number for the second and later ones of a name: a plan names the index it takes torch from."""
    seen: dict[str, int] = {}
    named = []
    for one in candidates:
        number = seen[one.name] = seen.get(one.name, 0) + 1
        named.append(one if number == 1 else msgspec.structs.replace(one, name=f"{one.name}-{number}"))
    return tuple(named)


def check_indexes(
    candidates: Sequence[IndexCandidate],
    *,
    timeout: float = 4.0,
    cache_dir: str | None = None,
    offline: bool = False,
    certificates: str | None = None,
    packages: Sequence[str] = FAMILY,
    variant: str = "cpu",
    fresh: float = FRESH,
) -> tuple[IndexState, ...]:
    """Ask all candidates side by side: all answers and failures, in their order, after about ``timeout`` seconds.

    ``variant`` is the page that a tree is asked for. ``offline`` asks only folders on this disk. ``certificates`` is a
    bundle to trust instead of the usual one. Answers younger than ``fresh`` seconds are taken from ``cache_dir``; an older
    list is given along with the problem when the index fails now.
    """
    give_up = time.monotonic() + timeout
    asker = _Asker(give_up, timeout, certificates, tuple(packages))
    cache = IndexCache(cache_dir)
    return _side_by_side(
        [
            partial(_check, candidate, asker, cache, offline=offline, variant=variant, fresh=fresh)
            for candidate in candidates
        ],
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


def files_without_hash(
    url: str, *, timeout: float = 10.0, certificates: str | None = None, packages: Sequence[str] = FAMILY
) -> dict[str, str]:
    """The address of each wheel of these packages on a plain page of files that tells no hash of them, by its name.

    Empty where the page tells hashes, or cannot be read: whoever asks it next says why.
    """
    asker = _Asker(time.monotonic() + timeout, timeout, certificates, tuple(packages))
    with contextlib.suppress(_Failure):
        found = asker.addresses(url)
        names = of_packages(tuple(found), packages)
        if any("#sha256=" not in found[name] for name in names):
            return {name: found[name].partition("#")[0] for name in names}
    return {}


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
        layout="tree" if candidate.layout == "tree" else "index",
    )


def _check(
    candidate: IndexCandidate, asker: _Asker, cache: IndexCache, *, offline: bool, variant: str, fresh: float
) -> IndexState:
    started = time.monotonic()
    location = ""
    try:
        base = candidate.url or default_registry()
        location = _shown(base)
        state = IndexState(
            name=candidate.name, location=location, reachable=False, configured_in=candidate.configured_in
        )
        tree = candidate.layout == "tree"
        if tree:
            state = msgspec.structs.replace(state, layout="tree", flat=candidate.flat, pages=(variant,))
        url = f"{base.rstrip('/')}/{variant}" if tree else base
        layout: Layout = ("find-links" if candidate.flat else "index") if tree else candidate.layout
        folder = _local_path(url)
        kept = None if folder else _kept(cache, _shown(url), layout, asker.packages)
        if offline and folder is None:
            return msgspec.structs.replace(state, problem=stated("not asked: offline"), **_of_kept(kept, tree=tree))
        if kept is not None and kept.age < fresh:
            problem = _none_of_torch(kept.files)
            known = _of_kept(kept, tree=tree)
            return msgspec.structs.replace(state, reachable=True, problem=problem, seconds=0.0, **known)
    except Exception as error:  # noqa: BLE001 - whatever is odd about one address must not take the others along
        return _too_odd(candidate, location, error)
    try:
        listing = _list_folder(folder, layout, asker.packages) if folder else asker.ask(url, layout, variant)
    except _Failure as failure:
        text = (
            str(failure)
            if kept is None
            else stated(
                "{failure}; its list of files is {time_span} old", failure=failure, time_span=time_span(kept.age)
            )
        )
        return msgspec.structs.replace(state, problem=text, seconds=_since(started), **_of_kept(kept, tree=tree))
    except Exception as error:  # noqa: BLE001
        return _too_odd(candidate, location, error)
    if listing.layout == "tree":
        return msgspec.structs.replace(
            state, reachable=True, layout="tree", flat=listing.flat, pages=(), seconds=_since(started)
        )
    if folder is None and listing.complete:
        cache.write(listing.files, _shown(url), listing.layout, *asker.packages)
    return msgspec.structs.replace(
        state,
        reachable=True,
        layout="tree" if tree else listing.layout,
        files=listing.files,
        problem=listing.problem,
        seconds=_since(started),
    )


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A list of files from the cache, and its age in seconds."""

    files: tuple[str, ...]
    age: float
    layout: Layout


def _kept(cache: IndexCache, location: str, layout: Layout, packages: Sequence[str]) -> _Kept | None:
    for possible in ("index", "find-links") if layout == "any" else (layout,):
        files, age = cache.read(location, possible, *packages)
        if files is not None:
            return _Kept(files=files, age=age, layout=possible)
    return None


def _of_kept(kept: _Kept | None, *, tree: bool) -> dict[str, object]:
    """What a kept list says of its index."""
    if kept is None:
        return {}
    return {"files": kept.files, "age": round(kept.age, 1), "layout": "tree" if tree else kept.layout}


def _too_odd(candidate: IndexCandidate, location: str, error: Exception) -> IndexState:
    return IndexState(
        name=candidate.name,
        location=location or _shown(candidate.url or ""),
        reachable=False,
        configured_in=candidate.configured_in,
        problem=stated("cannot be asked: {kind}: {one_line}", kind=type(error).__name__, one_line=_one_line(error)),
    )


class _Asker:
    """Fetches pages until a common moment, in limited sizes."""

    def __init__(self, give_up: float, timeout: float, certificates: str | None, packages: tuple[str, ...]) -> None:
        self._give_up = give_up
        self._timeout = timeout
        self._certificates = certificates
        self.packages = packages

    def ask(self, url: str, layout: Layout, variant: str) -> _Listing:
        """The torch-family files of an index, page or folder of files; raises ``_Failure``."""
        with self._session() as session:
            if layout == "index":
                return self._ask_projects(session, url)
            if layout == "find-links":
                return self._ask_files(session, url)
            return self._find_out(session, url, variant)

    def _find_out(self, session: requests.Session, url: str, variant: str) -> _Listing:
        """What an address is of which nothing is known: an index, a page of files, or a tree with a folder a variant."""
        if not re.search(r"\.html?$", urlsplit(url).path):
            with contextlib.suppress(_Failure):
                as_index = self._ask_projects(session, url)
                if as_index.files:
                    return as_index
        page, status = self._page(session, url)
        files = of_packages(page.files, self.packages) if page is not None else ()
        if files or (page is not None and not page.has_variants):
            return _Listing(files=files, layout="find-links", problem=_none_of_torch(files))
        # Object stores answer 403 for what they do not list: variants are asked for by name.
        for name in dict.fromkeys((variant, *_VARIANTS_TO_TRY)):
            place = f"{url.rstrip('/')}/{name}"
            if self._ask_projects(session, place).files:
                return _Listing(files=(), layout="tree")
            inside, _ = self._page(session, f"{place}/")
            if inside is not None and of_packages(inside.files, self.packages):
                return _Listing(files=(), layout="tree", flat=True)
        raise _Failure(stated("answers, but has no torch ({status})", status=status))

    def _ask_files(self, session: requests.Session, url: str) -> _Listing:
        page, status = self._page(session, url)
        if page is None:
            raise _Failure(stated("there is no such page ({status})", status=status))
        files = of_packages(page.files, self.packages)
        return _Listing(files=files, layout="find-links", problem=_none_of_torch(files))

    def _ask_projects(self, session: requests.Session, url: str) -> _Listing:
        files: list[str] = []
        missing: int | None = None
        for number, package in enumerate(self.packages):
            try:
                page, status = self._page(session, _project_address(url, package))
            except _Failure as failure:
                if number == 0:
                    raise
                # torch is listed: the index answers, though not for long enough.
                problem = stated("its page of {package}: {failure}", package=package, failure=failure)
                return _Listing(files=tuple(files), layout="index", problem=problem, complete=False)
            if page is not None:
                files += of_packages(page.files, (package,))
            elif number == 0:
                missing = status
                break  # what has no torch is asked no further
        return _Listing(files=tuple(files), layout="index", problem=_none_of_torch(files, missing))

    def addresses(self, url: str) -> dict[str, str]:
        """The address of each package file on a plain page; raises ``_Failure``."""
        with self._session() as session, self._asked(session, url) as answer:
            _refuse_status(answer.status_code)
            return read_addresses(self._body(answer), answer.url)

    def size(self, url: str) -> int | None:
        """The size of one file, or None."""
        folder = _local_path(url)
        with contextlib.suppress(Exception):
            if folder is not None:
                return os.stat(folder).st_size
            with self._session() as session:
                verify = self._certificates or True
                answer = session.head(url, timeout=self._left(), allow_redirects=True, verify=verify)
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

    def _page(self, session: requests.Session, url: str) -> tuple[Page | None, int]:
        """The page, or None where there is none, and the HTTP status."""
        try:
            with self._asked(session, url) as answer:
                if answer.status_code in (403, 404, 410):
                    return None, answer.status_code
                _refuse_status(answer.status_code)
                return read_page(answer.headers.get("Content-Type", ""), self._body(answer)), answer.status_code
        except PageError as error:
            raise _Failure(str(error)) from error

    @contextlib.contextmanager
    def _asked(self, session: requests.Session, url: str) -> Iterator[requests.Response]:
        """The answer, as it comes; raises ``_Failure``."""
        import requests

        try:
            with session.get(url, timeout=self._left(), stream=True, verify=self._certificates or True) as answer:
                yield answer
        except requests.RequestException as error:
            raise _Failure(_in_words(error, self._timeout)) from error

    def _body(self, answer: requests.Response) -> str:
        body = bytearray()
        for chunk in answer.iter_content(65536):
            body += chunk
            if len(body) > PAGE_LIMIT:
                raise _Failure(
                    stated("its page is larger than {value} MB: not read to the end", value=PAGE_LIMIT // 1000000)
                )
            self._left()
        return body.decode("utf-8", "replace")


def _refuse_status(status: int) -> None:
    if status == 401:
        raise _Failure(stated("asks for a user name and password (401)"))
    if status == 407:
        raise _Failure(stated("the proxy asks for a user name and password (407)"))
    if status == 429:
        raise _Failure(stated("answers that it was asked too often (429)"))
    if not 200 <= status < 300:
        raise _Failure(stated("answers with error {status}", status=status))


def _in_words(error: requests.RequestException, timeout: float) -> str:
    """Why a request failed, in the words of the person who has to mend it."""
    import requests

    text = repr(error)
    known: tuple[tuple[type[Exception], str], ...] = (
        (requests.exceptions.ProxyError, stated("the proxy does not answer or refuses")),
        (requests.exceptions.Timeout, _slow(timeout)),
        (
            requests.exceptions.TooManyRedirects,
            stated("redirects more than {redirect_limit} times", redirect_limit=REDIRECT_LIMIT),
        ),
        (requests.exceptions.ChunkedEncodingError, stated("broke off in the middle of its page")),
        (requests.exceptions.ContentDecodingError, stated("sends a page that cannot be unpacked")),
        (requests.exceptions.InvalidSchema, stated("is no address that can be asked over HTTP")),
        (requests.exceptions.MissingSchema, stated("is no address: http:// or https:// is missing")),
        (requests.exceptions.InvalidURL, stated("is no valid address")),
    )
    if isinstance(error, requests.exceptions.SSLError):
        return _tls_in_words(text)
    for kind, words in known:
        if isinstance(error, kind):
            return words
    for sign, words in (
        ("NameResolutionError", stated("its name cannot be found (DNS)")),
        ("refused", stated("refuses the connection")),
        ("Network is unreachable", stated("there is no network to it")),
        ("No route to host", stated("there is no route to it")),
        ("timed out", _slow(timeout)),
        ("reset by peer", stated("drops the connection")),
        ("RemoteDisconnected", stated("drops the connection")),
        ("BadStatusLine", stated("does not speak HTTP")),
    ):
        if sign in text:
            return words
    return stated("cannot be asked: {kind}", kind=type(error).__name__)


def _tls_in_words(text: str) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in text or "certificate verify failed" in text:
        if "expired" in text:
            return stated("its certificate has expired")
        if "match" in text:
            return stated("its certificate is for another name")
        return stated(
            "its certificate is not trusted here (a company proxy? then name its certificate in SSL_CERT_FILE)"
        )
    if "WRONG_VERSION_NUMBER" in text or "RECORD_LAYER" in text:
        return stated("does not speak TLS: http instead of https?")
    return stated("no secure connection can be made (TLS)")


def _slow(timeout: float) -> str:
    return stated("no answer within {timeout} s", timeout=f"{timeout:g}")


def _none_of_torch(files: Sequence[str], status: int | None = None) -> str | None:
    if files:
        return None
    return (
        stated("answers, but has no torch ({status})", status=status) if status else stated("answers, but has no torch")
    )


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


def _list_folder(path: str, layout: Layout, packages: Sequence[str]) -> _Listing:
    """The torch-family wheels below a folder, or in a page lying on disk; raises ``_Failure``."""
    if layout == "any":
        as_index = os.path.isdir(path) and Path(path, packages[0]).is_dir()
        layout = "index" if as_index else "find-links"
    try:
        if layout == "find-links":
            files = of_packages(_names_at(Path(path)), packages)
        elif not os.path.isdir(path):
            raise _Failure(stated("there is no such folder"))
        else:
            files = tuple(
                name
                for package in packages
                if Path(path, package).is_dir()
                for name in of_packages(_names_at(Path(path, package)), (package,))
            )
    except FileNotFoundError as error:
        raise _Failure(stated("there is no such folder or file")) from error
    except OSError as error:
        raise _Failure(stated("cannot be read: {strerror}", strerror=error.strerror)) from error
    return _Listing(files=files, layout=layout, problem=_none_of_torch(files))


def _names_at(path: Path) -> tuple[str, ...]:
    if path.is_dir():
        page = path / "index.html"
        if not page.is_file():
            return tuple(sorted(entry.name for entry in path.iterdir()))
        path = page
    with path.open("rb") as stream:
        return read_links(stream.read(PAGE_LIMIT).decode("utf-8", "replace"))


def _shown(url: str) -> str:
    """The address without user name and password."""
    try:
        parts = urlsplit(url)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if "@" in parts.netloc else url
    except ValueError:
        return url.rpartition("@")[2]


def _since(started: float) -> float:
    return round(time.monotonic() - started, 3)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]

"""Reads what package indexes answer: project pages (PEP 503, PEP 691) and pages of files, from text that nobody vouches for."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Sequence
from html.parser import HTMLParser
from urllib.parse import unquote, urljoin

import msgspec

from envfix.model.language import say

_ENDINGS = (".whl", ".tar.gz", ".zip", ".tar.bz2", ".egg")
_VARIANT = re.compile(r"(?:^|/)(?:cpu|cu\d{2,3})/?$")


class PageError(ValueError):
    """What was answered is no list of packages; the text says what it is instead, for the user."""


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """The names of the package files a page lists; ``has_variants``: it links to folders such as ``cu118/``."""

    files: tuple[str, ...]
    has_variants: bool = False


def read_page(kind: str, body: str) -> Page:
    """The page in ``body`` of the content type ``kind``; raises ``PageError``."""
    media = kind.partition(";")[0].strip().lower()
    if media.endswith("json"):
        return Page(files=_read_json(body))
    if media and "html" not in media and "xml" not in media and media != "text/plain":
        raise PageError(say("answers with {media}, which is no list of packages", media=media[:60]))
    page, links = _read_html(body)
    if page.files or page.has_variants or "pypi:repository-version" in body:
        return page
    if links or "<html" not in body[:10_000].lower():
        raise PageError(say("answers, but not with a list of packages (a login page, or a broken proxy?)"))
    return page


def read_links(body: str) -> tuple[str, ...]:
    """The package files that an HTML page links to."""
    return _read_html(body)[0].files


def read_addresses(body: str, url: str) -> dict[str, str]:
    """The whole address of each package file that an HTML page at ``url`` links to, by the file's name."""
    return {name: urljoin(url, target) for target in _targets(body) if (name := _file_name(target)) is not None}


def of_packages(files: Iterable[str], packages: Sequence[str]) -> tuple[str, ...]:
    """The wheels among the files that belong to one of the packages."""
    starts = tuple(f"{package.replace('-', '_').lower()}-" for package in packages)
    return tuple(name for name in files if name.endswith(".whl") and name.lower().startswith(starts))


def _read_json(body: str) -> tuple[str, ...]:
    try:
        document = json.loads(body)
        return tuple(str(entry["filename"]) for entry in document["files"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise PageError(say("answers with broken JSON")) from error


def _read_html(body: str) -> tuple[Page, int]:
    """The page, and how many links it has in all."""
    targets = _targets(body)
    names = dict.fromkeys(filter(None, map(_file_name, targets)))
    page = Page(files=tuple(names), has_variants=any(map(_VARIANT.search, targets)))
    return page, len(targets)


def _targets(body: str) -> list[str]:
    """Where the links of an HTML page lead to."""
    links = _Links()
    with contextlib.suppress(AssertionError):  # html.parser asserts on some malformed declarations
        links.feed(body)
    return links.targets


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

"""Where wheels come from: the official index, the default registry, special indexes and mirrors."""

from __future__ import annotations

from typing import Literal

from envfix.errors import TableError
from envfix.model.language import say
from envfix.tables.rows import ReleaseText, Row, TableFile, UrlText

IndexKind = Literal["official", "registry", "mirror", "special", "none"]
Layout = Literal["pep503", "flat", "html", "direct"]


class Index(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A place that serves wheels; the keys are explained in ``indexes.yaml``.

    ``index_url`` says whether its addresses work as ``--index-url``; where not, they work as ``--find-links`` only.
    """

    name: str
    title: str
    kind: IndexKind
    region: str | None = None
    base: UrlText | None
    aliases: tuple[UrlText, ...] = ()
    layouts: tuple[Layout, ...]
    variant_url: str | None = None
    index_url: bool
    html_newest: ReleaseText | None = None
    missing: int | None = None
    variants: tuple[str, ...] = ()
    newest_torch: ReleaseText | None = None

    def url(self, variant: str) -> str | None:
        """The address for one variant; None where an index has none."""
        if self.base is None or self.variant_url is None:
            return None
        return self.variant_url.format(base=self.base, variant=variant)

    def file_url(self, directory: str, filename: str) -> str | None:
        """The address of one file, its ``+`` encoded; None where an index does not promise one."""
        from urllib.parse import quote

        if self.base is None or "direct" not in self.layouts:
            return None
        return "/".join(part for part in (self.base, directory, quote(filename)) if part)


class IndexesFile(TableFile, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of ``indexes.yaml``."""

    indexes: tuple[Index, ...]


class Indexes:
    """Questions about indexes; answers come from ``indexes.yaml``."""

    def __init__(self, file: IndexesFile) -> None:
        self._indexes = file.indexes

    def all(self) -> tuple[Index, ...]:
        """Every index, those that are listed only as carrying no torch variants included."""
        return self._indexes

    def official(self) -> Index:
        """The official index of torch; raises ``TableError`` when the table has none."""
        found = next((index for index in self._indexes if index.kind == "official" and index.base), None)
        if found is None:
            raise TableError(say("indexes.yaml, rows of indexes, key 'kind': no row with a base is official"))
        return found

    def mirrors(self, region: str | None = None) -> tuple[Index, ...]:
        """The mirrors of the official index, of one region if given."""
        return tuple(index for index in self._indexes if index.kind == "mirror" and region in (None, index.region))

    def names(self) -> tuple[str, ...]:
        """Every index that torch can be planned from: the official one, the default registry and the mirrors."""
        return tuple(index.name for index in self._indexes if index.kind in ("official", "registry", "mirror"))

    def by_name(self, name: str) -> Index | None:
        """The index of this name (``official``, ``pypi``, ``nju``), or None."""
        return next((index for index in self._indexes if index.name == name), None)

    def by_url(self, url: str) -> Index | None:
        """The index that an address belongs to, by the longest base that fits; None for a foreign address."""
        places = [(base, index) for index in self._indexes for base in (index.base, *index.aliases) if base is not None]
        fitting = [(len(base), index) for base, index in places if url == base or url.startswith(f"{base}/")]
        return max(fitting, key=lambda pair: pair[0])[1] if fitting else None

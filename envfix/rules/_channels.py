"""What conda's names of channels mean: addresses, as conda itself would make them of its configuration."""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import CondaSettings
from envfix.tables.loader import Tables

DEFAULTS = "defaults"
# Words that stand for no place on the network.
_NO_PLACE = ("nodefaults", "local", "<unknown>")


def places(settings: CondaSettings, tables: Tables) -> tuple[tuple[str, str], ...]:
    """Every configured channel with each of its addresses, in conda's order; without any configuration ``defaults``."""
    names = settings.channels or (DEFAULTS,)
    found = [
        (name, address) for name in names if name not in _NO_PLACE for address in addresses(name, settings, tables)
    ]
    return tuple(dict.fromkeys(found))


def addresses(name: str, settings: CondaSettings, tables: Tables) -> tuple[str, ...]:
    """The addresses of one channel: all parts of ``defaults``, all mirrors of a mirrored one, else a single address."""
    if name == DEFAULTS:
        parts = settings.default_channels or tuple(_official(DEFAULTS, tables))
        return tuple(_address(part, settings, tables) for part in parts if part != DEFAULTS)
    if name in settings.mirrored_channels:
        return tuple(address.rstrip("/") for address in settings.mirrored_channels[name])
    return (_address(name, settings, tables),)


def _address(name: str, settings: CondaSettings, tables: Tables) -> str:
    if "://" in name:
        return name.rstrip("/")
    custom = [key for key in settings.custom_channels if name == key or name.startswith(f"{key}/")]
    if custom:
        return f"{settings.custom_channels[max(custom, key=len)].rstrip('/')}/{name}"
    if settings.channel_alias:
        return f"{settings.channel_alias.rstrip('/')}/{name}"
    if name.startswith("pkgs/"):
        return "".join(_official(DEFAULTS, tables)).rpartition("/pkgs/")[0] + f"/{name}"
    return next(_official(name, tables), "".join(_official("conda-forge", tables)).rpartition("/")[0] + f"/{name}")


def _official(name: str, tables: Tables) -> Iterator[str]:
    channel = tables.conda.channel(name)
    if channel is not None:
        yield channel.url


def alternatives(name: str, tables: Tables) -> tuple[str, ...]:
    """Other addresses of a channel that the table knows: the official one and its mirrors; none for a foreign channel."""
    known = canonical(name)
    mirrors = [mirror.channel_url(known) for mirror in tables.conda.mirrors(known)]
    return tuple(address for address in (*_official(known, tables), *mirrors) if address is not None)


def canonical(name: str) -> str:
    """The name under which a channel is known: ``pytorch`` for an address that ends so, ``defaults`` for pkgs/main."""
    last = name.rstrip("/").rpartition("/")[2]
    return DEFAULTS if "pkgs/" in name or last == "main" else last

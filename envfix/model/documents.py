"""Records to JSON and back, and the one place that takes names, addresses and secrets out of what is shared."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from packaging.version import Version

from envfix.model.versions import ComputeCapability, CudaVersion, DriverVersion

R = TypeVar("R")
_PARSERS: dict[type, Callable[[str], Any]] = {
    DriverVersion: DriverVersion.parse,
    CudaVersion: CudaVersion.parse,
    ComputeCapability: ComputeCapability.parse,
    Version: Version,
}


def to_builtins(record: object) -> Any:
    """The record as plain lists, dicts, strings and numbers; versions become their text."""
    return msgspec.to_builtins(record, enc_hook=_encode, str_keys=True)


def from_builtins(value: Any, kind: type[R]) -> R:
    """A record from plain values; raises ``msgspec.ValidationError`` with the path of what is wrong."""
    return msgspec.convert(value, kind, dec_hook=_decode)


def to_json(document: object, *, indent: int = 2) -> str:
    """One JSON document, ending without a newline."""
    plain = msgspec.json.encode(to_builtins(document))
    return msgspec.json.format(plain, indent=indent).decode()


def _encode(value: object) -> object:
    if isinstance(value, (*_PARSERS,)):
        return str(value)
    raise NotImplementedError(f"cannot write a {type(value).__name__} as JSON")


def _decode(kind: type, value: object) -> object:
    if kind in _PARSERS and isinstance(value, str):
        return _PARSERS[kind](value)
    raise NotImplementedError(f"cannot read a {kind}")


_HIDDEN = "***"
_URL_CREDENTIALS = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*://)[^/\s@\"'<>]+@")
_SECRET_VALUES = re.compile(
    r"(?P<name>(?:token|password|passwd|secret|api[_-]?key|access[_-]?key)[\"']?\s*[=:]\s*[\"']?)[^\s\"'&,;]+",
    re.IGNORECASE,
)
_GPU_UUID = re.compile(r"\b(?P<kind>GPU|MIG)-[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b")


class Redactor:
    """Takes out what names a person, a place or a secret: home folder, user, host, credentials, GPU serial ids.

    The same input always gives the same output, so that redacted facts can still be compared with each other.
    """

    def __init__(self, *, home: str | None, user: str | None, host: str | None) -> None:
        self._rules: list[tuple[re.Pattern[str], str]] = []
        if home and home not in ("/", "~"):
            self._rules.append((re.compile(rf"{re.escape(home.rstrip('/'))}(?![\w.-])"), "~"))
        for name, stand_in in ((user, "user"), (host, "host")):
            # "root" and the like name nobody, and replacing them would damage paths.
            if name and len(name) > 2 and name not in ("root", "user", "host", "localhost"):
                self._rules.append((re.compile(rf"(?<![\w-]){re.escape(name)}(?![\w-])"), stand_in))
        self._uuids: dict[str, str] = {}

    def text(self, text: str) -> str:
        """The text without names and secrets."""
        text = _URL_CREDENTIALS.sub(rf"\g<scheme>{_HIDDEN}@", text)
        text = _SECRET_VALUES.sub(rf"\g<name>{_HIDDEN}", text)
        text = _GPU_UUID.sub(self._uuid, text)
        for pattern, stand_in in self._rules:
            text = pattern.sub(stand_in, text)
        return text

    def value(self, value: Any) -> Any:
        """The same for every string inside plain lists and dicts, keys included."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, (list, tuple)):
            return [self.value(item) for item in value]
        if isinstance(value, dict):
            return {self.text(str(key)): self.value(item) for key, item in value.items()}
        return value

    def _uuid(self, match: re.Match[str]) -> str:
        number = len(self._uuids)
        return self._uuids.setdefault(match[0], f"{match['kind']}-00000000-0000-0000-0000-{number:012d}")

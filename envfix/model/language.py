"""The language that people read: English as it stands in the sources, or its translation from a gettext catalogue.

The command line chooses it once, before anything is said. English is the default and costs nothing: no catalogue is
opened. A sentence without a translation, or with one that cannot be filled in, stays English.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

# The languages of --lang, and the folders of their catalogues.
LANGUAGES = {"en": None, "zh": "zh_CN"}
FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "locale")
DOMAIN = "envfix"
# Readers of traditional characters, who have not asked for simplified ones.
_TRADITIONAL = ("zh_tw", "zh_hk", "zh_mo", "zh_hant")


class _Chosen:
    """The one place that knows the language; ``look_up`` is None for English."""

    language = "en"
    look_up: Callable[[str], str] | None = None


# Of one thread, and of those that it starts with its context: others may say something to people meanwhile.
_in_english: ContextVar[bool] = ContextVar("in_english", default=False)


def say(sentence: str, /, **values: object) -> str:
    """A sentence in the chosen language, with its ``{names}`` filled in; without values it is taken as it stands."""
    if _Chosen.look_up is None or _in_english.get():
        return sentence.format_map(values) if values else sentence
    translated = _Chosen.look_up(sentence)
    if not values:
        return translated
    try:
        return translated.format_map(values)
    except (LookupError, ValueError, TypeError):
        return sentence.format_map(values)


def later(sentence: str) -> str:
    """The sentence itself: marks, for the catalogues, what is written down at import and looked up where it is shown."""
    return sentence


def look_up(text: str) -> str:
    """The translation of a whole sentence that was marked with ``later``; any other text stays as it is."""
    return text if not text or _Chosen.look_up is None or _in_english.get() else _Chosen.look_up(text)


def language() -> str:
    """The chosen language: ``en`` or ``zh``."""
    return "en" if _in_english.get() else _Chosen.language


def web_tag() -> str:
    """The same as pages on the web name it: ``en`` or ``zh-CN``."""
    return (LANGUAGES[language()] or "en").replace("_", "-")


def speak(name: str) -> None:
    """Speak this language from now on, one of ``LANGUAGES``."""
    folder = LANGUAGES[name]
    _Chosen.language, _Chosen.look_up = name, None
    if folder is not None:
        import gettext

        _Chosen.look_up = gettext.translation(DOMAIN, FOLDER, languages=[folder], fallback=True).gettext


@contextmanager
def in_english() -> Iterator[None]:
    """Speak English meanwhile: what is written down for other machines is the same whoever writes it."""
    before = _in_english.set(True)
    try:
        yield
    finally:
        _in_english.reset(before)


def wished(variable: Callable[[str], str | None]) -> str:
    """The language that the environment asks for, as gettext reads it: LANGUAGE, LC_ALL, LC_MESSAGES, then LANG."""
    locale = next((value for name in ("LC_ALL", "LC_MESSAGES", "LANG") if (value := variable(name))), "")
    if _plain(locale) in ("", "c", "posix"):
        return "en"
    for one in (*(variable("LANGUAGE") or "").split(":"), locale):
        plain = _plain(one)
        if plain.startswith(_TRADITIONAL):
            return "en"
        if plain[:2] in LANGUAGES and plain[2:3] in ("", "_"):
            return plain[:2]
    return "en"


def _plain(locale: str) -> str:
    """``zh_CN.UTF-8@pinyin`` as ``zh_cn``."""
    return locale.partition(".")[0].partition("@")[0].lower().replace("-", "_")

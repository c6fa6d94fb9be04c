"""The language that people read: English as it stands in the sources, or its translation from a gettext catalogue.

The command line chooses it once, before anything is said. English is the default and costs nothing: no catalogue is
opened. A sentence without a translation, or with one that cannot be filled in, stays English.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import re

# The languages of --lang, and the folders of their catalogues.
LANGUAGES = {"en": None, "zh": "zh_CN"}
FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "locale")
DOMAIN = "envfix"
# Where the catalogues keep the sentences of facts that have something filled in (gettext's context).
STATED = "stated"
# Readers of traditional characters, who have not asked for simplified ones.
_TRADITIONAL = ("zh_tw", "zh_hk", "zh_mo", "zh_hant")
# Marks as wide as a Chinese character; their room is within them.
_MARKS = "，。：；！？、（）《》"  # noqa: RUF001 - no other marks are meant


class _Chosen:
    """The one place that knows the language; ``look_up`` is None for English."""

    language = "en"
    look_up: Callable[[str], str] | None = None
    # The sentences of facts with their translations, once one is asked for.
    stated: tuple[tuple[re.Pattern[str], str], ...] | None = None


# Of one thread, and of those that it starts with its context: others may say something to people meanwhile.
_in_english: ContextVar[bool] = ContextVar("in_english", default=False)


# No sentence of a fact is longer; what somebody else has put into a snapshot may be, and there are many patterns to try.
_LONGEST = 1000


def say(sentence: str, /, **values: object) -> str:
    """A sentence in the chosen language, with its ``{names}`` filled in; without values it is taken as it stands."""
    if _Chosen.look_up is None or _in_english.get():
        return sentence.format_map(values) if values else sentence
    translated = _Chosen.look_up(sentence)
    if not values:
        return translated
    try:
        return _filled(translated, values)
    except (LookupError, ValueError, TypeError):
        return sentence.format_map(values)


def _filled(sentence: str, values: Mapping[str, object]) -> str:
    """The sentence with its ``{names}`` filled in, and with the blanks that stand between its letters and those of the values."""
    from string import Formatter

    filler, text = Formatter(), ""
    for words, name, spec, conversion in filler.parse(sentence):
        text = _beside(text, words)
        if name is not None:
            text = _beside(text, format(filler.convert_field(values[name], conversion), spec or ""))
    return text


def _beside(left: str, right: str) -> str:
    """Two pieces of a sentence: Chinese has a blank beside Latin letters and digits, and none elsewhere."""
    if not left or not right:
        return left + right
    if right[0] in _MARKS or (_is_chinese(right[0]) and left[-2:-1] and (_is_chinese(left[-2]) or left[-2] in _MARKS)):
        left = left.removesuffix(" ")
        # A sentence of another program within one in Chinese.
        left = left[:-1] if right[0] == "。" and left.endswith(".") and not left.endswith("..") else left
    elif right[0] == " " and right[1:2] and (left[-1] in _MARKS or (_is_chinese(left[-1]) and _is_chinese(right[1]))):
        right = right[1:]
    latin = (left[-1:].isascii() and left[-1:].isalnum(), right[0].isascii() and right[0].isalnum())
    blank = (_is_chinese(left[-1:]) and latin[1]) or (latin[0] and _is_chinese(right[0]))
    return f"{left} {right}" if blank else left + right


def _is_chinese(letter: str) -> bool:
    return "\u3400" <= letter <= "\u9fff"


def later(sentence: str) -> str:
    """The sentence itself: marks, for the catalogues, what is written down at import and looked up where it is shown."""
    return sentence


def look_up(text: str) -> str:
    """The translation of a whole sentence that was marked with ``later``; any other text stays as it is."""
    return text if not text or _Chosen.look_up is None or _in_english.get() else _Chosen.look_up(text)


def stated(sentence: str, /, **values: object) -> str:
    """What a fact says of itself: English whoever finds it, because facts are kept and read elsewhere; see ``retold``."""
    return sentence.format_map(values) if values else sentence


def retold(text: str) -> str:
    """What a fact says of itself (``stated``), in the chosen language; any other text stays as it is."""
    translated = look_up(text)
    if translated != text or not text or _Chosen.look_up is None or _in_english.get() or len(text) > _LONGEST:
        return translated
    found = [(match, sentence) for pattern, sentence in _statements() if (match := pattern.fullmatch(text))]
    if found:
        # Of several the one that fills in least at its first place: what comes later may be a sentence of its own.
        match, sentence = min(found, key=lambda pair: len(pair[0][1]))
        return _filled(sentence, {name: retold(value) for name, value in match.groupdict().items()})
    return text


def _statements() -> tuple[tuple[re.Pattern[str], str], ...]:
    """A pattern for each sentence of facts that has something filled in, the longest first, and its translation."""
    import re
    from string import Formatter

    if _Chosen.stated is None:
        mark = f"{STATED}\x04"
        known = getattr(getattr(_Chosen.look_up, "__self__", None), "_catalog", {})
        found = [(key.removeprefix(mark), text) for key, text in known.items() if str(key).startswith(mark)]
        _Chosen.stated = tuple(
            (
                re.compile(
                    "".join(
                        re.escape(words) + (f"(?P<{name}>.*?)" if name else "")
                        for words, name, _, _ in Formatter().parse(sentence)
                    ),
                    re.DOTALL,
                ),
                text,
            )
            for sentence, text in sorted(found, key=lambda pair: -len(pair[0]))
        )
    return _Chosen.stated


def language() -> str:
    """The chosen language: ``en`` or ``zh``."""
    return "en" if _in_english.get() else _Chosen.language


def web_tag() -> str:
    """The same as pages on the web name it: ``en`` or ``zh-CN``."""
    return (LANGUAGES[language()] or "en").replace("_", "-")


def speak(name: str) -> None:
    """Speak this language from now on, one of ``LANGUAGES``."""
    folder = LANGUAGES[name]
    _Chosen.language, _Chosen.look_up, _Chosen.stated = name, None, None
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
        if _plain(one).startswith(_TRADITIONAL):
            return "en"
        found = named(one)
        if found is not None:
            return found
    return "en"


def named(locale: str) -> str | None:
    """The language that a locale such as ``zh_CN.GB18030`` or a name such as ``zh-Hans`` means; None for any other."""
    plain = _plain(locale)
    known = plain[:2] in LANGUAGES and plain[2:3] in ("", "_") and not plain.startswith(_TRADITIONAL)
    return plain[:2] if known else None


def _plain(locale: str) -> str:
    """``zh_CN.UTF-8@pinyin`` as ``zh_cn``."""
    return locale.partition(".")[0].partition("@")[0].lower().replace("-", "_")

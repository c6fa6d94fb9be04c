"""What the files of the ladder share: how a rung fails or does not apply, and how a library's words are shortened.

Syntax of Python 3.6; the file that is started, ``envfix_verify_ladder.py``, has looked at the version before it imports this.
"""

import random
import re
import sys
import traceback

# A line of at most 4096 bytes reaches a Linux pipe in one piece, whatever other threads print meanwhile.
TEXT_LIMIT = 1200
WARNING_LIMIT = 400
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Said(str):
    """A sentence in English that remembers what it was made of, so that the caller can say it in another language."""

    __slots__ = ("sentence", "values")

    def __new__(cls, sentence, values):
        made = str.__new__(cls, sentence.format(**values))
        made.sentence = sentence
        made.values = values
        return made


def say(sentence, **values):
    """A sentence that the catalogues of the caller know, with its ``{names}`` filled in: with text, or with another sentence."""
    return Said(sentence, values)


def said_by(error):
    """The sentence with which the ladder itself gave up; the words of any other error."""
    words = error.args[0] if len(error.args) == 1 else None
    return words if isinstance(words, Said) else str(error)


def in_parts(text):
    """What the caller says in its own language; the words of a library are only shortened."""
    if not isinstance(text, Said):
        return shorten(text, WARNING_LIMIT)
    return {"sentence": text.sentence, "values": {name: in_parts(value) for name, value in text.values.items()}}


class NotApplicableError(Exception):
    """The rung has nothing to try here; the text is the reason."""

    def __init__(self, reason, detail=None):
        super().__init__(reason)
        self.detail = detail or {}


class RungError(Exception):
    """The rung tried and failed; the text is one sentence for the user."""

    def __init__(self, message, detail=None):
        super().__init__(message)
        self.detail = detail or {}


def shorten(text, limit=TEXT_LIMIT):
    """The text, or its beginning and end: the first line names the library, the last the reason."""
    text = str(text).strip()
    if len(text) <= limit:
        return text
    return "%s ... %s" % (text[: limit * 2 // 3], text[-limit // 3 :])


def error_detail(error):
    """Type, text and place of an error, as the library gave them."""
    detail = {"error": type(error).__name__, "text": shorten(error)}
    if missing_module(error):
        detail.update(missing=missing_module(error), needed_by=needed_by(error))
    frames = traceback.extract_tb(error.__traceback__)
    if frames:
        detail["where"] = "%s:%s" % (frames[-1].filename, frames[-1].lineno)
    return detail


def first_words(error):
    """First line of an error's text, with the next one where it only announces that; without colours."""
    lines = [line.strip() for line in COLOURS.sub("", str(error)).splitlines() if line.strip()]
    if not lines:
        return say("no reason given")
    end = 2 if lines[0].endswith(":") else 1
    return shorten(" ".join(lines[:end]), WARNING_LIMIT)


def without_advice(words):
    """What happened, without what torch guesses and advises: that leads to a driver's download page whatever the reason was."""
    if isinstance(words, Said):
        return words
    words = re.sub(r"^Unexpected error from cudaGetDeviceCount\(\)\. Did you run [^?]*\? ", "", words)
    return re.split(r"\s+(?:Please|Alternatively|If you|For details|- this may be)\b", words)[0].strip()


def missing_module(error):
    """The name of the package that an import did not find; None for other errors, and for a part of a package."""
    name = getattr(error, "name", None) if isinstance(error, ModuleNotFoundError) else None
    return name if name and "." not in name else None


def root_of(error):
    """The first error of a chain."""
    while error.__cause__ is not None or (error.__context__ is not None and not error.__suppress_context__):
        error = error.__cause__ or error.__context__
    return error


def outdated(torch, error):
    """What torch's refusal to load a whole model means: an ultralytics from before torch 2.6; None for other errors."""
    if "Weights only load failed" not in str(error):
        return None
    return say(
        "ultralytics {own} is too old for torch {torch}: it does not say that a .pt file is a whole model, so torch refuses it",
        own=sys.modules["ultralytics"].__version__,
        torch=torch.__version__,
    )


def needed_by(error):
    """The installed package whose import came to nothing; None where it was asked for by the ladder itself."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        found = re.search(r"(?:site|dist)-packages[\\/](\w+)", frame.filename)
        if found:
            return found.group(1)
    return None


def first_line(error):
    """Type and first line of an error, or which package is missing."""
    missing, user = missing_module(error), needed_by(error)
    if missing and user:
        return say("{package} is not installed, and {user} needs it", package=missing, user=user)
    if missing:
        return say("{package} is not installed in this interpreter", package=missing)
    words = first_words(error)
    kind = type(error).__name__
    return say("{kind}: {words}", kind=kind, words=words) if isinstance(words, Said) else "%s: %s" % (kind, words)


def draw_picture(seed):
    """A picture of coloured rectangles, the same for the same seed."""
    import numpy as np

    chance = random.Random(seed)
    picture = np.zeros((480, 640, 3), dtype="uint8")
    for _ in range(60):
        left, top = chance.randrange(600), chance.randrange(440)
        colour = [chance.randrange(256) for _ in range(3)]
        picture[top : top + chance.randrange(20, 200), left : left + chance.randrange(20, 200)] = colour
    return picture


def mebibytes(size):
    """Bytes in words: ``6.2 MiB``, small ones exactly."""
    return say("{count} bytes", count=size) if size < 10 * 1024 else "%.1f MiB" % (size / 1048576.0)


def jsonable(value):
    """The value with everything JSON cannot hold turned into text: NaN, infinities, and bytes that are no UTF-8."""
    if isinstance(value, dict):
        return {jsonable(str(key)): jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if abs(value) != float("inf") and value == value else repr(value)
    return str(value).encode("utf-8", "replace").decode("utf-8")

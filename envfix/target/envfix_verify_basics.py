"""What the files of the ladder share: how a rung fails or does not apply, and how a library's words are shortened.

Syntax of Python 3.6; the file that is started, ``envfix_verify_ladder.py``, has looked at the version before it imports this.
"""

import random
import traceback

# A line of at most 4096 bytes reaches a Linux pipe in one piece, whatever other threads print meanwhile.
TEXT_LIMIT = 1200
WARNING_LIMIT = 400


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
    frames = traceback.extract_tb(error.__traceback__)
    if frames:
        detail["where"] = "%s:%s" % (frames[-1].filename, frames[-1].lineno)
    return detail


def first_words(error):
    """First line of an error's text."""
    lines = str(error).strip().splitlines() or ["no reason given"]
    return shorten(lines[0], WARNING_LIMIT)


def first_line(error):
    """Type and first line of an error."""
    return "%s: %s" % (type(error).__name__, first_words(error))


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
    return "%d bytes" % size if size < 10 * 1024 else "%.1f MiB" % (size / 1048576.0)

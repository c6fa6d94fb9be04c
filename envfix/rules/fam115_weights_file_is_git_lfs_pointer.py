"""A file of weights is not what it is called: a pointer of Git LFS, or a web page that was saved in its place.

What you see
    "_pickle.UnpicklingError: invalid load key, 'v'." (a pointer: it begins with "version https://git-lfs..."),
    or "invalid load key, '<'." (a web page: it begins with "<html").

Why
    A repository was cloned without git-lfs, or downloaded as an archive: large files are then texts of three
    lines. Or a download was answered with a page (log in, not found, too many requests), and that page was
    saved as the model.

How envfix knows
    The first letter of the file in the message of the loader. No facts of a machine show it.

How to mend
    Fetch the file itself (``git lfs pull``), or download it again with an address that leads to the file, and
    look at its size.

What not to do
    Do not change torch, pickle or ``weights_only``: no program can read what is not there.

Sources
    The specification of Git LFS pointers; Python's pickle; torch's loaders.
"""

from __future__ import annotations

from envfix.model.finding import Remedy
from envfix.model.language import later, say
from envfix.model.log import Signature
from envfix.rules._log import LogSide, Reading
from envfix.rules._rule import Rule

# The first byte of a pointer is a v (118), that of a page a < (60).
POINTER = (
    r"invalid load key, \\?['\"]v\\?['\"]|Unsupported operand 118\b|version https://git-lfs\.github\.com/spec/v1"
    r"|You seem to have cloned a repository without having git-lfs installed|invalid magic characters:? '?vers"
)
PAGE = r"invalid load key, \\?['\"]<\\?['\"]|Unsupported operand 60\b"
HEADER = r"deserializing header: (?:HeaderTooLarge|header too large|InvalidHeaderLength|invalid header length)"
SENTENCES = r"Internal: [^\n]{0,60}\[model_proto->ParseFromArray|could not parse ModelProto from"
OTHER = r"invalid load key, \\?['\"](?:\\x[0-9a-f]{2}|[^v<\n]{1,2})\\?['\"]"


def _message(reading: Reading) -> str:
    log = reading.log
    if log.found(PAGE) and not log.found(POINTER):
        return say(
            "The file of weights is a web page: the download was answered with a page instead"
            " of the file, and that was saved."
        )
    if log.found(POINTER):
        return say("The file of weights is only a pointer of Git LFS: the real file was never fetched.")
    return say(
        "The file of weights does not hold what its name says: a pointer of Git LFS, a web"
        " page, or a part of the file only."
    )


def _remedies(reading: Reading) -> tuple[Remedy, ...]:
    again = Remedy(
        text=say(
            "Download the file again with an address that leads to the file itself, and compare"
            " its size with what the maker says."
        ),
        commands=(("ls", "-l", "YOUR_WEIGHTS.pt"),),
    )
    if reading.log.found(PAGE) and not reading.log.found(POINTER):
        return (again,)
    pull = Remedy(
        text=say("Fetch the real files, in the folder of the clone (git-lfs must be installed first)."),
        commands=(("git", "lfs", "install"), ("git", "lfs", "pull")),
    )
    return (pull, again)


LOG = LogSide(
    signatures=(
        Signature(pattern=POINTER, confidence=0.96),
        Signature(pattern=r"WeightsUnpickler error: Unsupported operand (?:118|60)\b", confidence=0.96, quoted=True),
        Signature(pattern=PAGE, confidence=0.96),
        Signature(pattern=HEADER, confidence=0.7),
        Signature(pattern=SENTENCES, confidence=0.5),
        Signature(pattern=OTHER, confidence=0.3),
    ),
    message=_message,
    remedies=_remedies,
    tell_apart=Remedy(
        text=later("Look at the beginning of the file: a pointer and a page are text."),
        commands=(("head", "-c", "200", "YOUR_WEIGHTS.pt"),),
    ),
    explains=("library_too_old_for_torch", "corrupt_download_hash"),
)

RULE = Rule(
    code="FAM115",
    cause="weights_file_is_git_lfs_pointer",
    title=later("A file of weights is a pointer or a web page"),
    needs=(),
    check=None,  # no facts of a machine show it: they do not look into files of models
    rank=60,
    log=LOG,
)

"""Whether a place in a log is about fetching or installing packages, or about a program that runs.

"Connection reset", "Permission denied", "Killed" and "MemoryError" mean one thing under pip and another in a training.
"""

from __future__ import annotations

import re

from envfix.model.log import Hit
from envfix.model.regex import regex

_FETCHING = regex(
    r"(?i)\bpip3?\b|\bconda\b|\bmamba\b|\buv\b|poetry|Downloading|Collecting |\.whl|\.tar\.(?:gz|bz2)|\.conda\b"
    r"|urllib|requests/|httpx?\b"
    r"|huggingface|load_state_dict_from_url|torch[./]hub|Retrying|index-url|git clone|curl|wget|gdown|docker (?:build"
    r"|pull)|\.pt\b.{0,40}download"
)
_INSTALLING = regex(
    r"(?i)\bpip3? install|\bpip[._/\\](?:_vendor|_internal)|Could not install packages|Installing collected packages"
    r"|Attempting uninstall"
    r"|Collecting \S|Downloading \S|Using cached |\d [kMG]B/s|\.whl\b|conda (?:install|create|update|env)|Executing"
    r" transaction"
    r"|Verifying transaction|Downloading and Extracting|\buv (?:pip|sync|add|run|tool|venv)|poetry (?:install|add)"
    r"|easy_install|setup\.py install"
    r"|Building wheels? for|RUN \S*pip|pip-(?:unpack|install|req-build|uninstall|ephem)"
)
_RUNNING = regex(
    r"(?i)DataLoader|\bepoch\b|train\.py|trainer\.py|images/s|it/s\]|NCCL|c10d|torchrun|\bloss\b|multiprocessing"
    r"|spawn_main"
)


def fetches(hit: Hit, *, before: int = 2500, after: int = 1000) -> bool:
    """Whether something is being fetched around this place."""
    return _FETCHING.search(_around(hit, before, after)) is not None


def installs(hit: Hit, *, before: int = 2500, after: int = 800) -> bool:
    """Whether packages are being installed around this place."""
    return _INSTALLING.search(_around(hit, before, after)) is not None


def runs(hit: Hit, *, before: int = 1500) -> bool:
    """Whether a training or another program runs around this place."""
    return _RUNNING.search(_around(hit, before, 400)) is not None


def succeeded(hit: Hit) -> bool:
    """Whether pip or uv was done in the end, so that the place is about one attempt only."""
    return re.search(r"Successfully installed |\bInstalled \d+ packages? in", hit.after) is not None


def _around(hit: Hit, before: int, after: int) -> str:
    return hit.before[-before:] + hit.text + hit.after[:after]

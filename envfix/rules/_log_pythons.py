"""Which Pythons a log speaks of: whether torch is said to be installed somewhere, and which Python ran."""

from __future__ import annotations

import re
from collections.abc import Iterator

from envfix.model.log import Hit, Log
from envfix.rules._log_patterns import ISOLATED_BUILD

# --- torch is installed somewhere ---

# Rows of conda list and of pip list; whether they begin a line is looked at.
LISTED = r"\b(?:pytorch|torch|ultralytics|pytorch-(?:cpu|gpu|nightly)|torch-nightly)[\x20\t]{1,40}\d+\.\d+[\w.+]*"
SATISFIED = (
    r"Requirement already (?:satisfied|up-to-date):? (?:torch(?:vision|audio)?|ultralytics)\b[^\n]{0,80}"
    r" in (?P<satisfied>[^\n]{1,200}?-packages)"
)
INSTALLED_NOW = r"Successfully installed [^\n]*\b(?:torch|ultralytics)-\d[\w.+]*|\+ (?:torch|ultralytics)==\d[\w.+]*"
SHOWN = r"Name: (?:torch|pytorch) Version: \d"
WORKED = r"torch\.__version__[)\s]{0,3}(?:Out\[\d+\]:)?\s*['\"]?\d+\.\d"
CONDA_HAS_ALL = r"All requested packages already installed"
BANNER = r"Python-3\.\d+[\d.]* torch-\d"
HAS_TORCH = (LISTED, SATISFIED, INSTALLED_NOW, SHOWN, WORKED, CONDA_HAS_ALL, BANNER)

# --- which Python ran ---

NOTEBOOK = (
    r"<ipython-input-\d|ipykernel_\d|ipykernel[/\\]|ipykernel_launcher|\bCell In\s?\[|\bIn\s?\[\d+\]:"
    r"|Error\s{5,40}Traceback \(most recent call last\)|jupyter"
)
EDITOR = r"\.vscode(?:-server)?[/\\]extensions|debugpy|PyCharm|pydevd?|pydev_|Code Runner|site-packages[/\\]spyder"
PROMPT = (
    r"\((?P<env>[A-Za-z][\w.-]{0,40})\) (?:[\w.-]{1,40}@[\w.-]{1,60}[:\s][^\n$#%]{0,80}[$#%]|PS [A-Z]:[^\n>]{0,120}>"
    r"|[A-Z]:\\[^\n>]{0,120}>|[$%#]|➜)"
)
LOOKED = (
    r"sys\.(?:executable|prefix)|\b(?:which|where|where\.exe|whereis|command -v|type|Get-Command) (?:-a )?"
    r"(?:python|pip|ipython|jupyter|conda|yolo|torchrun|uvicorn)"
)
SUDO = r"\bsudo (?:-\w+ )?(?:[\w./~-]{1,80}/)?(?:python|yolo|torchrun|ipython|jupyter|bash|sh)"
STORE = r"Microsoft[\\/]{1,2}WindowsApps[\\/]{1,2}|PythonSoftwareFoundation\.Python"
PIP_OF_SYSTEM = r"[/\\](?:dist|site)-packages[/\\]pip[/\\]_internal|\.local/bin/pip"
PIP_FROM = r"\bpip \d[\d.]* from (?P<pip_at>[^\n]{3,200}?) \(python (?P<version>[23]\.\d+)\)"
# Where a version of Python is told: folders, banners, commands.
VERSIONS = (
    PIP_FROM,
    r"\b[Pp]ython(?P<version>[23]\.\d+)[/\\](?:site|dist)-packages",
    r"\b[Pp]ython(?P<short>[23]\d{1,2})(?:-32)?[/\\]{1,2}(?:lib|Lib|python\.exe|Scripts|site-packages)",
    r"\bPython (?P<version>[23]\.\d+)\.\d+(?:\+| \||\s?\(|:: )",
    r"\bpython(?P<version>[23]\.\d+) [\w./-]",
)
LOOKS_AT = (
    *HAS_TORCH,
    NOTEBOOK,
    EDITOR,
    PROMPT,
    LOOKED,
    SUDO,
    STORE,
    PIP_OF_SYSTEM,
    *VERSIONS,
    ISOLATED_BUILD,
)


def torch_is_somewhere(log: Log, error: Hit) -> bool:
    """Whether a line says that torch is installed; one that installs it counts only before the error."""
    rows = any(_begins_a_line(hit) for hit in log.found(LISTED))
    before = any(hit.offset < error.offset for hit in log.found(INSTALLED_NOW))
    others = (SATISFIED, SHOWN, WORKED, CONDA_HAS_ALL, BANNER)
    return rows or before or any(log.found(pattern) for pattern in others)


def _begins_a_line(hit: Hit) -> bool:
    """Whether a row of a list begins with it; a number, a sign of a table or of a quotation may stand before."""
    return re.fullmatch(r"[\s>|#*+\d:.-]*", hit.before.rpartition("\n")[2]) is not None


def versions(log: Log) -> set[str]:
    """The versions of Python that the log names, as ``3.8``."""
    return set(_versions(log))


def _versions(log: Log) -> Iterator[str]:
    for pattern in VERSIONS:
        for hit in log.found(pattern):
            short = hit.groups.get("short")
            yield f"{short[0]}.{short[1:]}" if short else hit.groups.get("version", "")


def environment_of_prompt(log: Log) -> str | None:
    """The environment that a prompt names, conda's base apart."""
    return next((hit.groups["env"] for hit in log.found(PROMPT) if hit.groups.get("env") != "base"), None)


def is_isolated_build(log: Log) -> bool:
    """Whether a package is built in an environment of its own, where installed packages are not seen."""
    return bool(log.found(ISOLATED_BUILD))

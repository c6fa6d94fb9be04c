r"""A library of Microsoft's C++ runtime that torch needs is missing.

What you see
    'OSError: [WinError 126] The specified module could not be found. Error loading "...\torch\lib\fbgemm.dll" or one of its
    dependencies', "WinError 1114", "DLL load failed while importing _C", "Microsoft Visual C++ Redistributable is not installed".

Why
    The file that is named is there; what is missing is another one that it needs: vcruntime140_1.dll and msvcp140.dll of
    Microsoft's redistributable (or too old ones of them), or libomp140.x86_64.dll, which torch 2.4.0 forgot.

How envfix knows
    On Windows, where torch is installed: vcruntime140.dll, vcruntime140_1.dll and msvcp140.dll lie neither in the
    system folder nor beside the interpreter. In a log: the number of the error, since the sentence is in the language of Windows.

How to mend
    Install the Visual C++ redistributable of Microsoft. For fbgemm.dll of torch 2.4.0 take a newer torch.

What not to do
    Single DLLs from the web are a danger and do not last.

Sources
    The system folder of Windows and the interpreter's own; Microsoft's list of system error codes; PyTorch's notes on Windows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.model.regex import regex
from envfix.rules._environments import NEW_ENV, startup_of
from envfix.rules._log import LogSide, Reading
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del machine, tables
    missing = startup_of(environment).windows_missing_dlls
    imported = environment.torch_import.value
    if environment.torch.value is None or not missing or (imported is not None and imported.ok):
        return
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR if imported is not None else Severity.WARNING,
        message=say(
            "Libraries of Microsoft's C++ runtime are missing that torch needs: {missing}.", missing=", ".join(missing)
        ),
        because=(
            cite(
                "environment.startup", environment.startup, say("{missing} found nowhere", missing=", ".join(missing))
            ),
            cite("environment.torch_import", environment.torch_import, imported.error if imported else None),
        ),
        remedies=(
            Remedy(
                text=say("Install the Visual C++ redistributable (x64) of Microsoft, and start a new terminal."),
                safe=False,
            ),
        ),
    )


# --- in a log ---

# Numbers of Windows' errors: how often each of them is a missing library where torch's own are loaded. Others mean something else:
# 5 and 225 a guard, 8, 1450 and 1455 memory, 193 a damaged or 32-bit file, 206 long paths.
_NUMBERS = {"126": 0.95, "127": 0.6, "1114": 0.75, "182": 0.7, "193": 0.3}
_TORCH_FILE = regex(
    r"[/\\](?:torch|functorch)[/\\]|\btorch\\lib|^(?:c10|torch|fbgemm|asmjit|caffe2|shm|uv|libomp|libiomp)",
    re.IGNORECASE,
)
_OF_OTHERS = regex(r"site-packages[/\\](?!torch[/\\])\w+", re.IGNORECASE)


def _weigh_number(hit: Hit, log: Log) -> float | None:
    """The number of the error decides; the sentence is in the language of Windows."""
    del log
    file = hit.groups.get("file", "")
    if file and not _TORCH_FILE.search(file):
        return None
    return _NUMBERS.get(hit.groups.get("number", ""))


def _weigh_loading(hit: Hit, log: Log) -> float | None:
    """The end of torch's message alone; a number before it is judged elsewhere."""
    del log
    line = hit.before[-400:].rpartition("\n")[2]
    return None if re.search(r"WinError \d", line) else 0.8


def _weigh_import(hit: Hit, log: Log) -> float | None:
    """Which package's library fails: the last file of the traceback says it."""
    del log
    trace = re.findall(r'File "([^"\n]+)"', hit.before[-2500:])
    last = trace[-1] if trace else ""
    if re.search(r"site-packages[/\\]torch[/\\]", last) or re.search(r"from torch\._C import", hit.before[-600:]):
        return 0.82
    if _OF_OTHERS.search(last):
        return 0.45 if re.search(r"onnxruntime|tensorflow", last) else None
    module = hit.groups.get("module", "")
    return 0.5 if module in ("_C", "") else (0.4 if module.startswith("onnxruntime") else None)


def _message(reading: Reading) -> str:
    dll = reading.groups.get("dll")
    if dll:
        return say(
            "{dll} is there, but a library that it needs is missing or too old: mostly Microsoft's C++ runtime.",
            dll=dll,
        )
    return say("A library that torch needs is missing on this Windows: mostly Microsoft's C++ runtime.")


_REDISTRIBUTABLE = Remedy(
    text=later("Install Microsoft's Visual C++ redistributable (x64), then open a new terminal."),
    commands=(("winget", "install", "Microsoft.VCRedist.2015+.x64"),),
    safe=False,
)


def _log_remedies(reading: Reading) -> tuple[Remedy, ...]:
    newer = Remedy(
        text=say(
            "Take another torch, in an environment of its own: 2.4.0 needs libomp140.x86_64.dll,"
            " which 2.4.1 brings along."
        ),
        commands=(NEW_ENV,),
    )
    return (newer, _REDISTRIBUTABLE) if reading.groups.get("dll") == "fbgemm.dll" else (_REDISTRIBUTABLE, newer)


LOG = LogSide(
    signatures=(
        Signature(pattern=r"Visual C\+\+ Redistributable is not installed", confidence=0.96),
        Signature(
            pattern=r"WinError (?P<number>\d{2,5})\b[^\n]{0,300}Error loading \""
            r"(?P<file>[^\"\n]{0,260}?(?P<dll>[\w.+-]{2,60}\.dll))",
            weigh=_weigh_number,
        ),
        Signature(
            pattern=r"WinError (?P<number>126|127|1114)\b[^\n]{0,200}?"
            r"(?P<file>(?P<dll>(?:fbgemm|c10\w*|shm|asmjit|caffe2\w*|torch_\w+|torch)\.dll))",
            weigh=_weigh_number,
        ),
        Signature(
            pattern=r"Error loading \"[^\"\n]{0,240}[/\\]torch[/\\]{1,2}lib[/\\]{1,2}(?P<dll>[\w.+-]{2,60}\.dll)\""
            r" or one of its dependencies",
            weigh=_weigh_loading,
        ),
        Signature(
            pattern=r"Could not find module '[^'\n]{0,240}[/\\]torch[/\\]{1,2}[^'\n]{0,120}?"
            r"(?P<dll>[\w.+-]{2,60}\.dll)' \(or one of its dependencies\)",
            confidence=0.9,
        ),
        Signature(
            pattern=r"(?i)\b(?P<dll>vcruntime140(?:_1)?|msvcp140(?:_\w{1,12})?|libomp140\.x86_64|vcomp140|concrt140)\.dll\b[^\n]{0,60}"
            r"(?:not found|missing|could not be found|找不到)",
            confidence=0.93,
            quoted=True,
        ),
        Signature(pattern=r"DLL load failed(?: while importing (?P<module>\w{1,60}))?:", weigh=_weigh_import),
    ),
    message=_message,
    remedies=_log_remedies,
    tell_apart=Remedy(
        text=later("See whether Microsoft's libraries can be loaded at all."),
        commands=(("python", "-c", "import ctypes; ctypes.CDLL('vcruntime140_1.dll'); ctypes.CDLL('msvcp140.dll')"),),
    ),
    explains=("torch_import_fails",),
)

RULE = Rule(
    code="INT122",
    cause="windows_dll_dependency_missing",
    title=later("the C++ runtime of Windows is missing"),
    needs=("environment.torch", "environment.startup"),
    check=check,
    rank=44,
    explains=("torch_import_fails",),
    log=LOG,
)

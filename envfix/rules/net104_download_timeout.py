"""A download of torch or of weights stalls or breaks off on the way.

What you see
    "ReadTimeoutError: HTTPSConnectionPool(host=..., port=443): Read timed out." or "The read operation timed out",
    often near the end of a wheel of two gigabytes; uv's "Failed to download distribution due to network timeout. Try
    increasing UV_HTTP_TIMEOUT"; "Connection broken: IncompleteRead"; curl's error 28.

Why
    A torch stack is two or three gigabytes. The limit is for a pause in the stream (15 seconds with pip, 30 with uv,
    60 with conda), and such pauses are common on long or shared routes. "Error code: 2" of an installer is only pip's
    exit status.

How envfix knows
    In a log: the messages about time limits and broken connections of pip, uv, conda, curl, git and of Python's own
    libraries, where something is being fetched and nothing says that it was installed in the end.
    On a machine: a time limit of less than five seconds in the settings of pip, uv or conda.

How to mend
    Raise the limit and try again (what is complete stays in the cache), load the big wheel with a program that
    resumes, or use a near mirror that carries the variant. A setting that is too short is taken back.

What not to do
    Do not reinstall Python, and do not search for the exit code.

Sources
    Configuration files and variables of pip, uv and conda; messages of the programs.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine, NetworkSetting
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.rules._downloads import fetches, installs, runs, succeeded
from envfix.rules._fetching import settings_of, take_back, torch_is_wanted
from envfix.rules._log import LogSide
from envfix.rules._rule import Rule
from envfix.tables.loader import Tables

SHORT = 5.0


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    for setting in settings_of(machine, "option", name="timeout"):
        seconds = _seconds(setting)
        if seconds is None or seconds >= SHORT:
            continue
        yield Finding(
            code=RULE.code,
            cause=RULE.cause,
            severity=Severity.WARNING if torch_is_wanted(environment) else Severity.INFO,
            message=say(
                "Downloads by {tool} end after a pause of {setting} seconds, which is too short for torch.",
                tool=setting.tool,
                setting=setting.value,
            ),
            because=(
                Evidence(
                    fact="machine.network",
                    value=say("timeout {setting}", setting=setting.value),
                    source=setting.configured_in,
                ),
            ),
            remedies=(take_back(setting.configured_in, say("the time limit")), *_longer(setting)),
        )


def _seconds(setting: NetworkSetting) -> float | None:
    try:
        return float(setting.value)
    except ValueError:
        return None


def _longer(setting: NetworkSetting) -> Iterator[Remedy]:
    commands = {
        "pip": ("pip", "config", "set", "global.timeout", "120"),
        "uv": ("export", "UV_HTTP_TIMEOUT=300"),
        "conda": ("conda", "config", "--set", "remote_read_timeout_secs", "120"),
    }
    if setting.tool in commands:
        yield Remedy(text=say("Or set a longer one."), commands=(commands[setting.tool],))


def _stalled(hit: Hit, log: Log) -> float | None:
    """A time limit was reached: while something is fetched, and not in the end fetched all the same."""
    del log
    if succeeded(hit):
        return None
    return 0.92 if fetches(hit) else 0.5


def _broken(hit: Hit, log: Log) -> float | None:
    """A connection broke: of a download, not of a training over several machines."""
    del log
    if succeeded(hit) or not fetches(hit) or (runs(hit) and not installs(hit, before=800, after=200)):
        return None
    return 0.75


_LONGER = (
    Remedy(
        text=later("Try again with a longer limit; uv and pip keep what has come through."),
        commands=(
            ("python", "-m", "pip", "install", "--timeout", "300", "--retries", "20", "torch", "torchvision"),
            ("export", "UV_HTTP_TIMEOUT=600"),
        ),
    ),
    Remedy(
        text=later(
            "Or load the one big file with a program that can go on where it stopped, and install it from there."
        ),
        commands=(
            ("curl", "-L", "-C", "-", "-O", "ADDRESS-OF-THE-WHEEL"),
            ("python", "-m", "pip", "install", "WHEEL.whl"),
        ),
    ),
    Remedy(
        text=later(
            "Or use a mirror near you that has the folder of the wanted variant (envfix knows"
            " some: `envfix install --index`)."
        )
    ),
)

LOG = LogSide(
    signatures=(
        Signature(
            pattern=r"ReadTimeoutError|Read timed out\.|The read operation timed out|ReadTimeout\b|socket\.timeout:"
            r" timed out|"
            r"TimeoutError: timed out|requests\.exceptions\.(?:Read|Connect)Timeout|urlopen error timed out",
            weigh=_stalled,
            quoted=True,
        ),
        Signature(
            pattern=r"ConnectTimeoutError|Connection to \S{1,80} timed out|\(connect timeout=|\[Errno 110\]"
            r" Connection timed out|\[WinError 10060\]"
            r"|\[Errno 60\] Operation timed out|urlopen error \[(?:WinError 10060|Errno 110|Errno 60)",
            weigh=lambda hit, log: _broken(hit, log) and 0.8,
            quoted=True,
        ),
        Signature(pattern=r"Connection timed out while downloading", confidence=0.8),
        Signature(
            pattern=r"incomplete-download|Download failed because not enough bytes were received", confidence=0.93
        ),
        Signature(
            pattern=r"Connection broken: |IncompleteRead\(|ChunkedEncodingError|InvalidChunkLength"
            r"|ProtocolError\('Connection|Connection reset by peer"
            r"|ConnectionResetError|WinError 10054|Remote end closed connection without response|RemoteDisconnected"
            r"|Connection aborted"
            r"|connection closed before message completed|end of file before message length reached|error decoding"
            r" response body"
            r"|peer closed connection without sending",
            weigh=_broken,
            quoted=True,
        ),
        Signature(
            pattern=r"network timeout\. Try increasing|UV_HTTP_TIMEOUT \(current value|Failed to download"
            r" distribution due to network timeout",
            confidence=0.96,
            quoted=True,
        ),
        Signature(
            pattern=r"operation timed out",
            beside=(
                r"Failed to (?:download|fetch|extract)|error sending request|response body error|error decoding response",
            ),
            confidence=0.9,
            quoted=True,
        ),
        Signature(pattern=r"Request failed after \d+ retries", confidence=0.55, quoted=True),
        Signature(pattern=r"error sending request for url", confidence=0.35, quoted=True),
        Signature(
            pattern=r"Download error \((?:18|28|55|56|92)\)|Timeout was reached|Operation too slow\. Less than",
            confidence=0.88,
            quoted=True,
        ),
        Signature(
            pattern=r"curl: \(28\)|curl return value (?:28|18|56)\b|curl: \((?:18|56|92)\)",
            confidence=0.85,
            quoted=True,
        ),
        Signature(
            pattern=r"RPC failed; (?:curl|HTTP)|fetch-pack: unexpected disconnect|fatal: early EOF|unexpected EOF"
            r" while reading (?:from remote|sideband)",
            confidence=0.75,
            quoted=True,
        ),
        Signature(
            pattern=r"Download failure(?:,| for)|Download failed after|Environment (?:is )?not online|check failed:"
            r" .{0,40}not online",
            confidence=0.6,
            quoted=True,
        ),
        Signature(
            pattern=r"LocalEntryNotFoundError|We couldn't connect to 'https://|An error happened while trying to"
            r" locate the files? on the Hub",
            confidence=0.55,
            quoted=True,
        ),
        Signature(pattern=r"Attempting to resume incomplete download", confidence=0.4),
    ),
    message=later("The download stalled or broke off before it was complete."),
    remedies=_LONGER,
    explains=("corrupt_download_hash", "torch_not_installed", "wheel_not_on_index", "wheel_python_mismatch"),
)

RULE = Rule(
    code="NET104",
    cause="download_timeout",
    title=later("The time limit for downloads is very short"),
    needs=("machine.network",),
    check=check,
    rank=74,
    log=LOG,
)

"""Brings a Python that is not on the machine: uv installs one of its own, beside all others, without touching PATH."""

from __future__ import annotations

import contextlib
import os.path
import re
from urllib.parse import urlsplit

from envfix.errors import InstallError
from envfix.host.interface import CommandResult, Deadline, Host
from envfix.installer.environment import environment_for_installers
from envfix.installer.interface import DownloadError, SpaceError, StalledError
from envfix.installer.problems import install_error, telling_lines
from envfix.installer.uv import find_uv
from envfix.model.language import later, look_up, say
from envfix.model.reporter import NullReporter, Reporter

# Seconds without a new byte after which it is given up; uv itself gives up a silent server after UV_HTTP_TIMEOUT.
IDLE_LIMIT = 180.0
_FIND_LIMIT = 30.0
_SILENT = NullReporter()
_VERSION = re.compile(r"(\d+)\.(\d+)(?:\.\d+)?t?")
# The oldest that uv has builds of; conda and pyenv go further back.
_OLDEST = (3, 8)
# Where uv is to take Pythons from and put them: the user's own settings, as variables and as options of uv.toml.
_SETTINGS = {
    "UV_PYTHON_INSTALL_DIR": None,
    "UV_PYTHON_INSTALL_MIRROR": "python-install-mirror",
    "UV_PYTHON_DOWNLOADS_JSON_URL": "python-downloads-json-url",
}
_UNITS = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
# cpython-3.8.18-linux-x86_64-gnu (download) ------------------------------ 8.00 KiB/18.67 MiB
_ROW = re.compile(r"-{5,}\s+([\d.]+) (B|[KMG]iB)/([\d.]+) (B|[KMG]iB)")
_LONGEST_ROW = 200
_REASONS = (
    (r"dns error|failed to lookup address", later("{server} cannot be found (DNS)")),
    (r"tcp connect error|Connection refused|Network is unreachable", later("{server} does not accept connections")),
    (
        r"invalid peer certificate|UnknownIssuer|certificate verify failed|InvalidContentType",
        later("no secure connection to {server} can be made"),
    ),
    (r"timed out|timeout", later("{server} stopped answering in time")),
    (r"HTTP status (?:server|client) error \((\d+ [^)]*)\)", later("{server} answers with error {0}")),
    (
        r"error decoding response|unexpected end of file|connection closed|connection reset|IncompleteBody",
        later("{server} broke off in the middle"),
    ),
    (r"error sending request", later("{server} cannot be asked")),
)


class PythonError(InstallError):
    """No such Python can be brought to this machine; nothing was changed."""

    reference = "no-python"


def bring(
    host: Host, version: str, reporter: Reporter = _SILENT, *, offline: bool = False, idle_limit: float = IDLE_LIMIT
) -> str:
    """The path of a Python ``version`` (``3.9``, ``3.9.18``, ``3.13t``) that uv keeps, fetched if it has none yet.

    uv puts it into its own folder and neither onto PATH nor into any shell's settings. The user's mirror is respected.
    Raises ``PythonError``, ``DownloadError``, ``StalledError``, ``SpaceError`` or ``InstallError``; then nothing is left.
    """
    if not _VERSION.fullmatch(version):
        raise PythonError(
            say("{version} is not a version of Python", version=version),
            hint=say("name one such as 3.11 with --python"),
        )
    if host.getenv("UV_PYTHON_DOWNLOADS") == "never":
        raise PythonError(
            say(
                "Python {version} is not on this machine, and uv is told not to bring any (UV_PYTHON_DOWNLOADS=never)",
                version=version,
            ),
            hint=say("unset that variable, or name an interpreter of yours with --python"),
        )
    uv = _Uv(host, offline=offline)
    reporter.stage(say("fetching Python {version}", version=version))
    result, text = uv.run(["install", "--no-bin", "--no-registry", version], idle_limit, _Progress(reporter))
    if result.outcome == "timed-out":
        raise StalledError(
            say(
                "fetching Python {version} was given up: nothing moved for {idle_limit:.0f} s",
                version=version,
                idle_limit=idle_limit,
            ),
            hint=say("check the network; UV_PYTHON_INSTALL_MIRROR can name a mirror"),
        )
    if not result.ok:
        raise _failure(text or result.failure, version)
    found, text = uv.run(["find", "--system", "--managed-python", version], _FIND_LIMIT)
    path = text.strip()
    if not found.ok or not os.path.isabs(path):
        raise PythonError(
            say(
                "Python {version} was fetched, but it does not run on this machine\n{telling_lines}",
                version=version,
                telling_lines=telling_lines(text),
            ).rstrip(),
            hint=say("conda or pyenv can bring one that does; then name it with --python"),
        )
    return path


class _Uv:
    """``uv python`` in the cleaned environment, outside every project."""

    def __init__(self, host: Host, *, offline: bool) -> None:
        self._host = host
        self._program = find_uv(host)
        self._environment = environment_for_installers(host)
        # "manual": only what is asked for in so many words is fetched.
        self._variables = {**self._environment.variables, "UV_PYTHON_DOWNLOADS": "manual"}
        for variable, option in _SETTINGS.items():
            configured = self._environment.settings.uv.get(option) if option else None
            value = host.getenv(variable) or (configured.value if configured else None)
            if value:
                self._variables[variable] = self._absolute(value)
        if offline:
            self._variables["UV_OFFLINE"] = "1"

    def run(self, arguments: list[str], limit: float, progress: _Progress | None = None) -> tuple[CommandResult, str]:
        """Its result and all it said; ``limit`` is in seconds, since the last movement where there is progress."""
        deadline, kept = Deadline(limit), list[str]()

        def hear(text: str) -> None:
            kept.append(text)
            if progress is not None and progress.feed(text):
                deadline.extend(limit)

        try:
            folder = self._host.make_temporary_folder()
        except OSError as error:
            raise SpaceError(
                say("no temporary file can be written: {strerror}", strerror=error.strerror), hint=say("set TMPDIR")
            ) from error
        try:
            result = self._host.stream(
                [self._program, "python", *arguments],
                on_text=hear,
                deadline=deadline,
                env=self._variables,
                drop_env=[name for name in self._environment.drop if name not in self._variables],
                cwd=folder,
                terminal=progress is not None,
            )
        finally:
            with contextlib.suppress(OSError):
                self._host.remove_tree(folder)
        return result, "".join(kept)

    def _absolute(self, value: str) -> str:
        """A path as the user meant it, since uv runs in another folder; an address stays as it is."""
        working_folder = self._host.system_facts().get("working_folder", "")
        return value if "://" in value else os.path.join(working_folder, value)


class _Progress:
    """Reads the one row that uv draws while it fetches."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._carry = ""
        self._last = (0, 0)

    def feed(self, text: str) -> bool:
        """Take the next piece of output; whether bytes have arrived."""
        self._carry += text
        rows = list(_ROW.finditer(self._carry))
        self._carry = self._carry[rows[-1].end() if rows else 0 :][-_LONGEST_ROW:]
        if not rows:
            return False
        done, total = (int(float(rows[-1][at]) * _UNITS[rows[-1][at + 1]]) for at in (1, 3))
        moved, self._last = (done, total) != self._last, (done, total)
        if moved:
            self._reporter.progress(done, total)
        return moved


def _failure(text: str, version: str) -> InstallError:
    """The error for uv's words."""
    telling = telling_lines(text)
    unknown = re.search(r"No download found for request: \S*?-\d[\w.+]*-(\S+)", telling)
    if unknown:
        return _no_build(version, unknown[1])
    if "downloads are not allowed" in telling:
        return PythonError(
            say("Python {version} is not on this machine, and uv is told not to bring any", version=version),
            hint=say("name an interpreter of yours with --python"),
        )
    if re.search(r"network (?:connectivity )?is disabled", telling, re.IGNORECASE):
        return PythonError(
            say("Python {version} is not on this machine, and going to the network is switched off", version=version),
            hint=say("leave out --offline, or name an interpreter of yours with --python"),
        )
    if "Hash mismatch" in telling:
        return DownloadError(
            say("the file of Python {version} is not the one that was promised (wrong hash)", version=version),
            hint=say(
                "the download or a mirror is damaged: try again, or name another mirror in UV_PYTHON_INSTALL_MIRROR"
            ),
        )
    if re.search(r"No space left|os error (?:28|122|30|13)\b|Disk quota", telling):
        return install_error(text, say("fetching Python {version}", version=version))
    return _not_fetched(telling, version)


def _no_build(version: str, platform: str) -> PythonError:
    match = _VERSION.fullmatch(version)
    if match is not None and (int(match[1]), int(match[2])) < _OLDEST:
        return PythonError(
            say(
                "Python {version} is not on this machine, and uv cannot bring it: it has {oldest}.{oldest_2} and newer",
                version=version,
                oldest=_OLDEST[0],
                oldest_2=_OLDEST[1],
            ),
            hint=say(
                "conda or pyenv can: `conda create -p PATH python={version}`; then name it with --python PATH",
                version=version,
            ),
        )
    return PythonError(
        say(
            "Python {version} is not on this machine, and uv has no build of it for {platform}",
            version=version,
            platform=platform,
        ),
        hint=say("take another version with --python, or bring it with conda or pyenv"),
    )


def _not_fetched(telling: str, version: str) -> InstallError:
    address = re.search(r"https?://[^\s`)]+", telling)
    server = urlsplit(address[0]).netloc.rpartition("@")[2] if address else say("the server")
    for pattern, reason in _REASONS:
        match = re.search(pattern, telling, re.IGNORECASE)
        if match is not None:
            return DownloadError(
                say(
                    "Python {version} cannot be fetched: {groups}",
                    version=version,
                    groups=look_up(reason).format(*match.groups(), server=server),
                ),
                hint=say(
                    "check the network and the proxy; UV_PYTHON_INSTALL_MIRROR can name a mirror,"
                    " and conda or pyenv can bring it too"
                ),
            )
    return PythonError(
        say("Python {version} cannot be fetched\n{telling}", version=version, telling=telling),
        hint=say("the lines above are uv's own"),
    )

"""What surrounds the installer and can be told without one: its environment, its words, its progress, room and constraints."""

from __future__ import annotations

import pytest

from envfix.errors import InstallError
from envfix.host.interface import DiskSpace
from envfix.host.real import RealHost
from envfix.installer.environment import certificates, environment_for_installers
from envfix.installer.interface import BrokenOffError, DownloadError, PermissionsError, SpaceError
from envfix.installer.preflight import check_space, unpacked_bytes
from envfix.installer.problems import install_error, refusal, telling_lines
from envfix.installer.progress import UvProgress
from envfix.lockers.constraints import constraints
from envfix.lockers.interface import LockError
from envfix.model.plan import Choice, PackagePin, Plan, PlanTarget
from envfix.model.versions import DriverVersion


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    host = RealHost()
    for name in host.environ(("PIP_", "UV_", "SSL_", "REQUESTS_", "CURL_", "HTTPS_", "https_", "ALL_", "all_")):
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/nowhere")
    return monkeypatch


def test_what_misleads_installers_is_dropped(variables: pytest.MonkeyPatch) -> None:
    misleading = {
        "PYTHONPATH": "/x",
        "PYTHONHOME": "/x",
        "PIP_TARGET": "/x",
        "PIP_PREFIX": "/x",
        "PIP_USER": "1",
        "PIP_REQUIRE_VIRTUALENV": "1",
        "__PYVENV_LAUNCHER__": "/x",
        "VIRTUAL_ENV": "/x",
        "CONDA_PREFIX": "/x",
        "PIP_FIND_LINKS": "/x",
        "PIP_EXTRA_INDEX_URL": "https://x",
        "UV_INDEX": "https://x",
        "UV_EXTRA_INDEX_URL": "https://x",
        "UV_FIND_LINKS": "/x",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_TORCH_BACKEND": "auto",
        "UV_PRERELEASE": "allow",
        "UV_CONSTRAINT": "/x",
        "UV_SYSTEM_PYTHON": "1",
    }
    for name, value in misleading.items():
        variables.setenv(name, value)
    variables.setenv("UV_CACHE_DIR", "/cache")
    variables.setenv("HTTPS_PROXY", "http://proxy")
    cleaned = environment_for_installers(RealHost())
    assert set(misleading) <= set(cleaned.drop)
    assert not {"UV_CACHE_DIR", "HTTPS_PROXY", "PATH"} & set(cleaned.drop)
    assert cleaned.variables["PIP_CONFIG_FILE"] == "/dev/null"
    assert cleaned.variables["UV_NO_CONFIG"] == "1"
    assert "UV_DEFAULT_INDEX" not in cleaned.variables


def test_the_users_registry_certificates_proxy_and_patience_are_handed_on(
    variables: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    bundle = tmp_path_factory.mktemp("ca") / "ca.pem"
    bundle.write_text("x")
    for name, value in {
        "PIP_INDEX_URL": "https://u:p@lab/simple",
        "PIP_CERT": str(bundle),
        "PIP_PROXY": "http://proxy:3128",
        "PIP_DEFAULT_TIMEOUT": "180",
        "PIP_TRUSTED_HOST": "a\nb",
    }.items():
        variables.setenv(name, value)
    cleaned = environment_for_installers(RealHost()).variables
    assert cleaned["UV_DEFAULT_INDEX"] == cleaned["PIP_INDEX_URL"] == "https://u:p@lab/simple"
    assert cleaned["SSL_CERT_FILE"] == str(bundle)
    assert cleaned["ALL_PROXY"] == "http://proxy:3128"
    assert cleaned["UV_HTTP_TIMEOUT"] == "180"
    assert cleaned["UV_INSECURE_HOST"] == "a b"
    assert certificates(RealHost()) == str(bundle)
    variables.setenv("SSL_CERT_FILE", "/own.pem")
    assert "SSL_CERT_FILE" not in environment_for_installers(RealHost()).variables
    assert certificates(RealHost()) == "/own.pem"


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("failed to write to file `/x`: No space left on device (os error 28)", SpaceError, "disk is full"),
        ("Disk quota exceeded (os error 122)", SpaceError, "disk is full"),
        ("Hash mismatch for `torch==2.0.1`\n\nExpected:\n  sha256:0", DownloadError, "the file of torch==2.0.1"),
        ("The interpreter at /usr is externally managed", PermissionsError, "operating system"),
        ("Read-only file system (os error 30)", PermissionsError, "read-only"),
        ("Permission denied (os error 13)", PermissionsError, "not permitted"),
        (
            "Failed to initialize cache at `/x`\n  cause: failed to create directory `/x`: Permission denied (os error 13)",
            PermissionsError,
            "uv cannot write into its cache /x",
        ),
        (
            "client error (Connect)\n  cause: invalid peer certificate: UnknownIssuer",
            DownloadError,
            "secure connection",
        ),
        ("dns error\n  cause: failed to lookup address information", DownloadError, "DNS"),
        ("tcp connect error\n  cause: Connection refused (os error 111)", DownloadError, "does not accept"),
        ("error sending request for url (x)\n  cause: operation timed out", BrokenOffError, "in time"),
        ("HTTP status client error (403 Forbidden) for url (x)", DownloadError, "refuses access (403 Forbidden)"),
        ("HTTP status server error (502 Bad Gateway) for url (x)", BrokenOffError, "error 502 Bad Gateway"),
        ("error decoding response body\n  cause: unexpected end of file", BrokenOffError, "broke off"),
        ("Failed to build `thop==1`\n  cause: x", InstallError, "thop==1 has no wheel"),
        ("something new", InstallError, "something new"),
    ],
)
def test_failures_are_recognised_and_quoted(text: str, kind: type[InstallError], words: str) -> None:
    error = install_error(f"Using Python 3.11\r\nerror: {text}", "installing the packages")
    assert type(error) is kind
    assert words in error.message
    assert text.splitlines()[0] in error.message
    assert "Using Python" not in error.message
    assert error.hint


def test_only_the_telling_lines_are_quoted() -> None:
    drawing = "\x1b[2K\x1b[1A⠋ Preparing packages... (0/13)\r\x1b[2K" * 50
    text = f"{drawing}error: \x1b[1mA\x1b[0m went wrong at https://u:secret@host/x\n" + "more\n" * 99
    assert telling_lines(text).splitlines() == ["error: A went wrong at https://host/x", *["more"] * 13]
    assert telling_lines("") == ""
    stumbled = "Installing x\nerror: Exception:\nTraceback (most recent call last):\n  File 'a'\n    foo()\nTypeError: no value\n"
    assert telling_lines(stumbled) == "error: TypeError: no value"


def test_a_refusal_without_a_known_word_is_still_quoted() -> None:
    answer = refusal("error: something new")
    assert (answer.kind, answer.text) == ("other", "error: something new")


class Heard:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.bytes: list[tuple[int, int | None]] = []

    def stage(self, text: str) -> None:
        """See ``Reporter.stage``."""
        self.stages.append(text)

    def packages(self, done: int, total: int) -> None:
        """See ``Reporter.packages``."""

    def note(self, text: str) -> None:
        """See ``Reporter.note``."""

    def progress(self, done: int, total: int | None) -> None:
        """See ``Reporter.progress``."""
        self.bytes.append((done, total))


def frame(counter: str, *rows: str) -> str:
    pad = " " * 40
    return f"\x1b[1A\r\x1b[2K⠙ Preparing packages... ({counter}){pad}" + "".join(
        f"{row.split()[0]:<12} ------------------------------ {row.split(maxsplit=1)[1]}{pad}" for row in rows
    )


def test_progress_adds_up_rows_and_counts_what_has_vanished_as_done() -> None:
    heard = Heard()
    progress = UvProgress(heard, expected=3 * 1024**2)
    text = (
        frame("0/2", "torch 0 B/2.00 MiB", "numpy 512.00 KiB/1.00 MiB")
        + frame("0/2", "torch 1.00 MiB/2.00 MiB", "numpy 1.00 MiB/1.00 MiB")
        + frame("1/2", "torch 1.50 MiB/2.00 MiB")
        + frame("1/2", "torch 1.50 MiB/2.00 MiB")
        + "\r\nPrepared 2 packages in 1s\r\nInstalled 2 packages in 3ms\r\n"
    )
    for start in range(0, len(text), 37):
        progress.feed(text[start : start + 37])
    progress.finish()
    done = [one for one, _ in heard.bytes]
    assert done == sorted(done)
    assert heard.bytes[-1] == (3 * 1024**2, 3 * 1024**2)
    assert progress.done <= 3 * 1024**2
    assert heard.stages == ["downloading packages", "installing packages"]


def test_a_turning_spinner_is_no_movement() -> None:
    progress = UvProgress(Heard())
    assert progress.feed(frame("0/2", "torch 1.00 MiB/2.00 MiB"))
    progress.feed(frame("0/2", "torch 1.00 MiB/2.00 MiB"))
    assert not any(progress.feed(frame("0/2", "torch 1.00 MiB/2.00 MiB")) for _ in range(50))
    assert progress.feed(frame("0/2", "torch 1.01 MiB/2.00 MiB"))


class Disks(RealHost):
    """A machine with disks of a given size: path → (free, total) bytes."""

    def __init__(self, disks: dict[str, tuple[int, int]], *, writable: bool = True) -> None:
        self._disks = disks
        self._writable = writable

    def disk_space(self, path: str) -> DiskSpace:
        """See ``ProbeHost.disk_space``."""
        if path not in self._disks:
            return DiskSpace(free=None, total=None, writable=False, problem="gone")
        free, total = self._disks[path]
        return DiskSpace(free=free, total=total, writable=self._writable)


GB = 10**9


def test_enough_room_passes_and_one_disk_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UV_LINK_MODE", raising=False)
    one = Disks({"/env": (6 * GB, 9 * GB), "/cache": (6 * GB, 9 * GB), "/tmp": (GB, GB)})
    check_space(one, "/env", "/cache", "/tmp", 5 * GB)
    monkeypatch.setenv("UV_LINK_MODE", "copy")
    with pytest.raises(SpaceError, match=r"10\.0 GB needed, 6\.0 GB free"):
        check_space(one, "/env", "/cache", "/tmp", 5 * GB)


@pytest.mark.parametrize(
    ("disks", "path"),
    [
        ({"/env": (4 * GB, 9 * GB), "/cache": (8 * GB, 8 * GB), "/tmp": (GB, GB)}, "/env"),
        ({"/env": (9 * GB, 9 * GB), "/cache": (4 * GB, 8 * GB), "/tmp": (GB, GB)}, "/cache"),
        ({"/env": (9 * GB, 9 * GB), "/cache": (8 * GB, 8 * GB), "/tmp": (10**6, GB)}, "/tmp"),
    ],
)
def test_the_disk_that_is_too_small_is_named(disks: dict[str, tuple[int, int]], path: str) -> None:
    with pytest.raises(
        SpaceError, match=f"not enough room at {path}: .* needed, .* free; nothing was changed"
    ) as error:
        check_space(Disks(disks), "/env", "/cache", "/tmp", 5 * GB)
    assert error.value.hint


def test_what_is_cached_needs_no_room_again() -> None:
    disks = Disks({"/env": (6 * GB, 9 * GB), "/cache": (0, 8 * GB)})
    check_space(disks, "/env", "/cache", None, 5 * GB, new_bytes=0)


def test_a_disk_that_cannot_be_asked_passes_and_one_that_may_not_be_written_does_not() -> None:
    check_space(Disks({}), "/env", "/cache", "/tmp", 5 * GB)
    with pytest.raises(PermissionsError):
        check_space(Disks({"/env": (9 * GB, 9 * GB)}, writable=False), "/env", None, None, GB)


def test_unpacked_is_more_than_downloaded() -> None:
    assert unpacked_bytes(900_000_000) > 1_800_000_000


def pin(name: str, specifier: str, index: str = "pypi") -> PackagePin:
    return PackagePin(name=name, specifier=specifier, index=index, because="test")


def plan(*packages: PackagePin) -> Plan:
    return Plan(
        status="ok",
        target=PlanTarget(
            python="3.11.7", tag="cp311", platform="linux_x86_64", driver=DriverVersion.parse("470.57.02")
        ),
        choice=Choice(
            torch="2.7.1",
            variant="cu118",
            local_label="+cu118",
            torchvision="0.22.1",
            torchaudio=None,
            index="official",
            index_url="https://example.org/whl/cu118",
            compatibility="direct",
        ),
        packages=packages,
    )


def test_the_constraints_file_says_what_it_is_and_holds_every_bound() -> None:
    text = constraints(
        plan(
            pin("ultralytics[export]", "==8.3.0"),
            pin("numpy", "<2"),
            pin("torchvision", "==0.22.1+cu118", "official"),
            pin("torch", "==2.7.1+cu118", "official"),
            pin("requests", ""),
        )
    )
    assert text == (
        "# torch 2.7.1 (cu118) and what belongs to it, as chosen by envfix.\n"
        "# Later installs in this environment keep it with:  pip install -c envfix-constraints.txt PACKAGE\n"
        "# For Python 3.11.7 (cp311) on linux_x86_64, NVIDIA driver 470.57.02 or newer.\n"
        "# torch comes from https://example.org/whl/cu118\n"
        "torch==2.7.1+cu118\n"
        "torchvision==0.22.1+cu118\n"
        "numpy<2\n"
        "ultralytics==8.3.0\n"
    )


def test_a_conflict_cannot_be_locked() -> None:
    with pytest.raises(LockError):
        constraints(Plan(status="conflict", target=PlanTarget(python="3.11", tag="cp311", platform="linux_x86_64")))

"""The unmodified uv against sources that fail, lie or stall: what it does by itself, and what the user is told."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from envfix.host.real import RealHost
from envfix.installer.downloading import IDLE_LIMIT
from envfix.installer.interface import DownloadError, Refusal, Resolution, Sources
from envfix.installer.uv import UvInstaller
from envfix.model.plan import PackagePin, PlanTarget
from envfix.model.reporter import NullReporter
from tests.conftest import interpreter
from tests.loopback_index import Index, Wheel, make_wheel, serve, serve_proxy

HERE = PlanTarget(python="3.11", tag="cp311", platform="linux_x86_64", libc="glibc", glibc="2.31")
TORCH = PackagePin(name="torch", specifier="==2.1.2+cu118", index="official", because="test")
PINS = (TORCH, PackagePin(name="numpy", specifier="", index="pypi", because="test"))
OTHER = "or choose another index with --index"
AGAIN = f"try again: packages that have arrived are kept; {OTHER}"
LATER = f"try again in some minutes: packages that have arrived are kept; {OTHER}"
LOGIN = "check user name and password of the index, or choose another one with --index"
ANEW = f"run the same command again: it looks anew for what is there; {OTHER}"
ADDRESS = "check the address of the index, or choose another one with --index"
BROWSER = f"open any page in a browser to log in to the network, then try again; {OTHER}"
UNSET = "correct or unset the proxy: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, or proxy in pip.conf"


class Heard(NullReporter):
    """Remembers the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        """See ``Reporter.note``."""
        self.notes.append(text)


def fill(index: Index) -> Index:
    index.add("cu118", make_wheel("torch", "2.1.2+cu118", requires=("numpy",), padding=3_000_000))
    index.add("main", make_wheel("numpy", "1.26.4"))
    return index


@pytest.fixture
def server() -> Iterator[Index]:
    with serve() as index:
        yield fill(index)


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    host = RealHost()
    prefixes = ("PIP_", "UV_", "SSL_", "REQUESTS_", "CURL_", "HTTP_", "http_", "HTTPS_", "https_", "ALL_", "all_")
    for name in host.environ((*prefixes, "NO_PROXY", "no_proxy")):
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/nowhere")
    return monkeypatch


def use(monkeypatch: pytest.MonkeyPatch, index: Index) -> Sources:
    """Make the index's ``main`` the default registry; its ``cu118`` is the torch index."""
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.url("simple", "main"))
    return Sources(torch_url=index.url("simple", "cu118"), torch_name="official")


def resolve(sources: Sources) -> Resolution:
    answer = UvInstaller(RealHost()).resolve(PINS, sources, HERE)
    assert isinstance(answer, Resolution), answer
    return answer


def refused(sources: Sources) -> Refusal:
    answer = UvInstaller(RealHost()).resolve(PINS, sources, HERE)
    assert isinstance(answer, Refusal), answer
    return answer


class Case:
    """An environment into which the resolved stack is installed; ``packages`` is what is in it now."""

    def __init__(self, index: Index, sources: Sources, path: Path) -> None:
        self.index, self.sources, self.path = index, sources, path
        self.host = str(index.base.partition("://")[2])
        self.resolution = resolve(sources)
        self.python = UvInstaller(RealHost(), offline=True).create_environment(interpreter("3.11"), str(path)).python
        self.before = self.packages
        index.requests.clear()

    @property
    def packages(self) -> list[str]:
        """The names in its site-packages."""
        (site,) = self.path.glob("lib/*/site-packages")
        return sorted(entry.name for entry in site.iterdir())

    def install(self, reporter: NullReporter | None = None, *, idle_limit: float = IDLE_LIMIT) -> None:
        """Install the stack; every file asked for is remembered by ``index``."""
        installer = UvInstaller(RealHost(), reporter or NullReporter(), idle_limit=idle_limit)
        installer.install(self.resolution, python=self.python, prefix=str(self.path))

    def fails(self) -> tuple[str, str | None]:
        """The first line of the message and the hint; the environment must be as it was."""
        with pytest.raises(DownloadError) as caught:
            self.install()
        assert self.packages == self.before
        first, _, quoted = caught.value.message.partition("\n")
        assert quoted.startswith("error: Failed to download `torch==2.1.2+cu118`")
        return first, caught.value.hint

    @property
    def parts(self) -> list[str | None]:
        """What was asked for of torch's file: the whole (None) or a range."""
        return [one.range for one in self.index.requests if one.method == "GET" and "/cu118/torch" in one.path]


@pytest.fixture
def case(server: Index, variables: pytest.MonkeyPatch, tmp_path: Path) -> Case:
    return Case(server, use(variables, server), tmp_path / "env")


# --- what uv mends by itself ---


def test_a_connection_that_is_cut_once_is_mended_by_beginning_again(case: Case, variables: pytest.MonkeyPatch) -> None:
    variables.setenv("UV_HTTP_RETRIES", "3")
    case.index.file_fault, case.index.faults_left = "cut", 1
    heard = Heard()
    case.install(heard)
    assert "torch" in case.packages
    # The first tries unpack while they load, and so cannot go on where they were cut.
    assert case.parts == [None, None]
    assert heard.notes == [f"the download of torch from {case.host} broke off after 1.5 MB and begins again"]


@pytest.mark.parametrize(("fault", "times"), [("503", 2), ("429", 1)])
def test_a_busy_index_is_asked_again(case: Case, variables: pytest.MonkeyPatch, fault: str, times: int) -> None:
    variables.setenv("UV_HTTP_RETRIES", "3")
    case.index.file_fault, case.index.faults_left, case.index.retry_after = fault, times, 1
    case.install()
    assert "torch" in case.packages
    assert case.parts == [None] * (times + 1)


@pytest.mark.slow
def test_a_connection_that_is_always_cut_is_resumed_only_after_four_tries(
    case: Case, variables: pytest.MonkeyPatch
) -> None:
    variables.setenv("UV_HTTP_RETRIES", "3")
    case.index.file_fault = "cut"
    message, hint = case.fails()
    assert message == (
        f"installing the packages failed: the package index {case.host} broke off in the middle of the file of "
        "torch==2.1.2+cu118"
    )
    assert hint == AGAIN
    ranges = [part for part in case.parts if part is not None]
    assert case.parts == [None] * 5 + ranges
    starts = [int(part.removeprefix("bytes=").removesuffix("-")) for part in ranges]
    assert len(starts) == 3
    assert starts == sorted(starts)
    assert starts[0] > 1_400_000


# --- what uv gives up, and what is said then ---


@pytest.mark.parametrize(
    ("fault", "message", "hint"),
    [
        ("cut", "the package index HOST broke off in the middle of the file of TORCH", AGAIN),
        ("long", "the package index HOST broke off in the middle of the file of TORCH", AGAIN),
        ("short", "the file of TORCH is damaged as the package index HOST sends it", f"try again, {OTHER}"),
        ("login", "instead of the file of TORCH the package index HOST sent a web page, as networks do that want a login", BROWSER),
        ("redirect", "the package index HOST sent something else than the file of TORCH", ADDRESS),
        ("403", "the package index HOST refuses access (403 Forbidden)", LOGIN),
        ("404", "the package index HOST has no longer the file of TORCH (404 Not Found)", ANEW),
        ("410", "the package index HOST has no longer the file of TORCH (410 Gone)", ANEW),
        ("429", "the package index HOST gets too many requests from this network (429 Too Many Requests)", LATER),
        ("500", "the package index HOST answers with error 500 Internal Server Error", LATER),
        ("503", "the package index HOST answers with error 503 Service Unavailable", LATER),
    ],
)  # fmt: skip
def test_a_file_that_does_not_come_is_told_by_host_and_cause(case: Case, fault: str, message: str, hint: str) -> None:
    case.index.file_fault = fault
    told = message.replace("HOST", case.host).replace("TORCH", "torch==2.1.2+cu118")
    assert case.fails() == (f"installing the packages failed: {told}", hint)


def test_a_file_that_was_exchanged_after_the_resolution_is_refused(case: Case) -> None:
    other = make_wheel("torch", "2.1.2+cu118", requires=("numpy",), padding=2_900_000)
    case.index.add("cu118", other)
    with pytest.raises(DownloadError) as caught:
        case.install()
    assert caught.value.message.splitlines()[0] == (
        f"installing the packages failed: the file of torch==2.1.2+cu118 from {case.host} is not the one its index promised "
        "(wrong hash)"
    )
    assert caught.value.hint == f"the download or a mirror is damaged or stale: try again, {OTHER}"
    assert case.packages == case.before


def test_a_damaged_file_of_the_right_length_is_refused(case: Case) -> None:
    ((name, wheel),) = case.index.repositories["cu118"].items()
    data = bytearray(wheel.data)
    data[len(data) // 2] ^= 1
    case.index.repositories["cu118"][name] = dataclasses.replace(wheel, data=bytes(data))
    assert case.fails() == (
        f"installing the packages failed: the file of torch==2.1.2+cu118 is damaged as the package index {case.host} sends it",
        f"try again, {OTHER}",
    )


def test_a_truncated_file_whose_hash_no_index_tells_is_refused_at_the_resolution(
    server: Index, variables: pytest.MonkeyPatch
) -> None:
    ((name, wheel),) = server.repositories["cu118"].items()
    server.repositories["cu118"][name] = Wheel(wheel.name, name, wheel.data[: len(wheel.data) // 2], wheel.metadata)
    server.no_hashes = True
    answer = refused(use(variables, server))
    host = server.base.partition("://")[2]
    assert (answer.kind, answer.hint) == ("network", f"try again, {OTHER}")
    assert answer.message in (
        "the file of torch==2.1.2+cu118 is damaged as the package index sends it",
        f"the file of torch==2.1.2+cu118 is damaged as the package index {host} sends it",
    )


@pytest.mark.slow
def test_a_stall_and_its_new_beginning_are_told(case: Case, variables: pytest.MonkeyPatch) -> None:
    variables.setenv("UV_HTTP_TIMEOUT", "13")
    variables.setenv("UV_HTTP_RETRIES", "1")
    case.index.stall_files = True
    heard = Heard()
    with pytest.raises(DownloadError) as caught:
        case.install(heard)
    assert caught.value.message.splitlines()[0] == (
        f"installing the packages failed: the package index {case.host} stopped answering in time"
    )
    assert caught.value.hint == (
        "try again: packages that have arrived are kept; UV_HTTP_TIMEOUT (seconds) allows for a slow network"
    )
    assert heard.notes[0] == (
        f"nothing has arrived for 10 s from {case.host}: still waiting (envfix gives up after 10 min at most; Ctrl-C is safe)"
    )
    assert f"the download of torch from {case.host} broke off after 750.3 kB and begins again" in heard.notes
    assert case.packages == case.before


@pytest.mark.slow
def test_a_trickle_is_waited_for_and_called_slow(case: Case) -> None:
    case.index.bytes_per_second = 1000

    class Impatient(Heard):
        def note(self, text: str) -> None:
            super().note(text)
            raise KeyboardInterrupt

    heard = Impatient()
    with pytest.raises(KeyboardInterrupt):
        case.install(heard, idle_limit=15)
    (note,) = heard.notes
    assert re.fullmatch(
        r"the download is very slow \((0\.9|1\.0) kB/s\): (4\d|5\d) min left; another index may be faster: --index",
        note,
    )
    assert case.packages == case.before


# --- pages that misbehave, when the plan is proved ---


@pytest.mark.parametrize(
    ("how", "kind", "message", "hint"),
    [
        ("403", "unsatisfiable", "the index has no package named torch, or does not let you see it",
         "check the address of the index and its login, or choose another one with --index"),
        ("404", "unsatisfiable", "the index has no package named torch, or does not let you see it",
         "check the address of the index and its login, or choose another one with --index"),
        ("401", "unsatisfiable", "the index has no package named torch, or does not let you see it",
         "check the address of the index and its login, or choose another one with --index"),
        ("500", "network", "the package index HOST answers with error 500 Internal Server Error", LATER),
        ("429", "network", "the package index HOST gets too many requests from this network (429 Too Many Requests)", LATER),
        ("redirect", "network", "the package index HOST sent something else than a list of packages", ADDRESS),
        ("login", "unsatisfiable", "the index has no torch==2.1.2+cu118",
         "check the address of the index (a login page of the network looks like this too), or choose another one with --index"),
        ("binary", "network", "the package index HOST sent something else than a list of packages", ADDRESS),
        ("badjson", "network", "the package index HOST sent something else than a list of packages", ADDRESS),
    ],
)  # fmt: skip
def test_a_page_that_is_none_is_told(
    server: Index, variables: pytest.MonkeyPatch, how: str, kind: str, message: str, hint: str
) -> None:
    use(variables, server)
    answer = refused(Sources(torch_url=f"{server.base}/broken/{how}", torch_name="official"))
    told = message.replace("HOST", server.base.partition("://")[2])
    assert (answer.kind, answer.message, answer.hint) == (kind, told, hint)


# --- certificates and proxies ---


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A throw-away certificate authority, as an intercepting company proxy has one, and a server's certificate by it."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("making certificates needs the openssl program")
    folder = tmp_path_factory.mktemp("company")
    (folder / "extensions").write_text("subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    authority = ["-subj", "/CN=Company interception", "-addext", "basicConstraints=critical,CA:TRUE", "-days", "2"]
    signing = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"]
    for words in (
        ["req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", *authority],
        ["req", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=127.0.0.1"],
        ["x509", "-req", "-in", "server.csr", *signing, "-days", "2", "-out", "server.pem", "-extfile", "extensions"],
    ):
        subprocess.run([openssl, *words], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture
def intercepted(company: Path) -> Iterator[Index]:
    with serve((f"{company}/server.pem", f"{company}/server.key")) as index:
        yield fill(index)


def test_an_unknown_certificate_is_refused(intercepted: Index, variables: pytest.MonkeyPatch) -> None:
    answer = refused(use(variables, intercepted))
    host = intercepted.base.partition("://")[2]
    assert (answer.kind, answer.message) == (
        "network",
        f"no secure connection to the package index {host} can be made: nobody this machine trusts has signed its certificate",
    )
    assert answer.hint == "behind a company proxy name its certificate file in SSL_CERT_FILE (or as cert in pip.conf)"
    assert "--system-certs" not in answer.text
    assert intercepted.requests == []


@pytest.mark.parametrize("how", ["SSL_CERT_FILE", "PIP_CERT", "pip.conf"])
def test_a_certificate_that_the_user_names_is_trusted(
    intercepted: Index, company: Path, variables: pytest.MonkeyPatch, tmp_path: Path, how: str
) -> None:
    if how == "pip.conf":
        (tmp_path / "pip.conf").write_text(f"[global]\ncert = {company}/ca.pem\n")
        variables.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    else:
        variables.setenv(how, f"{company}/ca.pem")
    case = Case(intercepted, use(variables, intercepted), tmp_path / "env")
    case.install()
    assert "torch" in case.packages
    assert case.resolution.unknown_sizes == 0


def test_an_index_that_speaks_no_https_is_told(server: Index, variables: pytest.MonkeyPatch) -> None:
    server.base = server.base.replace("http:", "https:")
    answer = refused(use(variables, server))
    host = server.base.partition("://")[2]
    assert (answer.message, answer.hint) == (
        f"no secure connection to the package index {host} can be made: what answers there does not speak https",
        "check the address of the index and the proxy",
    )


@pytest.mark.parametrize("how", ["HTTPS_PROXY", "PIP_PROXY", "pip.conf"])
def test_everything_goes_through_the_tunnel_of_the_proxy(
    intercepted: Index, company: Path, variables: pytest.MonkeyPatch, tmp_path: Path, how: str
) -> None:
    variables.setenv("SSL_CERT_FILE", f"{company}/ca.pem")
    with serve_proxy() as proxy:
        proxy.login = "user:s3cret"
        address = f"http://user:s3cret@{proxy.address}"
        if how == "pip.conf":
            (tmp_path / "pip.conf").write_text(f"[global]\nproxy = {address}\n")
            variables.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
        else:
            variables.setenv(how, address)
        case = Case(intercepted, use(variables, intercepted), tmp_path / "env")
        case.install()
        assert "torch" in case.packages
        host = intercepted.base.partition("://")[2]
        assert set(proxy.requests) == {f"CONNECT {host}"}


@pytest.mark.parametrize("how", ["HTTP_PROXY", "PIP_PROXY"])
def test_a_plain_index_is_asked_through_the_proxy_too(
    server: Index, variables: pytest.MonkeyPatch, tmp_path: Path, how: str
) -> None:
    with serve_proxy() as proxy:
        variables.setenv(how, f"http://{proxy.address}")
        case = Case(server, use(variables, server), tmp_path / "env")
        case.install()
        assert "torch" in case.packages
        assert {request.partition("://")[2].partition("/")[0] for request in proxy.requests} == {
            server.base.partition("://")[2]
        }


@pytest.mark.parametrize("secure", [True, False])
def test_a_proxy_that_wants_a_login_says_so(
    server: Index,
    variables: pytest.MonkeyPatch,
    secure: bool,  # noqa: FBT001
) -> None:
    if secure:
        server.base = server.base.replace("http:", "https:")
    with serve_proxy() as proxy:
        proxy.login = "user:s3cret"
        variables.setenv("HTTPS_PROXY" if secure else "HTTP_PROXY", f"http://user:wr0ng@{proxy.address}")
        answer = refused(use(variables, server))
    assert (answer.kind, answer.message) == (
        "network",
        f"the proxy {proxy.address} asks for a user name and a password (407)",
    )
    assert answer.hint == "write them into the proxy's address: HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT"
    assert "wr0ng" not in f"{answer.text}{answer.message}"


@pytest.mark.parametrize("secure", [True, False])
def test_a_dead_proxy_is_not_taken_for_a_dead_index(
    server: Index,
    variables: pytest.MonkeyPatch,
    secure: bool,  # noqa: FBT001
) -> None:
    if secure:
        server.base = server.base.replace("http:", "https:")
    with serve_proxy() as proxy:
        address = proxy.address
    variables.setenv("HTTPS_PROXY" if secure else "HTTP_PROXY", f"http://user:s3cret@{address}")
    answer = refused(use(variables, server))
    assert (answer.kind, answer.message, answer.hint) == (
        "network",
        f"the proxy {address} cannot be reached",
        UNSET,
    )
    assert "s3cret" not in answer.text


def test_a_dead_index_and_an_unknown_name_are_told_by_host(server: Index, variables: pytest.MonkeyPatch) -> None:
    use(variables, server)
    with serve() as gone:
        dead = gone.base
    answer = refused(Sources(torch_url=f"{dead}/simple/cu118/", torch_name="official"))
    assert answer.message == f"the package index {dead.partition('://')[2]} does not accept connections"
    assert answer.hint == f"check the network and the proxy, {OTHER}"
    answer = refused(Sources(torch_url="http://no-such-index.invalid/simple", torch_name="official"))
    assert answer.message == "the name of the package index no-such-index.invalid cannot be found (DNS)"
    assert answer.hint == "check the network, or the index set for pip or uv"


# --- packages that want to be taken for others ---


def test_neither_index_can_slip_in_what_the_plan_does_not_name(
    server: Index, variables: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server.add("cu118", *(make_wheel(name, "99") for name in ("numpy", "ultralytics", "torch")))
    server.add("cu118", make_wheel("torch", "99+cu118"))
    server.add("main", make_wheel("torch", "99"), make_wheel("torch", "2.1.2"))
    server.add("main", make_wheel("ultralytics", "8.3.0", requires=("torch>=1.8", "numpy")))
    wanted = (*PINS, PackagePin(name="ultralytics", specifier="", index="pypi", because="test"))
    sources = use(variables, server)
    answer = UvInstaller(RealHost()).resolve(wanted, sources, HERE)
    assert isinstance(answer, Resolution), answer
    assert answer.versions == {"torch": "2.1.2+cu118", "numpy": "1.26.4", "ultralytics": "8.3.0"}
    assert {one.name: one.index for one in answer.downloads} == {
        "torch": "official", "numpy": "pypi", "ultralytics": "pypi",
    }  # fmt: skip
    python = UvInstaller(RealHost(), offline=True).create_environment(interpreter("3.11"), str(tmp_path / "env")).python
    UvInstaller(RealHost()).install(answer, python=python, prefix=str(tmp_path / "env"))
    (site,) = (tmp_path / "env").glob("lib/*/site-packages")
    names = {path.name for path in site.glob("*.dist-info")}
    assert names >= {f"{name}.dist-info" for name in ("torch-2.1.2+cu118", "numpy-1.26.4", "ultralytics-8.3.0")}
    assert not [path for path in server.asked("99") if path.endswith((".whl", ".metadata"))]
    assert server.asked("/simple/cu118/") == ["/simple/cu118/torch/"]
    assert server.asked("/simple/main/torch/") == []


def test_a_torch_index_cannot_slip_in_a_package_that_only_it_has(server: Index, variables: pytest.MonkeyPatch) -> None:
    server.repositories["main"].clear()
    server.add("cu118", make_wheel("numpy", "99"))
    answer = refused(use(variables, server))
    assert (answer.kind, answer.message) == ("unsatisfiable", "the index has no package named numpy")

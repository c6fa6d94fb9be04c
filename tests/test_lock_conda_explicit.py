"""The list of exact conda files: written, read back by envfix and by rattler, and installed from."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from envfix.host.real import RealHost
from envfix.installer.conda import CondaInstaller, Solution, Source, Wish
from envfix.lockers import formats
from envfix.lockers.conda_explicit import CondaExplicitLocker
from envfix.lockers.header import bare
from envfix.lockers.interface import LockError, LockFileError
from envfix.model.facts import CondaSettings
from envfix.model.lock import Lock, LockedFile, LockedPackage, Needs
from tests.conda_channel import Channels, CondaChannel

LOCKER = CondaExplicitLocker()
SHA, MD5 = "ab" * 32, "cd" * 16
TORCH = "pytorch-1.8.0-py3.8_cuda11.1_cudnn8.0.5_0.tar.bz2"
NEEDS = Needs(
    python="3.8",
    tag="cp38",
    platform="linux_x86_64",
    libc="glibc",
    glibc="2.17",
    variant="cu111",
    driver="450.80.02",
    driver_direct="455.23",
    sm=("sm_70", "sm_80"),
)
VIRTUAL = {"__unix": ("0", "0"), "__linux": ("5.10", "0"), "__glibc": ("2.31", "0"), "__cuda": ("11.4", "0")}
HEADER = """\
# Locked by envfix from a plan: torch 1.8.0 (cu111) and what belongs to it.
# Needs Python 3.8 (cp38) on linux_x86_64 with glibc 2.17 or newer.
# Needs NVIDIA driver 450.80.02 or newer for the CUDA inside, cu111; cards newer than its code need 455.23.
# Holds code for these cards: sm_70 sm_80.
# envfix-needs: {"python":"3.8","tag":"cp38","platform":"linux_x86_64","libc":"glibc","glibc":"2.17","variant":"cu111",\
"driver":"450.80.02","driver_direct":"455.23","sm":["sm_70","sm_80"]}
"""


def conda(name: str, version: str, build: str, *, subdir: str = "linux-64", **changes: Any) -> LockedPackage:
    """A conda package of the channel ``lab``."""
    filename = f"{name}-{version}-{build}.conda"
    url = f"https://conda.example/lab/{subdir}/{filename}"
    given: dict[str, Any] = {
        "file": LockedFile(filename=filename, url=url, size=7, sha256=SHA, md5=MD5),
        "index": "lab",
        "index_url": "https://conda.example/lab",
        **changes,
    }
    return LockedPackage(name=name, version=version, origin="conda", build=build, subdir=subdir, **given)


def pip(name: str, version: str, **changes: Any) -> LockedPackage:
    """A wheel of a private index."""
    filename = f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    given: dict[str, Any] = {
        "file": LockedFile(filename=filename, url=f"https://pip.example/files/{filename}", sha256=SHA),
        "index": "team",
        "index_url": "https://pip.example/simple",
        **changes,
    }
    return LockedPackage(name=name, version=version, **given)


PYTHON = conda("python", "3.8.20", "h0_0", depends=("zlib",))
PYTORCH = conda("pytorch", "1.8.0", "py3.8_cuda11.1_cudnn8.0.5_0", depends=("python >=3.8,<3.9.0a0", "zlib"))
YOLO = conda("yolo", "8.0.0", "pyh0_0", subdir="noarch", depends=("python >=3.7", "pytorch >=1.7"))
ZLIB = conda("zlib", "1.3", "0", constrains=("zlib-ng <0",))


def made(*packages: LockedPackage, **changes: Any) -> Lock:
    """A lock of these packages."""
    return Lock(
        needs=changes.pop("needs", NEEDS),
        packages=packages,
        channels=changes.pop("channels", (("lab", "https://conda.example/lab"),)),
        specs=changes.pop("specs", ("pytorch 1.8.0 *cuda11.1*",)),
        **changes,
    )


def without(packages: Sequence[LockedPackage], *fields: str) -> tuple[LockedPackage, ...]:
    """The packages without what a format cannot say; ``size`` and ``md5`` are those of the file."""
    found = []
    for package in packages:
        blank = {"requires": (), "depends": (), "constrains": ()}
        of_file = {field: None for field in fields if field in ("size", "md5", "url")}
        file = msgspec.structs.replace(package.file, **of_file) if package.file else None
        changes = {field: blank[field] for field in fields if field in blank}
        found.append(msgspec.structs.replace(package, file=file, **changes))
    return tuple(found)


def refiled(package: LockedPackage, **changes: Any) -> LockedPackage:
    """The package with something else known of its file."""
    assert package.file is not None
    return msgspec.structs.replace(package, file=msgspec.structs.replace(package.file, **changes))


@pytest.fixture
def stack(channels: Channels, yolo: CondaChannel, tmp_path: Path) -> Stack:
    """What rattler solves for a machine with CUDA 11.4, as a lock."""
    return Stack(channels.add("lab", yolo), tmp_path)


class Stack:
    """A real solution from a channel on 127.0.0.1: its lock, and the prefix that it makes."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder
        self.installer = CondaInstaller(RealHost(), settings=CondaSettings(), cache_dir=str(folder / "cache"))
        wish = Wish(
            specs=("pytorch 1.8.0 *cuda11.1*", "python 3.8.*", "ultralytics"),
            sources=(Source(name="lab", url=url),),
            subdir="linux-64",
            virtual=VIRTUAL,
        )
        solution = self.installer.solve(wish)
        assert isinstance(solution, Solution), solution
        self.solution = solution

    @property
    def lock(self) -> Lock:
        """The solution as a lock."""
        packages = tuple(
            LockedPackage(
                name=one.name,
                version=one.version,
                origin="conda",
                build=one.build,
                subdir=one.subdir,
                file=LockedFile(filename=one.filename, url=one.url, size=one.size, sha256=one.sha256, md5=one.md5),
                index=one.channel,
                index_url=one.address,
                depends=one.depends,
                constrains=one.constrains,
            )
            for one in self.solution.packages
        )
        return Lock(needs=NEEDS, packages=packages, specs=self.solution.specs, channels=(("lab", self.url),))

    def files(self) -> dict[str, bytes]:
        """What the solution itself installs."""
        prefix = self.folder / "expected"
        self.installer.install(self.solution, str(prefix))
        return tree(prefix)

    def installed(self, records: Sequence[Any], name: str = "from-lock") -> dict[str, bytes]:
        """What rattler installs from these records, with a cache of its own."""
        from rattler import install
        from rattler.platform import Subdir

        prefix, cache = self.folder / name, self.folder / f"{name}-cache"

        async def run() -> None:
            await install(list(records), prefix, cache_dir=cache, platform=Subdir("linux-64"), show_progress=False)

        asyncio.run(run())
        return tree(prefix)


def tree(prefix: Path) -> dict[str, bytes]:
    """The files of a prefix that come from packages, and the names of their records."""
    found = {}
    for path in prefix.rglob("*"):
        inside = str(path.relative_to(prefix))
        if path.is_dir() or inside == "conda-meta/history":
            continue
        # A script names the prefix that it is in.
        data = path.read_bytes().replace(str(prefix).encode(), b"PREFIX")
        found[inside] = b"" if inside.startswith("conda-meta/") else data
    return found


def records_of(text: str) -> list[Any]:
    """What rattler's own reader makes of an explicit list, as records that can be installed."""
    from rattler import PackageRecord, RepoDataRecord
    from rattler.explicit_environment import ExplicitEnvironmentSpec
    from rattler.package import BuildString

    spec = ExplicitEnvironmentSpec.from_str(text)
    assert str(spec.platform) == "linux-64"
    found = []
    for entry in spec.packages:
        address, _, digest = entry.url.partition("#")
        channel, subdir, filename = address.rsplit("/", 2)
        name, version, build = filename.removesuffix(".tar.bz2").rsplit("-", 2)
        sha256 = digest.removeprefix("sha256:") if digest.startswith("sha256:") else None
        record = PackageRecord(
            name=name,
            version=version,
            build=BuildString(build),
            build_number=0,
            subdir=subdir,
            noarch="python" if build.startswith("py") and subdir == "noarch" else None,
            sha256=bytes.fromhex(sha256) if sha256 else None,
            md5=bytes.fromhex(digest) if digest and not sha256 else None,
        )
        found.append(RepoDataRecord(record, filename, address, channel))
    return found


def read_error(locker: Any, text: str) -> LockFileError:
    """Why a file cannot be read."""
    with pytest.raises(LockFileError) as refused:
        locker.read(text)
    return refused.value


# --- all formats of conda ---

ALL = ("conda-explicit", "conda-lock", "pixi", "environment.yml")
EVIL = "\nchannels:\n  - https://evil.example/conda\n#"


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    "hostile", [EVIL, "\u2028- evil", "\x85- evil", "\x1b]0;evil\x07", " ", '"', "\u202e", "$HOME"]
)
@pytest.mark.parametrize("field", ["name", "version", "build", "subdir", "index", "index_url", "url", "filename"])
def test_nothing_of_a_conda_package_becomes_a_line_or_a_command(name: str, hostile: str, field: str) -> None:
    package = refiled(ZLIB, **{field: hostile}) if field in ("url", "filename") else ZLIB
    if package is ZLIB:
        package = msgspec.structs.replace(ZLIB, **{field: f"1{hostile}"})
    with pytest.raises(LockError) as refused:
        formats.locker(name).lock(made(package))
    assert refused.value.message.endswith(" has a character that no lock can hold")
    assert refused.value.message.isprintable()


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("lock", "message"),
    [
        (
            made(msgspec.structs.replace(ZLIB, depends=("a\n  evil: x",))),
            "'zlib' cannot be written: 'a?  evil: x' has a character that no lock can hold",
        ),
        (
            made(refiled(ZLIB, filename="../../evil")),
            "'zlib' cannot be written: '../../evil' is not the name of a file",
        ),
        (
            made(ZLIB, channels=(("lab", f"https://me:hunter2@h/{EVIL}"),)),
            (
                "this lock cannot be written: 'https://h/?channels:?  - https://evil.example/conda?' has a character that"
                " no lock can hold"
            ),
        ),
        (
            made(ZLIB, needs=msgspec.structs.replace(NEEDS, platform="linux_x86_64\n- evil")),
            "this lock cannot be written: 'linux_x86_64?- evil' has a character that no lock can hold",
        ),
    ],
)
def test_what_else_would_become_a_line_is_refused(name: str, lock: Lock, message: str) -> None:
    with pytest.raises(LockError) as refused:
        formats.locker(name).lock(lock)
    assert refused.value.message == message


@pytest.mark.parametrize("name", ALL[1:])
def test_what_is_only_named_in_a_comment_stays_one_and_the_rest_is_locked(name: str) -> None:
    import yaml

    hostile: dict[str, Any] = {
        "note": f"it is in /home{EVIL}",
        "direct_url": f"file:///home/me:x@h/{EVIL}",
        "index": f"i{EVIL}",
    }
    odd = LockedPackage(name="torch", version=f"1.0\u2028{EVIL}\x1b[31m", origin="editable", **hostile)
    locker = formats.locker(name)
    text = locker.lock(made(PYTHON, odd, source=f"a plan{EVIL}", asked=("x\x7f\u2028y",)))
    harmless = msgspec.structs.replace(odd, version="1.0", note="it is there", direct_url=None, index="pypi")
    expected = yaml.safe_load(locker.lock(made(PYTHON, harmless)))
    document = yaml.safe_load(text)
    assert {**document, "name": ""} == {**expected, "name": ""}
    assert "evil" not in repr({**document, "name": ""})
    assert all(line.isprintable() for line in text.splitlines())
    shown = (
        "1.0 channels: - https://evil.example/conda #\\x1b[31m: it is in /home channels: - https://evil.example/conda #"
    )
    assert f"# Not in this lock: torch {shown}\n" in text
    back = locker.read(text)
    assert back.asked == ("x\x7f\u2028y",)
    assert locker.lock(back) == text


@pytest.mark.parametrize("name", ALL[1:])
def test_a_wheel_that_could_be_a_command_is_refused(name: str) -> None:
    for address, why in (
        ("git+ssh://-oProxyCommand=evil/x@abc", "would be read as an option by the program that fetches it"),
        ("https://h/${HOME}/a-1-py3-none-any.whl", "has a character that no lock can hold"),
    ):
        wheel = LockedPackage(name="a", version="1", origin="direct", direct_url=address)
        with pytest.raises(LockError) as refused:
            formats.locker(name).lock(made(PYTHON, wheel))
        assert refused.value.message == f"'a' cannot be written: {address!r} {why}"


@pytest.mark.parametrize("name", ALL)
def test_packages_of_a_channel_on_this_disk_are_locked_and_that_is_said(name: str) -> None:
    url = "file:///home/o'brien/channel"
    packages = [
        msgspec.structs.replace(refiled(one, url=f"{url}/linux-64/{one.file.filename}"), index_url=url)
        for one in (PYTHON, ZLIB)
        if one.file is not None
    ]
    text = formats.locker(name).lock(made(*packages, channels=(("channel", url),)))
    note = f"# python, zlib: from the folder {url} of this machine's disk, and nowhere else without that folder\n"
    assert text.count(note) == 1
    assert {one.name for one in formats.locker(name).read(text).packages} == {"python", "zlib"}
    assert "of this machine's disk" not in formats.locker(name).lock(made(PYTHON, ZLIB))


@pytest.mark.parametrize(
    ("address", "plain"),
    [
        ("http://127.0.0.1:8974/t/tk-hunter2-abc", "http://127.0.0.1:8974"),
        ("http://127.0.0.1:8974/t/tk-hunter2-abc/", "http://127.0.0.1:8974/"),
        ("https://me:hunter2@h/t/tk-hunter2-abc/lab/linux-64/a-1-0.conda", "https://h/lab/linux-64/a-1-0.conda"),
        ("https://me:hun/ter#2?x@h/lab", "https://h/lab"),
        ("https://h/a.whl?jwt=hunter2", "https://h/a.whl"),
        ("https://h/a.whl?x=1&AWSAccessKeyId=hunter2#sha256=ab", "https://h/a.whl#sha256=ab"),
        ("https://h/a.zip#token=hunter2&egg=a&subdirectory=b&md5=cd", "https://h/a.zip#egg=a&subdirectory=b&md5=cd"),
        ("a @ https://h/a.whl?pat=hunter2 ; python_version < '3.9'", "a @ https://h/a.whl ; python_version < '3.9'"),
        ("git+ssh://git:hunter2@h/x.git@abc", "git+ssh://git@h/x.git@abc"),
        ("git+https://h/x.git@abc", "git+https://h/x.git@abc"),
        ("https://h:8080/@scope/a.whl", "https://h:8080/@scope/a.whl"),
        ("https://h/packages/t/torch_x/torch-x-1.0.tar.gz", "https://h/packages/t/torch_x/torch-x-1.0.tar.gz"),
        ("file:///home/t/me/linux-64/a-1-0.conda", "file:///home/t/me/linux-64/a-1-0.conda"),
        ("pytorch 1.8.0 *cuda11.1*", "pytorch 1.8.0 *cuda11.1*"),
    ],
)
def test_an_address_is_written_without_what_may_be_a_secret(address: str, plain: str) -> None:
    assert bare(address) == plain
    assert bare(plain) == plain


# --- the explicit list ---


def test_the_list_says_what_it_needs_and_names_every_file_after_what_it_depends_on() -> None:
    assert LOCKER.lock(made(PYTHON, PYTORCH, YOLO, ZLIB)) == HEADER + (
        '# envfix-also: {"count":4,"source":"a plan","specs":["pytorch 1.8.0 *cuda11.1*"],"channels":[["lab","https://conda.example/lab"]]}\n'
        "# platform: linux-64\n"
        "@EXPLICIT\n"
        f"# sha256:{SHA} zlib-1.3-0.conda\n"
        f"https://conda.example/lab/linux-64/zlib-1.3-0.conda#{MD5}\n"
        f"# sha256:{SHA} python-3.8.20-h0_0.conda\n"
        f"https://conda.example/lab/linux-64/python-3.8.20-h0_0.conda#{MD5}\n"
        f"# sha256:{SHA} pytorch-1.8.0-py3.8_cuda11.1_cudnn8.0.5_0.conda\n"
        f"https://conda.example/lab/linux-64/pytorch-1.8.0-py3.8_cuda11.1_cudnn8.0.5_0.conda#{MD5}\n"
        f"# sha256:{SHA} yolo-8.0.0-pyh0_0.conda\n"
        f"https://conda.example/lab/noarch/yolo-8.0.0-pyh0_0.conda#{MD5}\n"
        "# envfix-end\n"
    )


def test_a_package_that_needs_itself_through_another_is_written_once() -> None:
    first, second = conda("first", "1", "0", depends=("second",)), conda("second", "1", "0", depends=("first 1",))
    named = [row.rpartition("/")[2] for row in LOCKER.lock(made(first, second)).splitlines() if row.startswith("http")]
    assert named == [f"second-1-0.conda#{MD5}", f"first-1-0.conda#{MD5}"]


def test_without_md5_the_newer_form_is_written_and_without_any_checksum_it_is_said() -> None:
    newer = refiled(ZLIB, md5=None)
    bare = refiled(PYTHON, md5=None, sha256=None)
    text = LOCKER.lock(made(bare, newer))
    assert text.splitlines()[-4:-1] == [
        f"https://conda.example/lab/linux-64/zlib-1.3-0.conda#sha256:{SHA}",
        "# no checksum is known for python-3.8.20-h0_0.conda: whatever lies at its address is taken",
        "https://conda.example/lab/linux-64/python-3.8.20-h0_0.conda",
    ]
    assert LOCKER.read(text).packages == without((bare, newer), "size", "depends", "constrains")


def test_what_is_written_is_read_back_and_written_the_same() -> None:
    lock = made(PYTHON, PYTORCH, YOLO, ZLIB, source="an environment")
    text = LOCKER.lock(lock)
    back = LOCKER.read(text)
    assert back.packages == without(lock.packages, "size", "depends", "constrains")
    assert (back.needs, back.specs, back.channels, back.source) == (NEEDS, lock.specs, lock.channels, "an environment")
    assert LOCKER.lock(lock) == text
    assert LOCKER.lock(LOCKER.read(LOCKER.lock(back))) == LOCKER.lock(back)


def test_rattler_installs_the_same_environment_from_the_list(stack: Stack) -> None:
    text = LOCKER.lock(stack.lock)
    files = stack.installed(records_of(text))
    assert files == stack.files()
    assert files["lib/python3.8/site-packages/torch/__init__.py"] == (
        b"__version__ = '1.8.0'  # py3.8_cuda11.1_cudnn8.0.5_0\n"
    )
    assert LOCKER.read(text).packages == without(stack.lock.packages, "size", "depends", "constrains")


@pytest.mark.parametrize("known", ["md5", "sha256"])
def test_a_package_that_has_changed_since_is_refused(stack: Stack, yolo: CondaChannel, known: str) -> None:
    other = "sha256" if known == "md5" else "md5"
    packages = tuple(refiled(one, **{other: None}) for one in stack.lock.packages)
    text = LOCKER.lock(msgspec.structs.replace(stack.lock, packages=packages))
    yolo.add("pytorch", "1.8.0", "py3.8_cuda11.1_cudnn8.0.5_0", files={"lib/evil.py": "import this\n"})
    with pytest.raises(Exception, match=r"hash mismatch when extracting"):
        stack.installed(records_of(text))
    assert not list((stack.folder / "from-lock").rglob("evil.py"))


@pytest.mark.parametrize(
    ("lock", "message", "hint"),
    [
        (
            made(pip("numpy", "1.19.5")),
            "conda-explicit holds conda packages, and there is none in this lock",
            "requirements and pylock hold wheels: envfix lock --format requirements",
        ),
        (
            made(PYTHON, *(pip(f"p{number}", "1") for number in range(7))),
            "conda-explicit holds conda packages only, and would leave out p0, p1, p2, p3, p4 and 2 more",
            "environment.yml, conda-lock and pixi hold both: envfix lock --format environment.yml",
        ),
        (
            made(PYTHON, LockedPackage(name="mine", version="0.1", origin="editable", note="it is a folder")),
            "conda-explicit holds conda packages only, and would leave out mine",
            "environment.yml, conda-lock and pixi hold both: envfix lock --format environment.yml",
        ),
        (
            made(msgspec.structs.replace(PYTHON, file=None)),
            "conda-explicit needs the address of every conda package, and none is known for python",
            "environment.yml does without: envfix lock --format environment.yml",
        ),
        (
            made(YOLO, needs=Needs(python="3.8", tag="cp38", platform="plan9_vax")),
            "conda has no name for the platform plan9_vax",
            None,
        ),
    ],
)
def test_what_the_list_cannot_hold_is_told(lock: Lock, message: str, hint: str | None) -> None:
    with pytest.raises(LockError) as refused:
        LOCKER.lock(lock)
    assert (refused.value.message, refused.value.hint) == (message, hint)


def test_the_list_of_conda_itself_is_read_without_passwords() -> None:
    lock = LOCKER.read(
        "# This file may be used to create an environment using:\n"
        "# $ conda create --name <env> --file <this file>\n"
        "# platform: linux-64\n"
        "@EXPLICIT\n"
        f"https://me:secret@conda.example/t/tk-1-abc/pytorch/linux-64/pytorch-2.1.2-py3.10_cuda12.1_cudnn8.9.2_0.tar.bz2#{MD5}\n"
        f"https://conda.example/t/tk-1-abc/main/linux-64/python-3.10.13-h955ad1f_0.conda#{SHA}\n"
        "https://conda.example/main/noarch/tzdata-2024a-h04d1e81_0.conda\n"
    )
    assert [(one.name, one.version, one.build, one.subdir) for one in lock.packages] == [
        ("python", "3.10.13", "h955ad1f_0", "linux-64"),
        ("pytorch", "2.1.2", "py3.10_cuda12.1_cudnn8.9.2_0", "linux-64"),
        ("tzdata", "2024a", "h04d1e81_0", "noarch"),
    ]
    python, torch, zone = lock.packages
    assert torch.file is not None
    assert torch.file.url == "https://conda.example/pytorch/linux-64/pytorch-2.1.2-py3.10_cuda12.1_cudnn8.9.2_0.tar.bz2"
    assert (torch.index, torch.index_url) == ("pytorch", "https://conda.example/pytorch")
    assert torch.file.md5 == MD5
    assert python.file is not None
    assert (python.file.md5, python.file.sha256) == (None, SHA)
    assert zone.file is not None
    assert (zone.file.md5, zone.file.sha256) == (None, None)
    assert lock.needs == Needs(python="3.10", tag="cp310", platform="linux_x86_64", variant="cu121")
    assert lock.channels == (("pytorch", "https://conda.example/pytorch"), ("main", "https://conda.example/main"))
    assert lock.source == "a conda-explicit list"
    assert "secret" not in repr(lock)
    assert "tk-1" not in repr(lock)


def test_the_wheels_that_conda_lock_writes_as_comments_are_read() -> None:
    lock = LOCKER.read(
        "# platform: osx-arm64\n@EXPLICIT\n"
        f"https://conda.example/lab/osx-arm64/python-3.9.1-0.conda#{MD5}\n"
        f"# pip Foo.Bar @ https://pip.example/foo_bar-1.0%2Bcpu-py3-none-any.whl#sha256={SHA}\n"
        "# pip old @ https://pip.example/old-2.0.tar.gz\n"
    )
    assert [(one.name, one.version, one.origin) for one in lock.packages] == [
        ("foo-bar", "1.0+cpu", "wheel"),
        ("old", "2.0", "sdist"),
        ("python", "3.9.1", "conda"),
    ]
    assert lock.needs == Needs(python="3.9", tag="cp39", platform="macosx_arm64")


GOOD = f"# platform: linux-64\n@EXPLICIT\nhttps://conda.example/lab/linux-64/zlib-1.3-0.conda#{MD5}\n"


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("", "line 1: no line says @EXPLICIT, so this is no list of exact files", 1),
        ("numpy\n", "line 1: no line says @EXPLICIT, so this is no list of exact files", 1),
        (
            "numpy=1.2\n@EXPLICIT\n",
            "line 1: a package is named before any line says @EXPLICIT, so this is no list of exact files",
            1,
        ),
        ("# x\n@EXPLICIT\n", "line 2: there is no package after @EXPLICIT", 2),
        (
            GOOD[:-36],
            (
                "line 3: 'zlib-1.3-0.con' is no conda package: these are called name-version-build.conda or .tar.bz2;"
                " is the file cut off?"
            ),
            3,
        ),
        (
            GOOD[:-5],
            (
                "line 3: the checksum of zlib-1.3-0.conda is neither MD5 (32 digits) nor SHA-256 (64 digits);"
                " is the file cut off?"
            ),
            3,
        ),
        (GOOD.replace("platform: linux-64", "platform: plan-9"), "line 1: 'plan-9' is no platform of conda", 1),
        (
            GOOD.replace("platform: linux-64", "platform: win-64"),
            "line 3: zlib-1.3-0.conda is for linux-64, and this lock is for win-64",
            3,
        ),
        (
            f"@EXPLICIT\nhttps://u:secret@conda.example/numpy-1.2#{MD5}\n",
            (
                "line 2: 'numpy-1.2' is no conda package: these are called name-version-build.conda or .tar.bz2;"
                " is the file cut off?"
            ),
            2,
        ),
        (
            "@EXPLICIT\n# pip foo @ https://pip.example/foo.whl\n",
            "line 2: 'foo.whl' is no wheel and no source archive; is the file cut off?",
            2,
        ),
    ],
)
def test_a_damaged_list_is_told_with_its_line(text: str, message: str, line: int) -> None:
    error = read_error(LOCKER, text)
    assert (error.message, error.line) == (message, line)


def test_a_list_that_lost_a_line_is_noticed() -> None:
    lines = LOCKER.lock(made(PYTHON, PYTORCH, YOLO, ZLIB)).splitlines(keepends=True)
    assert read_error(LOCKER, "".join(lines[:-1])).message == (
        "line 16: its last line, '# envfix-end', is missing: it is cut off"
    )
    assert read_error(LOCKER, "".join(lines[:-2] + lines[-1:])).message == (
        "line 16: it holds 3 packages and was written with 4: it was changed by hand"
    )


def every_cut(locker: Any, lock: Lock) -> list[str]:
    """What is said of a file that ends too early, for every place where it can."""
    text = locker.lock(lock)
    return [read_error(locker, text[:end]).message for end in range(len(text) - 1)]


def test_wherever_the_list_is_cut_off_it_is_refused_with_the_line() -> None:
    assert all(message.startswith("line ") for message in every_cut(LOCKER, made(PYTHON, YOLO, ZLIB)))


def test_needs_that_were_changed_by_hand_are_told() -> None:
    text = LOCKER.lock(made(ZLIB))
    assert read_error(LOCKER, text.replace('"platform":"linux_x86_64"', '"platform":"win_amd64"')).message == (
        "line 5: it says that it needs win_amd64, and its packages are for linux-64"
    )
    assert read_error(LOCKER, text.replace('{"count":1', '{"count":"1"')).message == (
        "line 6: what envfix noted beside the packages is not readable: Expected `int`, got `str` - at `$.count`"
    )


def test_it_is_recognised_by_its_mark_or_its_name() -> None:
    assert LOCKER.is_this(GOOD, "spec-file.txt")
    assert LOCKER.is_this("", "/home/me/conda-explicit.txt")
    assert not LOCKER.is_this("numpy==1.0\n", "requirements.txt")

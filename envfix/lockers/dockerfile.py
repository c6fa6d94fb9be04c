"""A Dockerfile that builds the locked environment by itself, on a plain Python image.

The packages stand in it as a requirements file with hashes, so one file is enough.
"""

from __future__ import annotations

import re

from envfix.lockers.interface import ANEW, LockError, LockFileError
from envfix.lockers.pip_family import THIS_FILE, head, is_elsewhere, python_of, writable
from envfix.lockers.requirements import RequirementsLocker, read_lines, requirement, steps
from envfix.model.language import say
from envfix.model.lock import Lock, Needs

_LIST = "/opt/requirements-lock.txt"
_BEGIN = re.compile(rf"^COPY <<-?'?(\w+)'? {re.escape(_LIST)}\s*$", re.MULTILINE)
_SECRETS = "--secret id=pip.conf,src=$HOME/.config/pip/pip.conf --secret id=netrc,src=$HOME/.netrc"
_PLATFORMS = {"linux_x86_64": "linux/amd64", "linux_aarch64": "linux/arm64"}
# opencv-python draws windows; its headless sibling needs neither.
_WITH_WINDOWS = ("opencv-python", "opencv-contrib-python")
_WINDOW_LIBRARIES = ("libgl1", "libglib2.0-0")


class DockerfileLocker:
    """Writes and reads a Dockerfile with the list of packages inside (implements ``Locker``)."""

    name = "dockerfile"
    filename = "Dockerfile"

    def lock(self, lock: Lock) -> str:
        """See ``Locker.lock``."""
        lock = writable(lock, self.name)
        base = _base(lock.needs)
        return "\n".join(
            [
                "# syntax=docker/dockerfile:1",
                *head(lock),
                *_how_to(gpu=lock.needs.variant != "cpu"),
                base,
                "",
                *_libraries(lock),
                f"COPY <<'EOF' {_LIST}",
                *RequirementsLocker().lock(lock).splitlines(),
                "EOF",
                "",
                *_install(lock),
                "",
                "RUN useradd --create-home --uid 1000 user",
                "USER 1000",
                "WORKDIR /home/user",
                "",
                *_smoke(lock),
                'CMD ["python"]',
                "",
            ]
        )

    def is_this(self, text: str, filename: str) -> bool:
        """See ``Locker.is_this``."""
        return (
            bool(re.fullmatch(r"(.*\.)?(Dockerfile|Containerfile)(\..*)?", filename)) or _BEGIN.search(text) is not None
        )

    def read(self, text: str) -> Lock:
        """See ``Locker.read``."""
        begin = _BEGIN.search(text)
        if begin is None:
            raise LockFileError(
                say("this Dockerfile holds no locked list of packages: envfix reads those that it wrote itself"),
                line=1,
                hint=say("write one: envfix lock --format dockerfile"),
            )
        first = text[: begin.start()].count("\n") + 1
        end = re.search(rf"^{begin[1]}\s*$", text[begin.end() :], re.MULTILINE)
        if end is None:
            raise LockFileError(
                say("the list of packages that begins here has no end ({begin}): the file was cut off", begin=begin[1]),
                line=first,
                hint=ANEW,
            )
        body = text[begin.end() :][: end.start()].removeprefix("\r").removeprefix("\n")
        lock = read_lines(body, first)
        _must_have_this_python(text, lock.needs)
        return lock


# Writing.


def _base(needs: Needs) -> str:
    python = python_of(needs)
    if needs.platform not in _PLATFORMS or needs.libc == "musl":
        libc = " with musl" if needs.libc == "musl" else ""
        raise LockError(
            say(
                "this lock is for {platform}{libc}, and the image has Linux with glibc",
                platform=needs.platform or say("a platform that nobody says"),
                libc=libc,
            ),
            hint=say("lock for linux_x86_64 or linux_aarch64"),
        )
    if not python:
        raise LockError(say("which Python this lock is for is not known, and an image must have one"))
    return f"FROM --platform={_PLATFORMS[needs.platform]} python:{python}-slim"


def _how_to(*, gpu: bool) -> list[str]:
    lines = ["#", f"# Build it with:  docker build -t locked -f {THIS_FILE} ."]
    if gpu:
        check = "import torch; print(torch.cuda.get_device_name())"
        lines.append(f"# Run it with:    docker run --rm --gpus all locked python -c '{check}'")
        lines += [
            "# There is no CUDA in the base image: the wheels below bring the CUDA libraries that torch was built with, and a",
            "# second copy would only be larger. The driver comes from the machine: its NVIDIA Container Toolkit hands it in.",
        ]
    else:
        lines.append("# Run it with:    docker run --rm locked")
    return [
        *lines,
        "# If you have a package index of your own, or a login, give pip its settings; they stay out of the image:",
        f"#   docker build -t locked -f {THIS_FILE} {_SECRETS} .",
    ]


def _libraries(lock: Lock) -> list[str]:
    """What the image lacks: libraries that opencv-python loads, and the programs that fetch repositories."""
    wanted: list[str] = []
    why: list[str] = []
    if any(lock.package(name) for name in _WITH_WINDOWS):
        wanted += _WINDOW_LIBRARIES
        why.append("# Libraries of the system that opencv-python loads; opencv-python-headless would do without.")
    addresses = [one.direct_url or "" for one in lock.packages if one.origin == "direct" and not is_elsewhere(one)]
    if any(address.startswith("git+") for address in addresses):
        wanted.append("git")
        why.append("# Some packages come from a git repository, and the image has no git.")
    if any(address.startswith("git+ssh://") for address in addresses):
        wanted.append("openssh-client")
        why.append(
            "# Some of them by ssh: how your key gets in, and whom it trusts, is yours to say (docker build --ssh)."
        )
    if not wanted:
        return []
    return [
        *why,
        "RUN apt-get update \\",
        f" && apt-get install --yes --no-install-recommends {' '.join(wanted)} \\",
        " && rm -rf /var/lib/apt/lists/*",
        "",
    ]


def _install(lock: Lock) -> list[str]:
    _, later, hashes = steps(lock.packages)
    strict = " --require-hashes" if hashes else ""
    lines = [
        "RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=netrc,target=/root/.netrc \\",
        f"    python -m pip install --no-cache-dir --no-deps{strict} -r {_LIST}",
    ]
    if later:
        wanted = " ".join(f"'{requirement(package)}'" for package in later)
        lines += ["# No hash is known for these: nothing checks that they are the same.", lines[0]]
        lines.append(f"    python -m pip install --no-cache-dir --no-deps {wanted}")
    lines += [f"# Not here: {one.name} {one.version}" for one in lock.packages if is_elsewhere(one)]
    return lines


def _smoke(lock: Lock) -> list[str]:
    torch = lock.package("torch")
    if torch is None or is_elsewhere(torch):
        return ["# A first check: the packages fit together.", "RUN python -m pip check"]
    # An unlabelled wheel tells its CUDA nevertheless, as 2.7.1+cu126.
    fits = f"(torch.__version__ + '+').startswith('{torch.version}+')"
    return [
        "# A first check, without a card: torch starts, and is the one that was locked.",
        f'RUN python -c "import torch; print(torch.__version__, torch.version.cuda); assert {fits}, torch.__version__"',
    ]


# Reading.


def _must_have_this_python(text: str, needs: Needs) -> None:
    for number, line in enumerate(text.splitlines(), 1):
        found = re.match(r"FROM\s+(?:--\S+\s+)*\S*?python:(\d+\.\d+)", line)
        if found and python_of(needs) and found[1] != python_of(needs):
            raise LockFileError(
                say(
                    "this image has Python {found}, and the lock is for {python_of}",
                    found=found[1],
                    python_of=python_of(needs),
                ),
                line=number,
                hint=ANEW,
            )

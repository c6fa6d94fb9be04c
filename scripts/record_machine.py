"""Records the machines that tests/test_machines.py replays: ``python scripts/record_machine.py [SLUG...]``.

``debian12-container-cpu`` is really recorded, by ``envfix snapshot`` in an environment without the recorder's own
settings. The others are pretended by tests/fakes (a fake driver, made-up packages, a real interpreter), recorded the
same way, and then moved to where such files lie on a real machine (``_moved``, ``_edited``). Needs a C compiler; machines
with an old interpreter need that CPython under pyenv. Afterwards write the expected answers and read their difference:

    python -m pytest tests/test_machines.py --update-golden; git diff tests/machines
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess  # noqa: TID251 - a script, not the program
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

from envfix import snapshots  # noqa: E402
from envfix.app.detecting import detect  # noqa: E402
from envfix.host.real import RealHost  # noqa: E402
from envfix.host.recording import RecordingHost  # noqa: E402
from envfix.host.replay import ReplayHost  # noqa: E402
from envfix.model.documents import Redactor, to_json  # noqa: E402
from envfix.probes import native_libraries  # noqa: E402
from tests.fakes.machines import MACHINES, FakeDrivers  # noqa: E402
from tests.fakes.running import ENVFIX  # noqa: E402
from tests.fakes.targets import (  # noqa: E402
    SM_OF_CU111,
    SM_OF_CU128,
    make_venv,
    write_script,
    write_torch,
    write_torchvision,
)

GB = 10**9
# The lines of a CUDA header that say which release it is and which compilers it takes.
_TELLING = re.compile(r"^#(?:if|elif|error|define CUDA_VERSION)\b.*(?:\\\\\n.*)*\n", re.MULTILINE)
MACHINES_FOLDER = CHECKOUT / "tests" / "machines"
PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"  # noqa: TID251
UBUNTU = 'PRETTY_NAME="Ubuntu 20.04.6 LTS"\nNAME="Ubuntu"\nVERSION_ID="20.04"\n'
SYSTEM = {
    "release": "5.4.0-169-generic",
    "libc": "glibc",
    "libc_version": "2.31",
    "own_prefix": "/opt/envfix",
    "own_python": "/opt/envfix/bin/python",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pretended:
    """A machine that is made up: what it pretends, the Python that is meant, and what is put there before it is asked."""

    machine: str
    target: str | None
    python: str = "3.8"
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    variables: Mapping[str, str] = dataclasses.field(default_factory=dict)
    build: Callable[[Path, str, str], None]
    kernel: str | None = None
    devices: tuple[str, ...] = ()
    conda: bool = False
    docker: bool = False


def conda_environment(
    torch: str | None, cuda: str | None, sm: str | None = None, vision: str | None = None, pin: str | None = None
) -> Callable[[Path, str, str], None]:
    """Builds ~/.conda/envs/yolov8_env with these versions."""

    def build(home: Path, python: str, version: str) -> None:
        site = make_venv(home / ".conda" / "envs" / "yolov8_env", python, version)
        (home / ".conda" / "environments.txt").write_text(f"{home}/.conda/envs/yolov8_env\n")
        if torch:
            write_torch(site, torch, cuda, sm)
        if vision:
            write_torchvision(site, vision, cuda, torch_pin=pin)

    return build


def two_pythons(home: Path, python: str, version: str) -> None:
    """The environment has torch, but the shell's python is another one."""
    conda_environment("2.0.1", "11.7", "sm_37 sm_50 sm_86")(home, python, version)
    make_venv(home / "plain", python, version)
    (home.parent / "machine" / "bin" / "python").symlink_to(home / "plain" / "bin" / "python")


def pyenv_shim(home: Path, python: str, version: str) -> None:
    """A pyenv shim that answers 127, as for a version that no project has chosen."""
    del python, version
    write_script(home / ".pyenv" / "shims" / "python", "echo 'pyenv: python: command not found' >&2; exit 127")


def python_2(home: Path, python: str, version: str) -> None:
    """Python 2.7, as `python` still means on some servers."""
    del version
    (home / "bin").mkdir()
    (home / "bin" / "python").symlink_to(python)


ENVIRONMENT = "~/.conda/envs/yolov8_env"
NODES = ("/dev/nvidia-uvm", "/dev/nvidia0", "/dev/nvidiactl")
KERNEL_455 = (
    "NVRM version: NVIDIA UNIX x86_64 Kernel Module  455.23.05  Fri Sep 18 19:37:12 UTC 2020\nGCC version:  gcc 9.4.0\n"
)
KERNEL_550 = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.14  Thu Feb 22 01:44:30 UTC 2024\nGCC version:  gcc 11.4.0\n"
PRETENDED = {
    "seed-lab-server": Pretended(
        machine="seed-server",
        target=ENVIRONMENT,
        conda=True,
        kernel=KERNEL_455,
        devices=NODES,
        build=conda_environment("1.9.0+cu111", "11.1", SM_OF_CU111, "0.10.0+cu111", "1.9.0"),
        variables={"CONDA_DEFAULT_ENV": "yolov8_env"},
    ),
    "seed-wrong-interpreter": Pretended(
        machine="seed-server",
        target=None,
        kernel=KERNEL_455,
        devices=NODES,
        build=two_pythons,
        variables={"CONDA_DEFAULT_ENV": "yolov8_env"},
    ),
    "driver-470-torch-cu121": Pretended(
        machine="lab-470-rtx3090",
        target=ENVIRONMENT,
        conda=True,
        devices=NODES,
        build=conda_environment("2.4.1+cu121", "12.1", "sm_50 sm_80 sm_86 sm_90", "0.15.2+cu118", "2.0.1"),
    ),
    "driver-mismatch-needs-reboot": Pretended(
        machine="driver-mismatch",
        target=ENVIRONMENT,
        conda=True,
        kernel=KERNEL_550,
        devices=NODES,
        build=conda_environment("2.4.1+cu121", "12.1", "sm_80 sm_86"),
    ),
    "module-not-loaded": Pretended(
        machine="module-not-loaded",
        target=ENVIRONMENT,
        conda=True,
        build=conda_environment("2.4.1+cu121", "12.1", "sm_80 sm_86"),
    ),
    "rtx3090-without-driver-cpu-torch": Pretended(
        machine="nouveau-rtx3090",
        target=ENVIRONMENT,
        conda=True,
        build=conda_environment("2.1.2+cpu", None),
    ),
    "docker-without-gpus": Pretended(
        machine="nouveau-rtx3090",
        target="~/.conda/envs/yolov8_env",
        docker=True,
        build=conda_environment("2.4.1+cu121", "12.1", "sm_80 sm_86"),
    ),
    "rtx5090-torch-cu118": Pretended(
        machine="blackwell-580-rtx5090",
        target=ENVIRONMENT,
        conda=True,
        devices=NODES,
        build=conda_environment("2.4.1+cu118", "11.8", "sm_50 sm_80 sm_86 sm_90"),
    ),
    "gtx1080ti-torch-cu128": Pretended(
        machine="pascal-535-gtx1080ti",
        target=ENVIRONMENT,
        conda=True,
        devices=NODES,
        build=conda_environment("2.8.0+cu128", "12.8", SM_OF_CU128),
    ),
    "amd-card-python27": Pretended(machine="amd-card", target="~/bin/python", python="2.7", build=python_2),
    "pyenv-shim": Pretended(machine="no-driver", target="~/.pyenv/shims/python", build=pyenv_shim),
}


def record_pretended(slug: str, wanted: Pretended, drivers: FakeDrivers) -> None:
    """Record one made-up machine under a temporary folder and write its snapshot."""
    with tempfile.TemporaryDirectory(prefix="envfix-record-") as folder:
        root = Path(folder)
        home = root / "home"
        environment = drivers.environment(
            dataclasses.replace(MACHINES[wanted.machine], **wanted.changes), root / "machine"
        )
        home.mkdir()
        python = str(min(PYENV.glob(f"{wanted.python}.*")) / "bin" / "python")
        wanted.build(home, python, wanted.python)
        os.environ.clear()  # noqa: TID251
        os.environ.update({**environment, "HOME": str(home), **wanted.variables})  # noqa: TID251
        os.chdir(home)
        host = RecordingHost(RealHost())
        detect(host, wanted.target, with_import=False)
        real = os.path.dirname(os.path.dirname(os.path.realpath(python)))
        moved = {
            str(root / "machine" / "bin"): "/usr/bin",
            str(root / "machine" / "lib"): "/usr/lib/x86_64-linux-gnu",
            str(root / "machine"): "/usr",
            str(home): "~",
            real: "/usr",
            sys.prefix: "/opt/envfix",
        }
        transcript = _edited(_moved(host.transcript, moved), wanted)
        os.chdir(CHECKOUT)
    machine, facts = detect(ReplayHost(transcript), wanted.target, with_import=False)
    content = snapshots.document(machine, facts, transcript, Redactor(), target=wanted.target, with_import=False)
    _write(slug, to_json(content))


def _moved(transcript: list[dict[str, Any]], places: Mapping[str, str]) -> list[dict[str, Any]]:
    text = json.dumps(transcript)
    for place, elsewhere in places.items():
        text = text.replace(place, elsewhere)
    moved: list[dict[str, Any]] = json.loads(text)
    return moved


def _edited(transcript: list[dict[str, Any]], wanted: Pretended) -> list[dict[str, Any]]:
    """What the recording machine cannot pretend: its kernel, its devices, its own toolkits, its container, its size."""
    edits = [*_files(wanted), *_folders(wanted)]
    libraries: list[Any] = ["glob", f"/usr/lib/x86_64-linux-gnu/{native_libraries.PATTERN}"]
    if libraries not in [call["ask"] for call in transcript]:
        edits.append((libraries, []))
    asked = [question for question, _ in edits]
    edited = [call for call in transcript if call["ask"] not in asked and "/usr/local/cuda" not in repr(call["ask"])]
    for call in edited:
        if call["ask"] == ["system_facts"]:
            call["answer"] |= SYSTEM
        elif call["ask"][0] == "disk_space":
            in_memory = call["ask"][1].startswith("/dev")
            call["answer"] |= {"free": (32 if in_memory else 180) * GB, "total": 500 * GB}
        elif _is_answer_of_target(call):
            cookie, facts, end = _cut(call["answer"]["stdout"])
            facts["startup"]["path_files"] = []  # those of the interpreter that pretends
            if wanted.conda:
                said = facts["interpreter"]
                facts["interpreter"] = {**said, "base_prefix": said["prefix"], "conda_meta": True}
            call["answer"]["stdout"] = cookie + json.dumps(facts) + cookie + end
    edited += [{"ask": question, "answer": answer} for question, answer in edits]
    return sorted(edited, key=lambda call: repr(call["ask"]))


def _files(wanted: Pretended) -> list[tuple[list[Any], Any]]:
    loaded = (
        "nvidia_uvm 1 0 - Live 0x0\nnvidia 2 1 nvidia_uvm, Live 0x0\n" if wanted.devices else "ext4 1 1 - Live 0x0\n"
    )
    absent = {"outcome": "absent", "text": "", "problem": None}
    files = {
        "/etc/os-release": UBUNTU,
        "/etc/ld.so.conf": "include /etc/ld.so.conf.d/*.conf\n",
        "/etc/ld.so.conf.d/x86_64-linux-gnu.conf": "/usr/lib/x86_64-linux-gnu\n",
        "/proc/1/cgroup": "0::/init.scope\n",
        "/proc/driver/nvidia/version": wanted.kernel,
        "/proc/meminfo": "MemTotal:       65536000 kB\nMemAvailable:   52428800 kB\n",
        "/proc/modules": loaded,
        "/proc/self/cgroup": "0::/user.slice\n",
        "/proc/self/mounts": "/dev/sda1 / ext4 rw,relatime 0 0\n",
        "/sys/fs/cgroup/memory.max": None,
        "/sys/fs/cgroup/user.slice/memory.max": None,
        "/sys/module/nvidia/version": None,
    }
    return [
        (["read_text", path], {**absent, "outcome": "read", "text": text} if text else absent)
        for path, text in files.items()
    ]


def _folders(wanted: Pretended) -> list[tuple[list[Any], Any]]:
    folders = {
        "/.dockerenv": ("/.dockerenv",) if wanted.docker else (),
        "/run/.containerenv": (),
        "/dev/nvidia*": wanted.devices,
        "/etc/ld.so.conf.d/*.conf": ("/etc/ld.so.conf.d/x86_64-linux-gnu.conf",),
        "/sys/bus/pci/devices/*/class": (),
        "/usr/local/cuda*/bin/nvcc": (),
        "/usr/bin/g[c+][c+]-[0-9]*": (),
        "/usr/bin/clang*-[0-9]*": (),
        **{
            f"{root}/lib/python3*/{kind}-packages/torch/version.py": ()
            for root in ("/usr", "/usr/local")
            for kind in ("site", "dist")
        },
    }
    return [(["glob", pattern], list(paths)) for pattern, paths in folders.items()]


def _is_answer_of_target(call: dict[str, Any]) -> bool:
    """Whether a Python new enough described itself."""
    return call["ask"][0] == "run_script" and '"startup"' in call["answer"]["stdout"]


def _without_path_files(text: str) -> str:
    """A snapshot without the .pth files of its recorder, which mean nothing to a replay, and without NVIDIA's headers."""
    content = json.loads(text)
    for call in content["transcript"]:
        if call["ask"][0] == "read_text" and call["ask"][1].endswith(".h"):
            call["answer"]["text"] = "".join(_TELLING.findall(call["answer"]["text"]))
    for call in filter(_is_answer_of_target, content["transcript"]):
        cookie, facts, end = _cut(call["answer"]["stdout"])
        facts["startup"]["path_files"] = []
        call["answer"]["stdout"] = cookie + json.dumps(facts) + cookie + end
    content["facts"]["environment"]["startup"]["value"].pop("path_files", None)
    return to_json(content)


def _cut(stdout: str) -> tuple[str, dict[str, Any], str]:
    cookie = stdout[: stdout.index("{")]
    body, _, end = stdout[len(cookie) :].rpartition(cookie)
    return cookie, json.loads(body), end


def record_this_machine(slug: str) -> None:
    """The real thing, through the real command, without the recorder's own configuration."""
    with tempfile.TemporaryDirectory(prefix="envfix-record-") as home:
        kept = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": home, "LANG": "C.UTF-8", "PIP_CONFIG_FILE": os.devnull}
        output = Path(home) / "snapshot.json"
        argv = [*ENVFIX, "snapshot", "--no-import", "--python", "/usr/bin/python3", "-o", str(output)]
        subprocess.run(argv, env=kept, cwd=home, check=True)
        text = output.read_text(encoding="utf-8")
    # Where the recorder's own envfix lies is nobody's business and means nothing to a replay.
    _write(slug, _without_path_files(text.replace(sys.prefix, "/opt/envfix")))


def _write(slug: str, text: str) -> None:
    folder = MACHINES_FOLDER / slug
    (folder / "expected").mkdir(parents=True, exist_ok=True)
    (folder / "snapshot.json").write_text(text + "\n", encoding="utf-8")
    print(f"{folder.relative_to(CHECKOUT)}: {len(text) // 1024} KiB")


def main(arguments: list[str]) -> None:
    """Record the machines named, or all of them."""
    unknown = set(arguments) - {"debian12-container-cpu", *PRETENDED}
    if unknown:
        sys.exit(
            f"no such machine: {', '.join(sorted(unknown))}; known: debian12-container-cpu, {', '.join(PRETENDED)}"
        )
    wanted = arguments or ["debian12-container-cpu", *PRETENDED]
    if "debian12-container-cpu" in wanted:
        record_this_machine("debian12-container-cpu")
    with tempfile.TemporaryDirectory(prefix="envfix-fakes-") as folder:
        drivers = FakeDrivers.compile(Path(folder), "gcc")
        for slug in wanted:
            if slug in PRETENDED:
                record_pretended(slug, PRETENDED[slug], drivers)


if __name__ == "__main__":
    main(sys.argv[1:])

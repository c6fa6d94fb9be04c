"""Finding the facts around a driver: what its files, its libraries and the batch system say, on samples as they are found."""

# ruff: noqa: D102 - what a host answers is documented at its protocol
from __future__ import annotations

import errno
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from envfix.host.interface import CommandResult, FileResult
from envfix.host.target import COOKIE, read_answer
from envfix.model.facts import ContainerTools, DeviceState, Scheduler, UnopenedCard
from envfix.probes import device_state, displays, nvidia_driver, scheduler
from tests.fakes.machines import Card
from tests.fakes.running import envfix
from tests.fakes.targets import SM_OF_CU111, make_venv, write_torch

MakeMachine = Callable[..., dict[str, str]]
script: Any = importlib.import_module("envfix.target.envfix_gpu_facts")
MIB = 1024**2


class FakeHost:
    """A machine made of texts: files by path, programs on PATH, variables, links."""

    def __init__(self, **has: Any) -> None:
        self.files: dict[str, str] = has.get("files", {})
        self.programs: tuple[str, ...] = has.get("programs", ())
        self.variables: dict[str, str] = has.get("variables", {})
        self.links: dict[str, str] = has.get("links", {})
        self.system: dict[str, str] = {"system": "linux", "release": "5.4.0-169-generic", **has.get("system", {})}

    def read_text(self, path: str, *, limit: int = 1_000_000) -> FileResult:
        if path not in self.files:
            return FileResult(outcome="absent")
        return FileResult(outcome="read", text=self.files[path][:limit])

    def glob(self, pattern: str) -> tuple[str, ...]:
        import fnmatch

        deep = pattern.count("/")
        return tuple(sorted(p for p in self.files if p.count("/") == deep and fnmatch.fnmatch(p, pattern)))

    def which(self, name: str) -> tuple[str, ...]:
        return (f"/usr/bin/{name}",) if name in self.programs else ()

    def environ(self, prefixes: tuple[str, ...]) -> dict[str, str]:
        return {name: value for name, value in self.variables.items() if name.startswith(prefixes)}

    def getenv(self, name: str) -> str | None:
        return self.variables.get(name)

    def real_path(self, path: str) -> str:
        return self.links.get(path, path)

    def system_facts(self) -> dict[str, str]:
        return self.system

    def run(self, argv: Any, **_: Any) -> CommandResult:
        raise AssertionError(f"no program is needed for this: {argv}")


def state_of(**has: Any) -> DeviceState:
    value = device_state.probe(FakeHost(**has)).value  # type: ignore[arg-type]
    assert value is not None
    return value


# --- kernel modules, services, tools ---

PROC_MODULES = """\
nvidia_uvm 1540096 0 - Live 0xffffffffc1a5f000 (PO)
nvidia_drm 77824 4 - Live 0xffffffffc0ce5000 (PO)
nvidia_modeset 1306624 6 nvidia_drm, Live 0xffffffffc1916000 (PO)
nvidia 56823808 240 nvidia_uvm,nvidia_modeset, Live 0xffffffffbe2c4000 (PO)
nvidiafb 57344 0 - Live 0xffffffffc0000000
"""


def test_modules_of_interest_are_read_from_the_kernels_list() -> None:
    assert device_state.parse_modules(PROC_MODULES) == ("nvidia", "nvidia_uvm", "nvidia_modeset", "nvidia_drm")
    assert device_state.parse_modules("nouveau 2306048 1 - Live 0x0\n") == ("nouveau",)
    assert device_state.parse_modules("") == device_state.parse_modules("\ufffd\x00 garbage") == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("\x06\x00\x00\x00\x01", True), ("\x06\x00\x00\x00\x00", False), ("", None), ("\x06\x00\x00\x00\x07", None)],
)
def test_secure_boot_is_the_fifth_byte(text: str, *, expected: bool | None) -> None:
    assert device_state.parse_secure_boot(text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            '{"runtimes": {"nvidia": {"args": [], "path": "nvidia-container-runtime"}}, "default-runtime": "nvidia"}',
            True,
        ),
        ('{"runtimes": {}}', False),
        ('{"runtimes": ["nvidia"]}', False),
        ('{"data-root": "/mnt/docker"', False),
        ("[" * 100_000, False),
        ("", False),
    ],
)
def test_runtime_of_docker_is_read_and_half_a_file_is_none(text: str, *, expected: bool) -> None:
    assert device_state.parse_daemon(text) is expected


def test_running_module_spares_the_search_for_its_file() -> None:
    built = "/lib/modules/5.4.0-169-generic/updates/dkms/nvidia.ko"
    found = state_of(files={"/proc/modules": PROC_MODULES, built: "", device_state.SECURE_BOOT: "\x06\x00\x00\x00\x01"})
    assert (found.modules or ())[0] == "nvidia"
    assert (found.module_files, found.secure_boot) == ((), None)


def test_module_is_looked_for_by_kernel_where_none_runs() -> None:
    found = state_of(
        files={
            "/proc/modules": "ext4 1 0 - Live 0x0\n",
            "/lib/modules/5.4.0-169-generic/updates/dkms/nvidia.ko.zst": "",
            "/lib/modules/5.4.0-150-generic/kernel/drivers/video/nvidia.ko": "",
            "/lib/modules/5.4.0-150-generic/kernel/drivers/video/nvidiafb.ko": "",
            device_state.SECURE_BOOT: "\x06\x00\x00\x00\x01",
        }
    )
    assert found.module_files == ("/lib/modules/5.4.0-169-generic/updates/dkms/nvidia.ko.zst",)
    assert (found.other_kernels, found.secure_boot, found.modules) == (("5.4.0-150-generic",), True, ())


def test_kernel_that_lists_no_modules_is_not_one_without_modules() -> None:
    assert state_of().modules is None


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"/run/systemd/units": "", device_state.FABRIC_UNIT: ""}, True),
        ({"/run/systemd/units": "", "/proc/1/comm": "systemd\n", "/proc/77/comm": "nv-fabricmanage\n"}, True),
        ({"/run/systemd/units": "", "/proc/1/comm": "systemd\n"}, False),
        ({"/run/systemd/units": ""}, None),
        ({}, None),
    ],
)
def test_fabric_manager_runs_or_not_or_cannot_be_seen(files: dict[str, str], *, expected: bool | None) -> None:
    switches = {"/dev/nvidia-nvswitch0": "", "/dev/nvidia-nvswitch1": "", "/dev/nvidia-nvswitchctl": ""}
    found = state_of(files={**files, **switches})
    assert (found.nvswitches, found.fabric_manager) == (2, expected)
    assert state_of(files=files).fabric_manager is None


def test_container_tools_are_asked_for_where_an_engine_is() -> None:
    assert state_of(programs=("nvidia-ctk",)).containers is None
    found = state_of(
        programs=("docker", "nvidia-ctk"),
        files={"/etc/docker/daemon.json": '{"runtimes": {"nvidia": {}}}', "/etc/cdi/nvidia.yaml": ""},
    )
    assert found.containers == ContainerTools(
        engines=("docker",), toolkit=("/usr/bin/nvidia-ctk",), runtime=True, cdi=("/etc/cdi/nvidia.yaml",)
    )


def test_suspensions_are_counted() -> None:
    assert state_of(files={device_state.SUSPENDED: "12\n"}).suspended == 12
    assert state_of(files={device_state.SUSPENDED: "many\n"}).suspended is None


def test_other_systems_have_no_such_files() -> None:
    assert device_state.probe(FakeHost(system={"system": "win32"})).is_absent  # type: ignore[arg-type]


# --- batch systems ---


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"SLURM_JOB_ID": "7", "SLURM_JOB_GPUS": "2,3"}, Scheduler(kind="slurm", job="7", granted="2,3")),
        ({"SLURM_JOB_ID": "7", "SLURM_STEP_GPUS": "0", "SLURM_JOB_GPUS": "0,1"}, Scheduler(kind="slurm", job="7", granted="0")),
        ({"SLURM_JOBID": "7", "CUDA_VISIBLE_DEVICES": "NoDevFiles"}, Scheduler(kind="slurm", job="7", granted="")),
        ({"SLURM_CONF": "/etc/slurm.conf"}, None),
        ({"PBS_JOBID": "9.host", "CUDA_VISIBLE_DEVICES": "GPU-1"}, Scheduler(kind="pbs", job="9.host", granted="GPU-1")),
        ({"LSB_JOBID": "5"}, Scheduler(kind="lsf", job="5")),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "NVIDIA_VISIBLE_DEVICES": "void"}, Scheduler(kind="kubernetes", granted="")),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "NVIDIA_VISIBLE_DEVICES": "all"}, Scheduler(kind="kubernetes", granted="all")),
        ({}, None),
    ],
)  # fmt: skip
def test_batch_system_is_known_by_its_variables(variables: dict[str, str], expected: Scheduler | None) -> None:
    assert scheduler.parse_variables(variables) == expected
    observed = scheduler.probe(FakeHost(variables=variables))  # type: ignore[arg-type]
    assert observed.value == expected
    assert observed.is_absent is (expected is None)


@pytest.mark.parametrize(("program", "kind"), [("sbatch", "slurm"), ("bsub", "lsf"), ("pbsnodes", "pbs")])
def test_node_to_log_in_is_known_by_its_commands(program: str, kind: str) -> None:
    assert scheduler.probe(FakeHost(programs=(program,))).value == Scheduler(kind=kind)  # type: ignore[arg-type]


# --- who holds the card ---


@pytest.mark.parametrize(("target", "expected"), [("/sys/bus/pci/drivers/nouveau", "nouveau"), (None, None)])
def test_driver_that_holds_a_card_is_told(target: str | None, expected: str | None) -> None:
    folder = "/sys/bus/pci/devices/0000:01:00.0"
    host = FakeHost(
        files={f"{folder}/class": "0x030000\n", f"{folder}/vendor": "0x10de\n", f"{folder}/device": "0x2204\n"},
        links={f"{folder}/driver": target} if target else {},
    )
    (card,) = displays.probe(host, timeout=1).value or ()  # type: ignore[arg-type]
    assert card.driver == expected


# --- the script: cards and their states, through the real library loader and nvidia-ml-py ---


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("target") / "env"
    write_torch(make_venv(folder), "1.9.0+cu111", "11.1", SM_OF_CU111)
    return str(folder)


def diagnosis(env: dict[str, str], target: str) -> dict[str, Any]:
    return envfix("diagnose", "--json", "--no-import", "--python", target, env=env).document


def cards_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    cards: list[dict[str, Any]] = document["facts"]["machine"]["gpus"]["value"]
    return cards


def codes(document: dict[str, Any]) -> list[str]:
    return [one["code"] for one in document["findings"]]


def a100(states: str) -> Card:
    return Card(name="NVIDIA A100-SXM4-40GB", capability="8.0", memory=40960, device="20b0", states=states)


def one_a100(fake_machine: MakeMachine, states: str) -> dict[str, str]:
    return fake_machine("lab-470-rtx3090", driver="535.183.01", cuda=12020, cards=(a100(states),))


def test_states_of_a_card_are_read(fake_machine: MakeMachine, target: str) -> None:
    states = "mode=0;persist=1;display=0;ecc=1;errors=0;virt=0;fabric=3"
    document = diagnosis(one_a100(fake_machine, states), target)
    (card,) = cards_of(document)
    expected = {
        "compute_mode": "default",
        "persistence": True,
        "display_active": False,
        "ecc": True,
        "ecc_errors": 0,
        "virtualization": "none",
        "fabric": "completed",
    }
    assert {key: card[key] for key in expected} == expected
    assert (document["verdict"], codes(document)) == ("healthy", [])


@pytest.mark.parametrize(
    ("states", "expected", "code"),
    [
        ("mode=2", {"compute_mode": "prohibited"}, "GPU104"),
        ("ecc=1;errors=3", {"ecc": True, "ecc_errors": 3}, "GPU107"),
        ("ecc=1;failed=1", {"repair": "failed"}, "GPU107"),
        ("ecc=1;pending=1", {"repair": "pending"}, "GPU107"),
        ("virt=2;licensed=0", {"virtualization": "vgpu", "licensed": False}, "GPU105"),
        ("virt=2;licensed=1", {"virtualization": "vgpu", "licensed": True}, None),
        ("virt=9", {"name": "NVIDIA A100-SXM4-40GB"}, None),
        ("fabric=2", {"fabric": "in-progress"}, "DRV107"),
    ],
)
def test_state_that_keeps_programs_off_is_told_and_found(
    fake_machine: MakeMachine, target: str, states: str, expected: dict[str, Any], code: str | None
) -> None:
    document = diagnosis(one_a100(fake_machine, states), target)
    (card,) = cards_of(document)
    assert {key: card.get(key) for key in expected} == expected
    assert codes(document) == ([code] if code else [])


def test_instances_of_a_card_are_listed_with_their_ids(fake_machine: MakeMachine, target: str) -> None:
    document = diagnosis(one_a100(fake_machine, "mig=2"), target)
    (card,) = cards_of(document)
    assert card["mig"] is True
    assert [one["uuid"] for one in card["mig_instances"]] == [
        "MIG-5eed0000-0000-4bad-9caf-000000000000",
        "MIG-5eed0000-0000-4bad-9caf-000000000001",
    ]
    assert card["mig_instances"][0]["name"] == "NVIDIA A100-SXM4-40GB MIG 1g.5gb"
    assert codes(document) == ["GPU106"]


def test_lost_card_is_a_hardware_fault(fake_machine: MakeMachine, target: str) -> None:
    both = (a100(""), a100("error=15"))
    document = diagnosis(fake_machine("lab-470-rtx3090", cards=both), target)
    layers = document["facts"]["machine"]["driver_layers"]["value"]
    assert layers["unopened"] == [{"index": 1, "code": 15, "problem": "GPU is lost"}]
    assert document["facts"]["machine"]["gpus"]["problem"] == "1 of 2 cards cannot be opened"
    assert (codes(document), document["verdict"]) == (["GPU107"], "broken")


def test_card_that_another_job_has_is_left_out_and_no_fault(fake_machine: MakeMachine, target: str) -> None:
    both = (a100("error=4"), a100(""))
    document = diagnosis(fake_machine("lab-470-rtx3090", cards=both), target)
    assert [card["index"] for card in cards_of(document)] == [1]
    assert (codes(document), document["verdict"]) == ([], "healthy")


def test_no_card_may_be_used_is_unknown_not_absent(fake_machine: MakeMachine, target: str) -> None:
    env = fake_machine("lab-470-rtx3090", cards=(a100("error=4"),))
    document = diagnosis(env, target)
    assert document["facts"]["machine"]["gpus"]["problem"] == "none of 1 cards may be used here"
    assert "VAR112" in codes(diagnosis({**env, "SLURM_JOB_ID": "7"}, target))


def test_libcuda_of_the_loader_is_told_beside_a_working_driver(fake_machine: MakeMachine, target: str) -> None:
    layers = diagnosis(fake_machine("lab-470-rtx3090"), target)["facts"]["machine"]["driver_layers"]["value"]
    assert layers["libcuda"].endswith("/libcuda.so.470.57.02")
    assert (layers["libcuda_version"], layers["libcuda_cuda"]) == ("470.57.02", "11.4")


def test_driver_without_libcuda_is_found(fake_machine: MakeMachine, target: str) -> None:
    document = diagnosis(fake_machine("lab-470-rtx3090", libraries=("nvml",)), target)
    assert document["facts"]["machine"]["driver_layers"]["value"]["libcuda"] == ""
    assert codes(document) == ["DRV108"]


def test_compatibility_library_in_front_is_found(fake_machine: MakeMachine, target: str, tmp_path: Path) -> None:
    env = fake_machine("lab-470-rtx3090")
    compat = tmp_path / "cuda-12.1" / "compat"
    compat.mkdir(parents=True)
    (compat / "libcuda.so.530.30.02").write_bytes((tmp_path / "machine" / "lib" / "libcuda.so.470.57.02").read_bytes())
    (compat / "libcuda.so.1").symlink_to("libcuda.so.530.30.02")
    own = env["LD_LIBRARY_PATH"]
    document = diagnosis({**env, "LD_LIBRARY_PATH": f"{compat}:{own}"}, target)
    assert codes(document) == ["DRV106"]
    (argv,) = document["findings"][0]["remedies"][0]["commands"]
    assert argv == ["export", f"LD_LIBRARY_PATH={own}"]


def test_hidden_card_is_found_from_the_variable_alone(fake_machine: MakeMachine, target: str) -> None:
    env = fake_machine("lab-470-rtx3090")
    assert codes(diagnosis({**env, "CUDA_VISIBLE_DEVICES": "2"}, target)) == ["VAR110"]
    assert codes(diagnosis({**env, "CUDA_VISIBLE_DEVICES": "0"}, target)) == []


def test_libcuda_that_crashes_takes_nothing_along_that_was_known(
    fake_machine: MakeMachine, target: str, tmp_path: Path
) -> None:
    """A constructor that dies, as a library of a damaged installation may."""
    env = fake_machine("lab-470-rtx3090")
    (tmp_path / "dies.c").write_text("__attribute__((constructor)) static void die(void) { *(volatile int *)0 = 1; }\n")
    library = tmp_path / "machine" / "lib" / "libcuda.so.470.57.02"
    library.unlink()
    subprocess.run([shutil.which("gcc") or "cc", "-shared", "-fPIC", "-o", library, tmp_path / "dies.c"], check=True)
    document = diagnosis(env, target)
    assert document["facts"]["machine"]["driver"]["value"]["version"] == "470.57.02"
    assert [card["name"] for card in cards_of(document)] == ["NVIDIA GeForce RTX 3090"]


def test_last_complete_answer_counts() -> None:
    said = f'{COOKIE}{{"nvml": 1}}{COOKIE}\n{COOKIE}{{"nvml": 2}}{COOKIE}\n'
    assert read_answer(CommandResult(outcome="exited", returncode=0, stdout=said), 1).facts == {"nvml": 2}
    cut = f'{COOKIE}{{"nvml": 1}}{COOKIE}\n'
    assert read_answer(CommandResult(outcome="exited", returncode=-11, stdout=cut), 1).facts == {"nvml": 1}


# --- the script: files and logs ---


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user of this machine can enter."""
    folder = Path(tempfile.mkdtemp(prefix="envfix-devices-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_device_files_are_told_with_mode_and_owner(tmp_path: Path) -> None:
    (tmp_path / "nvidia0").write_text("")
    (tmp_path / "nvidia0").chmod(0o660)
    (tmp_path / "nvidia-caps").mkdir()
    (row,) = script.device_files(str(tmp_path / "nvidia*"))
    assert (row["path"], row["mode"], row["usable"]) == (str(tmp_path / "nvidia0"), "-rw-rw----", True)
    assert script.device_files(str(tmp_path / "nothing*")) == []


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root can become another user")
def test_another_user_is_told_that_a_file_is_closed(open_folder: Path) -> None:
    (open_folder / "nvidiactl").write_text("")
    (open_folder / "nvidiactl").chmod(0o660)
    shutil.copy(str(script.__file__), open_folder / "facts_of_a_user.py")
    (open_folder / "ask.py").write_text(
        "import json, sys\n"
        "sys.dont_write_bytecode = True\n"
        "import facts_of_a_user as facts\n"
        "folder = sys.argv[1]\n"
        "print(json.dumps([facts.device_files(folder + '/nvidia*'), facts.control_error(folder + '/nvidiactl')]))\n"
    )
    python = shutil.which("python3", path="/usr/bin:/bin") or pytest.skip("no python3 that every user may run")
    result = subprocess.run(
        [python, open_folder / "ask.py", open_folder],
        user=65534,
        group=65534,
        extra_groups=[],
        capture_output=True,
        check=True,
        cwd="/",
    )
    (row,), number = json.loads(result.stdout)
    assert (row["usable"], row["in_group"], row["owner"], number) == (False, False, "root", errno.EACCES)


def test_control_file_that_opens_or_is_missing(tmp_path: Path) -> None:
    (tmp_path / "nvidiactl").write_text("")
    assert script.control_error(str(tmp_path / "nvidiactl")) is None
    assert script.control_error(str(tmp_path / "gone")) == errno.ENOENT


KMSG = (
    "4,1052,71422071,-;NVRM: loading NVIDIA UNIX x86_64 Kernel Module  470.57.02  Tue Jul 13 16:14:05 UTC 2021\n",
    "3,2001,99422071,-;NVRM: Xid (PCI:0000:01:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.\n",
    "3,2002,99422072,-;NVRM: Xid (PCI:0000:01:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.\n",
    "6,2003,99422073,-;usb 1-1: new high-speed USB device \xff\n",
    "3,2004,99422074,-;NVRM: GPU 0000:01:00.0: RmInitAdapter failed! (0x26:0x56:1463)\n SUBSYSTEM=pci\n",
)


def test_complaints_of_the_driver_are_picked_from_the_kernels_log(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """/dev/kmsg gives one record a read and then says that there is no more."""
    records = iter(KMSG)

    def read(_: int, __: int) -> bytes:
        record = next(records, None)
        if record is None:
            raise BlockingIOError
        return record.encode("latin-1")

    (tmp_path / "kmsg").write_text("")
    monkeypatch.setattr(script.os, "read", read)
    assert script.kernel_log(str(tmp_path / "kmsg")) == [
        "NVRM: Xid (PCI:0000:01:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.",
        "NVRM: GPU 0000:01:00.0: RmInitAdapter failed! (0x26:0x56:1463)",
    ]


def test_log_that_may_not_be_read_is_empty(tmp_path: Path) -> None:
    assert script.kernel_log(str(tmp_path / "gone")) == []


def test_log_without_end_is_left_in_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "kmsg").write_text("")
    monkeypatch.setattr(script, "LONGEST_LOOK", 0.05)
    monkeypatch.setattr(script.os, "read", lambda *_: KMSG[1].encode())
    assert len(script.kernel_log(str(tmp_path / "kmsg"))) == 1


# --- processes in a container ---


def test_number_of_another_process_is_not_believed_in_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script.os, "readlink", lambda _: "pid:[4026532999]")
    assert script.is_that_process(os.getpid()) is False, "this process has no driver in its memory"
    assert script.is_that_process(4_194_999) is False
    monkeypatch.setattr(script.os, "readlink", lambda _: script.FIRST_PID_SPACE)
    assert script.is_that_process(os.getpid()) is True


def test_process_with_the_driver_in_its_memory_is_believed(
    fake_machine: MakeMachine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake_machine("lab-470-rtx3090")
    library = tmp_path / "machine" / "lib" / "libcuda.so.470.57.02"
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import ctypes, sys; ctypes.CDLL({str(library)!r}); print(1, flush=True); sys.stdin.read()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        monkeypatch.setattr(script.os, "readlink", lambda _: "pid:[4026532999]")
        assert script.is_that_process(holder.pid) is True
    finally:
        holder.communicate(b"")


# --- reading what the script says ---


def test_cards_that_are_not_opened_are_listed_with_their_error() -> None:
    rows: list[dict[str, Any]] = [
        {"index": 0, "name": "A"},
        {"index": 1, "name": "", "code": 15, "problem": "GPU is lost"},
        {"index": 2},
    ]
    assert nvidia_driver.parse_unopened(rows) == (
        UnopenedCard(index=1, code=15, problem="GPU is lost"),
        UnopenedCard(index=2),
    )


def test_version_is_in_the_name_of_libcuda() -> None:
    assert nvidia_driver.parse_library_version("/usr/local/cuda/compat/libcuda.so.535.104.05") == "535.104.05"
    assert nvidia_driver.parse_library_version("/usr/lib/wsl/drivers/nv/libcuda.so.1.1") is None


def test_driver_of_a_jetson_is_absent_not_half_there() -> None:
    libcuda = {"state": "works", "library": "/usr/lib/aarch64-linux-gnu/tegra/libcuda.so.1.1", "cuda": 11040, "code": 0,
               "gpus": [{"index": 0, "name": "Orin", "capability": "8.7"}]}  # fmt: skip
    said = COOKIE + json.dumps({"nvml": {"state": "absent", "text": "-"}, "files": [], "libcuda": libcuda}) + COOKIE

    class Jetson(FakeHost):
        def run_script(self, *_: Any, **__: Any) -> CommandResult:
            return CommandResult(outcome="exited", returncode=0, stdout=said)

    board = Jetson(files={nvidia_driver.JETSON_RELEASE: "# R35 (release), REVISION: 4.1\n"})
    facts = nvidia_driver.probe(board, timeout=1)  # type: ignore[arg-type]
    assert (facts.driver.is_absent, [card.name for card in facts.gpus.value or ()]) == (True, ["Orin"])
    other = nvidia_driver.probe(Jetson(), timeout=1)  # type: ignore[arg-type]
    assert other.driver.is_unknown

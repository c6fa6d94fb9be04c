"""Nodes of a cluster on this machine: a Slurm cluster with munge, sshd on loopback; what a log-in on each sets up.

Each node is a folder with pretended cards, an environment of its own, and a profile that a log-in reads. All state is in a
temporary folder, all servers listen on 127.0.0.1, and each is ended by the number it wrote down.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.fakes.machines import MACHINES, FakeDrivers
from tests.fakes.targets import make_venv, write_torch

PATIENCE = 60.0
SLURM_PROGRAMS = ("slurmctld", "slurmd", "srun", "sinfo", "scontrol", "munged", "setpriv")
# A character device stands for each card that Slurm has to give away.
CARDS = {"gpu1": ("a100", ("/dev/zero", "/dev/full")), "gpu2": ("v100", ("/dev/null",))}


def need(*programs: str) -> None:
    """Skip the test where a program is missing."""
    missing = [name for name in programs if shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin") is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (.ci/run installs them where it may)")


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses now."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def wait_for(what: str, ready: object, *, patience: float = PATIENCE) -> None:
    """Until ``ready()`` is true."""
    assert callable(ready)
    until = time.monotonic() + patience
    while not ready():
        assert time.monotonic() < until, f"{what} is not ready after {patience:g} s"
        time.sleep(0.05)


def is_running(number: int) -> bool:
    """Whether a process is there and has not ended; nobody may have asked yet how it did."""
    try:
        return ") Z " not in Path(f"/proc/{number}/stat").read_text()
    except OSError:
        return False


def running_with(mark: str) -> list[str]:
    """Commands of other processes that hold this text."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            text = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if mark in text and int(path.parent.name) != os.getpid():
                found.append(text)
    return found


def settled(mark: str) -> list[str]:
    """The same, once they have had the time to end."""
    until = time.monotonic() + 10
    while running_with(mark) and time.monotonic() < until:
        time.sleep(0.05)
    return running_with(mark)


def end(pid_file: Path) -> None:
    """The daemon that wrote this file."""
    with contextlib.suppress(OSError, ValueError):
        number = int(pid_file.read_text())
        os.kill(number, signal.SIGTERM)
        with contextlib.suppress(AssertionError):
            wait_for("the end", lambda: not is_running(number), patience=5)
            return
        os.kill(number, signal.SIGKILL)


def furnish(home: Path, node: str, machine: str, drivers: FakeDrivers, *, torch: tuple[str, str, str]) -> Path:
    """A node's cards, its Python with a torch in it, and ``NODE.sh``, which a log-in there reads; the answer is its env."""
    build, cuda, architectures = torch
    place = home / "nodes" / node
    variables = drivers.environment(MACHINES[machine], place / "machine")
    site = make_venv(place / "env")
    write_torch(site, build, cuda, architectures)
    variables["PATH"] = f"{place}/env/bin:{place}/machine/bin:/usr/bin:/bin"
    variables["TMPDIR"] = str(home / "temporary")
    (home / "temporary").mkdir(exist_ok=True)
    del variables["HOME"]
    lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    (home / f"{node}.sh").write_text("\n".join(lines) + f"\necho Welcome to {node}\n")
    return place / "env"


class SlurmCluster:
    """A controller and two nodes, ``gpu1`` and ``gpu2``, all of them this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf"), "HOME": str(self.home)}

    def start(self) -> None:
        """Munge, the controller and both nodes."""
        folder, host = self.folder, socket.gethostname().partition(".")[0]
        for name in ("run", "log", "ctld", "munge", "mrun", "home", *(f"spool/{node}" for node in CARDS)):
            (folder / name).mkdir(parents=True)
        folder.chmod(0o755)
        key = folder / "munge" / "key"
        key.write_bytes(os.urandom(256))
        (folder / "munge").chmod(0o700)
        key.chmod(0o400)
        for path in (folder / "munge", key, folder / "mrun"):
            shutil.chown(path, "munge", "munge")
        as_munge = ["setpriv", "--reuid=munge", "--regid=munge", "--clear-groups"]
        mrun = folder / "mrun"
        files = [f"--{name}={mrun}/{file}" for name, file in _MUNGE_FILES.items()]
        _run([*as_munge, "munged", "--force", f"--key-file={key}", *files], {})
        (folder / "slurm.conf").write_text(self._configuration(host))
        gres = [
            f"NodeName={node} Name=gpu Type={kind} File={file}\n"
            for node, (kind, files) in CARDS.items()
            for file in files
        ]
        (folder / "gres.conf").write_text("".join(gres))
        _run(["slurmctld", "-f", f"{folder}/slurm.conf"], self.environment)
        for node in CARDS:
            _run(["slurmd", "-N", node, "-f", f"{folder}/slurm.conf"], self.environment)
        self.settle()

    def settle(self) -> None:
        """Until both nodes respond and have nothing to do."""
        wait_for(
            "the Slurm cluster",
            lambda: self.told("sinfo", "-h", "-N", "-p", "gpu", "-o", "%t") == "idle\n" * len(CARDS),
        )

    def _configuration(self, host: str) -> str:
        folder = self.folder
        nodes = "".join(
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={free_port()} CPUs=1 RealMemory=500"
            f" Gres=gpu:{kind}:{len(files)} State=UNKNOWN\n"
            for node, (kind, files) in CARDS.items()
        )
        return (
            f"ClusterName=envfix\nSlurmctldHost={host}(127.0.0.1)\nSlurmctldPort={free_port()}\nSlurmUser=root\n"
            f"SlurmdUser=root\nAuthType=auth/munge\nAuthInfo=socket={folder}/mrun/munge.socket\nCredType=cred/munge\n"
            f"StateSaveLocation={folder}/ctld\nSlurmdSpoolDir={folder}/spool/%n\n"
            f"SlurmctldPidFile={folder}/run/slurmctld.pid\nSlurmdPidFile={folder}/run/slurmd.%n.pid\n"
            f"SlurmctldLogFile={folder}/log/slurmctld.log\nSlurmdLogFile={folder}/log/slurmd.%n.log\n"
            "ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nJobAcctGatherType=jobacct_gather/none\n"
            "AccountingStorageType=accounting_storage/none\nSelectType=select/cons_tres\nSelectTypeParameters=CR_CPU\n"
            "SchedulerType=sched/builtin\nMpiDefault=none\nReturnToService=2\nSlurmdTimeout=60\nGresTypes=gpu\n"
            f"{nodes}PartitionName=gpu Nodes={','.join(CARDS)} Default=YES MaxTime=INFINITE State=UP OverSubscribe=YES\n"
            "PartitionName=all Nodes=ALL State=UP OverSubscribe=YES\n"
        )

    def told(self, *command: str) -> str:
        """What one of Slurm's commands prints."""
        return _run(list(command), self.environment)

    def stop(self) -> None:
        """Every daemon that was started."""
        for name in (*(f"run/slurmd.{node}.pid" for node in CARDS), "run/slurmctld.pid", "mrun/munged.pid"):
            end(self.folder / name)


_MUNGE_FILES = {"socket": "munge.socket", "pid-file": "munged.pid", "log-file": "munged.log", "seed-file": "seed"}


def _run(command: list[str], environment: Mapping[str, str]) -> str:
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    result = subprocess.run(
        command,
        env={**os.environ, "PATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result
    return result.stdout


@contextlib.contextmanager
def slurm() -> Iterator[SlurmCluster]:
    """A running cluster; skips where it cannot be had."""
    need(*SLURM_PROGRAMS)
    if os.getuid() != 0:
        pytest.skip("a Slurm cluster of this test's own needs root")
    with tempfile.TemporaryDirectory(prefix="envfix-slurm-", ignore_cleanup_errors=True) as folder:
        cluster = SlurmCluster(Path(folder))
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()


class Sshd:
    """Servers of ssh on 127.0.0.1, each of which is a node; ``configuration`` names them."""

    def __init__(self, folder: Path, nodes: tuple[str, ...]) -> None:
        self.folder, self.nodes = folder, nodes
        self.home = folder / "home"
        self.configuration = folder / "ssh_config"

    def start(self) -> None:
        """Keys, a server for each node, and how they are reached."""
        folder = self.folder
        self.home.mkdir()
        for name in ("host_key", "user_key"):
            _run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{folder}/{name}"], {})
        (folder / "authorized").write_text((folder / "user_key.pub").read_text())
        Path("/run/sshd").mkdir(exist_ok=True)
        hosts = []
        for node in self.nodes:
            port = free_port()
            (folder / f"{node}.conf").write_text(
                f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\nPidFile {folder}/{node}.pid\n"
                f"AuthorizedKeysFile {folder}/authorized\nStrictModes no\nUsePAM no\nPermitRootLogin yes\n"
                f"SetEnv ENVFIX_NODE={node} HOME={self.home}\n"
            )
            _run(["/usr/sbin/sshd", "-f", f"{folder}/{node}.conf"], {})
            hosts.append(f"Host {node}\n  Port {port}\n")
        self.configuration.write_text(
            "".join(hosts) + f"Host dead\n  Port {free_port()}\nHost *\n  HostName 127.0.0.1\n  User root\n"
            f"  IdentityFile {folder}/user_key\n  IdentitiesOnly yes\n  StrictHostKeyChecking no\n"
            f"  UserKnownHostsFile {folder}/known\n  LogLevel ERROR\n"
        )
        wait_for("sshd", lambda: all((folder / f"{node}.pid").exists() for node in self.nodes))

    def stop(self) -> None:
        """Every server that was started."""
        for node in self.nodes:
            end(self.folder / f"{node}.pid")


@contextlib.contextmanager
def sshd(*nodes: str) -> Iterator[Sshd]:
    """Running servers; skips where they cannot be had."""
    need("ssh", "ssh-keygen", "sshd")
    if os.getuid() != 0:
        pytest.skip("a server of ssh of this test's own, with a home of its own, needs root")
    with tempfile.TemporaryDirectory(prefix="envfix-sshd-", ignore_cleanup_errors=True) as folder:
        servers = Sshd(Path(folder), nodes)
        try:
            servers.start()
            yield servers
        finally:
            servers.stop()

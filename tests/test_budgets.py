"""What each command may cost, in measures that do not depend on how fast or busy a machine is.

Modules imported, programs started, bytes read, requests sent to indexes. A budget lies a little above what is needed today and
less than twice of it, so that a cost that doubles is seen, and so is a budget that has grown loose. Who adds a module, a program
or a request on purpose raises the number here, and thereby says so.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.fakes.machines import MACHINES, FakeDrivers
from tests.fakes.running import ENVFIX, envfix
from tests.fakes.targets import SM_OF_CU118, make_venv, write_torch
from tests.loopback_world import CU118, OLDER, World, world_in

FROM = ("--from", "{snapshot}")
HERE = ("--python", "{env}")
OOM = "RuntimeError: CUDA out of memory. Tried to allocate 84.00 MiB (GPU 0; 4.00 GiB total capacity; 3.32 GiB already allocated)\n"
# envfix, which tells at its end what it started (asked of the interpreter itself, so nothing escapes), imported and read.
_TELLING = f"""
import sys
started = []
def heard(event, args):
    if event in ("subprocess.Popen", "os.posix_spawn", "os.system", "os.exec"):
        started.append(str(args[0]))
sys.addaudithook(heard)
{ENVFIX[-1].rpartition("; ")[0]}
import atexit, json, os
def tell():
    try:
        with open("/proc/self/io") as stream:
            read = int(stream.readline().split()[1])
    except OSError:
        read = None
    os.write(2, b"SPENT" + json.dumps({{"started": started, "modules": sorted(sys.modules), "read": read}}).encode())
atexit.register(tell)
sys.argv = ["envfix"] + sys.argv[1:]
run()
"""


class Spent(msgspec.Struct, frozen=True):
    """What one run of envfix cost; ``read`` is bytes, None where the system does not tell."""

    started: list[str]
    modules: list[str]
    read: int | None

    @property
    def own_modules(self) -> list[str]:
        """Modules of envfix, without the rules: a new cause is a new module and no cost to speak of."""
        return [name for name in self.modules if name.startswith("envfix.") and not _RULE.match(name)]

    @property
    def packages(self) -> set[str]:
        """Packages of others that were imported."""
        own = {*sys.stdlib_module_names, "envfix", "__main__"}
        return {top for name in self.modules if (top := name.partition(".")[0]) not in own and not top.startswith("_")}


_RULE = re.compile(r"envfix\.rules\.[a-z]{3}\d{3}_")


class Place:
    """The lab server of the story, as its programs see it: two interpreters, nvidia-smi, nvcc, gcc, lspci."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.env = env
        self.words = {name: str(folder / name) for name in ("env", "snapshot", "log", "saved")}
        write_torch(make_venv(folder / "env"), "2.7.1+cu118", "11.8", SM_OF_CU118)
        (folder / "log").write_text(OOM)
        made = envfix("snapshot", "--no-import", "--python", self.words["env"], "-o", self.words["snapshot"], env=env)
        assert made.code == 0, made

    def spent(self, *arguments: str) -> Spent:
        """What a command costs."""
        words = [word.format(**self.words) for word in arguments]
        finished = envfix(*words, env=self.env, start=[sys.executable, "-I", "-c", _TELLING])
        return msgspec.json.decode(finished.stderr.partition("SPENT")[2], type=Spent)

    def read(self, *arguments: str) -> int:
        """Bytes that a command and its programs read, once everything has been compiled."""
        self.spent(*arguments)
        read = self.spent(*arguments).read
        if read is None:
            pytest.skip("no /proc here that tells how many bytes a process has read")
        return read

    def programs(self, spent: Spent) -> list[str]:
        """Names of what was started, ``TARGET`` for the user's Python and ``OWN`` for envfix's."""
        known = {f"{self.words['env']}/bin/python": "TARGET", sys.executable: "OWN"}
        # Compilers and toolkits that lie in their usual places on whatever machine the tests run.
        started = (
            path for path in spent.started if not re.match(r"/usr/(bin|local/cuda[^/]*/bin)/(g|clang|nvcc)", path)
        )
        return sorted(known.get(path, Path(path).name) for path in started)


@pytest.fixture(scope="module")
def place(fake_drivers: FakeDrivers, tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("place")
    return Place(folder, fake_drivers.environment(MACHINES["seed-server"], folder / "machine"))


def within(value: int, budget: int) -> None:
    """A value that its budget fits."""
    assert value <= budget, "it costs more than it did: is that worth it?"
    assert budget < 2 * value or budget == 0, "it costs much less than it did: lower the budget"


# --- programs ---

# Each is 10 to 40 ms that a user waits for, or a question that a broken machine may never answer.
LOOKING = ["OWN", "TARGET", "lspci"]  # the driver (a library that may hang or crash), the interpreter, the PCI bus
COMPILERS = ["g++", "gcc", "nvcc"]  # for extensions: their versions are in no file
PROGRAMS = {
    ("--version",): [],
    ("--help",): [],
    ("completion", "bash"): [],
    ("causes",): [],
    ("wheels", "--torch", "1.9.0", "--python", "3.8"): [],
    ("explain", "--no-machine", "{log}"): [],
    ("diagnose", *FROM): [],
    ("plan", "--offline", *FROM): [],
    ("gpus",): ["OWN", "lspci"],
    ("undo", *HERE): ["TARGET"],
    ("plan", "--offline", *HERE): LOOKING,
    # TARGET climbs the ladder; this torch cannot be imported, and what mends it is told from the facts of a whole diagnosis.
    ("verify", "--level", "import", *HERE): [*LOOKING, *LOOKING, *COMPILERS],
    ("lock", "--offline", *HERE): [*LOOKING, "uv"],  # uv checks what is installed
    ("install", "--dry-run", "--offline", *HERE): [*LOOKING, "uv"],  # uv tells the user's own indexes
    ("diagnose", "--no-import", *HERE): [*LOOKING, *COMPILERS],
    ("snapshot", "--no-import", "-o", "{saved}", *HERE): [*LOOKING, *COMPILERS],
    ("explain", "{log}", *HERE): [*LOOKING, *COMPILERS],
    ("diagnose", *HERE): [*LOOKING, "TARGET", *COMPILERS],  # a second time, to import torch
}


@pytest.mark.parametrize("command", PROGRAMS, ids=" ".join)
def test_command_starts_no_other_program(place: Place, command: tuple[str, ...]) -> None:
    assert place.programs(place.spent(*command)) == sorted(PROGRAMS[command])


# --- modules ---

# What each start may import of others; of envfix itself so many modules (rules not counted), each a file to open and run.
BARE = {"click"}
FACTS = {"click", "msgspec", "packaging", "typing_extensions"}
SHOWN = {*FACTS, "rich"}
MODULES: dict[tuple[str, ...], tuple[set[str], int]] = {
    ("--version",): (BARE, 9),  # four of them for the language: every sentence and every help asks for it
    ("--help",): (BARE, 9),
    ("--help", "--lang", "zh"): (BARE, 11),  # where lines of Chinese may be broken
    ("completion", "bash"): (BARE, 10),
    ("undo", *HERE): (FACTS, 50),  # the probe of the interpreter, the journal
    ("verify", "--level", "import", *HERE): ({*SHOWN, "re2"}, 135),  # a rung fails: as explain
    ("wheels", "--torch", "1.9.0", "--python", "3.8"): (SHOWN, 61),  # the tables
    ("gpus",): (SHOWN, 72),
    ("causes",): (SHOWN, 75),
    ("snapshot", "--no-import", "-o", "{saved}", *HERE): (SHOWN, 82),  # every probe
    ("diagnose", *FROM): (SHOWN, 125),  # rules and tables
    ("diagnose", "--no-import", *HERE): (SHOWN, 120),  # probes, rules, tables; no resolver
    ("explain", "--no-machine", "{log}"): ({*SHOWN, "re2"}, 125),
    ("plan", "--offline", *HERE): (SHOWN, 115),  # probes, tables, resolver; no rules, no network
}


@pytest.mark.parametrize("command", MODULES, ids=" ".join)
def test_command_imports_no_more(place: Place, command: tuple[str, ...]) -> None:
    spent = place.spent(*command)
    packages, budget = MODULES[command]
    assert spent.packages - packages == set()
    within(len(spent.own_modules), budget)


# --- bytes ---

# In millions, by all processes together; more than half is what Python itself reads to start, once for each interpreter.
READ = {
    ("--version",): 2.5,
    ("plan", "--offline", *HERE): 11.0,
    ("diagnose", "--no-import", *HERE): 12.0,
}


@pytest.mark.parametrize("command", READ, ids=" ".join)
def test_command_reads_no_more(place: Place, command: tuple[str, ...]) -> None:
    within(place.read(*command), int(READ[command] * 1_000_000))


def test_size_of_torch_does_not_matter(place: Place) -> None:
    """Its library, 30 MB here and gigabytes beside it in reality, is mapped and searched, not read."""
    before = place.read("diagnose", "--no-import", *HERE)
    (library,) = Path(place.words["env"]).glob("lib/python*/site-packages/torch/lib/libtorch_python.so")
    with library.open("ab") as stream:
        stream.truncate(30_000_000)
    (library.parent / "libtorch_cuda.so").write_bytes(library.read_bytes())
    assert place.read("diagnose", "--no-import", *HERE) - before < 1_000_000


# --- requests ---


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with world_in(tmp_path) as made:
        made["official"].add("cu118", *CU118, *OLDER)
        yield made


def asked(world: World, *arguments: str) -> dict[str, int]:
    """How many requests a plan sends, by who sends them: envfix itself, or uv, which proves the plan."""
    for server in world.servers.values():
        server.requests.clear()
    assert world.json(*arguments)["status"] == "ok"
    agents = [request.user_agent for server in world.servers.values() for request in server.requests]
    ours = sum(agent == "envfix" for agent in agents)
    return {"envfix": ours, "uv": len(agents) - ours}


def test_plan_sends_few_requests(world: World) -> None:
    """Each is a round trip, 200 ms on a campus network abroad; pages are kept for the next plan."""
    first, second = asked(world), asked(world)
    # The pages of torch, torchvision and torchaudio on two indexes, and the size of each of four packages.
    within(first["envfix"], 11)
    # A page and a metadata file for each of four packages.
    within(first["uv"], 9)
    # The sizes alone.
    within(second["envfix"], 5)
    within(second["uv"], 9)


def test_plan_offline_sends_none(world: World) -> None:
    assert asked(world, "--offline") == {"envfix": 0, "uv": 0}


def test_diagnosis_sends_none(world: World) -> None:
    env = {**world.environment(), "ENVFIX_DRIVER": "470.57.02", "ENVFIX_GPU": "RTX 3090:8.6:24576"}
    for arguments in (("diagnose", "--no-import"), ("snapshot", "--no-import"), ("gpus",)):
        envfix(*arguments, env=env, timeout=60)
    assert {name: len(server.requests) for name, server in world.servers.items()} == dict.fromkeys(world.servers, 0)

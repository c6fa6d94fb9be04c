"""The links of the stack: green only where a fact says so, red with the reason, and never silent about a broken torch."""

from __future__ import annotations

import pytest

from envfix.app.diagnosing import diagnose
from envfix.app.snapshotting import read_snapshot
from envfix.app.stacking import links, part_of
from envfix.host.real import RealHost
from envfix.model.facts import Distribution, Driver, Environment, Machine, TorchImport, found, unknown
from envfix.model.finding import Severity
from envfix.model.stack import Link
from envfix.model.versions import DriverVersion
from envfix.tables.loader import Tables
from tests.conftest import CHECKOUT
from tests.made_up import BROKEN, NO_TORCH, all_hand_made, layers, machine, torch, vision
from tests.shown_reports import STATES, imported, serving, working
from tests.test_machines import MACHINES, snapshot

HAND_MADE = all_hand_made()


def links_of(there: Machine, inside: Environment, tables: Tables) -> dict[str, Link]:
    return {link.part: link for link in links(there, inside, diagnose(there, inside, tables), tables)}


def states(name: str, tables: Tables) -> str:
    report = STATES[name]()
    return " ".join(link.state for link in links(report.machine, report.environment, report.diagnosis, tables))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("healthy", "ok ok ok ok ok ok"),
        ("memory full", "doubtful ok ok ok ok ok"),
        ("cpu build", "ok ok broken ok ok ok"),
        ("no card", "absent absent absent ok ok ok"),
        ("driver-470-torch-cu121", "ok ok broken unknown broken absent"),
        ("driver-mismatch-needs-reboot", "doubtful broken unknown unknown absent absent"),
        ("docker-without-gpus", "doubtful broken unknown unknown absent absent"),
        ("gtx1080ti-torch-cu128", "ok ok ok broken absent absent"),
        ("rtx5090-torch-cu118", "ok ok ok broken absent absent"),
        ("rtx3090-without-driver-cpu-torch", "doubtful broken broken unknown absent absent"),
        ("seed-lab-server", "doubtful ok ok unknown ok absent"),
        ("seed-wrong-interpreter", "doubtful ok absent broken absent absent"),
        ("pyenv-shim", "absent absent unknown broken unknown unknown"),
    ],
)
def test_each_machine_has_its_chain(name: str, expected: str, tables: Tables) -> None:
    assert states(name, tables) == expected


def tried(inside: Environment) -> bool:
    """Whether torch was seen to start CUDA."""
    return inside.torch_import.value is not None and bool(inside.torch_import.value.cuda_available)


FACTS: dict[str, tuple[tuple[Machine, Environment], str, str, str]] = {
    "a driver that serves the CUDA inside": (
        (serving(), working(torch_import=unknown("import torch", "not asked"))),
        "cuda", "ok", "Driver 550.54.14 is new enough: 530.30.02 or newer runs it.",
    ),
    "a driver of the same family only": (
        (machine("535.183.01"), working(torch=torch("2.7.0+cu128", "12.8"), torch_import=unknown("import torch", "not asked"))),
        "cuda", "ok",
        "Driver 535.183.01 is new enough: 525.60.13 or newer runs it within CUDA 12, without what newer drivers add.",
    ),
    "torch that was not imported": (
        (serving(), working(torch_import=unknown("import torch", "not asked"))),
        "torch", "unknown", "It is installed; it was not imported, so nothing says that it starts.",
    ),
    "torch that imports": ((serving(), working()), "torch", "ok", "Importing it worked in 1.9 s (import torch)."),
    "torch that starts CUDA": ((serving(), working()), "cuda", "ok", "torch started it on this driver (import torch)."),
    "torch that does not start CUDA": (
        (serving(), working(torch_import=imported(cuda=False, cuda_problem="no idea why"))),
        "cuda", "broken", "The driver lists a card, but torch cannot start CUDA on it.",
    ),
    "torch that does not import": (
        (serving(), working(torch_import=found(TorchImport(ok=False, seconds=1, error="RuntimeError: x"), "import"))),
        "torch", "broken", "Importing torch fails: RuntimeError: x.",
    ),
    "torchvision of another torch": (
        (serving(), working(torchvision=vision("0.15.2+cu118", "11.8", "2.0.1"))),
        "torchvision", "broken", "torchvision 0.15.2+cu118 does not belong to torch 2.4.1+cu121: it was built for torch 2.0.1.",
    ),
    "torchvision by the table alone": (
        (serving(), working(torchvision=vision("0.19.1+cu121", "12.1"))),
        "torchvision", "ok", "It was built for torch 2.4.1, which is there.",
    ),
    "torchvision nobody knows": (
        (serving(), working(torchvision=vision("0.99.9"), torch=torch("2.99.0+cu121", "12.1"))),
        "torchvision", "unknown", "Neither its metadata nor a table says for which torch it was built.",
    ),
    "ultralytics that wants more": (
        (serving(), working(distributions=found((Distribution(
            name="ultralytics", version="9.0", location="/env", requires=("torch>=3",)),), "files"))),
        "ultralytics", "doubtful", "torch 2.4.1+cu121 is too old for ultralytics 9.0, which asks for torch >=3.",
    ),
    "ultralytics without what it asks for": (
        (serving(), working(distributions=found((
            Distribution(name="ultralytics", version="9.0", location="/env", requires=(
                "torch>=1", "torchvision", "opencv-python>=4", "PyYAML", "matplotlib>=3.3", "polars", "lap; extra == 'solutions'")),
            Distribution(name="opencv_python_headless", version="4.9", location="/env"),
            Distribution(name="pyyaml", version="6", location="/env")), "files"))),
        "ultralytics", "unknown", "It asks for matplotlib, polars, which this Python does not have.",
    ),
    "ultralytics whose files are gone": (
        (serving(), working(distributions=found((Distribution(
            name="ultralytics", version="8.3.40", location="/env", missing_code=3),), "files"))),
        "ultralytics", "broken", "3 of its files are gone.",
    ),
    "no torch": (
        (serving(), working(torch=NO_TORCH)),
        "torch", "broken", "torch is not installed in this Python (3.11.9, /env/bin/python).",
    ),
    "OpenCV that does not import": (
        (serving(), working(binaries=HAND_MADE["OpenCV without libGL"][1].binaries)),
        "ultralytics", "broken", "OpenCV cannot be imported: it needs libGL.so.1, which this system does not have.",
    ),
    "OpenCV that does not import, and no ultralytics": (
        HAND_MADE["OpenCV without libGL"][:2],
        "ultralytics", "absent", "ultralytics is not installed in this Python (looked at: metadata folders).",
    ),
    "CUDA that only a table allows, on a driver that does not start it": (
        HAND_MADE["container without the file of nvidia_uvm"][:2],
        "cuda", "unknown",
        "Driver 455.23.05 is new enough: 455.23 or newer runs it. But nothing starts it while what stands before it is broken.",
    ),
    "a compatibility library that stands in": (
        HAND_MADE["nothing: a compatibility library stands in for the older driver of a data-centre card"][:2],
        "cuda", "ok", "Driver 470.57.02 is too old for it, but NVIDIA's compatibility library 535.104.05 stands in.",
    ),
    "a command yolo whose Python is gone": (
        (serving(commands=HAND_MADE["yolo whose Python is gone"][0].commands), working()),
        "ultralytics", "doubtful",
        "The command `yolo` (/home/li/bin/yolo) cannot start: it starts /old/bin/python, which is gone.",
    ),
    "a driver that does not answer": (
        (machine(driver_layers=layers(nvml="error", nvml_problem="unknown error 999"), **BROKEN), working()),
        "driver", "unknown", "Broken.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FACTS)
def test_fact_or_finding_gives_the_reason(name: str, tables: Tables) -> None:
    facts, part, state, reason = FACTS[name]
    link = links_of(facts[0], facts[1], tables)[part]
    assert (link.state, link.reason) == (state, reason)


@pytest.mark.parametrize("name", [*HAND_MADE, *MACHINES])
def test_no_link_is_green_against_an_error_about_it(name: str, tables: Tables) -> None:
    saved = snapshot(name) if name in MACHINES else None
    there, inside = (saved.machine, saved.environment) if saved else HAND_MADE[name][:2]
    diagnosis = diagnose(there, inside, tables)
    chain = {link.part: link for link in links(there, inside, diagnosis, tables)}
    for finding in diagnosis.findings:
        part = part_of(finding)
        if part is not None and finding.severity == Severity.ERROR:
            nothing_there = part == "ultralytics" and chain[part].state == "absent"
            assert nothing_there or chain[part].state in ("broken", "doubtful"), finding.message
    wrong = [link for link in chain.values() if link.state in ("broken", "doubtful")]
    assert diagnosis.verdict != "healthy" or not wrong, "the picture says what the verdict says"
    if "broken" in (chain["card"].state, chain["driver"].state) and not tried(inside):
        assert chain["cuda"].state != "ok", "nothing starts on what is broken"
    for link in chain.values():
        assert link.reason.endswith((".", "?", "!")), link
        assert "None" not in link.value
        if link.state == "ok":
            assert link.value, "what holds is there"


@pytest.mark.parametrize("name", HAND_MADE)
def test_error_of_driver_card_or_torch_build_is_always_seen_in_the_chain(name: str, tables: Tables) -> None:
    there, inside, _ = HAND_MADE[name]
    diagnosis = diagnose(there, inside, tables)
    serious = [one for one in diagnosis.findings if one.code[:3] in ("DRV", "GPU", "TOR", "CTR")]
    if any(one.severity == Severity.ERROR for one in serious):
        assert "broken" in {link.state for link in links(there, inside, diagnosis, tables)}


def test_pasted_report_is_taken_for_what_it_tells(tables: Tables) -> None:
    path = str(CHECKOUT / "tests" / "collect_env_reports" / "torch-2.0-windows.txt")
    saved = read_snapshot(RealHost(), path, tables)
    chain = links_of(saved.machine, saved.environment, tables)
    assert chain["driver"].reason == "So says collect_env report; the driver itself was not asked."
    assert chain["torch"].reason == "Importing it worked (collect_env report)."
    assert (chain["ultralytics"].state, chain["ultralytics"].reason) == ("unknown", "Such a report does not say.")


def test_variable_that_names_a_driver_is_named(tables: Tables) -> None:
    there = serving(
        driver=found(Driver(version=DriverVersion.parse("550.54.14")), "ENVFIX_DRIVER"),
        driver_layers=layers(nvml="absent"),
    )
    assert (
        links_of(there, working(), tables)["driver"].reason == "So says ENVFIX_DRIVER; the driver itself was not asked."
    )


def test_import_that_works_is_only_doubted_by_a_package_beside_it(tables: Tables) -> None:
    numpy = Distribution(name="numpy", version="2.1.0", location="/env")
    inside = working(
        torch=torch("2.0.1+cu118", "11.8", "sm_86"),
        torchvision=vision("0.15.2+cu118", "11.8", "2.0.1"),
        distributions=found((numpy,), "files"),
        torch_import=imported(numpy_problem="Numpy is not available"),
    )
    link = links_of(serving(), inside, tables)["torch"]
    assert (link.state, link.code) == ("doubtful", "FAM107")

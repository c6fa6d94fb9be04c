"""Rules on made-up facts: when each one speaks, when it keeps silent, and what it advises."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from envfix import rules
from envfix.errors import TableError
from envfix.model.facts import (
    NOT_ASKED,
    Display,
    Driver,
    DriverLayers,
    Elsewhere,
    Environment,
    Gpu,
    GpuProcess,
    Interpreter,
    Libc,
    Machine,
    Observed,
    Platform,
    TorchBuild,
    VisionBuild,
    absent,
    found,
    unknown,
)
from envfix.model.finding import Finding, Severity, Verdict
from envfix.model.versions import ComputeCapability, CudaVersion, DriverVersion
from envfix.rules._rule import Rule, all_rules, diagnose, judge, manual
from envfix.tables.loader import Tables

GIB = 1024**3
LINUX = Platform(system="linux", machine="x86_64", tag="linux_x86_64", libc=Libc(family="glibc", version="2.31"))
RTX_3090 = Display(
    vendor="NVIDIA", vendor_id="10de", device_id="2204", bus="0000:01:00.0", name="GA102 [GeForce RTX 3090]"
)
RADEON = Display(vendor="AMD", vendor_id="1002", device_id="744c", bus="0000:03:00.0")
PYTHON = Interpreter(
    executable="/env/bin/python", asked="a test", version="3.8.18", implementation="cpython", tag="cp38", abi_tag="cp38",
    platform_tag="linux_x86_64", bits=64, prefix="/env", base_prefix="/usr", kind="venv",
)  # fmt: skip


def card(
    name: str = "NVIDIA GeForce RTX 3090",
    capability: str | None = "8.6",
    free: int | None = 23,
    total: int | None = 24,
    **more: Any,
) -> Gpu:
    """A card with memory in GiB."""
    return Gpu(
        index=more.pop("index", 0),
        name=name,
        uuid="GPU-00000000-0000-0000-0000-000000000000",
        capability=ComputeCapability.parse(capability) if capability else None,
        memory_total=None if total is None else total * GIB,
        memory_free=None if free is None else free * GIB,
        **more,
    )


def torch(
    build: str = "1.9.0+cu111",
    cuda: str | None = "11.1",
    sm: str | None = "sm_37 sm_70 sm_80 sm_86",
    ptx: str = "",
    hip: str | None = None,
) -> Observed[TorchBuild]:
    """An installed torch."""
    return found(
        TorchBuild(
            version=build.partition("+")[0],
            build=build,
            location="/env/lib/torch",
            cuda=CudaVersion.parse(cuda) if cuda else None,
            hip=hip,
            sm=None if sm is None else tuple(map(ComputeCapability.parse, sm.split())),
            ptx=tuple(map(ComputeCapability.parse, ptx.split())),
        ),
        "version.py",
    )


def vision(build: str, cuda: str | None = None, pin: str | None = None) -> Observed[VisionBuild]:
    """The torchvision beside it."""
    value = VisionBuild(
        version=build.partition("+")[0], build=build, cuda=CudaVersion.parse(cuda) if cuda else None, torch_pin=pin
    )
    return found(value, "version.py")


def machine(version: str | None = "455.23.05", cards: Iterable[Gpu] | None = None, **facts: Any) -> Machine:
    """A lab server on which all is well, but for what is given."""
    well: dict[str, Any] = {
        "platform": found(LINUX, "kernel"),
        "driver": found(Driver(version=DriverVersion.parse(version)), "NVML") if version else absent("NVML"),
        "gpus": found((card(),) if cards is None else tuple(cards), "NVML") if version else absent("NVML"),
        "driver_layers": found(
            DriverLayers(nvml="works" if version else "absent", device_nodes=("/dev/nvidia0",) if version else ()),
            "NVML",
        ),
        "displays": found((RTX_3090,), "lspci") if version else absent("lspci"),
        "toolkits": absent("PATH"),
        "host_compilers": absent("PATH"),
        "conda": absent("PATH"),
    }
    return Machine(**{**well, **facts})


def environment(**facts: Any) -> Environment:
    """An environment in which all is well, but for what is given."""
    well: dict[str, Any] = {
        "interpreter": found(PYTHON, "asked"),
        "distributions": found((), "files"),
        "torch": torch(),
        "torchvision": vision("0.10.0+cu111", "11.1", "1.9.0"),
        "torch_import": unknown("import torch", NOT_ASKED),
        "package_sources": found((), "files"),
        "elsewhere": absent("near by"),
    }
    return Environment(**{**well, **facts})


def layers(**said: Any) -> Observed[DriverLayers]:
    return found(DriverLayers(**{"nvml": "error", **said}), "NVML")


def placed(**changes: Any) -> Observed[Platform]:
    return found(msgspec.structs.replace(LINUX, **changes), "kernel")


BROKEN: dict[str, Any] = {"driver": unknown("NVML", "broken"), "gpus": unknown("NVML", "broken")}
NO_TORCH: Observed[TorchBuild] = absent("site-packages")
OLD_PYTHON = msgspec.structs.replace(PYTHON, version="2.7.18", tag="cp27")
VIA_POLICY = card("NVIDIA GeForce RTX 5090", "12.0")
IDLE = card(index=1)
FULL = card(
    free=1, processes=(GpuProcess(pid=4242, memory=22 * GIB, user="li", command="python train.py", since="2024-05-01"),)
)

# Facts, and the codes of exactly those findings that they must give. Each entry is a sentence that starts with "it is found".
HAND_MADE: dict[str, tuple[Machine, Environment, tuple[str, ...]]] = {
    "nothing: all is well": (machine(), environment(), ()),
    "nothing: a newer driver than needed": (machine("580.95.05"), environment(), ()),
    # DRV101
    "driver one build below the floor of its family": (machine("450.80.01"), environment(), ("DRV101",)),
    "nothing: driver exactly at the floor": (machine("450.80.02"), environment(), ()),
    "CPU build, however old the driver": (
        machine("390.157", cards=[]),
        environment(torch=torch("1.9.0+cpu", None, None), torchvision=absent("-")),
        ("TOR101",),
    ),
    "driver too old for CUDA 13": (
        machine("570.86.15"),
        environment(torch=torch("2.14.1+cu130", "13.0", "sm_80 sm_86"), torchvision=absent("-")),
        ("DRV101",),
    ),
    # DRV102
    "mismatch by NVML's number": (
        machine(driver_layers=layers(nvml_code=18, nvml_problem="Driver/library version mismatch"), **BROKEN),
        environment(),
        ("DRV102",),
    ),
    "mismatch by nvidia-smi's words": (
        machine(
            driver_layers=layers(smi="Failed to initialize NVML: Driver/library version mismatch", smi_exit=18),
            **BROKEN,
        ),
        environment(),
        ("DRV102",),
    ),
    "mismatch by the versions themselves": (
        machine(driver_layers=layers(nvml_code=999, kernel="550.54.14", library="550.163.01"), **BROKEN),
        environment(),
        ("DRV102",),
    ),
    "nothing: versions differ, but the driver works": (
        machine(driver_layers=layers(nvml="works", kernel="550.54.14", library="550.163.01")),
        environment(),
        (),
    ),
    # DRV103
    "module refused by NVML": (machine(driver_layers=layers(nvml_code=9), **BROKEN), environment(), ("DRV103",)),
    "module refused by nvidia-smi": (
        machine(driver_layers=layers(nvml="absent", smi_exit=9, smi="NVIDIA-SMI has failed"), **BROKEN),
        environment(),
        ("DRV103",),
    ),
    "card on the bus, no driver at all": (
        machine(None, displays=found((RTX_3090,), "lspci")),
        environment(),
        ("DRV103",),
    ),
    "nothing of the module: it is loaded, something else is wrong": (
        machine(driver_layers=layers(nvml_code=999, kernel="550.54.14"), **BROKEN),
        environment(),
        (),
    ),
    # CTR101
    "container that was started without the card": (
        machine(None, displays=found((RTX_3090,), "lspci"), platform=placed(container="docker")),
        environment(),
        ("CTR101",),
    ),
    # GPU101
    "no card, and that is no fault": (machine(None), environment(), ("GPU101",)),
    "card of another maker": (machine(None, displays=found((RADEON,), "lspci")), environment(), ("GPU101",)),
    "nothing: device files are there": (
        machine(None, driver_layers=layers(nvml="absent", device_nodes=("/dev/nvidia0",))),
        environment(),
        (),
    ),
    # GPU102, GPU103
    "card newer than the list": (machine("580.95.05", [VIA_POLICY]), environment(), ("GPU102",)),
    "nothing: portable code for a newer card": (
        machine("580.95.05", [VIA_POLICY]),
        environment(torch=torch(sm="sm_80 sm_86", ptx="compute_86")),
        (),
    ),
    "nothing: higher minor number of the same major": (
        machine("550.54.14", [card("NVIDIA GeForce RTX 4090", "8.9")]),
        environment(),
        (),
    ),
    "card newer than the list, known by its name only": (
        machine("580.95.05", [card("NVIDIA GeForce RTX 5090", None)]),
        environment(),
        ("GPU102",),
    ),
    "one of two cards is newer than the list": (
        machine("580.95.05", [card(), card("NVIDIA GeForce RTX 5090", "12.0", index=1)]),
        environment(),
        ("GPU102",),
    ),
    "card older than the list": (
        machine("535.183.01", [card("NVIDIA GeForce GTX 1080 Ti", "6.1")]),
        environment(torch=torch(sm="sm_70 sm_80 sm_86")),
        ("GPU103",),
    ),
    "nothing: the list is not known": (machine("580.95.05", [VIA_POLICY]), environment(torch=torch(sm=None)), ()),
    "nothing: a card nobody knows, without a capability": (
        machine("580.95.05", [card("NVIDIA Unheard-of", None)]),
        environment(),
        (),
    ),
    # TOR101, TOR102, INT101
    "CPU build beside a card": (
        machine(),
        environment(torch=torch("2.1.2+cpu", None, None), torchvision=absent("-")),
        ("TOR101",),
    ),
    "CPU build beside a card that has no driver": (
        machine(None, displays=found((RTX_3090,), "lspci")),
        environment(torch=torch("2.1.2+cpu", None, None), torchvision=absent("-")),
        ("DRV103", "TOR101"),
    ),
    "nothing of torch: CPU build where there is no card": (
        machine(None),
        environment(torch=torch("2.1.2+cpu", None, None), torchvision=absent("-")),
        ("GPU101",),
    ),
    "nothing: a ROCm build is no CPU build": (
        machine(),
        environment(torch=torch("2.4.1+rocm6.1", None, None, hip="6.1"), torchvision=absent("-")),
        (),
    ),
    "torch is missing": (machine(), environment(torch=NO_TORCH, torchvision=absent("-")), ("TOR102",)),
    "torch is elsewhere": (
        machine(),
        environment(
            torch=NO_TORCH,
            torchvision=absent("-"),
            elsewhere=found((Elsewhere(prefix="/other", torch="2.0.1"),), "near by"),
        ),
        ("INT101", "TOR102"),
    ),
    "nothing: torch is here and elsewhere": (
        machine(),
        environment(elsewhere=found((Elsewhere(prefix="/other", torch="2.0.1"),), "near by")),
        (),
    ),
    # INT102, INT103
    "no interpreter": (
        machine(),
        environment(
            interpreter=absent("python on PATH", "no such interpreter"),
            torch=unknown("-", "no answer"),
            torchvision=unknown("-", "no answer"),
        ),
        ("INT102",),
    ),
    "interpreter that does not answer": (
        machine(),
        environment(
            interpreter=unknown("/env/bin/python", "exit code 127"),
            torch=unknown("-", "no answer"),
            torchvision=unknown("-", "no answer"),
        ),
        ("INT102",),
    ),
    "interpreter of another age": (
        machine(),
        environment(
            interpreter=found(OLD_PYTHON, "asked"), torch=unknown("-", "too old"), torchvision=unknown("-", "too old")
        ),
        ("INT103",),
    ),
    # FAM101
    "torchvision pinned to another torch": (
        machine(),
        environment(torchvision=vision("0.15.2", None, "2.0.1")),
        ("FAM101",),
    ),
    "torchvision of another age without a pin": (machine(), environment(torchvision=vision("0.15.2")), ("FAM101",)),
    "torchvision with CUDA beside a CPU torch": (
        machine(None),
        environment(torch=torch("1.9.0+cpu", None, None)),
        ("FAM101", "GPU101"),
    ),
    "torchvision of another CUDA family": (
        machine("580.95.05"),
        environment(torch=torch("2.4.1+cu118", "11.8"), torchvision=vision("0.19.1+cu121", "12.1", "2.4.1")),
        ("FAM101",),
    ),
    "nothing: torchvision whose label differs only in the minor": (
        machine("580.95.05"),
        environment(torch=torch("2.4.1+cu124", "12.4"), torchvision=vision("0.19.1+cu121", "12.1", "2.4.1")),
        (),
    ),
    "nothing: a version nobody can read": (
        machine(),
        environment(torch=torch("1.9.0a0+gitd69c22d"), torchvision=vision("0.10.0a0+abc")),
        (),
    ),
    # MEM102
    "card full of somebody's training": (machine(cards=[FULL, IDLE]), environment(), ("MEM102",)),
    "all cards are full": (machine(cards=[FULL]), environment(), ("MEM102",)),
    "nothing: a tenth is free": (machine(cards=[card(free=3, total=24)]), environment(), ()),
    "nothing: memory is not told": (machine(cards=[card(free=None, total=None)]), environment(), ()),
}


def findings_of(facts: tuple[Machine, Environment], tables: Tables) -> dict[str, Finding]:
    return {finding.code: finding for finding in diagnose(judge(*facts, tables)).findings}


@pytest.mark.parametrize("name", HAND_MADE)
def test_facts_give_exactly_these_findings(name: str, tables: Tables) -> None:
    machine_facts, environment_facts, codes = HAND_MADE[name]
    verdicts = judge(machine_facts, environment_facts, tables)
    assert [verdict.reason for verdict in verdicts if verdict.status == "crashed"] == []
    assert tuple(sorted(finding.code for finding in diagnose(verdicts).findings)) == codes


def test_floor_of_windows_counts_under_wsl(tables: Tables) -> None:
    facts = (
        machine("527.40", platform=placed(wsl=True)),
        environment(torch=torch("2.4.1+cu121", "12.1"), torchvision=absent("-")),
    )
    assert "DRV101" in findings_of(facts, tables), "on Windows CUDA 12 needs 528.33"
    assert "DRV101" not in findings_of((machine("527.40"), facts[1]), tables), "on Linux 525.60.13 is enough"


def test_severity_of_an_unfit_card_depends_on_the_others(tables: Tables) -> None:
    one = findings_of(
        (machine("580.95.05", [card(), card("NVIDIA GeForce RTX 5090", "12.0", index=1)]), environment()), tables
    )
    assert one["GPU102"].severity == Severity.WARNING
    assert "RTX 5090 (sm_120)" in one["GPU102"].message
    assert "3090" not in one["GPU102"].message
    assert findings_of((machine("580.95.05", [VIA_POLICY]), environment()), tables)["GPU102"].severity == Severity.ERROR


def test_mismatch_says_both_versions_and_reboot(tables: Tables) -> None:
    facts = machine(driver_layers=layers(nvml_code=18, kernel="550.54.14", library="550.163.01"), **BROKEN)
    finding = findings_of((facts, environment()), tables)["DRV102"]
    assert "(files 550.163.01, loaded module 550.54.14)" in finding.message
    assert "Reboot" in finding.remedies[0].text
    assert not any(remedy.safe for remedy in finding.remedies)
    inside = findings_of((msgspec.structs.replace(facts, platform=placed(container="docker")), environment()), tables)[
        "DRV102"
    ]
    assert any("image" in remedy.text for remedy in inside.remedies)


def test_full_card_names_its_holder_and_the_line_to_paste(tables: Tables) -> None:
    finding = findings_of((machine(cards=[FULL, IDLE]), environment()), tables)["MEM102"]
    assert finding.severity == Severity.WARNING
    (evidence,) = finding.because
    assert evidence.value == "GPU 0: process 4242 of li (python train.py) holds 22.0 GiB since 2024-05-01"
    paste = to_text(finding)
    assert "export CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES=GPU-00000000-0000-0000-0000-000000000000" in paste
    assert "batch" not in paste, "a smaller batch does not help against somebody else's process"
    alone = findings_of((machine(cards=[FULL]), environment()), tables)["MEM102"]
    assert "No card is free" in alone.remedies[0].text
    silent = findings_of((machine(cards=[card(free=0)]), environment()), tables)["MEM102"]
    assert "holders not told by the driver" in silent.because[0].value


def to_text(finding: Finding) -> str:
    return "\n".join(
        remedy.text + "\n" + "\n".join(" ".join(argv) for argv in remedy.commands) for remedy in finding.remedies
    )


def test_symptom_follows_from_its_root(tables: Tables) -> None:
    both = diagnose(judge(*HAND_MADE["torch is elsewhere"][:2], tables)).findings
    assert [(finding.code, finding.follows_from) for finding in both] == [("INT101", None), ("TOR102", "INT101")]


# --- judging ---


def made_up(code: str, check: Any = lambda *_: (), **changes: Any) -> Rule:
    return Rule(**{"code": code, "cause": code.lower(), "title": code, "needs": (), "check": check, **changes})


def finding(code: str, severity: Severity = Severity.ERROR) -> Finding:
    return Finding(code=code, cause=code.lower(), severity=severity, message=code)


def test_rule_whose_facts_are_unknown_is_skipped_with_the_reason(tables: Tables) -> None:
    rule = made_up("X1", needs=("machine.driver",), check=lambda *_: [finding("X1")])
    (verdict,) = judge(machine(**BROKEN), environment(), tables, [rule])
    assert (verdict.status, verdict.reason, verdict.findings) == ("skipped", "machine.driver is unknown: broken", ())


def test_absent_facts_are_judged_not_skipped(tables: Tables) -> None:
    (verdict,) = judge(machine(None), environment(), tables, [made_up("X1", needs=("machine.driver",))])
    assert verdict.status == "passed"


def test_rule_that_fails_is_seen_and_hides_no_other(tables: Tables) -> None:
    def fails(*_: object) -> Iterable[Finding]:
        yield finding("X1")
        raise ZeroDivisionError("by nought")

    crashed, other = judge(
        machine(), environment(), tables, [made_up("X1", fails), made_up("X2", lambda *_: [finding("X2")])]
    )
    assert crashed.status == "crashed"
    assert "ZeroDivisionError: by nought" in (crashed.reason or "")
    assert other.status == "found"
    diagnosis = diagnose([crashed], [])
    assert diagnosis.verdict == "degraded", "a rule that could not be judged is never a clean bill"
    assert diagnosis.skipped[0].code == "X1"


def test_table_that_is_wrong_is_no_fault_of_a_rule(tables: Tables) -> None:
    def fails(*_: object) -> Iterable[Finding]:
        raise TableError("drivers.yaml: row 3")

    with pytest.raises(TableError):
        judge(machine(), environment(), tables, [made_up("X1", fails)])


@pytest.mark.parametrize(
    ("severities", "reasons", "verdict"),
    [
        ([], [], "healthy"),
        ([Severity.INFO], [], "healthy"),
        ([Severity.INFO, Severity.WARNING], [], "degraded"),
        ([Severity.WARNING, Severity.ERROR], [], "broken"),
        ([], ["machine.driver is unknown: broken"], "degraded"),
        ([], [f"environment.torch_import is unknown: {NOT_ASKED}"], "healthy"),
        ([Severity.ERROR], ["machine.driver is unknown: broken"], "broken"),
    ],
)
def test_verdict_is_the_worst_finding_or_a_doubt(severities: list[Severity], reasons: list[str], verdict: str) -> None:
    verdicts = [
        Verdict(code=f"X{n}", cause="x", status="found", findings=(finding(f"X{n}", severity),))
        for n, severity in enumerate(severities)
    ]
    verdicts += [Verdict(code="Y1", cause="y", status="skipped", reason=reason) for reason in reasons]
    assert diagnose(verdicts, []).verdict == verdict


def test_roots_come_first_and_symptoms_after_them() -> None:
    known = [
        made_up("SYM", rank=10),
        made_up("ROOT", rank=40, explains=("sym",)),
        made_up("NEXT", rank=20),
        made_up("WARN", rank=1),
    ]
    verdicts = [
        Verdict(code=code, cause=code.lower(), status="found", findings=(finding(code, severity),))
        for code, severity in (
            ("SYM", Severity.ERROR),
            ("WARN", Severity.WARNING),
            ("ROOT", Severity.ERROR),
            ("NEXT", Severity.ERROR),
        )
    ]
    ordered = diagnose(verdicts, known).findings
    assert [one.code for one in ordered] == ["NEXT", "ROOT", "SYM", "WARN"]
    assert [one.follows_from for one in ordered] == [None, None, "ROOT", None]


# --- the house rules of rule files ---

RULES = all_rules()


def test_every_file_is_a_rule_named_by_its_code_and_cause() -> None:
    names = {info.name for info in pkgutil.iter_modules(rules.__path__) if not info.name.startswith("_")}
    assert names == {f"{rule.code.lower()}_{rule.cause}" for rule in RULES}
    assert len({rule.code for rule in RULES}) == len({rule.cause for rule in RULES}) == len(RULES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_rule_is_complete(rule: Rule) -> None:
    assert re.fullmatch(r"(DRV|GPU|TKT|TOR|FAM|INT|CND|LIB|CTR|MEM|NET|VAR)\d{3}", rule.code)
    assert re.fullmatch(r"[a-z][a-z0-9_]+", rule.cause)
    for need in rule.needs:
        record, _, field = need.partition(".")
        assert field in {"machine": Machine, "environment": Environment}[record].__struct_fields__
    page = manual(rule)
    headings = ["What it checks", "Why it matters", "How to fix", "Sources"]
    assert [line for line in page.splitlines() if line in headings] == headings
    assert importlib.import_module(rule.check.__module__).RULE is rule


def test_what_a_rule_explains_is_the_cause_of_some_rule_or_of_the_catalogue() -> None:
    for rule in RULES:
        assert rule.cause not in rule.explains
        assert all(re.fullmatch(r"[a-z][a-z0-9_]+", cause) for cause in rule.explains)


@pytest.mark.parametrize("name", HAND_MADE)
def test_finding_says_why_and_what_to_do(name: str, tables: Tables) -> None:
    for one in findings_of(HAND_MADE[name][:2], tables).values():
        assert one.message.endswith(".")
        assert one.message[0].isupper() or one.message.startswith("torch")
        assert one.because, one.code
        assert all(evidence.value and evidence.source for evidence in one.because)
        assert one.remedies, one.code
        assert all(argv and all(argv) for remedy in one.remedies for argv in remedy.commands)

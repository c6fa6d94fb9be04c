"""Rules on made-up facts: when each one speaks, when it keeps silent, and what it advises."""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from envfix import rules
from envfix.errors import TableError
from envfix.model.facts import NOT_ASKED, Environment, Machine, TorchImport, absent, found
from envfix.model.finding import Finding, Severity, Verdict
from envfix.rules._rule import Rule, all_rules, diagnose, judge, manual
from envfix.tables.loader import Tables
from tests.made_up import (
    BROKEN,
    FULL,
    IDLE,
    RTX_3090,
    VIA_POLICY,
    all_hand_made,
    card,
    environment,
    layers,
    machine,
    placed,
    torch,
)

HAND_MADE = all_hand_made()


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
    headings = ["What you see", "Why", "How envfix knows", "How to mend", "What not to do", "Sources"]
    assert [line for line in page.splitlines() if line in headings] == headings
    assert rule.check is not None or rule.log is not None


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
        # A record as Python writes it down is no sentence.
        assert not [evidence for evidence in one.because if re.match(r"[A-Z]\w+\(\w+=", evidence.value)]
        assert one.remedies, one.code
        assert all(argv and all(argv) for remedy in one.remedies for argv in remedy.commands)


def test_list_of_cards_is_cited_from_the_library_and_the_oldest_driver_in_words(tables: Tables) -> None:
    too_new = findings_of((machine("580.95.05", [VIA_POLICY]), environment()), tables)["GPU102"]
    assert too_new.because[-1].source == "/env/lib/torch/lib (libtorch_python or libtorch_cuda)"
    told = environment(torch=msgspec.structs.replace(torch(), source="a report"))
    assert findings_of((machine("580.95.05", [VIA_POLICY]), told), tables)["GPU102"].because[-1].source == "a report"
    too_old = findings_of((machine("450.80.01"), environment()), tables)["DRV101"]
    assert too_old.because[-1].source == "NVIDIA's compatibility guide and release notes"


def test_build_for_another_makers_cards_says_so(tables: Tables) -> None:
    for build, hip, maker in (("2.4.1+rocm6.1", "6.1", "AMD"), ("2.6.0+xpu", None, "Intel")):
        made = environment(torch=torch(build, None, None, hip=hip), torchvision=absent("-"))
        message = findings_of((machine(), made), tables)["TOR101"].message
        assert message.startswith(f"torch {build} was built for cards of {maker}: it cannot use the GPU")


def test_card_without_a_driver_is_cited_from_the_bus(tables: Tables) -> None:
    made = environment(torch=torch("2.1.2+cpu", None, None), torchvision=absent("-"))
    on = machine(driver_layers=layers(nvml_code=999), displays=found((RTX_3090,), "lspci"), **BROKEN)
    cited = findings_of((on, made), tables)["TOR101"].because[-1]
    assert (cited.fact, cited.source) == ("machine.displays", "lspci")
    assert "RTX 3090" in cited.value


def test_import_that_hangs_is_not_looked_at_by_one_that_hangs(tables: Tables) -> None:
    said = TorchImport(ok=False, seconds=120.0, error="no answer within 120 seconds")
    finding = findings_of((machine(), environment(torch_import=found(said, "import torch"))), tables)["TOR103"]
    code = finding.remedies[-1].commands[0][-1]
    assert "dump_traceback_later(30, exit=True)" in code
    compile(code, "-", "exec")

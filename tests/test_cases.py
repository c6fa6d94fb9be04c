"""Real failures, described by the people who had them: what the stated facts alone must lead to.

The collection lies beside the checkout and is no part of the project; without it these tests are skipped.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from envfix.model.finding import Finding, Severity
from envfix.rules._rule import all_rules, diagnose, judge
from envfix.tables.loader import Tables, load
from scripts.confusion import explained
from tests.described_facts import described

CASES = Path(__file__).resolve().parent.parent.parent / "shared" / "cases"

# Cases whose cause the stated facts do not hold: the decisive evidence is in the error text, or a wish (which version was
# asked for) that no machine shows. Reading logs decides them; each is checked here to be still undecided.
LOG_DECIDES = {
    "compute_mode_exclusive-11eadc": "no compute mode is stated; 'busy or unavailable' is in the log",
    "conda_solve_stuck-b4216e": "that the solver hangs is seen in its output; its version is not stated",
    "container_lost_gpu_cgroup-a0e4ee": "not even a container is stated; NVML's 'Unknown Error' is in the log",
    "container_without_gpu-314525": "a container, but not how it was started; 'nvidia-smi: not found' is in the log",
    "cpu_only_build_installed-34d454": "a CPU build is stated, but no card that it fails to use",
    "cpu_only_build_installed-ae860a": "the installed build is not stated; it follows from Windows, pip and the log",
    "cudnn_version_conflict-8a9a4c": "a system cuDNN does no harm by being there; that it is loaded is in the log",
    "extension_missing_arch-c2f258": "the extension and what it was compiled for are not stated",
    "extension_missing_arch-dbc5b3": "neither the card nor torch is stated",
    "library_too_old_for_torch-e8c201": "the version of the vendored ultralytics is not stated",
    "nvidia_kernel_module_not_loaded-e41f55": "'No devices were found' is in the log; the module's flavour is not stated",
    "oom_other_process-d4b534": "neither card nor memory is stated",
    "oom_workload_too_big-13a2a2": "how much memory was free is not stated; the error text names the failure",
    "oom_workload_too_big-5f1feb": "neither card nor memory is stated",
    "platform_without_wheel-d4ac8f": "true in 2024; today there are wheels for that Python and platform",
    "requirements_replaced_torch-45c9c9": "what was installed before and after is in the log",
    "requirements_replaced_torch-84c3e0": "the installed build is not stated",
    "sm_too_new_for_wheel-fde1aa": "the torch that runs is not stated (a nightly cu128 would fit the card)",
    "sm_too_old_for_wheel-83cb2e": "torch and the compiled operators are not stated",
    "wheel_python_mismatch-460017": "the Python is not stated, and a wish is no fact of a machine (`plan` answers it)",
    "wheel_python_mismatch-f4c132": "a wish is no fact of a machine: `plan --torch ==1.9.1+cu111 --python 3.10` answers it",
    "wrong_interpreter-a7bd38": "which python3 comes first on PATH is not stated",
}


def _all() -> list[dict[str, Any]]:
    import yaml

    return [case for file in sorted(CASES.glob("*.yaml")) for case in yaml.safe_load(file.read_text("utf-8"))["cases"]]


EVERY = _all()
BY_FACTS = [case for case in EVERY if case["decidable_from"] == "log_and_facts"]
pytestmark = pytest.mark.skipif(not EVERY, reason=f"no collection of cases at {CASES}")


def findings(case: dict[str, Any], tables: Tables) -> tuple[Finding, ...]:
    """What the stated facts lead to, the root first; a rule that crashes fails the test."""
    verdicts = judge(*described(case["environment"], tables, case.get("collect_env")), tables)
    assert [verdict.reason for verdict in verdicts if verdict.status == "crashed"] == []
    return diagnose(verdicts).findings


def acceptable(case: dict[str, Any]) -> set[str]:
    return {case["cause"], *case["also_acceptable"]}


@pytest.mark.parametrize("case", BY_FACTS, ids=lambda case: case["id"])
def test_stated_facts_lead_to_the_cause(case: dict[str, Any], tables: Tables) -> None:
    seen = [finding.cause for finding in findings(case, tables)]
    if case["id"] in LOG_DECIDES:
        assert not acceptable(case) & set(seen), "the facts decide it by now: take it off the list"
        pytest.skip(f"the log decides: {LOG_DECIDES[case['id']]}")
    if case["cause"] not in {rule.cause for rule in all_rules()} and not acceptable(case) & set(seen):
        pytest.skip(f"no rule for {case['cause']} in this build")
    assert seen, "no finding at all"
    assert seen[0] in acceptable(case), seen


def test_list_of_undecidable_cases_names_existing_ones() -> None:
    assert LOG_DECIDES.keys() <= {case["id"] for case in BY_FACTS}


# Cases that their log and the stated facts do not lead to, each with what is missing.
NOT_EXPLAINED = {
    "cpu_only_build_installed-34d454": "a file of requirements, in which no program says anything",
    "extension_missing_arch-c2f258": "an old card and a text that torch and its extensions share; the extension is not named",
    "mig_single_instance-a4d381": "a count of one card, which is right in most logs",
}


@pytest.mark.parametrize("case", EVERY, ids=lambda case: case["id"])
def test_log_leads_to_the_cause(case: dict[str, Any], tables: Tables) -> None:
    said = [cause.cause for cause in explained(case, tables, with_facts=case["decidable_from"] != "log").causes]
    if case["id"] in NOT_EXPLAINED:
        assert said[:1] == [] or said[0] not in acceptable(case), "it is explained by now: take it off the list"
        pytest.skip(f"not explained: {NOT_EXPLAINED[case['id']]}")
    assert said[:1] != [], "no cause at all"
    assert said[0] in acceptable(case), said


# Causes that are true beside the one the case is about: a Python of another age is too old for today's torch.
TRUE_ANYWAY = {"python_too_old"}


@pytest.mark.parametrize("case", EVERY, ids=lambda case: case["id"])
def test_stated_facts_accuse_nothing_else(case: dict[str, Any], tables: Tables) -> None:
    errors = {finding.cause for finding in findings(case, tables) if finding.severity is Severity.ERROR}
    assert errors <= acceptable(case) | TRUE_ANYWAY


def table() -> str:
    """Every case of the collection with its first findings, for reading: ``python -m tests.test_cases``."""
    tables, rules = load(), {rule.cause for rule in all_rules()}
    rows = []
    for case in EVERY:
        seen = [finding.cause for finding in findings(case, tables)]
        if not seen and case["decidable_from"] == "log":
            continue
        mark = (
            "first" if seen[:1] and seen[0] in acceptable(case) else "among" if acceptable(case) & set(seen) else "no"
        )
        mark = (
            "log decides"
            if case["id"] in LOG_DECIDES
            else mark
            if mark != "no" or case["cause"] in rules
            else "no rule"
        )
        rows.append(f"{case['decidable_from']:13}  {case['id']:45}  {mark:11}  {', '.join(seen) or '-'}")
    return "\n".join(rows)


if __name__ == "__main__":
    print(table())  # noqa: T201

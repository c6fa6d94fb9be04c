"""foresee: which stack would mend a broken environment, and what would still be wrong then, because faults stack."""

from __future__ import annotations

import msgspec

from envfix.app.advising import offers_install
from envfix.app.diagnosing import diagnose
from envfix.errors import UsageError
from envfix.model.facts import Environment, Machine
from envfix.model.finding import Diagnosis, Severity
from envfix.model.plan import Goal
from envfix.model.report import Afterwards
from envfix.resolver.choose import choose
from envfix.resolver.predict import predicted
from envfix.resolver.target import Elsewhere, describe
from envfix.tables.loader import Tables


def foresee(machine: Machine, environment: Environment, diagnosis: Diagnosis, tables: Tables) -> Afterwards | None:
    """The stack that ``envfix install`` would bring and what it would leave wrong; None where nothing needs to be installed.

    Planned from the tables alone, as if every index answered: what blocks here blocks with every index.
    """
    advised = any(offers_install(remedy) for finding in diagnosis.findings for remedy in finding.remedies)
    if diagnosis.verdict != "broken" or not advised or environment.interpreter.value is None:
        return None
    try:
        target = describe(machine, environment.interpreter, Elsewhere(), tables)
        plan = choose(target, Goal(offline=True), (), tables)
    except UsageError:
        return None  # a machine that cannot be planned for is told by its own findings
    if plan.choice is None:
        return Afterwards(plan=plan)
    known = {finding.code for finding in diagnosis.findings}
    later = diagnose(machine, predicted(environment, plan, tables), tables).findings
    new = tuple(
        msgspec.structs.replace(finding, follows_from=None)
        for finding in later
        if finding.code not in known and finding.severity != Severity.INFO
    )
    return Afterwards(plan=plan, findings=new)

"""pkg_resources is gone from setuptools, and an installed package still imports it.

What it checks
    No module ``pkg_resources`` on the target's path, while ultralytics or torch's builder of extensions begins with
    importing it.

Why it matters
    setuptools 82 removed it: "No module named 'pkg_resources'". An old ultralytics does not start at all; with an
    old torch it bites only when an extension is compiled.

How to fix
    Hold setuptools below 81 in that environment (there is no package of that name to install), or update the
    package that needs it.

Sources
    The first lines of the modules themselves; the folders on the target's path.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Evidence, Finding, Severity
from envfix.rules._changing import in_place
from envfix.rules._family import evidence, installed
from envfix.rules._rule import Rule
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del machine, tables
    value = environment.binaries.value
    if value is None or value.pkg_resources or not value.pkg_resources_wanted_by:
        return
    setuptools = installed(environment).get("setuptools")
    starts = "ultralytics" in value.pkg_resources_wanted_by
    if not starts and setuptools is None:
        return  # who compiles nothing has no need of setuptools
    who = "ultralytics" if starts else value.pkg_resources_wanted_by[0]
    what = f"setuptools {setuptools.version} no longer has it" if setuptools else "setuptools is not installed"
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR if starts else Severity.INFO,
        message=f"The module pkg_resources is missing ({what}), and {who} imports it"
        + (": it does not start." if starts else ": compiling an extension would fail."),
        because=(
            Evidence(
                fact="environment.binaries", value=f"{who} imports pkg_resources", source=environment.binaries.source
            ),
            *(evidence(setuptools) if setuptools else ()),
        ),
        remedies=(in_place(environment, "Hold setuptools back in this environment.", "install", "setuptools<81"),),
    )


RULE = Rule(
    code="FAM113",
    cause="setuptools_pkg_resources_removed",
    title="pkg_resources is gone from setuptools",
    needs=("environment.binaries",),
    check=check,
    rank=39,
)

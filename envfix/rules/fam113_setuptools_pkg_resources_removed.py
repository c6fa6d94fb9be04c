"""pkg_resources is gone from setuptools, and an installed package still imports it.

What you see
    "ModuleNotFoundError: No module named 'pkg_resources'", often while a package is being built.

Why
    setuptools 82 removed it. An old ultralytics does not start at all; with an old torch it bites only when an
    extension is compiled. A build in an environment of its own fetches the newest setuptools, whatever is
    installed here.

How envfix knows
    No module ``pkg_resources`` on the target's path, while ultralytics or torch's builder of extensions begins
    with importing it. In a log the text above.

How to mend
    Hold setuptools below 81 in that environment, or update the package that needs it. For a build, say so to
    the builder (a build constraint), or build without isolation.

What not to do
    Do not try to install a package named pkg_resources: there is none to install.

Sources
    The first lines of the modules themselves; the folders on the target's path.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Signature
from envfix.rules._changing import in_place
from envfix.rules._family import evidence, installed
from envfix.rules._log import LogSide, Reading
from envfix.rules._rule import Rule
from envfix.rules.fam114_build_isolation_no_torch import while_building
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
    what = (
        say("setuptools {version} no longer has it", version=setuptools.version)
        if setuptools
        else say("setuptools is not installed")
    )
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR if starts else Severity.INFO,
        message=say("The module pkg_resources is missing ({what}), and {who} imports it", what=what, who=who)
        + (say(": it does not start.") if starts else say(": compiling an extension would fail.")),
        because=(
            Evidence(
                fact="environment.binaries",
                value=say("{who} imports pkg_resources", who=who),
                source=environment.binaries.source,
            ),
            *(evidence(setuptools) if setuptools else ()),
        ),
        remedies=(in_place(environment, say("Hold setuptools back in this environment."), "install", "setuptools<81"),),
    )


def _remedies(reading: Reading) -> tuple[Remedy, ...]:
    """In the environment itself, or in the one in which a package is built."""
    here = Remedy(
        text=say("Hold setuptools back in this environment."),
        commands=(("python", "-m", "pip", "install", "setuptools<81"),),
    )
    if not any(while_building(hit) for hit in reading.hits):
        return (here,)
    without = Remedy(
        text=say("Hold setuptools back here, and build the package with it instead of the newest one."),
        commands=(
            ("python", "-m", "pip", "install", "setuptools<81", "wheel"),
            ("python", "-m", "pip", "install", "--no-build-isolation", "PACKAGE"),
        ),
    )
    return (
        without,
        Remedy(text=say("Or take a newer release of that package, or a wheel of it: nothing is built then.")),
    )


LOG = LogSide(
    signatures=(
        Signature(pattern=r"No module named '?pkg_resources\b", confidence=0.96),
        Signature(pattern=r"pkg_resources \(setuptools\s?<\s?\d+\) is required", confidence=0.9),
        Signature(pattern=r"cannot import name '?packaging'? from '?pkg_resources", confidence=0.85),
        Signature(pattern=r"module '(?:setuptools\._)?distutils' has no attribute 'version'", confidence=0.5),
    ),
    message=later("setuptools no longer has pkg_resources, and a package still imports it."),
    remedies=_remedies,
    tell_apart=Remedy(
        text=later("See which setuptools is installed."), commands=(("python", "-m", "pip", "show", "setuptools"),)
    ),
)


RULE = Rule(
    code="FAM113",
    cause="setuptools_pkg_resources_removed",
    title=later("pkg_resources is gone from setuptools"),
    needs=("environment.binaries",),
    check=check,
    rank=39,
    log=LOG,
)

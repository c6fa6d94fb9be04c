"""A package that ultralytics, torchvision, torchaudio or torch requires is not installed.

What you see
    "ModuleNotFoundError: No module named 'matplotlib'" where the last line of the traceback lies in
    ``site-packages/ultralytics/...``; "ultralytics 8.3.0 requires matplotlib, which is not installed." of ``pip check``;
    "Missing dependencies: pandas, seaborn" of torch.hub.

Why
    The package was installed with ``--no-deps``, an installation stopped half-way, or somebody uninstalled what it needs.
    Much of it is imported at once: without OpenCV or NumPy no ultralytics starts, without matplotlib and PyYAML none up to
    8.3.100, without NumPy and Pillow no torchvision. Other parts are only missed when a plot is drawn or a training starts.

How envfix knows
    What the metadata of the installed package require on this Python and platform (without extras), against the installed
    packages. Any OpenCV stands for another one, and a package without metadata counts where its module is found. In a log
    the texts above, where the line that imports lies in one of these packages.

How to mend
    Install exactly what is missing, in the version that the metadata name: torch stays as it is.

What not to do
    Do not reinstall torch or ultralytics for it, and do not guess a package from the name of a module: cv2 comes with
    opencv-python, yaml with PyYAML, PIL with Pillow.

Sources
    Requires-Dist of the installed packages; the first lines of the modules of ultralytics 8.0.0 to 8.4.190; pip's and torch's
    messages.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

from packaging.version import Version

from envfix.model.facts import NOT_TOLD, Distribution, Environment, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.model.regex import regex
from envfix.rules._askers import OWN, asker
from envfix.rules._changing import conda, in_place
from envfix.rules._family import (
    Asked,
    evidence,
    import_failure,
    import_works,
    installed,
    key_of,
    requirements,
    version,
)
from envfix.rules._log import LogSide, Reading
from envfix.rules._log_context import as_by_log
from envfix.rules._rule import Rule
from envfix.tables.loader import Tables

FAMILY = ("torch", "torchvision", "torchaudio", "ultralytics")
# Modules that are not called like the package that brings them.
PACKAGES = {
    "IPython": "ipython",
    "PIL": "pillow",
    "cpuinfo": "py-cpuinfo",
    "cv2": "opencv-python",
    "dateutil": "python-dateutil",
    "git": "gitpython",
    "google.protobuf": "protobuf",
    "hydra": "hydra-core",
    "mpl_toolkits": "matplotlib",
    "pynvml": "nvidia-ml-py",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "thop": "ultralytics-thop",
    "yaml": "pyyaml",
}
_MODULES = {package: module for module, package in PACKAGES.items() if module != "mpl_toolkits"}
# Those that are, as far as the family asks for them.
SAME_NAME = frozenset(
    (
        "albumentations",
        "certifi",
        "filelock",
        "fsspec",
        "hub_sdk",
        "jinja2",
        "lap",
        "matplotlib",
        "mpmath",
        "networkx",
        "numpy",
        "onnx",
        "pandas",
        "polars",
        "psutil",
        "pycocotools",
        "requests",
        "scipy",
        "seaborn",
        "sentry_sdk",
        "shapely",
        "sympy",
        "tensorboard",
        "tqdm",
        "typing_extensions",
        "ultralytics_platform",
    )
)
# What other causes are about, and what an old pickle or a copied project calls its own modules.
ELSEWHERE = frozenset(
    (*FAMILY, "yolov5", "pytorch", "triton", "pkg_resources", "setuptools", "distutils", "imp", "nvidia")
)
OWN_NAMES = frozenset(("common", "data", "lib", "model", "models", "nn", "src", "tools", "utils", "yolo"))
_STANDARD = frozenset(sys.stdlib_module_names) - {"dataclasses"}

LAST_OLD_START = Version("8.3.100")
# conda's name of a package where it is not pip's.
_OF_CONDA = {"opencv-python": "py-opencv", "opencv-python-headless": "py-opencv"}


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    for name in FAMILY:
        item = installed(environment).get(name)
        missing = lacking(environment, item) if item is not None else []
        if item is not None and missing:
            yield _finding(machine, environment, item, missing)


def lacking(environment: Environment, item: Distribution) -> list[Asked]:
    """What a package requires and this Python does not have; what cannot be told, and what other causes judge, left out."""
    # A pasted report does not list all packages.
    if environment.binaries.problem == NOT_TOLD or _is_of_system(item):
        return []
    here = {*installed(environment), *item.findable}
    opencv = any("opencv" in name for name in here)
    found: dict[str, Asked] = {}
    for asked in requirements(environment, iter((item,))):
        name = key_of(asked.requirement.name)
        is_here = name in here or (opencv and "opencv" in name)
        if asked.extra is None and not is_here and not _is_judged_elsewhere(name, by=item.name):
            found.setdefault(name, asked)
    return list(found.values())


def _is_judged_elsewhere(name: str, *, by: str) -> bool:
    """Whether the want of a package is another cause's: torch's own CUDA libraries and Triton among them."""
    return name in ELSEWHERE or "triton" in name or (by == "torch" and name.startswith("nvidia-"))


def _is_of_system(item: Distribution) -> bool:
    """Debian's and conda's own builds: what they need is written in their packages, and their metadata need not be true."""
    of_debian = item.installer == "debian" or item.location.startswith("/usr/lib/python3/")
    return of_debian or (item.metadata or "").endswith(".egg-info")


def _finding(machine: Machine, environment: Environment, item: Distribution, missing: list[Asked]) -> Finding:
    names = [asked.requirement.name for asked in missing]
    stops = [name for name in names if _is_needed_to_start(environment, item, key_of(name))]
    severity = Severity.ERROR
    if stops:
        message = say(
            "The package {by} {version} asks for {missing}, which this Python does not have: it cannot be imported"
            " without {stops}.",
            by=item.name,
            version=item.version,
            missing=", ".join(names),
            stops=", ".join(stops),
        )
    else:
        severity = Severity.INFO if item.name == "torch" and import_works(environment) else Severity.WARNING
        message = say(
            "The package {by} {version} asks for {missing}, which this Python does not have: what uses it stops with"
            " \"No module named '{module}'\".",
            by=item.name,
            version=item.version,
            missing=", ".join(names),
            module=module_of(names[0]),
        )
    return Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=severity,
        message=message,
        because=evidence(item),
        remedies=(_remedy(machine, environment, item, missing),),
    )


def module_of(package: str) -> str:
    """The module that a package brings."""
    name = key_of(package)
    return "cv2" if "opencv" in name else _MODULES.get(name, name.replace("-", "_"))


def _is_needed_to_start(environment: Environment, item: Distribution, name: str) -> bool:
    """Whether the first import of a package was seen to need this one."""
    if item.name == "torch":
        return f"No module named '{module_of(name)}'" in (import_failure(environment) or "")
    if item.name == "torchvision":
        return name in ("numpy", "pillow")
    if item.name != "ultralytics":
        return False
    own = version(item.version)
    old = own is not None and own <= LAST_OLD_START
    return "opencv" in name or name == "numpy" or (old and name in ("matplotlib", "pyyaml"))


def stops_torch(environment: Environment) -> bool:
    """Whether the import of torch fails for want of a package that torch requires."""
    torch = installed(environment).get("torch")
    missing = lacking(environment, torch) if torch is not None else []
    return any(_is_needed_to_start(environment, one.by, key_of(one.requirement.name)) for one in missing)


def _remedy(machine: Machine, environment: Environment, item: Distribution, missing: list[Asked]) -> Remedy:
    """Exactly what is missing, and nothing that replaces torch."""
    text = say("Install what is missing; torch stays as it is.")
    if item.installer == "conda":
        packages = [_OF_CONDA.get(key_of(asked.requirement.name), asked.requirement.name) for asked in missing]
        commands = conda(machine, environment, "install", "--freeze-installed", "-c", "conda-forge", *packages)
        if commands:
            return Remedy(text=text, commands=commands)
    interpreter = environment.interpreter.value
    file = (
        f"{interpreter.prefix}/envfix-constraints.txt" if interpreter is not None and environment.held.value else None
    )
    constraints = ("-c", file) if file is not None else ()
    wanted = [f"{asked.requirement.name}{asked.requirement.specifier}" for asked in missing]
    return in_place(environment, text, "install", *constraints, *wanted)


# --- in a log ---

MODULE = r"No module named '?(?P<module>google\.protobuf|mpl_toolkits(?:\.\w+)?|[A-Za-z]\w{1,40})'?(?:[\s\"]|$)"
_WANTED = r"(?P<wanted>[A-Za-z][\w.-]{0,50})"
_ASKING = r"(?P<by>ultralytics|torchvision|torchaudio|torch)"
# A copy of the sources, or what torch.hub has fetched: no folder of packages.
_SOURCES = regex(
    r"(?:ultralytics|yolov5)[\w.-]*[/\\](?:ultralytics[/\\])?"
    r"(?:cfg|data|engine|hub|models|nn|solutions|trackers|utils|vit|yolo)[/\\][\w/\\.-]*\.py\"?, line \d+[^\n]*\n[^\n]*\n?\s*$"
)
# A pickle names the modules of whoever saved it.
_PICKLE = regex(r"torch[/\\]serialization\.py|[/\\]pickle\.py")


def _package_of(module: str) -> str | None:
    """What to ask pip for; None where nobody knows."""
    if module in SAME_NAME:
        return module.replace("_", "-")
    return PACKAGES.get(module) or PACKAGES.get(module.partition(".")[0])


def _weigh_module(hit: Hit, log: Log) -> float | None:
    """By whose line imports: the user's own program may import what it likes."""
    del log
    module = hit.groups["module"]
    top = module.partition(".")[0]
    above = hit.before.rpartition("Traceback (most recent call last)")[2]
    if top in ELSEWHERE or top in OWN_NAMES or top in _STANDARD or _PICKLE.search(above[-400:]):
        return None
    by, known = asker(hit), _package_of(module) is not None
    if by == "torch":
        return 0.9 if known and re.search(r"-packages[/\\]torch[/\\]", above) else None
    if by in (*FAMILY, "yolov5"):
        return 0.93 if known else 0.7
    if by == OWN and _SOURCES.search(hit.before.rpartition("\n")[0] + "\n"):
        return 0.88 if known else 0.6
    return None


def _weigh_wanted(hit: Hit, log: Log) -> float | None:
    del log
    return None if _is_judged_elsewhere(key_of(hit.groups["wanted"]), by=hit.groups["by"]) else 0.93


def _message(reading: Reading) -> str:
    groups, module = reading.groups, reading.groups.get("module")
    if "wanted" in groups:
        return say(
            "{by} asks for {missing}, which is not installed in that Python.",
            by=groups["by"],
            missing=groups["wanted"],
        )
    if module is None:
        return say(
            "The project that torch.hub loads asks for packages that are not installed: {names}.",
            names=groups.get("names", ""),
        )
    by = next((asker(hit) for hit in reading.hits if hit.groups.get("module") == module), OWN)
    who = by if by != OWN else "ultralytics"
    package = _package_of(module)
    if package is not None and package != module:
        return say(
            "{who} imports {module}, which the package {package} brings, and that Python does not have it.",
            who=who,
            module=module,
            package=package,
        )
    return say("{who} imports {module}, and that Python does not have it.", who=who, module=module)


def _mends(reading: Reading) -> Iterator[Remedy]:
    groups = reading.groups
    asked = [hit.groups["wanted"] + (hit.groups.get("spec") or "") for hit in reading.hits if hit.groups.get("wanted")]
    named = [_package_of(hit.groups["module"]) for hit in reading.hits if hit.groups.get("module")]
    hub = re.findall(r"[\w.-]+", groups.get("names", ""))
    packages = tuple(dict.fromkeys(asked or [one for one in named if one is not None] or map(_of_hub, hub)))
    if packages:
        yield Remedy(
            text=say("Install exactly what is missing, with the Python that ran; torch stays as it is."),
            commands=(("python", "-m", "pip", "install", *packages),),
        )
    else:
        yield Remedy(
            text=say(
                "Find out which package brings that module (its name may be another one), and install that with"
                " the Python that ran; nothing else needs to be installed anew."
            )
        )


def _of_hub(name: str) -> str:
    return _package_of(name) or name


LOG = LogSide(
    signatures=(
        Signature(pattern=MODULE, weigh=_weigh_module),
        Signature(
            pattern=_ASKING
            + r" (?P<by_version>\d[\w.+!-]{0,30}) requires "
            + _WANTED
            + r"(?P<spec>[=<>~!][^\s;]{1,60}?)?, which is not installed",
            weigh=_weigh_wanted,
            quoted=True,
        ),
        Signature(
            pattern=r"The package `"
            + _ASKING
            + r"` requires `"
            + _WANTED
            + r"(?P<spec>[=<>~!][^`\s;]{1,60})?(?:\s?;[^`\n]{1,200})?`, but it's not installed",
            weigh=_weigh_wanted,
            quoted=True,
        ),
        Signature(
            pattern=r"RuntimeError: Missing dependencies: (?P<names>[\w.-]{2,40}(?:, [\w.-]{2,40}){0,20})",
            confidence=0.9,
        ),
    ),
    message=_message,
    remedies=lambda reading: tuple(_mends(reading)),
    tell_apart=Remedy(
        text=later("See what is required and not installed."), commands=(("python", "-m", "pip", "check"),)
    ),
    with_facts=as_by_log,
)

RULE = Rule(
    code="FAM118",
    cause="required_package_missing",
    title=later("A package that ultralytics or torch requires is missing"),
    needs=("environment.distributions", "environment.interpreter"),
    check=check,
    rank=60,
    log=LOG,
)

"""A file or folder of one's own hides torch, or a module that torch needs.

What you see
    "partially initialized module 'torch' has no attribute ... (most likely due to a circular import)", "No module named
    'torch.nn'; 'torch' is not a package", "No module named 'torch._C'" with a relative path as in ``File "torch/__init__.py"``.

Why
    Python looks into the folder of the program (and, with ``python -c`` and ``python -m``, into the working folder)
    first, then into those of PYTHONPATH, and only then into the environment. ``import torch`` gets the wrong file.

How envfix knows
    The working folder holds ``torch.py``, a package ``torch/`` or the like, or a file named as a module that torch
    imports, of Python itself (``random.py``) or of another package (``typing_extensions.py``); or a folder of
    PYTHONPATH holds another copy of torch or numpy than the environment. In a log: the texts above, and in the traceback a file of
    that name which lies in no folder of packages.

How to mend
    Rename the file (and delete the ``__pycache__`` beside it), leave the folder, or take the folder out of PYTHONPATH.

What not to do
    torch itself is in order: do not reinstall it.

Sources
    The working folder; PYTHONPATH and the target's own path, in the order in which Python looks; Python's documentation of
    sys.path.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterator

from envfix.model.facts import Environment, Interpreter, Machine, ModuleCopy
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.model.regex import regex
from envfix.rules._environments import startup_of, variable
from envfix.rules._family import key_of
from envfix.rules._log import LogSide, Reading
from envfix.rules._roots import hidden_by_pythonpath, is_other_torch, pythonpath, separator, whole
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

FAMILY = ("torch", "torchvision", "numpy", "ultralytics")
# What torch imports that is neither Python's nor its own, each by the package that brings it.
OF_TORCH = {name: name for name in ("filelock", "fsspec", "jinja2", "mpmath", "networkx", "sympy")}
OF_TORCH["typing_extensions"] = "typing-extensions"
# The same of ultralytics.
OF_ULTRALYTICS = {
    name: name
    for name in (
        "matplotlib",
        "packaging",
        "pandas",
        "polars",
        "psutil",
        "requests",
        "scipy",
        "seaborn",
        "thop",
        "tqdm",
    )
}
OF_ULTRALYTICS |= {"PIL": "pillow", "cpuinfo": "py-cpuinfo", "cv2": "opencv", "thop": "ultralytics-thop"}
OF_ULTRALYTICS["yaml"] = "pyyaml"


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del machine, tables
    interpreter = environment.interpreter.value
    if interpreter is None:
        return
    shadows = [name for name in interpreter.shadows if _hides_something(name, environment)]
    hidden = list(hidden_by_pythonpath(startup_of(environment)))
    if shadows:
        yield _in_folder(environment, interpreter, shadows)
    if hidden:
        yield _on_pythonpath(environment, hidden)


def _module(shadow: str) -> str:
    return shadow.removesuffix(".py").rstrip("/\\")


def _hides_something(shadow: str, environment: Environment) -> bool:
    """A clone of ultralytics in which one works hides nothing unless another is installed; torch must be there to be hidden.

    A file named as another package's module does harm where that package is there, and what imports it.
    """
    name, here = _module(shadow), {key_of(item.name) for item in environment.distributions.value or ()}
    if name == "ultralytics":
        return name in here
    if name in OF_TORCH:
        return not environment.torch.is_absent and OF_TORCH[name] in here
    if name in OF_ULTRALYTICS:
        package = OF_ULTRALYTICS[name]
        return "ultralytics" in here and any(one.startswith(package) for one in here)
    return name != "torch" or not environment.torch.is_absent or shadow.endswith(".py")


def _what_it_hides(shadow: str) -> str:
    name = _module(shadow)
    if name in FAMILY:
        return say("module of that name")
    if name in OF_TORCH:
        return say("installed module of that name, which torch imports")
    if name in OF_ULTRALYTICS:
        return say("installed module of that name, which ultralytics imports")
    return say("module of Python itself that torch imports")


# --- the working folder ---


def _in_folder(environment: Environment, interpreter: Interpreter, shadows: list[str]) -> Finding:
    folder = startup_of(environment).working_folder or "."
    worst = min(shadows, key=_order)
    return Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=_severity(worst),
        message=say(
            "The {which} {worst} in {folder} hides the {what_it_hides}: programs started in this"
            " folder import it instead.",
            which=say("file") if worst.endswith(".py") else say("folder"),
            worst=worst,
            folder=folder,
            what_it_hides=_what_it_hides(worst),
        ),
        because=tuple(
            cite("environment.interpreter", environment.interpreter, f"{folder}/{shadow}") for shadow in shadows[:5]
        ),
        remedies=tuple(_away(folder, shadow) for shadow in sorted(shadows, key=_order)[:3])
        or (Remedy(text=say("Use {executable} from another folder.", executable=interpreter.executable)),),
    )


def _order(shadow: str) -> tuple[int, str]:
    name = _module(shadow)
    return (FAMILY.index(name) if name in FAMILY else 2, shadow)


def _severity(shadow: str) -> Severity:
    """A file breaks the import for certain; a folder is often a clone in which somebody works on purpose."""
    name = _module(shadow)
    if shadow.endswith(".py"):
        return Severity.ERROR if name in FAMILY else Severity.WARNING
    return {"torch": Severity.ERROR, "ultralytics": Severity.INFO}.get(name, Severity.WARNING)


def _away(folder: str, shadow: str) -> Remedy:
    if shadow.endswith(".py"):
        name = shadow.removesuffix(".py")
        return Remedy(
            text=say("Give {shadow} another name.", shadow=shadow),
            commands=(("mv", f"{folder}/{shadow}", f"{folder}/my_{name}.py"),),
        )
    return Remedy(
        text=say("Start programs from another folder than the one that holds {shadow}.", shadow=shadow),
        commands=(("cd", os.path.dirname(folder) or folder),),
    )


# --- PYTHONPATH ---


def _on_pythonpath(environment: Environment, hidden: list[tuple[ModuleCopy, ModuleCopy]]) -> Finding:
    startup = startup_of(environment)
    first, second = next((pair for pair in hidden if is_other_torch(*pair)), hidden[0])
    folder = os.path.dirname(first.location)
    between = separator(startup.variables["PYTHONPATH"])
    left = [entry for entry in pythonpath(startup) if whole(startup, entry) != folder]
    return Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR if is_other_torch(first, second) else Severity.WARNING,
        message=say(
            "PYTHONPATH brings {first} {version} of {folder}, which is used instead of the"
            " environment's own ({version_2}).",
            first=first.name,
            version=first.version or "(version unknown)",
            folder=folder,
            version_2=second.version or second.location,
        ),
        because=(
            variable("PYTHONPATH", startup.variables["PYTHONPATH"]),
            *(
                Evidence(
                    fact="environment.startup",
                    value=say(
                        "{location} ({version}) {said}",
                        location=copy.location,
                        version=copy.version or say("version unknown"),
                        said=said,
                    ),
                    source=environment.interpreter.source,
                )
                for copy, said in ((first, say("comes first")), (second, say("is hidden by it")))
            ),
        ),
        remedies=(
            Remedy(
                text=say(
                    "Take that folder out of PYTHONPATH (also where a start file of the shell or a module sets it)."
                ),
                commands=(("export", f"PYTHONPATH={between.join(left)}") if left else ("unset", "PYTHONPATH"),),
            ),
        ),
    )


# --- in a log ---

# Modules of Python itself that torch and its friends import, as people like to call their own files.
_STANDARD = (
    r"random|code|types|copy|enum|queue|logging|select|signal|string|token|tokenize|typing|statistics|secrets|socket|ssl|struct"
    r"|operator|numbers|json|inspect|platform|profile|calendar|email|http|html|io|abc|ast|csv|dis|glob|gzip|hashlib|heapq|math|pickle"
    r"|re|sched|shelve|shutil|site|subprocess|tempfile|threading|time|timeit|trace|traceback|warnings|weakref|uuid|zipfile|parser"
)
_FAMILY = (
    r"torch|torchvision|torchaudio|ultralytics|numpy|typing_extensions|packaging|filelock|sympy|networkx|yaml|tqdm"
    r"|requests|pandas"
)
_PACKAGES = regex(r"(?:site|dist)-packages|[/\\][Ll]ib[/\\]|<frozen|[/\\]python\d\.\d+[/\\]")
_FRAME = regex(r'File "(?P<file>[^"\n]+)", line \d+')
_IMPORTS = r"(?:\bimport|\bfrom)\s+(?:\w+\s*,\s*)*{name}\b"


def _files(text: str) -> list[str]:
    return [match["file"] for match in _FRAME.finditer(text)]


def _is_own(file: str) -> bool:
    """Whether a file lies in no folder of packages and not in Python's own library."""
    return _PACKAGES.search(file) is None


def _named(module: str, files: list[str]) -> str | None:
    """The own file that has the name of the module, or a folder of that name with a relative path."""
    name = module.partition(".")[0]
    for file in files:
        parts = re.split(r"[/\\]+", file)
        if _is_own(file) and (parts[-1] == f"{name}.py" or (name in parts[:-1] and parts[-1] == "__init__.py")):
            return file
    return None


def _weigh_partial(hit: Hit, log: Log) -> float | None:
    """A module that is only half there: a file of that name is importing itself, or its own files are broken."""
    del log
    module, file = hit.groups.get("module", "torch"), hit.groups.get("file", "")
    name = module.partition(".")[0]
    if file:
        return 0.96 if _is_own(file) and _named(module, [file]) else (0.3 if name in ("torch", "ultralytics") else None)
    trace = _files(hit.before[-2500:])
    if _named(module, trace):
        return 0.96
    inside = trace and not _is_own(trace[-1])
    if name in ("torch", "ultralytics"):
        return 0.4 if inside else 0.85
    return None if inside or name in ("torchvision", "cv2") else 0.5


def _weigh_frame(hit: Hit, log: Log) -> float | None:
    """An own file that a library takes for the module of Python which it wants to import."""
    del log
    if not _is_own(hit.groups["file"]):
        return None
    *_, last = hit.before.rpartition('File "')
    file = last.partition('"')[0]
    if not last or _is_own(file):
        return None
    return 0.9 if re.search(_IMPORTS.format(name=re.escape(hit.groups["module"])), last) else None


def _weigh_no_extension(hit: Hit, log: Log) -> float | None:
    """Torch without its compiled part: a checkout of its sources, unless the traceback is within site-packages."""
    del log
    trace = _files(hit.before[-2500:])
    inside = [file for file in trace if re.search(r"(?:^|[/\\])torch[/\\]", file)]
    if inside:
        return 0.93 if _is_own(inside[-1]) else 0.35
    return 0.7


def _weigh_standard(hit: Hit, log: Log) -> float | None:
    """A module of Python without one of its names: a file of that name is taken for it, an own one or one of torch's folder."""
    del log
    module, file = hit.groups["module"], hit.groups.get("file", "")
    if file:
        in_library = re.search(rf"[/\\]python\d\.\d+[/\\]{module}\b|[/\\]Lib[/\\]{module}\b", file)
        return None if in_library else 0.95
    return 0.95 if _named(module, _files(hit.before[-3000:])) else None


def _weigh_attribute(hit: Hit, log: Log) -> float | None:
    """A torch without the simplest of its names is not torch: an own file, an empty folder, or leftovers of an old one."""
    del log
    file, module = hit.groups.get("file", ""), hit.groups.get("module", "torch")
    if "unknown location" in file:
        return 0.6
    if file:
        return 0.96 if _named(module, [file]) else 0.2
    return 0.96 if _named(module, _files(hit.before[-2500:])) else 0.55


def _own_file(reading: Reading) -> str | None:
    """The file that is taken for the module, by the message or by the traceback above it."""
    named = (reading.groups.get("own"), reading.groups.get("file"))
    told = next((one for one in named if one and re.search(r"[/\\.]", one) and "circular import" not in one), None)
    module = reading.groups.get("module", "torch")
    return told or next(filter(None, (_named(module, _files(hit.before[-2500:])) for hit in reading.hits)), None)


def _log_message(reading: Reading) -> str:
    module, file = reading.groups.get("module", "torch"), _own_file(reading)
    if file is not None:
        return say("Python imports {file} where it should import the installed module of that name.", file=file)
    return say(
        "A file or folder called {module} beside the program hides the installed module {module}.", module=module
    )


def _log_remedies(reading: Reading) -> tuple[Remedy, ...]:
    """How to get the file out of the way that the log names, else what is mostly called so."""
    own = _own_file(reading) or ""
    file = own if own.endswith(".py") and not own.endswith("__init__.py") and "torch/" not in own else None
    folder, name = re.fullmatch(r"(.*[/\\])?([^/\\]+)", file or "torch.py").groups("")  # type: ignore[union-attr]
    rename = Remedy(
        text=say("Give your own file another name, and delete the `__pycache__` beside it."),
        commands=(("mv", f"{folder}{name}", f"{folder}my_{name}"),),
    )
    leave = Remedy(
        text=say(
            "If it is a folder (a checkout of sources), start Python in another folder; take it out of PYTHONPATH, too."
        ),
        commands=(("cd", ".."), ("python", "-c", "import torch; print(torch.__file__)")),
    )
    return (rename, leave) if file else (leave, rename)


LOG = LogSide(
    signatures=(
        Signature(
            pattern=r"\(consider renaming '(?P<own>[^'\n]{1,200})' (?:since|if) it has the same name as",
            confidence=0.97,
            quoted=True,
        ),
        Signature(
            pattern=r"(?:cannot import name '[^'\n]{1,60}' from )?partially initialized module '(?P<module>[\w.]{2,60})'"
            r"(?: has no attribute '[^'\n]{1,60}')? \(most likely due to a circular import\)(?: \((?P<file>[^)\n]{3,240})\))?",
            weigh=_weigh_partial,
        ),
        Signature(
            pattern=rf"No module named '?[\w.]{{3,80}}'?; '?(?P<module>{_FAMILY}|{_STANDARD})'? is not a package",
            confidence=0.95,
        ),
        Signature(
            pattern=r"(?:It appears that )?PyTorch has loaded the `?torch/_C`? folder of the PyTorch repository"
            r"|you should not try to import (?:numpy|torch) from its source directory",
            confidence=0.95,
        ),
        Signature(
            pattern=r"No module named '?(?P<missing>torch\._C|_C|torch\.version|torch\.lib)'?(?:[\s'\"]|$)",
            weigh=_weigh_no_extension,
        ),
        Signature(pattern=r"NameError: name '_C' is not defined", weigh=_weigh_no_extension),
        Signature(
            pattern=rf"cannot import name '[^'\n]{{1,60}}' from '(?P<module>{_STANDARD})' \((?P<file>[^)\n]{{3,240}})\)",
            weigh=_weigh_standard,
        ),
        Signature(
            pattern=rf"module '(?P<module>{_STANDARD})' has no attribute '[^'\n]{{1,60}}'",
            weigh=_weigh_standard,
        ),
        Signature(pattern=r"File \"(?:\./)?(?P<own>torch/(?:[\w/]{1,60}/)?\w+\.py)\", line \d+", confidence=0.85),
        Signature(
            pattern=r"module '(?P<module>torch|ultralytics)' has no attribute"
            r" '(?:__version__|YOLO|nn|Tensor|cuda|device|tensor|utils|float|float32"
            r"|randn|rand|zeros|ones|load|save|no_grad"
            r"|manual_seed|from_numpy|FloatTensor|version|hub|optim|autograd|jit|backends)'"
            r"(?: \((?P<file>[^)\n]{3,240})\))?",
            weigh=_weigh_attribute,
        ),
        Signature(
            pattern=r"cannot import name '(?:nn|Tensor|tensor|optim|cuda|Generator|device|autograd|YOLO|distributed)'"
            r" from '(?P<module>torch|ultralytics)' \((?P<file>[^)\n]{3,240})\)",
            weigh=_weigh_attribute,
        ),
        Signature(
            pattern=rf"File \"(?P<file>(?:[^\"\n]{{0,200}}[/\\])?(?P<module>{_STANDARD}|typing_extensions)\.py)\", line \d+",
            weigh=_weigh_frame,
        ),
    ),
    message=_log_message,
    remedies=_log_remedies,
    tell_apart=Remedy(
        text=later("See which file is imported."),
        commands=(("python", "-c", "import importlib.util as u; print(u.find_spec('torch'))"),),
    ),
    explains=("torch_import_fails",),
)

RULE = Rule(
    code="INT105",
    cause="local_name_shadowing",
    title=later("a file of one's own hides torch"),
    needs=("environment.interpreter",),
    check=check,
    rank=22,
    log=LOG,
)

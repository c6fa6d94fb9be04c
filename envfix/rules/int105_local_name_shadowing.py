"""A file or folder of one's own hides torch, or a module that torch needs.

What it checks
    The working folder holds ``torch.py``, a package ``torch/`` or the like, or a file named as a module that torch
    imports, of Python itself (``random.py``) or of another package (``typing_extensions.py``); or a folder of
    PYTHONPATH holds another copy of torch or numpy than the environment.

Why it matters
    Python looks into the folder of the program (and, with ``python -c`` and ``python -m``, into the working folder)
    first, then into those of PYTHONPATH, and only then into the environment. ``import torch`` gets the wrong file:
    "No module named 'torch._C'", "partially initialized module 'torch'", "module 'torch' has no attribute ...".

How to fix
    Rename the file, leave the folder, or take the folder out of PYTHONPATH. torch itself is in order: do not
    reinstall it.

Sources
    The working folder; PYTHONPATH and the target's own path, in the order in which Python looks.
"""

from __future__ import annotations

import os.path
from collections.abc import Iterator

from envfix.model.facts import Environment, Interpreter, Machine, ModuleCopy
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.rules._environments import startup_of, variable
from envfix.rules._family import key_of
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
        return "module of that name"
    if name in OF_TORCH:
        return "installed module of that name, which torch imports"
    if name in OF_ULTRALYTICS:
        return "installed module of that name, which ultralytics imports"
    return "module of Python itself that torch imports"


# --- the working folder ---


def _in_folder(environment: Environment, interpreter: Interpreter, shadows: list[str]) -> Finding:
    folder = startup_of(environment).working_folder or "."
    worst = min(shadows, key=_order)
    return Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=_severity(worst),
        message=f"The {'file' if worst.endswith('.py') else 'folder'} {worst} in {folder} hides the {_what_it_hides(worst)}:"
        " programs started in this folder import it instead.",
        because=tuple(
            cite("environment.interpreter", environment.interpreter, f"{folder}/{shadow}") for shadow in shadows[:5]
        ),
        remedies=tuple(_away(folder, shadow) for shadow in sorted(shadows, key=_order)[:3])
        or (Remedy(text=f"Use {interpreter.executable} from another folder."),),
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
            text=f"Give {shadow} another name.", commands=(("mv", f"{folder}/{shadow}", f"{folder}/my_{name}.py"),)
        )
    return Remedy(
        text=f"Start programs from another folder than the one that holds {shadow}.",
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
        message=f"PYTHONPATH brings {first.name} {first.version or '(version unknown)'} of {folder}, which is used instead of"
        f" the environment's own ({second.version or second.location}).",
        because=(
            variable("PYTHONPATH", startup.variables["PYTHONPATH"]),
            *(
                Evidence(
                    fact="environment.startup",
                    value=f"{copy.location} ({copy.version or 'version unknown'}) {said}",
                    source=environment.interpreter.source,
                )
                for copy, said in ((first, "comes first"), (second, "is hidden by it"))
            ),
        ),
        remedies=(
            Remedy(
                text="Take that folder out of PYTHONPATH (also where a start file of the shell or a module sets it).",
                commands=(("export", f"PYTHONPATH={between.join(left)}") if left else ("unset", "PYTHONPATH"),),
            ),
        ),
    )


RULE = Rule(
    code="INT105",
    cause="local_name_shadowing",
    title="a file of one's own hides torch",
    needs=("environment.interpreter",),
    check=check,
    rank=22,
)

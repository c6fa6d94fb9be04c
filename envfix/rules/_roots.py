"""Why it is this torch that runs: another environment is meant, or a folder of PYTHONPATH comes first."""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterator

from envfix.model.facts import (
    ActiveEnvironment,
    Elsewhere,
    Environment,
    Interpreter,
    Machine,
    ModuleCopy,
    Startup,
    TorchBuild,
)
from envfix.rules._environments import is_of_shell, startup_of


def root_of_torch(machine: Machine, environment: Environment) -> str | None:
    """The code of the finding that says why this torch runs and no other; None: it is simply the one that is installed."""
    if torch_of_meant(machine, environment) is not None:
        return "INT101"
    # Files in the working folder are none: what is known of torch was read and imported without them.
    hidden = hidden_by_pythonpath(startup_of(environment))
    return "INT105" if any(is_other_torch(*pair) for pair in hidden) else None


# --- an environment is meant and passed by ---


def meant_environment(interpreter: Interpreter, startup: Startup) -> ActiveEnvironment | None:
    """The environment that the user has activated or named, where it is not what runs."""
    if startup.bypassed is not None:
        return startup.bypassed
    if not is_of_shell(interpreter) or any(one.is_target for one in startup.active):
        return None
    return next(iter(startup.active), None)


def torch_of_meant(machine: Machine, environment: Environment) -> Elsewhere | None:
    """The torch of an environment that is passed by, where the Python that runs has none, a broken or another one."""
    interpreter, startup = environment.interpreter.value, startup_of(environment)
    meant = meant_environment(interpreter, startup) if interpreter is not None else None
    place = next((one for one in environment.elsewhere.value or () if meant and one.prefix == meant.prefix), None)
    if meant is None or place is None:
        return None
    said, torch = environment.torch_import.value, environment.torch.value
    if torch is None or (said is not None and not said.ok):
        return place
    # Many shells activate conda's base always; and nobody with a card is sent to a build without CUDA.
    if meant.prefix in startup.conda_roots or (torch.cuda is not None and _has_card(machine) and is_cpu(place)):
        return None
    return None if _is_same(torch, place) else place


def _has_card(machine: Machine) -> bool:
    return bool(machine.gpus.value) or any(display.vendor_id == "10de" for display in machine.displays.value or ())


def _is_same(torch: TorchBuild, place: Elsewhere) -> bool:
    """Whether both are one build, as far as both say."""
    labels = {torch.build.partition("+")[2], place.torch.partition("+")[2]} - {""}
    unknown = not place.torch[:1].isdigit()
    return unknown or (torch.build.partition("+")[0] == place.torch.partition("+")[0] and len(labels) < 2)


def is_cpu(place: Elsewhere) -> bool:
    """Whether a torch near by is known to have no CUDA: its label or conda's record says so, or it is the system's own."""
    if re.search(r"\bcu(da)?\d", f"{place.torch} {(place.record or '').replace('_', ' ')}"):
        return False
    told = place.torch.endswith("+cpu") or re.search(r"(^|[ _])cpu", place.record or "") is not None
    return told or (place.kind == "system" and place.prefix == "/usr")


# --- PYTHONPATH ---


def separator(text: str) -> str:
    """What stands between folders: a semicolon on Windows, where a colon follows the drive."""
    return ";" if re.match(r"[A-Za-z]:\\|.*;", text) else ":"


def pythonpath(startup: Startup) -> list[str]:
    """The entries of PYTHONPATH as they are written."""
    text = startup.variables.get("PYTHONPATH", "")
    return [entry for entry in text.split(separator(text)) if entry]


def whole(startup: Startup, entry: str) -> str:
    """An entry as a whole path."""
    return os.path.normpath(os.path.join(startup.working_folder or "", entry))


def hidden_by_pythonpath(startup: Startup) -> Iterator[tuple[ModuleCopy, ModuleCopy]]:
    """Pairs of a copy in a folder of PYTHONPATH and the installed one behind it."""
    entries = [whole(startup, entry) for entry in pythonpath(startup)]
    copies = [one for one in startup.copies if one.kind != "folder"]
    for name in dict.fromkeys(one.name for one in copies):
        same = [one for one in copies if one.name == name]
        behind = [one for one in same[1:] if os.path.dirname(one.location) not in entries]
        if os.path.dirname(same[0].location) in entries and behind:
            yield same[0], behind[0]


def is_other_torch(first: ModuleCopy, second: ModuleCopy) -> bool:
    """Whether a torch is hidden by something else than the same torch."""
    return first.name == "torch" and (first.kind == "module" or first.version != second.version)

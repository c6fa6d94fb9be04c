"""What to do about a failed rung: the one thing that mends it, by what the rung saw, by facts of the machine, or by its words."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator

import msgspec

from envfix import explaining
from envfix.app.scene import Scene
from envfix.model.explanation import Cause
from envfix.model.facts import Environment, Machine
from envfix.model.finding import Remedy, Severity
from envfix.model.language import later, look_up, say
from envfix.model.outcome import Rung, Verification
from envfix.rules._changing import in_place, is_of_others
from envfix.rules._environments import IN_NEW_ENVIRONMENT, NEW_ENV
from envfix.rules._family import installed, key_of, requirements, version
from envfix.rules._rule import spoken
from envfix.tables.loader import Tables
from envfix.verifier.interface import Weights

# Names of packages by the modules that they bring, where the two differ.
PACKAGES = {
    "cv2": "opencv-python-headless",
    "PIL": "pillow",
    "yaml": "pyyaml",
    "dateutil": "python-dateutil",
    "pkg_resources": "setuptools<81",
    "google": "protobuf",
    "sklearn": "scikit-learn",
    "attr": "attrs",
}
YOLO_RUNGS = ("nms", "yolo_predict", "yolo_weights", "train")
TOO_OLD_FOR_YOLO = "cp36"
# Parts of the catalogue that say why torch reaches no card.
OF_CARDS = ("DRV", "GPU", "VAR", "CTR")
NO_CARD = "no_nvidia_gpu"
ON_THE_PROCESSOR = Remedy(
    text=later("Without an NVIDIA card YOLO runs on the processor."),
    commands=(("envfix", "verify", "--device", "cpu"),),
)
# A cause that the words of a library alone show so surely is named.
SURE = 0.8
AGAIN = later("Fetch the file again from where it came, and compare its size with the one that is told there.")
WEIGHTS = {
    "damaged": AGAIN,
    "empty": AGAIN,
    "web_page": later(
        "Fetch the file again from where it came, and compare its size with the one that is told there. Open its"
        " address in a browser: it may ask for a login."
    ),
    "torchscript": later("Give the .pt file from which it was exported."),
    "not_a_yolo_model": later("Give the weights of a YOLOv8 model, such as runs/detect/train/weights/best.pt."),
    "not_pytorch": later("Give the weights of a YOLOv8 model, such as runs/detect/train/weights/best.pt."),
    "yolov5": later("Run such a model with the YOLOv5 repository itself, or train a YOLOv8 model."),
    "untrained": later("Give weights that were trained; the environment itself has computed right."),
}


def mended(verification: Verification, scene: Scene, weights: Weights) -> Verification:
    """The same with the one thing that mends the failed rung, and with its cause where facts or its words show one."""
    failed = verification.failed
    if failed is None or verification.remedies:
        return verification
    _, environment = scene.facts
    cause, target = failed.cause, scene.target
    own = _by_what_was_seen(failed, environment, target, weights, scene.tables)
    if own is None:
        cause, own = _by_rules(failed, scene)
    if own is None:
        own = Remedy(text=say("See what envfix finds there."), commands=(scene.diagnose,))
    remedies = scene.typed((own,))
    rung = msgspec.structs.replace(failed, cause=cause)
    rungs = tuple(rung if one.name == rung.name else one for one in verification.rungs)
    return msgspec.structs.replace(verification, rungs=rungs, remedies=remedies)


def _by_what_was_seen(
    failed: Rung, environment: Environment, target: str, weights: Weights, tables: Tables
) -> Remedy | None:
    """What mends a missing package or a file of weights; None for anything else."""
    missing, problem = failed.detail.get("missing"), failed.detail.get("problem")
    if missing and missing != "torch":
        return _install(str(missing), failed.name, environment, target, tables)
    if problem in ("unsafe", "old_format") and weights.file is not None:
        command = ("envfix", "verify", "--python", target, "--weights", weights.file, "--trust-weights")
        return Remedy(
            text=say(
                "Take the weights from a source that you know; only if you know who made this"
                " file, load it all the same."
            ),
            commands=(command,),
            safe=False,
        )
    if problem == "git_lfs_pointer":
        return Remedy(
            text=say("Fetch the real file, in the folder of the repository."), commands=(("git", "lfs", "pull"),)
        )
    if problem == "other_release":
        return in_place(
            environment,
            say("Take the ultralytics that made the file, or a newer one, and keep this torch."),
            "install",
            "--upgrade",
            "ultralytics",
            *_kept(environment),
        )
    if problem in WEIGHTS:
        return Remedy(text=look_up(WEIGHTS[str(problem)]))
    return None


def _install(module: str, rung: str, environment: Environment, target: str, tables: Tables) -> Remedy:
    """How the package of a missing module comes, with whatever else ultralytics lacks, while torch stays."""
    name = PACKAGES.get(module, module)
    interpreter = environment.interpreter.value
    if name == "ultralytics" and interpreter is not None and interpreter.tag == TOO_OLD_FOR_YOLO:
        return Remedy(
            text=say(
                "There is no ultralytics for a Python older than 3.7: let envfix make an environment with a newer one."
            ),
            commands=((*NEW_ENV, "--python", "3.11"),),
        )
    if interpreter is not None and is_of_others(interpreter):
        return IN_NEW_ENVIRONMENT
    if name in ("torchvision", "ultralytics"):
        torch = environment.torch.value
        stay = ("--torch", torch.build.partition("+")[0]) if torch is not None else ()
        return Remedy(
            text=say("Let envfix choose the {name} that goes with this torch, and install it.", name=name),
            commands=(("envfix", "install", "--python", target, *stay),),
        )
    others = _lacking(environment, name) if rung in YOLO_RUNGS else ()
    text = say(
        "Install it{which}, and keep this torch.", which=say(" and what else ultralytics lacks") if others else ""
    )
    wanted = _bounded((name, *others), environment, tables)
    return in_place(environment, text, "install", *wanted, *_kept(environment))


def _lacking(environment: Environment, but: str) -> tuple[str, ...]:
    """What ultralytics and what it needs ask for and is not installed; any opencv is as good as the one that is asked for."""
    here = installed(environment)
    opencv = any(name.startswith("opencv") for name in here) or but.startswith("opencv")
    waiting, seen, lacking = ["ultralytics"], set[str](), dict[str, str]()
    while waiting:
        name = waiting.pop()
        if name in seen or name not in here:
            continue
        seen.add(name)
        for asked in requirements(environment, iter((here[name],))):
            wanted = key_of(asked.requirement.name)
            if asked.extra is not None or (wanted.startswith("opencv") and opencv):
                continue
            if wanted in here:
                waiting.append(wanted)
            elif wanted != key_of(but.partition("<")[0]):
                lacking[wanted] = f"{asked.requirement.name}{asked.requirement.specifier}"
    return tuple(lacking.values())


def _bounded(wanted: Iterable[str], environment: Environment, tables: Tables) -> list[str]:
    """The same requirements; beside a torch that was built for NumPy 1, what needs it is held to what goes with that."""
    torch, interpreter = environment.torch.value, environment.interpreter.value
    found, release = list(wanted), version(torch.build) if torch is not None else None
    if release is None or interpreter is None:
        return found
    major = tables.companions.numpy_major(release, interpreter.platform_tag, interpreter.tag)
    bounds = tables.companions.numpy_1_bounds(interpreter.tag) if major == 1 else {}
    if "numpy" in bounds and "numpy" not in (*installed(environment), *found):
        found.append("numpy")
    return [f"{name}{bounds.get(name, '')}" for name in found]


def _kept(environment: Environment) -> Iterator[str]:
    """Requirements that keep the torch that is there, and its torchvision, by the version that pip knows them by."""
    here = installed(environment)
    return (f"{name}=={here[name].version}" for name in ("torch", "torchvision") if name in here)


def _by_rules(failed: Rung, scene: Scene) -> tuple[str | None, Remedy | None]:
    """The cause, and what the rules say to it: by facts first, then by what the libraries said."""
    (machine, environment), findings = scene.facts, scene.findings
    found = next((one for one in findings if one.cause == failed.cause and one.remedies), None)
    if found is None and failed.name == "driver" and failed.cause is None:
        # torch only says that there is no card; what keeps it from one is an error of the machine.
        errors = (one for one in findings if one.severity is Severity.ERROR and one.code.startswith(OF_CARDS))
        found = next((one for one in errors if one.remedies), None)
        if found is None and any(one.cause == NO_CARD for one in findings):
            return NO_CARD, spoken(ON_THE_PROCESSOR)
    if found is not None:
        return found.cause, found.remedies[0]
    cause = _by_words(failed, machine, environment, scene.tables)
    if cause is None:
        unexplained = failed.name == "driver" and failed.cause is None and bool(machine.gpus.value)
        return ("cuda_does_not_start" if unexplained else failed.cause), None
    return cause.cause, cause.remedies[0] if cause.remedies else None


def _by_words(failed: Rung, machine: Machine, environment: Environment, tables: Tables) -> Cause | None:
    """The cause as ``envfix explain`` reads it: the one that the rung has, or a sure one where it has none."""
    detail = failed.detail
    parts = (f"{detail.get('error', '')}: {detail.get('text', '')}", str(detail.get("output", "")), failed.message)
    log = explaining.read(io.BytesIO("\n".join(parts).encode()))
    answer = explaining.joined(log, machine, environment, tables, facts="machine")
    for one in answer.causes:
        if one.cause == failed.cause or (failed.cause in (None, "torch_import_fails") and one.confidence >= SURE):
            return one
    return None

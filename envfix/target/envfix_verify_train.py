"""One short epoch of training on the ladder: pictures drawn for it, a loss that is a number, weights that move.

Training asks more of an environment than predicting: gradients, an optimizer, data loaders, and packages that predict never
imports. So it may fail where predict works, and this rung says so.

Standard library only, syntax of Python 3.6.
"""

import contextlib
import importlib
import io
import math
import os
import random
import re
import sys

from envfix_verify_basics import RungError, error_detail, first_line, mebibytes, missing_module, outdated, root_of, say

PICTURES = 16
SIZE = 64
BATCH = 2
SEED = 8
# What reports runs to somebody or opens windows; all of it is off in the private settings of this run.
REPORTERS = ("sync", "clearml", "comet", "dvc", "hub", "mlflow", "neptune", "raytune", "tensorboard", "wandb")


class Steps(object):
    """Watches the optimizer: how many steps, whether the gradients are numbers, and whether the weights move."""

    def __init__(self, torch):
        self.torch = torch
        self.count = 0
        self.finite = True
        self.before = []

    def take(self, step, optimizer, *arguments, **options):
        """Do one step as the optimizer would; the weights before the first are kept."""
        weights = [weight for group in optimizer.param_groups for weight in group["params"] if weight.grad is not None]
        if not self.before:
            self.before = [(weight, weight.detach().clone()) for weight in weights]
        self.finite = self.finite and all(bool(self.torch.isfinite(weight.grad).all()) for weight in weights)
        self.count += 1
        return step(optimizer, *arguments, **options)

    @property
    def changed(self):
        """How many of the tensors of weights are no longer what they were."""
        return sum(not self.torch.equal(weight.detach(), before) for weight, before in self.before)

    @contextlib.contextmanager
    def watching(self):
        """Stand between every SGD optimizer and its step."""
        kind = self.torch.optim.SGD
        step = kind.step

        def watched(optimizer, *arguments, **options):
            return self.take(step, optimizer, *arguments, **options)

        kind.step = watched
        try:
            yield self
        finally:
            kind.step = step


def check_train(ladder):
    """YOLOv8n trains for one short epoch: the loss is a number, and the weights move."""
    torch = ladder.torch
    folder = os.path.join(ladder.scratch, "train")
    data = draw_data(folder)
    silence(ladder.scratch)
    torch.manual_seed(SEED)
    yolo = sys.modules["ultralytics"].YOLO("yolov8n.yaml")
    detail = {"pictures": PICTURES, "size": SIZE, "batch": BATCH, "amp": ladder.on_gpu}
    if ladder.on_gpu:
        torch.cuda.reset_peak_memory_stats(ladder.device)
    try:
        with Steps(torch).watching() as steps:
            yolo.train(**options(ladder, data, folder))
    except (Exception, SystemExit) as error:
        raise failure(error, detail) from error
    judge(steps, getattr(yolo, "trainer", None), ladder, detail)
    detail.update(peak(ladder))
    used = detail.get("peak_reserved") or detail.get("peak_process")
    told = {
        "device": ladder.device_name,
        "steps": steps.count,
        "loss": "%.3g" % detail["loss"],
        "moved": steps.changed,
        "tensors": len(steps.before),
    }
    if not used:
        return say("YOLOv8n trains on {device}: {steps} steps, loss {loss}, {moved} of {tensors} tensors of weights moved", **told), detail
    message = say(
        "YOLOv8n trains on {device}: {steps} steps, loss {loss}, {moved} of {tensors} tensors of weights moved; at most {memory}",
        memory=mebibytes(used),
        **told
    )
    return message, detail


def draw_data(folder):
    """A data set of small pictures with one rectangle each; the path of its description."""
    import cv2
    import numpy as np

    chance = random.Random(SEED)
    for name in ("images", "labels"):
        os.makedirs(os.path.join(folder, name))
    for number in range(PICTURES):
        picture = np.full((SIZE, SIZE, 3), chance.randrange(60), dtype="uint8")
        left, top = chance.randrange(4, 24), chance.randrange(4, 24)
        width, height = chance.randrange(16, 36), chance.randrange(16, 36)
        picture[top : top + height, left : left + width] = [chance.randrange(100, 256) for _ in range(3)]
        cv2.imwrite(os.path.join(folder, "images", "%d.png" % number), picture)
        middle = [(left + width / 2.0) / SIZE, (top + height / 2.0) / SIZE, width / float(SIZE), height / float(SIZE)]
        with io.open(os.path.join(folder, "labels", "%d.txt" % number), "w") as stream:
            stream.write(" ".join(["0"] + ["%.6f" % value for value in middle]) + "\n")
    description = os.path.join(folder, "data.yaml")
    images = os.path.join(folder, "images").replace("'", "''")
    with io.open(description, "w", encoding="utf-8") as stream:
        stream.write("train: '%s'\nval: '%s'\nnc: 1\nnames: ['box']\n" % (images, images))
    return description


def silence(scratch):
    """No reports to anybody, no font from the network, and no second model to compare half precision with."""
    for name, value in (("WANDB_MODE", "disabled"), ("COMET_MODE", "disabled"), ("MPLBACKEND", "Agg")):
        os.environ[name] = value  # noqa: TID251 - no Host in the target
    utils = first_module("ultralytics.utils", "ultralytics.yolo.utils")
    settings = getattr(utils, "SETTINGS", {})
    home = str(getattr(utils, "USER_CONFIG_DIR", ""))
    if os.path.realpath(home).startswith(os.path.realpath(scratch) + os.sep) or os.path.realpath(home) == os.path.realpath(scratch):
        # The settings are those of the scratch folder, made for this run.
        settings.update({name: False for name in REPORTERS if name in settings})
        for font in ("Arial.ttf", "Arial.Unicode.ttf"):
            # There and never opened, because nothing is plotted.
            io.open(os.path.join(home, font), "ab").close()
    trainer = first_module("ultralytics.engine.trainer", "ultralytics.yolo.engine.trainer")
    if hasattr(trainer, "check_amp"):
        trainer.check_amp = lambda model: next(model.parameters()).device.type == "cuda"


def first_module(*names):
    """The first of these modules that this release of ultralytics has, or None."""
    for name in names:
        with contextlib.suppress(ModuleNotFoundError):
            return importlib.import_module(name)
    return None


def options(ladder, data, folder):
    """Arguments of ``train``; those that this release does not know yet are left out."""
    wanted = {
        "data": data,
        "epochs": 1,
        "imgsz": SIZE,
        "batch": BATCH,
        "nbs": BATCH,
        "device": str(ladder.device),
        "workers": 0,
        "project": os.path.join(folder, "runs"),
        "name": "train",
        "exist_ok": True,
        "optimizer": "SGD",
        "lr0": 0.01,
        "warmup_epochs": 0,
        "amp": ladder.on_gpu,
        "plots": False,
        "verbose": False,
        "cache": False,
        "seed": SEED,
    }
    known = known_options()
    return {name: value for name, value in wanted.items() if not known or name in known}


def known_options():
    """Names of the options that stand in the settings file of this release, wherever it keeps it."""
    home = os.path.dirname(sys.modules["ultralytics"].__file__)
    for parts in (("cfg",), ("yolo", "cfg"), ("yolo", "configs")):
        path = os.path.join(home, *(parts + ("default.yaml",)))
        if os.path.isfile(path):
            with io.open(path, encoding="utf-8") as stream:
                return set(re.findall(r"^(\w+):", stream.read(), re.MULTILINE))
    return set()


def failure(error, detail):
    """Training ended in an error: the root of it, and that predicting works."""
    root = root_of(error)
    detail = dict(detail, **error_detail(root))
    if missing_module(root):
        words = say(
            "training needs the package {package}, which is not installed; predicting works without it",
            package=missing_module(root),
        )
        return RungError(words, detail)
    words = outdated(sys.modules["torch"], root) or first_line(root)
    return RungError(say("training fails although predicting works: {error}", error=words), detail)


def judge(steps, trainer, ladder, detail):
    """Fail unless there were steps, on the device, with numbers for a loss and gradients, and weights that moved."""
    detail.update(steps=steps.count, tensors=len(steps.before), moved=steps.changed)
    loss = getattr(trainer, "loss", None)
    detail["loss"] = float(loss.detach().sum()) if hasattr(loss, "detach") else None
    if not steps.count:
        raise RungError(say("training ended without a single step of the optimizer"), detail)
    used = {weight.device.type for weight, _ in steps.before}
    if used != {ladder.device.type}:
        words = say("training ran on {used} instead of {device}", used=", ".join(sorted(used)), device=ladder.device_name)
        raise RungError(words, detail)
    if detail["loss"] is None or not math.isfinite(detail["loss"]):
        raise RungError(say("training computes no number for the loss: {loss}", loss=detail["loss"]), detail)
    if not steps.finite:
        raise RungError(say("training computes gradients that are no numbers"), detail)
    if steps.changed < len(steps.before) / 2.0:
        words = say("training moves only {moved} of {tensors} tensors of weights", moved=steps.changed, tensors=len(steps.before))
        raise RungError(words, detail)


def peak(ladder):
    """Most memory that was used: on a GPU by torch while training, on the CPU by this process since it started."""
    if ladder.on_gpu:
        return {
            "peak_allocated": ladder.torch.cuda.max_memory_allocated(ladder.device),
            "peak_reserved": ladder.torch.cuda.max_memory_reserved(ladder.device),
        }
    try:
        import resource
    except ImportError:  # Windows
        return {}
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"peak_process": most if sys.platform == "darwin" else most * 1024}

"""Measures, on the card that is asked for, how much memory one step of training takes at small batches.

Run by the target interpreter with two arguments, a cookie and a JSON request::

    {"mode": "climb|descend", "model": "yolov8n.yaml", "imgsz": 640, "device": "auto|0|GPU-uuid", "share": 0.8, "amp": true,
     "trust": false, "batches": [{"batch": 1, "bytes": 0}], "scratch": "an empty folder, removed by the caller"}

``climb`` takes the batches in turn until the next one might not fit, ``descend`` until one fits. No step may take more than
the share of what is free for this process at that moment: torch itself refuses beyond that, so the card is never filled.
After each step the answer so far is written between two cookies. The sums are the business of the caller.

Standard library, and the target's torch and ultralytics. Syntax for Python 2.7 up, so that an old interpreter is told so
instead of dying on a SyntaxError; runs on 3.6 and newer.
"""

# ruff: noqa: B904 - `raise ... from` is no syntax of Python 2

import sys

if sys.version_info < (3, 6):  # noqa: UP036 - the target may be any Python
    sys.stdout.write('%s{"too_old": "%d.%d.%d"}%s\n' % ((sys.argv[1],) + tuple(sys.version_info[:3]) + (sys.argv[1],)))
    sys.exit(88)

import contextlib
import copy
import gc
import importlib
import io
import json
import os
import re
import time
import types

OWN_FOLDER = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, OWN_FOLDER)
try:
    import envfix_verify_memory as accounts
    import envfix_verify_weights as trained
    from envfix_verify_basics import RungError, first_line, in_parts, jsonable, said_by, say, shorten, without_advice
finally:
    sys.path.remove(OWN_FOLDER)

# Boxes in each picture that is made up: the loss compares every box with every place of the network.
LABELS = 32
# So many bytes of a model's .yaml are looked at; those of YOLOv8 have 2 kB.
YAML_LIMIT = 1 << 20
PLAIN_CALL = re.compile(r"\bnn\.[A-Z]\w*\((?:\w+=[\w.]+)?\)")
# With less than this free (CUDA itself takes half of it) a card is left to those who use it.
LEAST_FREE = 1 << 30
TIMED_STEPS = 2
# Longer than this in all, and what was measured so far has to do.
PATIENCE = 120.0
SEED = 8
OUT_OF_MEMORY = re.compile(r"out of memory|CUDNN_STATUS_ALLOC_FAILED|CUBLAS_STATUS_ALLOC_FAILED|CUDA error: memory allocation")
# What the loss of a release weighs its parts with, where its own settings cannot be read.
WEIGHTS_OF_LOSS = {"box": 7.5, "cls": 0.5, "dfl": 1.5, "label_smoothing": 0.0, "fl_gamma": 0.0, "overlap_mask": True, "epochs": 100}


class Problem(Exception):  # noqa: N818 - it is an answer
    """Nothing can be measured; ``kind`` is its name for programs."""

    def __init__(self, kind, text):
        super(Problem, self).__init__(text)
        self.kind = kind


def is_out_of_memory(error):
    """Whether a library ran out of the card's memory, in the words of any release."""
    return type(error).__name__ == "OutOfMemoryError" or bool(OUT_OF_MEMORY.search(str(error)))


# ---------------------------------------------------------------------------------------------------------------------
# the card


class Card(object):
    """The memory of one card, as this process may use it."""

    def __init__(self, torch, device, share):
        self.torch = torch
        self.device = device
        self.share = share
        try:
            torch.zeros(1, device=device)  # makes the context, which takes memory of its own
            self.free, self.total = self.memory()
        except Problem:
            raise
        except Exception as error:
            if is_out_of_memory(error):
                words = say("the card is so full that CUDA does not even start on it: {error}", error=shorten(error, 500))
                raise Problem("full", words)
            raise Problem("no_gpu", without_advice(first_line(error)))

    def memory(self):
        """Free and total bytes of the card, as the driver counts them."""
        try:
            return accounts.free_and_total(self.torch, self.device)
        except OSError as error:
            raise Problem("memory_not_told", said_by(error))

    def available(self):
        """What is free for this process: free for everybody, and what torch has already taken."""
        free, _ = self.memory()
        return free + self.torch.cuda.memory_reserved(self.device)

    def limit(self):
        """What torch may take now; torch itself keeps to it."""
        allowed = int(self.share * self.available())
        if hasattr(self.torch.cuda, "set_per_process_memory_fraction"):
            fraction = min(1.0, allowed / float(self.total))
            self.torch.cuda.set_per_process_memory_fraction(fraction, self.device)
        return allowed

    def tidy(self):
        """Give back what nothing lives in, and count peaks from here."""
        gc.collect()
        self.torch.cuda.empty_cache()
        self.torch.cuda.reset_peak_memory_stats(self.device)


def attempt(card, work, batch, limit):
    """One batch: the memory it takes at most and the time of a step, or that it does not fit."""
    card.tidy()
    step = {"batch": batch, "limit": limit, "available": card.available(), "outcome": "ok"}
    try:
        work(batch)  # the first one prepares kernels and the optimizer's state
        card.torch.cuda.synchronize(card.device)
        started = time.time()
        for _ in range(TIMED_STEPS):
            work(batch)
        card.torch.cuda.synchronize(card.device)
        step["seconds"] = (time.time() - started) / TIMED_STEPS
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        step["outcome"] = "oom"
        step["text"] = shorten(error, 900)
    # Outside of the `except`, whose traceback would keep the tensors alive.
    step["peak_reserved"] = card.torch.cuda.max_memory_reserved(card.device)
    step["peak_allocated"] = card.torch.cuda.max_memory_allocated(card.device)
    if step["outcome"] == "ok" and step["peak_reserved"] > limit:
        step["outcome"] = "over"  # torch before 1.8 keeps to no limit
    card.tidy()
    return step


def climb(card, work, batches, told):
    """Small batches first; no further where twice the last one might pass the limit, which is more than twice the pictures take."""
    started = time.time()
    for wish in batches:
        step = attempt(card, work, wish["batch"], card.limit())
        told(step)
        if step["outcome"] != "ok" or 2 * step["peak_reserved"] > step["limit"] or time.time() - started > PATIENCE:
            return


def descend(card, work, batches, told):
    """Large batches first, until one fits; those that are known to take more than there is now are left out."""
    for wish in batches:
        limit = card.limit()
        if wish["bytes"] > limit:
            told({"batch": wish["batch"], "limit": limit, "available": card.available(), "outcome": "skipped"})
            continue
        step = attempt(card, work, wish["batch"], limit)
        told(step)
        if step["outcome"] == "ok":
            return


# ---------------------------------------------------------------------------------------------------------------------
# one step of training


class Training(object):
    """A step as ultralytics makes it: half precision where wished for, its loss, AdamW, and the averaged copy of the weights."""

    def __init__(self, torch, model, device, imgsz, amp):
        self.torch = torch
        self.device = device
        self.imgsz = imgsz
        self.amp = amp and device.type == "cuda"
        torch.manual_seed(SEED)
        self.model = model.to(device).train()
        for name, parameter in self.model.named_parameters():
            # The one layer that ultralytics never trains.
            parameter.requires_grad_(".dfl" not in name)
        self.average = copy.deepcopy(self.model).eval()
        wanted = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(wanted, lr=1e-6)
        self.loss = loss_of(self.model)

    def __call__(self, batch):
        """Forward, backward, one step of the optimizer."""
        self.optimizer.zero_grad()
        pictures = self.pictures(batch)
        with self.half_precision():
            loss = self.loss(pictures)
        loss.backward()
        self.torch.nn.utils.clip_grad_norm_(self.model.parameters(), 10.0)
        self.optimizer.step()

    def pictures(self, batch):
        """Noise with boxes in it, on the device."""
        torch = self.torch
        bytes_of = torch.randint(0, 255, (batch, 3, self.imgsz, self.imgsz), dtype=torch.uint8, device=self.device)
        count = batch * LABELS
        middles, sizes = torch.rand(count, 2) * 0.6 + 0.2, torch.rand(count, 2) * 0.2 + 0.05
        return {
            "img": bytes_of.float() / 255,
            "cls": torch.zeros(count, 1, device=self.device),
            "bboxes": torch.cat((middles, sizes), 1).to(self.device),
            "batch_idx": torch.arange(batch, device=self.device).repeat_interleave(LABELS).float(),
        }

    def half_precision(self):
        """Autocast, whatever this release calls it; nothing where it is not wished for."""
        if not self.amp:
            return contextlib.nullcontext() if hasattr(contextlib, "nullcontext") else contextlib.suppress()  # noqa: B022 - 3.6
        if hasattr(self.torch, "autocast"):  # since 1.10
            return self.torch.autocast("cuda")
        return self.torch.cuda.amp.autocast()


def loss_of(model):
    """A function from a batch to the number that training makes smaller, in any release."""
    settings = dict(WEIGHTS_OF_LOSS, **settings_of_release())
    # As the trainer does: the loss reads its weights there.
    model.args = types.SimpleNamespace(**settings)
    if hasattr(model, "loss"):
        return lambda batch: model.loss(batch)[0].sum()
    module = first_module("ultralytics.yolo.v8.detect.train")  # until the summer of 2023
    if module is None or not hasattr(module, "Loss"):
        raise Problem("model", say("this release of ultralytics has no loss that envfix knows"))
    criterion = module.Loss(model)
    return lambda batch: criterion(model(batch["img"]), batch)[0].sum()


def settings_of_release():
    """The default settings of this release."""
    utils = first_module("ultralytics.utils", "ultralytics.yolo.utils")
    settings = getattr(utils, "DEFAULT_CFG_DICT", None)
    return {key: value for key, value in settings.items() if isinstance(key, str)} if isinstance(settings, dict) else {}


def first_module(*names):
    """The first of these modules that this release of ultralytics has, or None."""
    for name in names:
        with contextlib.suppress(ImportError):
            return importlib.import_module(name)
    return None


# ---------------------------------------------------------------------------------------------------------------------
# the model


class Holder(object):
    """What the loader of weights needs to know."""

    def __init__(self, torch, scratch):
        self.torch = torch
        self.scratch = scratch
        self.loader = trained.guard(torch)


def source_of(model, folder):
    """What is given to ultralytics, whether it is a file of weights, and what the user should know.

    Memory depends on the shape of a network, not on its weights: where `yolov8n.pt` is not here, `yolov8n.yaml` does as well.
    """
    path = os.path.join(folder, model)
    if os.path.isdir(path):
        raise Problem("model", say("{model} is a folder, not a model", model=model))
    if os.path.isfile(path):
        return path, not path.endswith((".yaml", ".yml")), None
    if os.path.basename(model) != model:
        raise Problem("model", say("there is no file {path}", path=model))
    root, ending = os.path.splitext(model)
    if ending == ".pt":
        note = say(
            "{model} is not here; {root}.yaml, which takes the same memory, was measured in its place",
            model=model,
            root=root,
        )
        return root + ".yaml", False, note
    if ending and ending not in (".yaml", ".yml"):
        raise Problem("model", say("there is no file {path}", path=model))
    return root + (ending or ".yaml"), False, None


def refuse_code(path, name):
    """A model's .yaml is evaluated by ultralytics; what calls more than a layer of torch could do anything."""
    with io.open(path, encoding="utf-8", errors="replace") as stream:
        text = stream.read(YAML_LIMIT)
    if "(" in PLAIN_CALL.sub("", re.sub(r"#.*", "", text)):
        words = say(
            "{name} holds code that ultralytics would run; only if you know who wrote it, add --trust-weights",
            name=name,
        )
        raise Problem("model", words)


def build(request, holder, folder):
    """The network, by ultralytics; and what the user should know."""
    source, is_weights, note = source_of(request["model"], folder)
    try:
        ultralytics = importlib.import_module("ultralytics")
    except ModuleNotFoundError as error:
        if error.name == "ultralytics":
            raise Problem("no_ultralytics", first_line(error))
        raise Problem("model", say("ultralytics cannot be imported: {error}", error=first_line(error)))
    except Exception as error:
        raise Problem("model", say("ultralytics cannot be imported: {error}", error=first_line(error)))
    try:
        if is_weights:
            names = trained.inspect(source, request["trust"])
            yolo = trained.load(holder, source, [] if request["trust"] else names)
        else:
            if os.path.isfile(source) and not request["trust"]:
                refuse_code(source, request["model"])
            yolo = ultralytics.YOLO(source)
    except RungError as error:
        raise Problem("model", said_by(error))
    except (Exception, SystemExit) as error:
        raise Problem("model", say("{model} does not load: {error}", model=request["model"], error=first_line(error)))
    task = getattr(yolo, "task", None) or "detect"
    if task != "detect":
        words = say("{model} is a model for the task {task}; only detection is measured", model=request["model"], task=task)
        raise Problem("task", words)
    if not isinstance(getattr(yolo, "model", None), holder.torch.nn.Module):
        raise Problem("model", say("{path} holds no YOLO model", path=request["model"]))
    return yolo.model.float(), note


# ---------------------------------------------------------------------------------------------------------------------
# the run


def prepare_environment(scratch, environ):
    """Quiet, offline and without traces: what libraries write goes to the scratch folder, and none installs anything."""
    if os.name == "posix":
        environ.setdefault("CUDA_CACHE_PATH", os.path.expanduser(os.path.join("~", ".nv", "ComputeCache")))
    for name in ("YOLO_CONFIG_DIR", "MPLCONFIGDIR", "HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        environ[name] = scratch
    for parts in ((".config",), ("AppData", "Roaming"), ("Library", "Application Support")):
        os.makedirs(os.path.join(scratch, *parts), exist_ok=True)
    environ.update(YOLO_OFFLINE="1", YOLO_AUTOINSTALL="0", YOLO_VERBOSE="false", PIP_NO_INDEX="1", UV_OFFLINE="1")
    environ["PIP_CONFIG_FILE"] = os.devnull
    environ.pop("PIP_FIND_LINKS", None)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        environ[name] = environ[name.upper()] = "http://127.0.0.1:9"


def forbid_network():
    """Make each connection fail at once: old ultralytics releases look for updates, fonts and weights by themselves."""
    import socket

    def refuse(*_arguments, **_options):
        raise OSError("envfix fit makes no network connections")

    socket.create_connection = refuse
    socket.getaddrinfo = refuse


def find_device(torch, index):
    """The card as torch's device; raises ``Problem`` where torch has none."""
    if torch.version.cuda is None and getattr(torch.version, "hip", None) is None:
        raise Problem("no_gpu", say("this torch is a CPU build"))
    if not torch.cuda.is_available():
        try:
            torch.zeros(1, device="cuda")
        except Exception as error:
            raise Problem("no_gpu", without_advice(first_line(error)))
        raise Problem("no_gpu", "torch.cuda.is_available() is False")
    if index >= torch.cuda.device_count():
        raise Problem("no_gpu", say("invalid device ordinal: torch sees {count}", count=torch.cuda.device_count()))
    return torch.device("cuda", index)


def leave_full(card):
    """Stay away from a card on which hardly anything is free: even CUDA's own part might be what a neighbour asks for next."""
    if card is not None and card["free"] < LEAST_FREE:
        words = say(
            "GPU {index} ({name}) has {free} of {total} free, half a GiB of which CUDA itself would take: nothing was tried on it",
            index=card["index"],
            name=card["name"],
            free=accounts.gibibytes(card["free"]),
            total=accounts.gibibytes(card["total"]),
        )
        raise Problem("full", words)


def measure(request, answer, tell):
    """Fill the answer step by step; raises ``Problem`` where nothing can be measured."""
    folder = os.getcwd()
    environ = os.environ  # noqa: TID251 - no Host in the target
    request["model"] = os.path.expanduser(request["model"])  # before the home is another
    index = accounts.show_one_gpu(request["device"], environ.get(accounts.VISIBLE), environ)
    prepare_environment(request["scratch"], environ)
    try:
        import torch
    except Exception as error:
        raise Problem("torch", say("torch cannot be imported: {error}", error=first_line(error)))
    answer["torch"] = getattr(torch, "__version__", "?")
    device = find_device(torch, index)
    leave_full(accounts.shown_card(accounts.cards_now(), environ, index))
    answer["card"] = torch.cuda.get_device_name(device)
    holder = Holder(torch, request["scratch"])
    os.chdir(request["scratch"])  # a yolov8n.yaml of the user's own in the working folder is taken only where it is meant
    forbid_network()
    model, note = build(request, holder, folder)
    answer["note"] = note and in_parts(note)
    answer["ultralytics"] = getattr(sys.modules["ultralytics"], "__version__", "?")
    answer["parameters"] = sum(parameter.numel() for parameter in model.parameters())
    card = Card(torch, device, request["share"])
    answer["total"], answer["free"] = card.total, card.free
    tell()
    run(card, lambda: Training(torch, model, device, request["imgsz"], request["amp"]), request, answer, tell)


def run(card, make_work, request, answer, tell):
    """The steps that are asked for; a model that does not even fit by itself is a step that does not fit."""

    def told(step):
        answer["steps"].append(step)
        tell()

    card.limit()
    try:
        work = make_work()
    except Problem:
        raise
    except Exception as error:
        if not is_out_of_memory(error):
            raise Problem("model", say("the model cannot be trained here: {error}", error=first_line(error)))
        first = request["batches"][0]["batch"]
        told({"batch": first, "limit": card.limit(), "available": card.available(), "outcome": "oom", "text": shorten(error, 900)})
        return
    try:
        (climb if request["mode"] == "climb" else descend)(card, work, request["batches"], told)
    except Problem:
        raise
    except Exception as error:
        raise Problem("model", say("a step of training failed: {error}", error=first_line(error)))


def main(arguments):
    """Read the request, measure, say; the end of the process gives all memory back."""
    cookie, request = arguments[0], json.loads(arguments[1])
    sys.path[:] = [folder for folder in sys.path if os.path.abspath(folder) != OWN_FOLDER]
    answer = {"steps": [], "done": False}
    stream = os.dup(1)

    def tell():
        rest = ("\n%s%s%s\n" % (cookie, json.dumps(jsonable(answer)), cookie)).encode("ascii")
        while rest:
            rest = rest[os.write(stream, rest) :]

    try:
        measure(request, answer, tell)
    except Problem as problem:
        answer["problem"] = {"kind": problem.kind, "text": in_parts(said_by(problem))}
    except (Exception, SystemExit) as error:
        answer["problem"] = {"kind": "error", "text": in_parts(first_line(error))}
    answer["done"] = True
    tell()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])

"""Climbs from "the interpreter starts" to "YOLOv8 predicts and trains", rung by rung, inside the interpreter that is checked.

Run by the target interpreter with two arguments, a cookie (random hex) and a JSON request::

    {"rungs": ["interpreter", "import"], "device": "auto|auto:GPU-uuid|cpu|0|GPU-uuid", "gpu_expected": false,
     "limits": {"import": 120}, "expect": {"torch": "2.4.1+cu118"}, "scratch": "an empty folder, removed by the caller",
     "weights": {"file": null, "find": true, "download": false, "trust": false, "picture": null}}

It writes events, one line each, behind the cookie, so that nothing a library or a sitecustomize prints can be taken for
one. It reports what happened in the words of the failing library; naming the cause is the caller's business. Syntax for
Python 2.7 up, so that an old interpreter is told so instead of dying on a SyntaxError; runs on 3.6 and newer.
"""

import sys

if sys.version_info < (3, 6):  # noqa: UP036 - the target may be any Python
    sys.stdout.write('%s{"event": "too_old", "version": "%d.%d.%d"}\n' % ((sys.argv[1],) + tuple(sys.version_info[:3])))
    sys.exit(88)

import contextlib
import copy
import faulthandler
import glob
import importlib
import io
import json
import os
import platform
import random
import re
import shutil
import time
import warnings

OWN_FOLDER = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, OWN_FOLDER)
try:
    import envfix_verify_memory as accounts
    import envfix_verify_train as training
    import envfix_verify_weights as trained
    from envfix_verify_basics import (
        WARNING_LIMIT,
        NotApplicableError,
        RungError,
        draw_picture,
        error_detail,
        first_line,
        first_words,
        in_parts,
        jsonable,
        outdated,
        root_of,
        said_by,
        say,
        shorten,
        without_advice,
    )
finally:
    sys.path.remove(OWN_FOLDER)

# Relative error (Frobenius norm) of a float32 matrix product or convolution against float64: rounding gives 1e-6 at most,
# TF32 with its ten-bit mantissa 3e-4, a wrong answer about 1.
ROUNDING = 5e-5

# YOLOv8n against float64: rounding gives 0.002 px and 2e-5, TF32 3 px and 0.03, another picture or a damaged layer 80 px
# and 0.9. A network that ignores its input answers every picture alike, so two pictures must differ by far more.
BOX_LIMIT = 0.1
SCORE_LIMIT = 1e-3
PICTURE_BOXES = 5.0
PICTURE_SCORES = 0.1
# The most that these were seen to do; what goes beyond is no rounding.
TF32_BOXES, TF32_SCORES = 8.0, 0.1
HALF_BOXES, HALF_SCORES = 80.0, 0.6
IMAGE_SIZE = 320
SEED = 8


class Channel(object):
    """Writes events to the stdout the program was started with, whatever happens to ``sys.stdout`` later."""

    def __init__(self, cookie):
        self.cookie = cookie
        self.descriptor = os.dup(1)

    def send(self, event):
        """Write one event; it starts on a line of its own even behind output without a newline."""
        line = "\n%s%s\n" % (self.cookie, json.dumps(jsonable(event)))
        rest = line.encode("ascii")
        while rest:
            rest = rest[os.write(self.descriptor, rest) :]


class Ladder(object):
    """What the rungs hand on to each other."""

    def __init__(self, request):
        self.rungs = request["rungs"]
        # "auto:GPU-1234" is the card that was found for "auto".
        self.asked, _, chosen = request["device"].partition(":")
        self.wanted = chosen or self.asked
        self.gpu_expected = bool(request.get("gpu_expected"))
        self.expect = request.get("expect") or {}
        self.limits = request.get("limits") or {}
        self.scratch = request["scratch"]
        self.weights = trained.Wish(request.get("weights"), os.getcwd(), os.environ)  # noqa: TID251 - no Host in the target
        self.user_visible = os.environ.get("CUDA_VISIBLE_DEVICES")  # noqa: TID251
        self.gpu_index = 0
        self.number = None
        self.torch = None
        self.loader = None
        self.torchvision = None
        self.device = None
        self.network = None
        self.cards_before = []
        self.ledger = {}
        self.warnings = []

    @property
    def device_name(self):
        """The device in torch's words; a card keeps the number that it has for the user."""
        if self.device is None or self.device.type == "cpu":
            return "cpu"
        known = self.device.index if self.number is None else self.number
        return "cuda:%s" % (self.wanted if self.wanted.isdigit() else known)

    @contextlib.contextmanager
    def network_allowed(self):
        """For as long as it lasts connections are made as usual."""
        import socket

        for name, function in (self.network or {}).items():
            setattr(socket, name, function)
        try:
            yield
        finally:
            if self.network:
                forbid_network()

    @property
    def on_gpu(self):
        """Whether the rungs run on a GPU."""
        return self.device is not None and self.device.type == "cuda"


@contextlib.contextmanager
def without_onednn(torch):
    """Compute without oneDNN, which is what the CPU answers use: another code path, so that a comparison can fail."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch 2.15 mentions Intel GPUs here
        with torch.backends.mkldnn.flags(enabled=False):
            yield


# ---------------------------------------------------------------------------------------------------------------------
# interpreter, import, versions


def check_interpreter(_ladder):
    """The interpreter runs; it says who it is."""
    version = platform.python_version()
    detail = {
        "version": version,
        "implementation": platform.python_implementation(),
        "executable": sys.executable,
        "prefix": sys.prefix,
        "base_prefix": sys.base_prefix,
    }
    return say("{python} {version} starts", python=detail["implementation"], version=version), detail


def check_import(ladder):
    """``import torch``, and it is PyTorch."""
    import torch

    place = getattr(torch, "__file__", None)
    if not hasattr(torch, "Tensor") or not hasattr(torch, "__version__"):
        place = place or list(getattr(torch, "__path__", []))
        text = "module 'torch' at %s has no attribute 'Tensor'" % place
        raise RungError(say("what is imported as torch is not PyTorch: {place}", place=place), {"error": "NotTorch", "text": text})
    # TF32 came with torch 1.7; the rungs measure rounding.
    if hasattr(torch.backends.cuda, "matmul"):
        torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    ladder.loader = trained.guard(torch)
    ladder.torch = torch
    ladder.device = torch.device("cpu")
    return say("torch {version} imports", version=torch.__version__), {"torch": torch.__version__, "file": place}


def check_versions(ladder):
    """torch, torchvision and the others are the expected ones and work together."""
    detail = {
        "torch": ladder.torch.__version__,
        "cuda": ladder.torch.version.cuda,
        "hip": getattr(ladder.torch.version, "hip", None),
        "torchvision": distribution_version("torchvision"),
        "numpy": distribution_version("numpy"),
        "ultralytics": distribution_version("ultralytics"),
    }
    try:
        ladder.torchvision = import_if_installed("torchvision")
    except Exception as error:
        detail.update(error_detail(error))
        words = say("torchvision cannot be imported: {error}", error=first_line(error))
        raise RungError(words, detail)  # noqa: B904 - Python 2 syntax
    if ladder.torchvision is not None:
        detail["torchvision"] = ladder.torchvision.__version__
        detail["torchvision_cuda"] = getattr(getattr(ladder.torchvision, "version", None), "cuda", None)
    numpy = import_if_installed("numpy")
    if numpy is not None:
        detail["numpy"] = numpy.__version__
        check_numpy_bridge(ladder.torch, numpy, detail)
    wrong = unexpected_versions(ladder.expect, detail)
    if wrong:
        detail["expected"] = ladder.expect
        raise RungError(wrong[0] if len(wrong) == 1 else one_after_another(wrong), detail)
    names = ("torch", "torchvision", "numpy", "ultralytics")
    return ", ".join("%s %s" % (name, detail[name]) for name in names if detail[name]), detail


def check_numpy_bridge(torch, numpy, detail):
    """torch and NumPy exchange arrays; a torch built for NumPy 1 imports beside NumPy 2 and fails only here."""
    try:
        total = float(torch.from_numpy(numpy.ones(4, dtype="float32")).numpy().sum())
    except Exception as error:
        detail.update(error_detail(error))
        words = say(
            "torch {torch} and numpy {numpy} do not work together: {error}",
            torch=torch.__version__,
            numpy=numpy.__version__,
            error=first_line(error),
        )
        raise RungError(words, detail)  # noqa: B904 - Python 2 syntax
    if total != 4.0:
        raise RungError(say("torch and numpy exchange wrong numbers"), detail)


def unexpected_versions(expect, seen):
    """One sentence for each package that is not the expected one."""
    wrong = []
    for name in sorted(expect):
        version = seen[name] if name in seen else distribution_version(name)
        if version is None:
            wrong.append(say("{package} is not installed, expected {expected}", package=name, expected=expect[name]))
        elif not same_version(version, expect[name]):
            wrong.append(say("{package} is {version}, expected {expected}", package=name, version=version, expected=expect[name]))
    return wrong


def one_after_another(sentences):
    """Several sentences as one."""
    more = sentences[1:]
    return say("{one}; {more}", one=sentences[0], more=one_after_another(more)) if more else sentences[0]


def same_version(version, expected):
    """Whether the versions agree; without a local label in ``expected`` (2.4.1) any label does (2.4.1+cu121)."""
    return expected in (version, version.partition("+")[0])


def import_if_installed(name):
    """The module, or None if there is none of that name; everything else that goes wrong is raised."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name == name:
            return None
        raise


def distribution_version(name):
    """Version of an installed distribution by its metadata folder (importlib.metadata is missing before 3.8)."""
    wanted = plain_name(name)
    for folder in sys.path:
        for path in glob.glob(os.path.join(glob.escape(folder), "*-*.*-info")):
            found, _, version = os.path.basename(path).rpartition(".")[0].partition("-")
            if plain_name(found) == wanted:
                return version.partition("-py")[0]
    return None


def plain_name(name):
    """A distribution's name as package indexes compare it."""
    return re.sub("[-_.]+", "-", name).lower()


# ---------------------------------------------------------------------------------------------------------------------
# driver, allocate, matmul, conv, nms


def show_one_gpu(ladder, environ):
    """Let CUDA see only the card that was asked for, before torch looks."""
    ladder.gpu_index = accounts.show_one_gpu(ladder.wanted, ladder.user_visible, environ)


def check_driver(ladder):
    """torch reaches the GPU through the driver, or there is a good reason to go on without."""
    torch = ladder.torch
    if ladder.wanted == "cpu":
        raise NotApplicableError(say("the CPU was asked for"))
    detail = {"asked": ladder.asked, "visible_devices": ladder.user_visible, "cuda": torch.version.cuda}
    problem = gpu_problem(ladder, detail)
    if problem is None:
        ladder.device = torch.device("cuda", ladder.gpu_index)
        room = keep_small(ladder, detail)
        seen = say("torch sees {card}", card=detail["name"])
        return say("torch sees {card} ({room})", card=detail["name"], room=room) if room else seen, detail
    detail["reason"] = problem
    if ladder.asked == "auto" and not ladder.gpu_expected:
        raise NotApplicableError(say("no usable GPU: {problem}", problem=without_advice(problem)), detail)
    if ladder.asked == "auto":
        raise RungError(say("torch cannot use this machine's NVIDIA GPU: {problem}", problem=without_advice(problem)), detail)
    raise RungError(say("torch cannot use GPU {card}: {problem}", card=ladder.wanted, problem=without_advice(problem)), detail)


def keep_small(ladder, detail):
    """Take only a part of the card's free memory, and leave a full card alone; what is to be said of it."""
    environ = os.environ  # noqa: TID251 - no Host in the target
    ladder.cards_before = accounts.cards_now()  # before this process has anything on a card
    ladder.number = accounts.user_number(ladder.wanted, ladder.cards_before, ladder.user_visible, environ)
    detail["device"] = ladder.device_name
    card = accounts.shown_card(ladder.cards_before, environ, ladder.gpu_index)
    try:
        free = card["free"] if card is not None else accounts.free_and_total(ladder.torch, ladder.device)[0]
    except Exception as error:
        # Nobody tells, or the first thing on the card fails: then the next rung says how.
        detail["memory_unknown"] = first_line(error)
        return ""
    try:
        detail.update(accounts.keep_small(ladder.torch, ladder.device, detail["memory_total"], free, card))
    except RungError as full:
        full.detail = dict(detail, **full.detail)
        raise
    told = accounts.gibibytes(free)
    room = say("{size} free", size=told)
    if "memory_budget" in detail:
        most = accounts.gibibytes(detail["memory_budget"])
        room = say("{size} free; at most {most} of it are taken", size=told, most=most)
    several = card is not None and len(ladder.cards_before) > 1
    return say("GPU {index} of nvidia-smi, {room}", index=card["index"], room=room) if several else room


def gpu_problem(ladder, detail):
    """Why torch has no usable GPU, in torch's own words, or None; what it says about the card goes to ``detail``."""
    torch = ladder.torch
    if torch.version.cuda is None and getattr(torch.version, "hip", None) is None:
        return say("this torch is a CPU build")
    detail["device_count"] = torch.cuda.device_count()
    if not torch.cuda.is_available():
        return refusal(ladder)
    if ladder.gpu_index >= detail["device_count"]:
        return say("invalid device ordinal: torch sees {count}", count=detail["device_count"])
    properties = torch.cuda.get_device_properties(ladder.gpu_index)
    detail["name"] = properties.name
    detail["capability"] = "%d.%d" % (properties.major, properties.minor)
    detail["memory_total"] = properties.total_memory
    detail["arch_list"] = list(torch.cuda.get_arch_list()) if hasattr(torch.cuda, "get_arch_list") else None
    detail["cudnn"] = torch.backends.cudnn.version()
    return None


def refusal(ladder):
    """What CUDA says when it is really used; if it says nothing, what it warned of."""
    try:
        ladder.torch.zeros(1, device="cuda")
    except Exception as error:
        return first_words(error)
    said = [str(item.message) for item in ladder.warnings if "CUDA" in str(item.message)]
    return said[-1] if said else "torch.cuda.is_available() is False"


def check_allocate(ladder):
    """A small block of GPU memory can be taken and written: the first kernel runs here."""
    if not ladder.on_gpu:
        raise NotApplicableError(say("runs on the CPU"))
    torch = ladder.torch
    detail = {}
    # mem_get_info came with torch 1.11.
    if hasattr(torch.cuda, "mem_get_info"):
        detail["memory_free"], detail["memory_total"] = torch.cuda.mem_get_info(ladder.device)
    total = float(torch.ones(1 << 20, device=ladder.device).sum().cpu())
    if total != float(1 << 20):
        raise RungError(say("the GPU summed a million ones to {total}", total=repr(total)), detail)
    if "memory_free" not in detail:
        return say("4 MiB taken and written"), detail
    return say("4 MiB taken and written, {free} MiB free", free=detail["memory_free"] >> 20), detail


def check_matmul(ladder):
    """A float32 matrix product agrees with float64 on the CPU."""
    torch = ladder.torch
    chance = torch.Generator().manual_seed(SEED)
    left, right = (torch.randn(512, 512, generator=chance) for _ in range(2))
    answer = torch.matmul(left.to(ladder.device), right.to(ladder.device))
    return judge_rounding(say("matrix product"), answer, torch.matmul(left.double(), right.double()))


def check_conv(ladder):
    """A float32 convolution agrees with float64 on the CPU."""
    torch = ladder.torch
    chance = torch.Generator().manual_seed(SEED)
    picture = torch.randn(2, 16, 64, 64, generator=chance)
    kernel = torch.randn(32, 16, 3, 3, generator=chance)
    convolve = torch.nn.functional.conv2d
    answer = convolve(picture.to(ladder.device), kernel.to(ladder.device), padding=1)
    with without_onednn(torch):
        reference = convolve(picture.double(), kernel.double(), padding=1)
    return judge_rounding(say("convolution"), answer, reference)


def judge_rounding(what, answer, reference):
    """Pass if ``answer`` differs from the float64 ``reference`` by rounding only."""
    error = float((answer.cpu().double() - reference).norm() / reference.norm())
    detail = {"relative_error": error, "limit": ROUNDING}
    if not error < ROUNDING:  # also true for NaN
        words = say(
            "the {what} is wrong: relative error {error} where rounding explains {limit}",
            what=what,
            error="%.1e" % error,
            limit="%.0e" % ROUNDING,
        )
        raise RungError(words, detail)
    return say("{what} right to {error}", what=what, error="%.1e" % error), detail


def check_nms(ladder):
    """torchvision's non-maximum suppression, which every YOLO needs, runs on the device and keeps the right boxes."""
    if ladder.torchvision is None:
        if "yolo_predict" not in ladder.rungs:
            raise NotApplicableError(say("torchvision is not installed"))
        raise RungError(say("torchvision is not installed, and YOLO needs it"), {"missing": "torchvision"})
    torch = ladder.torch
    from torchvision.ops import nms

    boxes, scores = overlapping_boxes()
    device_boxes = torch.tensor(boxes, dtype=torch.float32).to(ladder.device)
    device_scores = torch.tensor(scores, dtype=torch.float32).to(ladder.device)
    kept = nms(device_boxes, device_scores, 0.5).cpu().tolist()
    expected = suppress(boxes, scores, 0.5)
    detail = {"boxes": len(boxes), "kept": len(kept), "expected": len(expected)}
    if kept != expected:
        words = say("NMS kept the wrong boxes: {kept} of {boxes} instead of {expected}", **detail)
        raise RungError(words, detail)
    return say("NMS keeps the right {kept} of {boxes} boxes", kept=len(kept), boxes=len(boxes)), detail


def overlapping_boxes():
    """Boxes and distinct scores; whole coordinates, so that float32 and Python agree on every overlap."""
    chance = random.Random(SEED)
    boxes = [[0, 0, 100, 100], [5, 0, 105, 100], [300, 300, 400, 400], [0, 60, 100, 160]]
    for _ in range(196):
        left, top = chance.randrange(400), chance.randrange(400)
        boxes.append([left, top, left + chance.randrange(20, 120), top + chance.randrange(20, 120)])
    ranks = list(range(len(boxes)))
    chance.shuffle(ranks)
    return boxes, [(rank + 1) / 256.0 for rank in ranks]


def suppress(boxes, scores, limit):
    """Non-maximum suppression as its definition says: best first, drop what overlaps a kept box by more than ``limit``."""
    kept = []
    for index in sorted(range(len(boxes)), key=lambda item: -scores[item]):
        if all(overlap(boxes[index], boxes[other]) <= limit for other in kept):
            kept.append(index)
    return kept


def overlap(one, other):
    """Intersection over union of two boxes."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(width, 0) * max(height, 0)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return common / float(areas - common)


# ---------------------------------------------------------------------------------------------------------------------
# yolo_predict


def check_yolo_predict(ladder):
    """YOLOv8n answers alike on the device and in an independent computation, and predicts from file to boxes."""
    torch = ladder.torch
    os.chdir(ladder.scratch)  # a yolov8n.yaml of the user's own in the working folder must not be taken
    move_home(ladder.scratch, os.environ)  # noqa: TID251 - no Host in the target
    ladder.network = forbid_network()
    yolo = build_yolo(torch)
    folder = os.path.join(ladder.scratch, "pictures")
    names, arrays = collect_pictures(folder)
    pictures = as_batch(torch, arrays)
    calibrate(torch, yolo.model, pictures)
    detail = {
        "model": "yolov8n.yaml",
        "parameters": sum(parameter.numel() for parameter in yolo.model.parameters()),
        "ultralytics": sys.modules["ultralytics"].__version__,
        "pictures": names,
        "reference": "float64 on the CPU, oneDNN off",
    }
    compare_answers(ladder, yolo.model, pictures, detail)
    reload_model(ladder, yolo, detail)
    count, speed = predict_pictures(ladder, yolo, folder, detail)
    message = say(
        "YOLOv8n predicts on {device}: {pixels} px from the reference, {boxes} boxes, {milliseconds} ms a picture",
        device=ladder.device_name,
        pixels="%.1g" % detail["box_difference"],
        boxes=count,
        milliseconds="%.0f" % speed,
    )
    return message, detail


def move_home(folder, environ):
    """Let libraries write settings and caches to ``folder``: ultralytics 8.0.20, say, knows no YOLO_CONFIG_DIR."""
    if os.name == "posix":
        # Kernels that the driver compiles for this card stay cached, as for every other program of this user.
        environ.setdefault("CUDA_CACHE_PATH", os.path.expanduser(os.path.join("~", ".nv", "ComputeCache")))
    for name in ("HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        environ[name] = folder
    for parts in ((".config",), ("AppData", "Roaming"), ("Library", "Application Support")):
        # Without the folder of their system, old ultralytics releases write to /tmp instead, and leave it there.
        os.makedirs(os.path.join(folder, *parts), exist_ok=True)


def forbid_network():
    """Make each connection fail at once: old ultralytics releases look for updates, fonts and weights by themselves.

    The functions as they were before.
    """
    import socket

    before = {name: getattr(socket, name) for name in ("create_connection", "getaddrinfo")}

    def refuse(*_arguments, **_options):
        raise OSError("envfix verify makes no network connections")

    socket.create_connection = refuse
    socket.getaddrinfo = refuse
    return before


def build_yolo(torch):
    """A YOLOv8n built from the yaml inside ultralytics, with weights drawn from a fixed seed."""
    try:
        ultralytics = importlib.import_module("ultralytics")
    except ModuleNotFoundError as error:
        if error.name == "ultralytics":
            raise RungError(first_line(error), error_detail(error))  # noqa: B904
        raise
    torch.manual_seed(SEED)
    return ultralytics.YOLO("yolov8n.yaml")


def collect_pictures(folder):
    """Put the two pictures inside ultralytics (old releases: two drawn ones) into ``folder``; their names and pixels.

    A folder is the one source for ``predict`` that every release takes.
    """
    import cv2

    assets = os.path.join(os.path.dirname(sys.modules["ultralytics"].__file__), "assets")
    files = [os.path.join(assets, name) for name in ("bus.jpg", "zidane.jpg")]
    os.mkdir(folder)
    if all(os.path.isfile(name) for name in files):
        for name in files:
            shutil.copy(name, folder)
    else:
        for number in (1, 2):
            cv2.imwrite(os.path.join(folder, "drawn%d.png" % number), draw_picture(number))
    names = sorted(os.listdir(folder))
    return names, [cv2.imread(os.path.join(folder, name)) for name in names]


def as_batch(torch, arrays):
    """Pictures (BGR bytes) as the network's input: RGB, 0 to 1, one batch."""
    import cv2
    import numpy as np

    resized = [cv2.resize(array, (IMAGE_SIZE, IMAGE_SIZE))[:, :, ::-1] for array in arrays]
    batch = np.ascontiguousarray(np.stack(resized).transpose(0, 3, 1, 2))
    return torch.from_numpy(batch).float() / 255.0


def calibrate(torch, model, pictures):
    """Make the random weights depend on the picture.

    As built, a YOLOv8n gives every picture the same answer to 3e-5, and a damaged layer goes unnoticed. So the normalisation
    layers learn the statistics of the pictures, and the classifiers get a last layer that is spread out.
    """
    torch.manual_seed(SEED)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = None  # the running statistics become the plain average
                module.reset_running_stats()
        model.train()
        model(pictures)
        model.eval()
        for branch in model.model[-1].cv3:
            branch[-1].bias.normal_(0.0, 1.0)
            branch[-1].weight.normal_(0.0, 0.1)


def device_copy(model, device):
    """The model on the device under test."""
    return copy.deepcopy(model).to(device)


def reference_copy(model):
    """The model in double precision on the CPU: other kernels, and rounding that does not matter."""
    return copy.deepcopy(model).cpu().double()


def raw_answer(torch, model, pictures):
    """What the network says before boxes are sorted out (near ties are decided differently by healthy machines)."""
    with torch.no_grad():
        answer = model(pictures)
    return (answer[0] if isinstance(answer, (list, tuple)) else answer).cpu().double()


def compare_answers(ladder, model, pictures, detail):
    """Fail unless the device computes what the reference computes, and looks at the picture."""
    torch = ladder.torch
    started = time.time()
    answer = raw_answer(torch, device_copy(model, ladder.device), pictures.to(ladder.device))
    detail["device_seconds"] = round(time.time() - started, 3)
    started = time.time()
    with without_onednn(torch):
        reference = raw_answer(torch, reference_copy(model), pictures.double())
    detail["reference_seconds"] = round(time.time() - started, 3)
    boxes, scores = differences(answer, reference)
    detail.update(box_difference=boxes, score_difference=scores, box_limit=BOX_LIMIT, score_limit=SCORE_LIMIT)
    detail["picture_box_difference"], detail["picture_score_difference"] = differences(answer[:1], answer[1:])
    if not alike(answer, reference):
        with without_onednn(torch):
            swapped = raw_answer(torch, reference_copy(model), pictures.flip(1).double())
        detail["looks_like"], words = likeness(torch, answer, reference, swapped)
        message = say(
            "YOLOv8n computes wrong numbers on {device}: boxes differ by {boxes} px, scores by {scores} from the reference: {likeness}",
            device=ladder.device_name,
            boxes="%.3g" % boxes,
            scores="%.3g" % scores,
            likeness=words,
        )
        raise RungError(message, detail)
    if not (detail["picture_box_difference"] > PICTURE_BOXES and detail["picture_score_difference"] > PICTURE_SCORES):
        message = say("YOLOv8n gives two different pictures the same answer on {device}", device=ladder.device_name)
        raise RungError(message, detail)


def likeness(torch, answer, reference, swapped):
    """What a wrong answer looks like, by name and in words; ``swapped`` is the right one to pictures of swapped channels."""
    boxes, scores = differences(answer, reference)
    if not bool(torch.isfinite(answer).all()):
        return "not_a_number", say("they are no numbers at all")
    if not bool(answer.abs().max() > 0):
        return "zero", say("they are all zero")
    if alike(answer, swapped):
        return "swapped_channels", say("as if red and blue were swapped")
    if alike(answer, reference.flip(0)):
        return "other_picture", say("as if it had been given another picture")
    if boxes < TF32_BOXES and scores < TF32_SCORES:
        return "tf32", say("as much as with TF32, which something has switched on again")
    if boxes < HALF_BOXES and scores < HALF_SCORES:
        return "half", say("as much as with half precision (bfloat16)")
    return "wrong", say("no rounding explains that")


def alike(one, other):
    """Whether two answers differ by rounding only."""
    boxes, scores = differences(one, other)
    return boxes < BOX_LIMIT and scores < SCORE_LIMIT


def differences(one, other):
    """Largest difference of the boxes (px) and of the class scores."""
    gap = (one - other).abs()
    return float(gap[:, :4].max()), float(gap[:, 4:].max())


def predict_pictures(ladder, yolo, folder, detail):
    """``model.predict`` from picture to boxes: number of boxes and milliseconds a picture."""
    started = time.time()
    results = yolo.predict(
        source=folder,
        imgsz=IMAGE_SIZE,
        device=str(ladder.device),
        project=ladder.scratch,
        save=False,
        verbose=False,
    )
    detail["predict_seconds"] = round(time.time() - started, 3)
    found = [getattr(result, "boxes", result) for result in results]  # 8.0.0 returns plain tensors
    detail["boxes"] = [len(boxes) for boxes in found]
    detail["speed_ms"] = {key: round(value, 1) for key, value in (getattr(results[-1], "speed", None) or {}).items()}
    used = {boxes.data.device.type for boxes in found}
    if used != {ladder.device.type}:
        words = say("predict ran on {used} instead of {device}", used=", ".join(sorted(used)), device=ladder.device_name)
        raise RungError(words, detail)
    if len(found) != len(detail["pictures"]) or not all(detail["boxes"]):
        raise RungError(say("predict found no boxes where these weights give hundreds"), detail)
    return sum(detail["boxes"]), sum(detail["speed_ms"].values()) or detail["predict_seconds"] * 500.0


def reload_model(ladder, yolo, detail):
    """ultralytics loads a ``.pt`` file of its own kind; torch 2.6 loads none unless it is told to, which old releases do not.

    It is written as ultralytics writes it after training, whose function for it has had several names.
    """
    path = os.path.join(ladder.scratch, "random.pt")
    content = {"epoch": -1, "best_fitness": None, "model": copy.deepcopy(yolo.model).cpu(), "ema": None, "updates": None}
    written = io.BytesIO()  # on a full disk torch itself would be aborted
    ladder.torch.save(dict(content, optimizer=None, train_args={}, date=None, version=detail["ultralytics"]), written)
    with open(path, "wb") as stream:
        stream.write(written.getvalue())
    try:
        loaded = sys.modules["ultralytics"].YOLO(path)
    except Exception as error:
        root = root_of(error)
        words = outdated(ladder.torch, root) or say(
            "ultralytics cannot load a file that it has just written: {error}", error=first_line(root)
        )
        raise RungError(words, dict(detail, **error_detail(root)))  # noqa: B904 - Python 2 syntax
    finally:
        os.unlink(path)
    if sum(parameter.numel() for parameter in loaded.model.parameters()) != detail["parameters"]:
        raise RungError(say("ultralytics loads another model than the one that it has just written"), detail)


# ---------------------------------------------------------------------------------------------------------------------
# the climb

RUNGS = (
    ("interpreter", check_interpreter),
    ("import", check_import),
    ("versions", check_versions),
    ("driver", check_driver),
    ("allocate", check_allocate),
    ("matmul", check_matmul),
    ("conv", check_conv),
    ("nms", check_nms),
    ("memory", accounts.check_memory),
    ("yolo_predict", check_yolo_predict),
    ("yolo_weights", trained.check_yolo_weights),
    ("train", training.check_train),
)


def attempt(check, ladder):
    """Run one rung: status, sentence and detail; whatever a library throws is a failed rung."""
    try:
        message, detail = check(ladder)
    except NotApplicableError as skip:
        return "skipped", said_by(skip), skip.detail
    except RungError as failure:
        return "failed", said_by(failure), failure.detail
    except (Exception, SystemExit) as error:
        return "failed", first_line(error), error_detail(error)
    return "passed", message, detail


def run_rung(channel, ladder, name, check):
    """Announce, run and report one rung; False if it failed."""
    limit = ladder.limits.get(name)
    channel.send({"event": "start", "rung": name, "limit": limit})
    if limit:
        # If the rung hangs, the place is on stderr before the caller ends this process.
        faulthandler.dump_traceback_later(0.9 * limit, file=2)
    started = time.time()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        ladder.warnings = caught
        status, message, detail = attempt(check, ladder)
    seconds = time.time() - started
    faulthandler.cancel_dump_traceback_later()
    said = [str(item.message) for item in caught if not issubclass(item.category, (DeprecationWarning, FutureWarning))]
    if said:
        detail["warnings"] = [shorten(text, WARNING_LIMIT) for text in said[:3]]
    channel.send(
        {
            "event": "end",
            "rung": name,
            "status": status,
            "seconds": round(seconds, 3),
            "detail": detail,
            "message": in_parts(message),
        }
    )
    return status != "failed"


def memory_used(ladder):
    """Bytes: on a GPU torch's own count and the card's, on the CPU the most this process held."""
    torch = ladder.torch
    if ladder.on_gpu:
        used = {
            "allocated": torch.cuda.memory_allocated(ladder.device),
            "reserved": torch.cuda.memory_reserved(ladder.device),
            "peak_allocated": torch.cuda.max_memory_allocated(ladder.device),
            "peak_reserved": torch.cuda.max_memory_reserved(ladder.device),
        }
        if hasattr(torch.cuda, "mem_get_info"):
            used["free"], used["total"] = torch.cuda.mem_get_info(ladder.device)
        return used
    return training.peak(ladder)


def prepare_environment(ladder, environ):
    """Quiet, offline and without traces: what libraries write goes to the scratch folder, and none installs anything."""
    for name in ("YOLO_CONFIG_DIR", "MPLCONFIGDIR", "TMPDIR", "TEMP", "TMP"):
        environ[name] = ladder.scratch
    for name in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"):
        environ.pop(name, None)  # without, they are in the folders above
    environ["YOLO_OFFLINE"] = "1"
    environ["YOLO_AUTOINSTALL"] = "0"
    environ["YOLO_VERBOSE"] = "false"
    # Before it knew YOLO_AUTOINSTALL, ultralytics called pip on its own.
    environ["PIP_NO_INDEX"] = "1"
    environ["PIP_CONFIG_FILE"] = os.devnull
    environ["UV_OFFLINE"] = "1"
    environ.pop("PIP_FIND_LINKS", None)
    if not ladder.weights.download:
        # What is started beside Python (curl, say) finds no way out either: nobody listens there.
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            environ[name] = environ[name.upper()] = "http://127.0.0.1:9"
    # These would turn TF32 on behind torch's back.
    environ["NVIDIA_TF32_OVERRIDE"] = "0"
    environ.pop("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", None)
    show_one_gpu(ladder, environ)


def forget_own_folder():
    """Take this script's folder off the module search path; the user's programs do not have it either."""
    sys.path[:] = [folder for folder in sys.path if os.path.abspath(folder) != OWN_FOLDER]


def climb(channel, ladder):
    """Climb to the asked level, or to the first rung that fails; True if none failed."""
    prepare_environment(ladder, os.environ)  # noqa: TID251 - no Host in the target
    healthy = True
    for name, check in RUNGS:
        if healthy and name in ladder.rungs:
            healthy = run_rung(channel, ladder, name, check)
    memory = dict(memory_used(ladder) if healthy else {}, **ladder.ledger)
    if "lines" in memory:
        memory["lines"] = [in_parts(line) for line in memory["lines"]]
    channel.send({"event": "done", "device": ladder.device_name, "weights": ladder.weights.used or "random", "memory": memory})
    return healthy


def main(arguments):
    """Read the request, climb, and leave without the libraries' clean-up, whose crashes prove nothing."""
    faulthandler.enable(file=2)
    forget_own_folder()
    cookie, request = arguments
    code = 0 if climb(Channel(cookie), Ladder(json.loads(request))) else 1
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1:])

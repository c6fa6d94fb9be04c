"""Trained weights on the ladder: looks at the file before anything in it runs, loads it, and looks for a person and a bus.

A ``.pt`` file is a program: loading it calls whatever it names. So its list of names is read first, without loading; it may
name the parts of a YOLO model and nothing else. While torch loads it, every name is checked again: by torch itself
(``weights_only``) where it can be told which classes are good (2.6 and newer), else by a loader that knows only those.

Standard library only, syntax of Python 3.6.
"""

import contextlib
import functools
import glob
import importlib
import io
import json
import os
import pickle
import pickletools
import re
import shutil
import sys
import zipfile

from envfix_verify_basics import (
    NotApplicableError,
    RungError,
    draw_picture,
    error_detail,
    first_line,
    first_words,
    mebibytes,
    root_of,
    said_by,
    say,
)

OFFICIAL = "yolov8n.pt"
PICTURE = "bus.jpg"
WANTED = ("person", "bus")
COCO_CLASSES = 80
COCO_NAMES = {0: "person", 5: "bus"}
IMAGE_SIZE = 640
DEFAULT_PICTURE = "envfix-verify.jpg"
# The list of names of a YOLOv8x is 0.3 MiB; hundreds of them would be a bomb.
NAMES_LIMIT = 8 * 1024 * 1024
TRUST = say("--trust-weights loads it if you know who made it")

# Data that stands in checkpoints beside the model.
PLAIN = {
    "collections.OrderedDict",
    "builtins.set",
    "builtins.getattr",
    "_codecs.encode",
    "numpy.dtype",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "torch.Size",
    "torch.Tensor",
    "torch.device",
    "torch.serialization._get_layout",
    "torch.nn.parameter.Parameter",
    "ultralytics.utils.IterableSimpleNamespace",
    "ultralytics.yolo.utils.IterableSimpleNamespace",
}
PATTERNS = (
    re.compile(r"torch\.(?:\w+Storage|(?:b?float|complex|q?u?int)\d+\w*|double|float|half|int|long|short|bool)\Z"),
    re.compile(r"torch\.storage\.(?:Typed|Untyped)Storage\Z"),
    re.compile(r"torch\._utils\._rebuild_(?:parameter|parameter_with_state|tensor|tensor_v2)\Z"),
    re.compile(r"torch\.nn\.modules(?:\.\w+)?\.[A-Z]\w*\Z"),
    re.compile(r"ultralytics\.(?:yolo\.)?nn\.(?:modules|tasks)(?:\.\w+)?\.[A-Z]\w*\Z"),
    re.compile(r"ultralytics\.(?:yolo\.)?utils\.(?:loss|tal)\.[a-zA-Z]\w*\Z"),
    re.compile(r"pathlib(?:\._local)?\.(?:Pure)?(?:Posix|Windows)Path\Z"),
)
MODEL = re.compile(r"ultralytics\.(?:yolo\.)?nn\.tasks\.\w*Model\Z")
# Other ways than GLOBAL by which a pickle gets at names; torch writes none of them.
HIDDEN_NAMES = ("STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4")


class UnsafeNameError(pickle.UnpicklingError):
    """Loading stopped: the file asked for something that is no part of a model."""


# ---------------------------------------------------------------------------------------------------------------------
# which file


class Wish(object):
    """What the caller wants with weights; paths are those of the folder in which the ladder was started."""

    def __init__(self, request, folder, environ):
        request = request or {}
        self.given = request.get("file")
        self.download = bool(request.get("download"))
        self.trust = bool(request.get("trust"))
        self.file = self.given and os.path.join(folder, os.path.expanduser(self.given))
        if self.file is None and request.get("find"):
            self.file = find(folder, environ)
        named = request.get("picture")
        self.picture = os.path.join(folder, os.path.expanduser(named or DEFAULT_PICTURE))
        self.picture_given = bool(named)
        self.used = None  # the name of the weights that predicted


def find(folder, environ):
    """A ``yolov8n.pt`` that is here already: in the working folder, or where ultralytics keeps this user's weights."""
    places = [folder] + weights_folders(environ)
    files = [os.path.join(folder, os.path.expanduser(place), OFFICIAL) for place in places]
    return next((path for path in files if os.path.isfile(path)), None)


def weights_folders(environ):
    """The folders of weights that the user's settings of ultralytics name; the settings are only read."""
    homes = [environ.get("YOLO_CONFIG_DIR"), environ.get("XDG_CONFIG_HOME"), environ.get("APPDATA")]
    homes += [os.path.expanduser(os.path.join("~", *parts)) for parts in ((".config",), ("Library", "Application Support"))]
    found = []
    for home in filter(None, homes):
        for pattern in ("settings.*", os.path.join("Ultralytics", "settings.*")):
            for path in sorted(glob.glob(os.path.join(glob.escape(home), pattern))):
                found += [place for place in [weights_folder(path)] if place and place not in found]
    return found


def weights_folder(path):
    """``weights_dir`` of a settings file of ultralytics, JSON today and YAML before, or None."""
    try:
        with io.open(path, encoding="utf-8") as stream:
            text = stream.read(100000)
    except (OSError, UnicodeDecodeError):
        return None
    if path.endswith(".json"):
        try:
            value = json.loads(text).get("weights_dir")
        except (ValueError, AttributeError):
            return None
        return value if isinstance(value, str) else None
    found = re.search(r"^weights_dir:[ \t]*(\S.*?)[ \t]*$", text, re.MULTILINE)
    return found.group(1).strip("'\"") if found else None


# ---------------------------------------------------------------------------------------------------------------------
# what is in the file, without loading it


def refuse(problem, message, **detail):
    """A file that cannot be used; ``problem`` is its name for programs."""
    return RungError(message, dict(detail, problem=problem))


def inspect(path, trust=False):
    """Names that loading the file would look up; raises ``RungError`` for what is not a YOLO model."""
    head = beginning(path)
    look_at_text(path, head)
    if not head.startswith(b"PK"):
        look_at_other_formats(path, head)
        if trust:
            return []
        raise refuse(
            "old_format",
            say("{path} is in the format of torch before 1.6, which is not looked into; {trust}", path=path, trust=TRUST),
        )
    names = names_in(path)
    foreign = sorted(name for name in names if not allowed(name))
    if [name for name in foreign if name.startswith("models.")]:
        words = say("{path} is a model of the old YOLOv5 repository, which ultralytics does not load", path=path)
        raise refuse("yolov5", words)
    if foreign and not trust:
        raise refuse(
            "unsafe",
            say(
                "{path} is not loaded: besides a model it asks for {names}, which could run any program; {trust}",
                path=path,
                names=listed(foreign),
                trust=TRUST,
            ),
            names=foreign[:20],
        )
    if not trust and not any(MODEL.match(name) for name in names):
        words = say("{path} holds no YOLO model (only numbers or another network)", path=path)
        raise refuse("not_a_yolo_model", words)
    return names


def listed(names):
    """Names in a sentence, at most three of them."""
    first = ", ".join(names[:3])
    return say("{names} and {count} more", names=first, count=len(names) - 3) if len(names) > 3 else first


def beginning(path):
    """The first bytes of the file; there must be some."""
    if os.path.isdir(path):
        raise refuse("no_such_file", say("{path} is a folder, not a file of weights", path=path))
    if os.path.exists(path) and not os.path.isfile(path):
        raise refuse("no_such_file", say("{path} is a device or a pipe, not a file of weights", path=path))
    try:
        with open(path, "rb") as stream:
            head = stream.read(1024)
    except OSError as error:
        if not os.path.exists(path):
            raise refuse("no_such_file", say("there is no file {path}", path=path)) from error
        raise refuse("unreadable", say("{path} cannot be read: {reason}", path=path, reason=error.strerror)) from error
    if not head:
        raise refuse(
            "empty",
            say("{path} is empty (0 bytes): its download did not get through; load it again", path=path),
            error="EOFError",
            text="PytorchStreamReader failed reading zip archive: failed finding central directory",
        )
    return head


def look_at_text(path, head):
    """Refuse what a clone without git-lfs or a refused download leaves in the place of weights."""
    if head.startswith(b"version https://git-lfs"):
        size = re.search(rb"^size (\d+)$", head, re.MULTILINE)
        words = say("{path} is only a pointer of Git LFS: the real file was never fetched; `git lfs pull` fetches it", path=path)
        if size:
            words = say(
                "{path} is only a pointer of Git LFS: the real file of {size} was never fetched; `git lfs pull` fetches it",
                path=path,
                size=mebibytes(int(size.group(1))),
            )
        raise refuse(
            "git_lfs_pointer",
            words,
            error="UnpicklingError",
            text="version https://git-lfs.github.com/spec/v1",
        )
    if head.lstrip().startswith(b"<"):
        raise refuse(
            "web_page",
            say("{path} is a web page, not weights: its download was answered with a page; load it again", path=path),
            error="UnpicklingError",
            text="invalid load key, '<'.",
        )


def look_at_other_formats(path, head):
    """Refuse what is neither torch's archive nor a bare pickle."""
    if head.startswith(b"\x80") and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return
    shown = repr(head[:12])[2:-1]
    raise refuse("not_pytorch", say("{path} is not a file of PyTorch: it begins with {shown}", path=path, shown=shown))


def names_in(path):
    """The names in the one pickle of the archive; every byte of the archive is checked against its sum."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            if damaged is not None:
                raise zipfile.BadZipFile(say("wrong sum of {part}", part=damaged))
            pickles = [item for item in archive.infolist() if item.filename.split("/")[-1] == "data.pkl"]
            if any(item.filename.split("/")[-1] == "constants.pkl" for item in archive.infolist()):
                words = say("{path} is a TorchScript export; give the .pt from which it was exported", path=path)
                raise refuse("torchscript", words)
            if len(pickles) != 1:
                words = say("{path} is an archive, but not one of PyTorch: it has no data.pkl", path=path)
                raise refuse("not_pytorch", words)
            if pickles[0].file_size > NAMES_LIMIT:
                words = say("{path} is not loaded: its list of names is unpacked larger than any model's", path=path)
                raise refuse("unsafe", words)
            content = archive.read(pickles[0])
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError, ValueError) as error:
        raise damaged_file(path, error) from error
    try:
        return names_of(content)
    except Exception as error:  # pickletools raises ValueError, and others for nonsense
        raise damaged_file(path, error) from error


def damaged_file(path, error):
    """A part is missing or altered; torch's own words name the cause."""
    return refuse(
        "damaged",
        say(
            "{path} is cut off or damaged ({size}): {reason}; load it again",
            path=path,
            size=mebibytes(os.path.getsize(path)),
            reason=said_by(error),
        ),
        error=type(error).__name__,
        text="PytorchStreamReader failed reading zip archive: failed finding central directory",
    )


def names_of(content):
    """Dotted names that a pickle looks up, Python 2's written as today's; hidden ones are named as such."""
    names = set()
    for operation, argument, _ in pickletools.genops(content):
        if operation.name == "GLOBAL":
            names.add(dotted(*argument.split(" ", 1)))
        elif operation.name in HIDDEN_NAMES:
            names.add("hidden names (%s)" % operation.name)
    return sorted(names)


def dotted(module, name):
    """Module and name as one."""
    return "%s.%s" % ("builtins" if module == "__builtin__" else module, name)


def allowed(name):
    """Whether a model of ultralytics may name it."""
    return name in PLAIN or any(pattern.match(name) for pattern in PATTERNS)


# ---------------------------------------------------------------------------------------------------------------------
# loading


class Loader(object):
    """Stands in for ``torch.load``: while ``names`` is set, only the parts of a model can be loaded."""

    def __init__(self, torch):
        self.torch = torch
        self.load = torch.load
        self.names = None

    def __call__(self, file, *arguments, **options):
        if self.names is None:
            return self.load(file, *arguments, **options)
        options.pop("weights_only", None)
        options.pop("pickle_module", None)
        with models_not_built(self.torch):
            if hasattr(self.torch.serialization, "get_unsafe_globals_in_checkpoint"):  # 2.6: torch can be told the classes
                self.torch.serialization.add_safe_globals(self.good_classes())
                return self.load(file, *arguments, weights_only=True, **options)
            if not self.can_be_restricted():
                words = say("this torch cannot be kept from running what a file of weights asks for; {trust}", trust=TRUST)
                raise RungError(words, {"problem": "unsafe"})
            return self.load_restricted(file, *arguments, **options)

    def load_restricted(self, file, *arguments, **options):
        """Load with an unpickler that knows only the parts of models.

        torch 1.13 forgets the ``pickle_module`` that it is given and takes its own, so that one is replaced as well.
        """
        made = restricted_pickle(self.torch)
        os.environ.pop("TORCH_FORCE_WEIGHTS_ONLY_LOAD", None)  # noqa: TID251 - it knows no model at all
        own = self.torch.serialization.pickle
        self.torch.serialization.pickle = made
        try:
            return self.load(file, *arguments, pickle_module=made, **options)
        finally:
            self.torch.serialization.pickle = own

    def can_be_restricted(self):
        """Whether a file that asks for a harmless function, which is no part of a model, is really stopped."""
        probe = io.BytesIO()
        with zipfile.ZipFile(probe, "w") as archive:
            archive.writestr("x/data.pkl", b"\x80\x02cbuiltins\nlen\n.")
            archive.writestr("x/version", b"3\n")
        probe.seek(0)
        try:
            self.load_restricted(probe)
        except UnsafeNameError:
            return True
        return False

    def good_classes(self):
        """What torch must be told; tensors and plain containers it knows itself."""
        known = re.compile(r"torch\.(?!nn\.modules)|collections\.|builtins\.set|_codecs\.")
        good = [(resolve(self.torch, name), name) for name in self.names if not known.match(name)]
        if "numpy.dtype" in self.names:
            dtype = importlib.import_module("numpy").dtype
            good += [type(dtype(kind)) for kind in ("float64", "float32", "int64")]
        return good

    @contextlib.contextmanager
    def only(self, names):
        """Load nothing but what these names stand for; without names everything, as torch does."""
        self.names = names or None
        try:
            yield
        finally:
            self.names = None


def guard(torch):
    """Put the loader in the place of ``torch.load``, before any library takes hold of it (ultralytics puts its own before)."""
    loader = Loader(torch)
    # With the signature of the real one, which libraries look at.
    torch.load = functools.update_wrapper(loader, torch.load)
    return loader


@contextlib.contextmanager
def models_not_built(torch):
    """Loading restores models, it never builds one: a YOLO is built from texts that are evaluated."""
    build = torch.nn.Module.__init__

    def refuse_to_build(module, *_arguments, **_options):
        raise UnsafeNameError(say("the file wants to build a {kind} while it is loaded", kind=type(module).__name__))

    torch.nn.Module.__init__ = refuse_to_build
    try:
        yield
    finally:
        torch.nn.Module.__init__ = build


def resolve(torch, name):
    """What an allowed name stands for; a class must be a model's part, defined where the name says."""
    if name == "builtins.getattr":
        return careful_getattr(torch)
    module, _, attribute = name.rpartition(".")
    if module.startswith("pathlib"):
        kind = "Pure" if attribute.startswith("Pure") else ""
        system = "Windows" if os.name == "nt" else "Posix"
        return getattr(importlib.import_module("pathlib"), kind + system + "Path")
    if module == "numpy._core.multiarray" or module == "numpy.core.multiarray":
        return importlib.import_module("numpy").float64(0).__reduce__()[0]
    thing = getattr(importlib.import_module(module), attribute)
    if name in PLAIN or not re.match(r"torch\.nn\.modules|ultralytics\.", name):
        return thing
    part = isinstance(thing, type) and (issubclass(thing, torch.nn.Module) or re.search(r"\.utils\.(?:loss|tal)\Z", module))
    if not part:
        raise UnsafeNameError(say("{name} is no part of a model", name=name))
    return thing


def careful_getattr(torch):
    """A ``getattr`` for the one thing it is needed for in these files: the ``forward`` of a part, the value of an enum."""
    import enum

    def careful(thing, name):
        if isinstance(thing, type) and issubclass(thing, (torch.nn.Module, enum.Enum)) and not name.startswith("_"):
            return getattr(thing, name)
        if isinstance(thing, torch.nn.Module) and name in ("forward", "forward_fuse"):
            return getattr(thing, name)
        asked = "getattr(%s, %r)" % (type(thing).__name__, name)
        raise UnsafeNameError(say("{name} is no part of a model", name=asked))

    return careful


def restricted_pickle(torch):
    """As much of the module ``pickle`` as torch uses, with an unpickler that knows only the parts of models."""

    class Unpickler(pickle.Unpickler):
        def find_class(self, module, name):
            full = dotted(module, name)
            if not allowed(full):
                raise UnsafeNameError(say("{name} is no part of a model", name=full))
            return super(Unpickler, self).find_class(module, name) if full.startswith("torch._") else resolve(torch, full)

    made = type(sys)("pickle")
    made.__dict__.update(vars(pickle))
    made.Unpickler = Unpickler
    made.load = lambda stream, **options: Unpickler(stream, **options).load()
    made.loads = lambda text, **options: Unpickler(io.BytesIO(text), **options).load()
    return made


# ---------------------------------------------------------------------------------------------------------------------
# the rung


def check_yolo_weights(ladder):
    """Trained weights load, and find the person and the bus that are in the packaged picture."""
    wish = ladder.weights
    if wish.file is None and not wish.download:
        words = say("no {name} is here; --weights FILE names one, --allow-download fetches it", name=OFFICIAL)
        raise NotApplicableError(words)
    path = wish.file or download(ladder)
    detail = {"file": path}
    try:
        names = inspect(path, wish.trust)
        yolo = load(ladder, path, [] if wish.trust else names)
        message = look(ladder, yolo, path, detail)
    except RungError as error:
        error.detail.update(detail, **error.detail)
        if not wish.given and error.detail.get("problem"):
            # A file that merely lies here proves nothing about this environment.
            words = say("a file that was found is of no use: {error}", error=said_by(error))
            raise NotApplicableError(words, error.detail) from error
        raise
    wish.used = os.path.basename(path)
    return message, detail


def download(ladder):
    """Let ultralytics fetch its own ``yolov8n.pt`` into the scratch folder, which is removed at the end."""
    folder = os.path.join(ladder.scratch, "download")
    os.mkdir(folder)
    path = os.path.join(folder, OFFICIAL)
    before = os.getcwd()
    os.chdir(folder)
    try:
        with ladder.network_allowed():
            downloader()(path)
    except RungError:
        raise
    except (Exception, SystemExit) as error:
        words = say("{name} could not be downloaded: {error}", name=OFFICIAL, error=first_line(error))
        raise RungError(words, error_detail(error)) from error
    finally:
        os.chdir(before)
    if not os.path.isfile(path):
        raise RungError(say("ultralytics did not download {name}", name=OFFICIAL), {"problem": "no_such_file"})
    return path


def downloader():
    """The function by which this release of ultralytics fetches official weights."""
    for module in ("ultralytics.utils.downloads", "ultralytics.yolo.utils.downloads"):
        with contextlib.suppress(ImportError):
            found = importlib.import_module(module)
            for name in ("attempt_download_asset", "attempt_download"):
                if hasattr(found, name):
                    return getattr(found, name)
    raise RungError(say("this release of ultralytics has no function that downloads weights"))


def load(ladder, path, names):
    """The YOLO of the file, made by ultralytics from a copy that nobody else can change meanwhile."""
    folder = os.path.join(ladder.scratch, "weights")
    os.mkdir(folder)
    copy = os.path.join(folder, "weights.pt")  # ultralytics reads more into a name than it says
    shutil.copyfile(path, copy)
    if names and inspect(copy) != names:
        raise refuse("damaged", say("{path} was changed while it was read", path=path))
    try:
        with ladder.loader.only(names):
            yolo = sys.modules["ultralytics"].YOLO(copy)
    except RungError:
        raise
    except Exception as error:
        detail = error_detail(error)
        root = root_of(error)
        if isinstance(root, UnsafeNameError):
            raise refuse("unsafe", say("{path} is not loaded: {reason}", path=path, reason=said_by(root))) from error
        if names and "Weights only load failed" in str(root):
            words = say("{path} is not loaded: torch refuses it: {reason}", path=path, reason=refusal(str(root)))
            raise refuse("unsafe", words) from error
        if isinstance(root, (ImportError, AttributeError)) and "ultralytics" in str(root):
            own = sys.modules["ultralytics"].__version__
            words = say(
                "{path} was made with another release of ultralytics than this {own}, which lacks parts of it: {error}",
                path=path,
                own=own,
                error=first_words(root),
            )
            raise refuse("other_release", words, **detail) from error
        raise RungError(say("{path} cannot be loaded: {error}", path=path, error=first_line(root)), detail) from error
    model = getattr(yolo, "model", None)
    if not isinstance(model, ladder.torch.nn.Module) or not hasattr(model, "names"):
        raise refuse("not_a_yolo_model", say("{path} holds no YOLO model", path=path))
    return yolo


def refusal(text):
    """Why torch refuses a file, out of a text that mostly advises to load it all the same."""
    for pattern in (r"(?i)unsupported (?:global|class|operand):? (?:global )?[\w.]+", r"WeightsUnpickler error:\s*(?:\S.*)"):
        found = re.search(pattern, text)
        if found:
            return found.group(0).replace("WeightsUnpickler error:", "").strip()
    return say("it holds more than weights")


def look(ladder, yolo, path, detail):
    """Predict on the packaged picture and on one without anything in it; save what was found; one sentence."""
    import cv2

    folder = os.path.join(ladder.scratch, "look")
    os.mkdir(folder)
    assets = os.path.join(os.path.dirname(sys.modules["ultralytics"].__file__), "assets", PICTURE)
    packaged = os.path.isfile(assets)
    source = os.path.join(folder, PICTURE)
    if packaged:
        shutil.copy(assets, source)
    else:
        cv2.imwrite(source, draw_picture(1))
    boxes, names = predict(ladder, yolo, source), class_names(yolo)
    found = count([names.get(int(box[5]), str(int(box[5]))) for box in boxes])
    detail.update(classes=len(names), found=found, boxes=len(boxes))
    name = os.path.basename(path)
    known = packaged and all(word in names.values() for word in WANTED)
    missing = [word for word in WANTED if word not in found] if known else []
    if len(missing) == len(WANTED):
        words = say("{name} found no person and no bus in {picture}: are these trained weights?", name=name, picture=PICTURE)
        raise refuse("untrained", words)
    if missing:
        raise refuse("poor", say("{name} found no {thing} in {picture}", name=name, thing=missing[0], picture=PICTURE))
    if known:
        look_at_nothing(ladder, yolo, folder, name)
    told = {"name": name, "picture": PICTURE}
    told["things"] = ", ".join("%d %s" % (found[word], word) for word in sorted(found))
    if not packaged:
        words = say("{name} predicts (on a drawn picture: this ultralytics has no {picture})", **told)
    elif known:
        words = say("{name} finds {things} in {picture}", **told)
    elif not found:
        words = say("{name} finds nothing in {picture} (its classes are others than person and bus)", **told)
    else:
        words = say("{name} finds {things} in {picture} (its classes are others than person and bus)", **told)
    return save_picture(ladder.weights, cv2, cv2.imread(source), boxes, names, detail, words)


def look_at_nothing(ladder, yolo, folder, name):
    """Weights that see a bus in a grey picture as well have not looked at the first one."""
    import cv2
    import numpy as np

    grey = os.path.join(folder, "grey.png")
    cv2.imwrite(grey, np.full((640, 480, 3), 114, dtype="uint8"))
    names = class_names(yolo)
    seen = count([names.get(int(box[5]), "") for box in predict(ladder, yolo, grey)])
    if any(word in seen for word in WANTED):
        words = say("{name} finds a person or a bus in an empty picture too: are these trained weights?", name=name)
        raise refuse("untrained", words)


def class_names(yolo):
    """Number to name of the classes; a model that never saw a data set has numbers for names, 80 of them as in COCO."""
    names = yolo.model.names
    names = dict(names) if isinstance(names, dict) else dict(enumerate(names))
    if len(names) == COCO_CLASSES and all(str(name) in (str(number), "class%d" % number) for number, name in names.items()):
        names.update(COCO_NAMES)
    return names


def predict(ladder, yolo, source):
    """Boxes as rows of left, top, right, bottom, score, class."""
    results = yolo.predict(
        source=source,
        imgsz=IMAGE_SIZE,
        device=str(ladder.device),
        project=ladder.scratch,
        save=False,
        verbose=False,
        conf=0.25,
    )
    found = getattr(results[0], "boxes", results[0])  # 8.0.0 returns plain tensors
    return [] if found is None else found.data.cpu().tolist()


def count(words):
    """How often each word occurs."""
    return {word: words.count(word) for word in sorted(set(words))}


def save_picture(wish, cv2, picture, boxes, names, detail, words):
    """Write the picture with its boxes where the user wants it; what happened, behind the words on what was found."""
    for box in boxes:
        left, top, right, bottom = (int(round(value)) for value in box[:4])
        label = "%s %.2f" % (names.get(int(box[5]), "?"), box[4])
        cv2.rectangle(picture, (left, top), (right, bottom), (0, 160, 0), 2)
        cv2.putText(picture, label, (left + 3, max(top - 4, 12)), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 255), 1, cv2.LINE_AA)
    try:
        write_picture(wish, cv2.imencode(os.path.splitext(wish.picture)[1] or ".jpg", picture)[1].tobytes())
    except Exception as error:  # cv2 has an error of its own for an ending it does not know
        reason = getattr(error, "strerror", None) or first_line(error)
        if wish.picture_given:
            words = say("the picture cannot be written to {picture}: {reason}", picture=wish.picture, reason=reason)
            raise RungError(words, error_detail(error)) from error
        detail["picture_problem"] = reason
        return say("{found}; no picture saved: {reason}", found=words, reason=reason)
    detail["picture"] = wish.picture
    return say("{found}; picture: {picture}", found=words, picture=wish.picture)


def write_picture(wish, content):
    """At once and whole; without being told a name, only our own earlier picture is replaced."""
    if not wish.picture_given and (os.path.islink(wish.picture) or os.path.isdir(wish.picture)):
        raise OSError(17, say("{picture} is not a picture of envfix", picture=wish.picture))
    picture = os.path.realpath(wish.picture)
    if os.path.exists(picture) and not os.path.isfile(picture):
        with open(picture, "wb") as stream:  # a pipe or /dev/null is written into, never replaced
            stream.write(content)
        return
    part = "%s.%d.part" % (picture, os.getpid())
    with open(part, "xb") as stream:
        stream.write(content)
    try:
        os.replace(part, picture)
    except OSError:
        os.unlink(part)
        raise

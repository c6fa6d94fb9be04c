"""What pip, uv, pipenv and Poetry say when no wheel of torch will do, and which of several causes that means.

The program lists the versions that this Python could have. An empty list, one that begins after the wish or ends before it,
and one without the wished label have different causes. Three facts of the world are enough: the last torch of each old
Python, the first of each new one, and the span of releases of each CUDA folder of torch's index (as ``wheels.yaml`` has them;
older rows are left out there).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import msgspec

from envfix.model.finding import Remedy
from envfix.model.language import later
from envfix.model.log import Hit, Log, Weigh
from envfix.model.regex import regex
from envfix.rules._log import Reading
from envfix.tables.loader import Tables

Release = tuple[int, int, int]

# pip's and pipenv's message, with the whole rest of its line.
WISH = (
    r"(?i)could not find a version that (?:satisfies the requirement|matches) (?P<package>torchvision|torchaudio|torch)"
    r"(?P<wish>[\s=<>~!\[,;(][^\n]*)"
)
# The last line of the same, where the rest was cut away.
NO_DISTRIBUTION = (
    r"(?i)no matching distribution found for (?P<package>torchvision|torchaudio"
    r"|torch)(?P<wish>[=<>~!][^()\s]{1,60}|\s|\z)"
)
# Signs that nothing could be fetched at all: then an empty list says nothing about torch.
NO_CONNECTION = regex(
    r"Retrying \(Retry\(|SSLError|ProxyError|ConnectTimeoutError|ReadTimeoutError|NewConnectionError|Could not fetch"
    r" URL"
    r"|Cannot connect to proxy|ssl module (?:in Python )?is not available|CERTIFICATE_VERIFY_FAILED"
)

# Pythons for which the default registry holds nothing newer, and the ones that begin with a release there.
LAST_OF_PYTHON: dict[str, tuple[Release, ...]] = {
    "2.7": ((1, 4, 0),),
    "3.5": ((1, 5, 0), (1, 5, 1)),
    "3.6": ((1, 10, 1), (1, 10, 2)),
    "3.7": ((1, 13, 1),),
    "3.8": ((2, 4, 1),),
    "3.9": ((2, 8, 0),),
}
FIRST_OF_PYTHON: dict[str, Release] = {
    "3.8": (1, 4, 0),
    "3.9": (1, 7, 1),
    "3.10": (1, 11, 0),
    "3.11": (1, 13, 0),
    "3.12": (2, 2, 0),
    "3.13": (2, 5, 0),
    "3.14": (2, 9, 0),
    "3.15": (2, 13, 0),
}
LAST_FOR_INTEL_MAC: Release = (2, 2, 2)
# First and last release in each folder of torch's index; None: goes on.
SPANS: dict[str, tuple[Release, Release | None]] = {
    "cu92": ((1, 0, 0), (1, 7, 1)),
    "cu100": ((1, 0, 0), (1, 4, 0)),
    "cu101": ((1, 3, 0), (1, 8, 1)),
    "cu102": ((1, 5, 0), (1, 12, 1)),
    "cu110": ((1, 7, 0), (1, 7, 1)),
    "cu111": ((1, 8, 0), (1, 10, 2)),
    "cu113": ((1, 10, 0), (1, 12, 1)),
    "cu115": ((1, 11, 0), (1, 11, 0)),
    "cu116": ((1, 12, 0), (1, 13, 1)),
    "cu117": ((1, 13, 0), (2, 0, 1)),
    "cu118": ((2, 0, 0), (2, 7, 1)),
    "cu121": ((2, 1, 0), (2, 5, 1)),
    "cu124": ((2, 4, 0), (2, 6, 0)),
    "cu126": ((2, 6, 0), None),
    "cu128": ((2, 7, 0), None),
    "cu129": ((2, 8, 0), None),
    "cu130": ((2, 9, 0), None),
    "cu132": ((2, 12, 0), None),
}
OLD_FOLDERS = ("cu75", "cu80", "cu90", "cu91")
# torchvision's wheels of pure Python, which every Python could have.
_PURE = (0, 2, 2)

_RELEASE = regex(r"(?<![\d.])(\d+)\.(\d+)(?:\.(\d+))?((?:\.?(?:post|dev|a|b|rc)\d*)*)(?:\+([\w.]+))?")
_CLAUSE = regex(r"(===|==|>=|<=|~=|!=|<|>)\s*v?([\d.]+(?:\.?(?:post|dev|a|b|rc)\d+)?)(?:\.\*)?(?:\+([\w.]+))?")
_FOLDER = regex(r"/whl/(?:nightly/|test/)?(cu\d{2,3}|cpu|rocm[\d.]+|xpu)\b")
_LOOKING = regex(r"Looking in (?:indexes|links): ([^\n]*)")
_BITS_32 = regex(r"(?i)python[\d.]*-32\b|32[ -]?bit \(Intel\)|32[ -]bit python|-win32\.whl|cp3\d+-none-win32")
_MAC = regex(r"macosx|(?i:darwin)|macOS|/opt/homebrew|(?<![A-Za-z]:)/Users/|/Library/Frameworks/Python|zsh: ")
_WINDOWS = regex(r"\b[A-Za-z]:\\|win_amd64|\bPS [A-Z]:|on win32|\.exe\b")
_ODD = regex(
    r"(?i)\balpine\b|musl(?!\w)|musllinux|apk add|armv[67]l|armhf|ppc64le|s390x|riscv64|linux_i686|win_arm64|raspbian"
)
_PYTHON = regex(r"[Pp]ython[ /\\-]?v?(\d)\.(\d{1,2})\b|\bcp(\d)(\d{1,2})\b|[Pp]ython(\d)(\d{1,2})[\\/]")


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What was wished and what could be had; ``kind`` says how they differ.

    ``below`` and ``above``: outside of what is listed; ``gap``: inside; ``label``: there without the label; ``empty``,
    ``ancient`` (only what every Python could have) and ``cut`` (no list is shown); ``unknown``.

    ``releases`` are those of torch also where torchvision or torchaudio was asked for.
    """

    package: str
    wished: str
    label: str
    wish: Release | None
    first: Release | None
    last: Release | None
    first_text: str
    last_text: str
    kind: str
    causes: dict[str, float]


def of(hit: Hit) -> Choice:
    """What a place found by ``WISH`` or ``NO_DISTRIBUTION`` says."""
    package = hit.groups.get("package", "torch").lower()
    asked = (hit.groups.get("wish") or "").partition("(")[0]
    clauses = [(operator, _release(number), label or "") for operator, number, label in _CLAUSE.findall(asked)]
    listed = _listed(hit)
    wished, label = _wished(clauses)
    development = ".dev" in asked
    wish = _of_torch(wished, package) if wished else None
    real = [(release, name) for release, name, _ in (listed or ()) if not _is_ancient(release, package)]
    versions = sorted({_of_torch(release, package) for release, _ in real})
    first, last = (versions[0], versions[-1]) if versions else (None, None)
    texts = {_of_torch(release, package): ".".join(map(str, release)) for release, _ in real}
    kind = _kind(clauses, listed, versions, real, wish, label, package)
    context = hit.before[-3500:] + "\n" + hit.after[:1500]
    causes = _causes(kind, wish, label, first, last, {name for _, name in real}, context, hit, development=development)
    return Choice(
        package=package,
        wished=".".join(map(str, wished)) if wished else "",
        label=label,
        wish=wish,
        first=first,
        last=last,
        first_text=texts.get(first, "") if first else "",
        last_text=texts.get(last, "") if last else "",
        kind=kind,
        causes=causes,
    )


def weight(cause: str, hit: Hit) -> float | None:
    """How sure a place found by ``WISH`` or ``NO_DISTRIBUTION`` makes one cause."""
    return of(hit).causes.get(cause)


def first_choice(reading: Reading) -> Choice | None:
    """The first of the reading's places that has a list."""
    hits = [hit for hit in reading.hits if hit.pattern == WISH]
    return of(hits[0]) if hits else None


def python_for(tables: Tables, choice: Choice | None, *, platform: str = "linux_x86_64") -> str | None:
    """A Python that has the wished torch: from the middle of those that have."""
    if choice is None or choice.wish is None:
        return None
    wished = ".".join(map(str, choice.wish))
    tags = {
        wheel.python
        for wheel in tables.wheels.find("torch", platform=platform)
        if str(wheel.version) == wished and re.fullmatch(r"cp3\d+", wheel.python)
    }
    ordered = sorted(tags, key=lambda tag: int(tag[3:]))
    return f"3.{ordered[len(ordered) // 2][3:]}" if ordered else None


def as_text(release: Release | None) -> str:
    """``(2, 1, 0)`` as 2.1.0."""
    return ".".join(map(str, release)) if release else ""


def is_32bit(text: str) -> bool:
    """Whether a text shows a 32-bit Python."""
    return _BITS_32.search(text) is not None


def _release(text: str) -> Release:
    numbers = [int(part) for part in re.findall(r"\d+", text)[:3]]
    major, minor, patch = (*numbers, 0, 0, 0)[:3]
    return (major, minor, patch)


def _listed(hit: Hit) -> list[tuple[Release, str, str]] | None:
    """The versions in the list, as release, label and text; None where there is no list."""
    text = hit.groups.get("wish") or ""
    start = re.search(r"(?i)from versions?:?|tried:", text + hit.after[:300])
    if start is None:
        return None
    text = (text + hit.after)[start.end() :]
    text = text.partition(")")[0] if ")" in text else text.partition("\n")[0]
    found = [(_release(match[0].partition("+")[0]), match[5] or "", match[0]) for match in _RELEASE.finditer(text)]
    return [one for one in found if "dev" not in one[2]] or found


def _is_ancient(release: Release, package: str) -> bool:
    return (package == "torch" and release < (0, 1, 3)) or (package == "torchvision" and release <= _PURE)


def _of_torch(release: Release, package: str) -> Release:
    """The torch that a release of torchvision or torchaudio belongs to."""
    major, minor, patch = release
    if package == "torchvision" and major == 0:
        return (1, minor - 1, patch) if minor < 15 else (2, minor - 15, patch)
    if package == "torchaudio" and major == 0:
        return (1, minor, patch)
    return release


def _wished(clauses: list[tuple[str, Release, str]]) -> tuple[Release | None, str]:
    for operators in (("==", "==="), (">=", "~=", ">"), ("<", "<=")):
        for operator, release, label in clauses:
            if operator in operators:
                return release, label
    return None, ""


def _kind(  # noqa: PLR0911 - one line a kind
    clauses: list[tuple[str, Release, str]],
    listed: list[tuple[Release, str, str]] | None,
    versions: list[Release],
    real: list[tuple[Release, str]],
    wish: Release | None,
    label: str,
    package: str,
) -> str:
    if listed is None:
        return "cut"
    if not versions:
        return "ancient" if listed and package == "torch" else "empty"
    operators = {operator for operator, _, _ in clauses}
    if wish is None:
        return "unknown"
    if operators & {"==", "==="}:
        if wish in versions or any(_of_torch(release, package) == wish for release, _ in real):
            return "label" if label else "unknown"
        return "below" if wish < versions[0] else "above" if wish > versions[-1] else "gap"
    if operators & {">=", "~=", ">"} and wish > versions[-1]:
        return "above"
    if operators <= {"<", "<=", "!="} and wish <= versions[0]:
        return "below"
    if "~=" in operators and wish < versions[0] and wish[:2] != versions[0][:2]:
        return "below"
    upper = [_of_torch(release, package) for operator, release, _ in clauses if operator in ("<", "<=")]
    if upper and min(upper) <= versions[0]:
        return "below"
    return "gap"


def _causes(
    kind: str,
    wish: Release | None,
    label: str,
    first: Release | None,
    last: Release | None,
    labels: set[str],
    context: str,
    hit: Hit,
    *,
    development: bool,
) -> dict[str, float]:
    if kind in ("empty", "ancient", "cut"):
        return dict(_of_nothing(kind, wish, label, context, hit, development=development))
    if development:
        return {"wheel_not_on_index": 0.8, "wheel_python_mismatch": 0.25}
    if kind == "label":
        return {"wheel_not_on_index": 0.88, "wheel_python_mismatch": 0.15}
    if kind == "below":
        return _of_below(wish, first, labels, context)
    if kind == "above":
        return _of_above(wish, first, last, labels, context)
    if kind == "gap":
        return {"wheel_not_on_index": 0.75, "wheel_python_mismatch": 0.3}
    return {"wheel_not_on_index": 0.45, "wheel_python_mismatch": 0.25}


def _of_nothing(  # noqa: PLR0911, C901 - one block a kind of hint
    kind: str, wish: Release | None, label: str, context: str, hit: Hit, *, development: bool
) -> Iterator[tuple[str, float]]:
    """The list is empty, holds only what every Python could have, or was cut away."""
    if NO_CONNECTION.search(hit.before[-3500:]):
        return
    if _BITS_32.search(context):
        yield "python_32bit", 0.92
        yield "wheel_python_mismatch", 0.3
        return
    if _ODD.search(context):
        yield "platform_without_wheel", 0.85
        return
    folders = _folders(hit)
    unknown = [name for name in folders if name.startswith("cu") and name not in SPANS and name not in OLD_FOLDERS]
    if unknown or (label.startswith("cu") and label not in SPANS and label not in OLD_FOLDERS):
        yield "wheel_not_on_index", 0.93
        return
    python = _python(context)
    spans = [SPANS[name] for name in folders if name in SPANS]
    if python and wish and wish < FIRST_OF_PYTHON.get(python, (0, 0, 0)):
        yield "wheel_python_mismatch", 0.9
        return
    span = SPANS.get(label)
    if wish and span and (wish < span[0] or (span[1] and wish > span[1])):
        yield "wheel_not_on_index", 0.9
        return
    if python and spans and all(end and end < FIRST_OF_PYTHON.get(python, (0, 0, 0)) for _, end in spans):
        yield "wheel_python_mismatch", 0.9
        return
    if _MAC.search(context) and (spans or label.startswith("cu")):
        yield "platform_without_wheel", 0.8
        yield "wheel_not_on_index", 0.4
        return
    if development:
        yield "wheel_not_on_index", 0.7
        yield "wheel_python_mismatch", 0.3
        return
    new = python is not None and int(python.split(".")[1]) >= 13
    if kind == "cut":
        yield "wheel_python_mismatch", 0.4
        yield "wheel_not_on_index", 0.38 if label else 0.25
        yield "python_32bit", 0.12
        yield "platform_without_wheel", 0.15
        return
    yield "wheel_python_mismatch", 0.75 if new else 0.5
    yield "python_32bit", 0.3 if not _MAC.search(context) else 0.05
    yield "platform_without_wheel", 0.25 if kind == "empty" else 0.1
    yield "wheel_not_on_index", 0.3 if folders or label or "===" in hit.groups.get("wish", "")[:4] else 0.2


def _of_below(wish: Release | None, first: Release | None, labels: set[str], context: str) -> dict[str, float]:
    """The wish is older than everything that could be had: this Python is too new, or the folder begins later."""
    begins = [SPANS[name][0] for name in labels if name in SPANS]
    if "" not in labels and begins and first is not None and first <= min(begins) and wish is not None:
        # Only one folder was asked, and all of it is there.
        return {"wheel_not_on_index": 0.85, "wheel_python_mismatch": 0.2}
    python = _python(context)
    if python and wish and FIRST_OF_PYTHON.get(python, (9, 9, 9)) <= wish:
        return {"wheel_python_mismatch": 0.6, "wheel_not_on_index": 0.5}
    if wish is not None and wish < (1, 7, 0) and first is not None and (1, 7, 0) <= first <= (1, 8, 1):
        # The default registry begins so late on Windows, for every Python.
        return {"wheel_python_mismatch": 0.6, "wheel_not_on_index": 0.4}
    return {"wheel_python_mismatch": 0.93, "wheel_not_on_index": 0.15}


def _of_above(
    wish: Release | None, first: Release | None, last: Release | None, labels: set[str], context: str
) -> dict[str, float]:
    """The wish is newer than everything that could be had."""
    if last == LAST_FOR_INTEL_MAC and "" in labels and not any(name.startswith("cu") for name in labels):
        if _WINDOWS.search(context):
            return {"wheel_not_on_index": 0.6, "platform_without_wheel": 0.3}
        return {"platform_without_wheel": 0.92, "wheel_not_on_index": 0.2}
    python = _python(context)
    too_old = [old for old, releases in LAST_OF_PYTHON.items() if last in releases]
    later = FIRST_OF_PYTHON.get(_next(too_old[0]) if too_old else "", (9, 9, 9))
    if too_old and first is not None and (first < later or first <= (1, 8, 1)):
        if python and python not in LAST_OF_PYTHON:
            return {"wheel_python_mismatch": 0.5, "wheel_not_on_index": 0.5}
        return {"wheel_python_mismatch": 0.85, "wheel_not_on_index": 0.25}
    ends = [SPANS[name][1] for name in labels if name in SPANS]
    if "" not in labels and ends and last is not None and all(end is not None and last < end for end in ends):
        return {"wheel_python_mismatch": 0.65, "wheel_not_on_index": 0.35}
    del wish
    return {"wheel_not_on_index": 0.75, "wheel_python_mismatch": 0.35, "platform_without_wheel": 0.12}


def _next(python: str) -> str:
    return "3.5" if python == "2.7" else f"3.{int(python.split('.')[1]) + 1}"


def _folders(hit: Hit) -> list[str]:
    """The folders of torch's index that were asked: what pip says it looks in, else what stands in the command."""
    looking = _LOOKING.findall(hit.before)
    text = looking[-1] if looking else hit.before[-1500:] + hit.after[:800]
    return _FOLDER.findall(text)


def _python(text: str) -> str | None:
    """The Python that a text names last."""
    found = None
    for match in _PYTHON.finditer(text):
        major, minor = match[1] or match[3] or match[5], match[2] or match[4] or match[6]
        if major == "3" and 4 < int(minor) < 20:
            found = f"3.{minor}"
    return found


# uv: no wheel of this version fits, with the kind of the tag that none has, and an example of what this machine takes.
UV_NO_TAG = (
    r"(?P<package>torch|torchvision|torchaudio)(?P<which>(?:[=<>!{\[+,][^`\n]{0,90})?) (?:is unusable because no"
    r" wheels are available|has no wheels"
    r"(?: are available)?|have no wheels(?: are available)?) with a matching (?P<tag>Python ABI|Python implementation"
    r"|Python version|Python|platform)"
    r"(?: tag)?(?: \(e\.g\., `(?P<example>\w+)`)?"
)
# uv: the version that the lock names has no file for this machine; a hint below may say what is missing.
UV_NO_FILE = (
    r"[Dd]istribution `?(?P<package>[\w.-]+)==(?P<which>[^`\s]+) @ (?P<where>[^`\s]{1,200})`? can.?t be"
    r" installed because it doesn.?t have"
    r" a source distribution or wheel for the current platform"
)
UV_FOUND = (
    r"only found wheels for `(?P<package>torch|torchvision|torchaudio)` \((?P<which>[^)]{1,40})\) with the"
    r" following Python"
)
UV_PLATFORMS = (
    r"(?P<what>[Ww]heels are available for `(?:torch|torchvision|torchaudio)` \([^)]{1,40}\) on the"
    r" following platforms?)"
)
FAMILY = ("torch", "torchvision", "torchaudio")


def of_tag(cause: str, hit: Hit) -> float | None:
    """Uv says that no wheel of the torch family has a fitting tag."""
    tag, example = hit.groups.get("tag", ""), hit.groups.get("example", "")
    if tag != "platform":
        old = "wheels are available" in hit.text
        if old and re.search(r"/whl/(?:cpu|cu\d+)", hit.before + hit.after):
            # Releases before 0.5 did not match a plain version with the labelled ones of a torch index.
            return {"uv_first_index_only": 0.5, "wheel_python_mismatch": 0.45, "wheel_not_on_index": 0.4}.get(cause)
        return {"wheel_python_mismatch": 0.85}.get(cause)
    return _of_platform(example, hit.before + hit.after).get(cause)


def _of_platform(example: str, around: str) -> dict[str, float]:
    if example.startswith(("macosx", "musllinux", "win_arm64")) or "armv" in example:
        return {"platform_without_wheel": 0.93}
    if example == "win32":
        return {"python_32bit": 0.9}
    if example.startswith("manylinux") and example.endswith("x86_64"):
        return {"platform_without_wheel": 0.2, "wheel_not_on_index": 0.35}
    if "aarch64" in example or example.startswith("win"):
        return {"platform_without_wheel": 0.5, "wheel_not_on_index": 0.45}
    found = 0.85 if _MAC.search(around) or _ODD.search(around) else 0.6
    return {"platform_without_wheel": found, "wheel_python_mismatch": 0.25, "wheel_not_on_index": 0.25}


def of_file(cause: str, hit: Hit) -> float | None:
    """Uv says that a locked distribution has no file for this machine."""
    package, where = hit.groups.get("package", ""), hit.groups.get("where", "")
    hint = " ".join(re.split(r"[\s\u2502|]+", hit.after[:900]))
    on_python = re.search(r"following Python (?:ABI|implementation|version) tag|using (?:CPython|PyPy) 3", hint)
    on_platform = re.search(r"following platform|You're (?:on|running)", hint)
    if package in FAMILY:
        if on_python:
            return {"wheel_python_mismatch": 0.95}.get(cause)
        if on_platform:
            example = re.search(r"\(`(\w+)`", hint)
            return _of_platform(example[1] if example else "", hint).get(cause)
        odd = _MAC.search(hit.before[-800:]) or _ODD.search(hit.before[-1500:])
        return {
            "wheel_python_mismatch": 0.2 if odd else 0.5,
            "platform_without_wheel": 0.85 if odd else 0.5,
            "wheel_not_on_index": 0.3,
        }.get(cause)
    if package.startswith(("nvidia-", "triton", "pytorch-triton")):
        return {"platform_without_wheel": 0.8, "wheel_not_on_index": 0.15}.get(cause)
    if "/whl/" in where:
        return {"uv_first_index_only": 0.93, "wheel_python_mismatch": 0.2}.get(cause)
    return None


# uv found the name on its first index, and nothing there that will do.
UV_FIRST = r"`?(?P<package>[\w.-]+)`? was found on \S{1,200}, but not at the requested versions?"
# Poetry has a version in its lock and no file of it that fits; newer ones say how many were passed over and why.
POETRY_NO_CANDIDATES = (
    r"Unable to find installation candidates for (?P<package>torch|torchvision|torchaudio) \((?P<which>[^)\n]{1,40})\)"
)
# The one command that tells these causes apart.
TELL_APART = Remedy(
    text=later("See which Python asks: its version, whether it has 32 or 64 bits, and its system."),
    commands=(
        (
            "python",
            "-c",
            "import platform, struct; print(platform.python_version(), struct.calcsize('P') * 8, platform.platform())",
        ),
    ),
)


def of_candidates(cause: str, hit: Hit) -> float | None:
    """Poetry finds no file of the torch family that fits."""
    if re.search(r"does not support the identified (?:abi|python) tag", hit.after):
        return {"wheel_python_mismatch": 0.85, "platform_without_wheel": 0.3}.get(cause)
    if re.search(r"does not support the identified platform tag", hit.after):
        return {"platform_without_wheel": 0.8, "wheel_python_mismatch": 0.3}.get(cause)
    around = hit.before[-1500:] + hit.after[:1500]
    labelled = "+" in hit.groups.get("which", "")
    if _MAC.search(around):
        return {"platform_without_wheel": 0.65, "wheel_python_mismatch": 0.4, "wheel_not_on_index": 0.25}.get(cause)
    return {
        "wheel_python_mismatch": 0.5,
        "platform_without_wheel": 0.35,
        "wheel_not_on_index": 0.5 if labelled else 0.3,
    }.get(cause)


# pip was given a file that this Python or system cannot take.
NOT_SUPPORTED = (
    r"(?P<file>(?:torch|torchvision|torchaudio)-\d[^\s/\\]{1,120}\.whl) is not a supported wheel on this platform"
)


def of_wheel_file(cause: str, hit: Hit) -> float | None:
    """A wheel was named that pip refuses: by the tags in its name and what else is told."""
    name, around = hit.groups.get("file", ""), hit.before[-2000:] + hit.after[:1000]
    if _BITS_32.search(around):
        return {"python_32bit": 0.9, "wheel_python_mismatch": 0.4}.get(cause)
    windows, mac = _WINDOWS.search(around), _MAC.search(around)
    foreign = (
        ("macosx" in name and windows is not None)
        or ("win_amd64" in name and windows is None and mac is not None)
        or ("linux" in name and (windows is not None or mac is not None))
        or "aarch64" in name
        or "_arm64" in name
        or _ODD.search(around.replace(name, "")) is not None
    )
    if foreign:
        return {"platform_without_wheel": 0.65, "wheel_python_mismatch": 0.45}.get(cause)
    return {"wheel_python_mismatch": 0.7, "platform_without_wheel": 0.3, "python_32bit": 0.12}.get(cause)


def weighing(cause: str, judge: Callable[[str, Hit], float | None]) -> Weigh:
    """One of the functions above as a signature's ``weigh``."""

    def weigh(hit: Hit, log: Log) -> float | None:
        del log
        return judge(cause, hit)

    return weigh


# pip takes the source package of old, the only file of that name without a Python tag.
ANCIENT = r"torch-0\.1\.2(?:\.post\d)?\.tar\.gz|name=[\"']torch[\"'], version=[\"']0\.1\.2"


def is_elsewhere(text: str) -> bool:
    """Whether a text shows a system other than Linux with glibc on an ordinary processor."""
    return any(pattern.search(text) for pattern in (_MAC, _WINDOWS, _ODD))

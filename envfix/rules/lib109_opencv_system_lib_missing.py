"""OpenCV's window functions need libraries of the system that are not there.

What you see
    "ImportError: libGL.so.1: cannot open shared object file" (or libgthread-2.0.so.0, libSM.so.6, libXext.so.6) at ``import cv2``,
    and ultralytics imports it first of all.

Why
    Slim containers and servers without a desktop have no such libraries, and opencv-python is the build with windows.

How envfix knows
    The libraries that OpenCV's compiled module needs, and those its bundled libraries need, against every place the loader looks;
    in a log the texts above.

How to mend
    Use opencv-python-headless alone: uninstall the other first, for both use the same folder. Or have the system's packages
    installed (libgl1 and libglib2.0-0 on Debian and Ubuntu).

What not to do
    The headless package beside the other does not help: the one with windows is still loaded.

Sources
    ELF headers of cv2 and of the libraries beside it; /etc/ld.so.cache.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.rules._askers import OWN, asker
from envfix.rules._changing import pip
from envfix.rules._family import NEW_ENVIRONMENT, compiled, installed
from envfix.rules._log import LogSide, Reading
from envfix.rules._rule import Rule
from envfix.tables.loader import Tables

WITH_WINDOWS = {"opencv-python": "opencv-python-headless", "opencv-contrib-python": "opencv-contrib-python-headless"}


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del machine, tables
    files = [file for file in compiled(environment, "cv2") if file.unresolved]
    if not files:
        return
    lacking = ", ".join(dict.fromkeys(name for file in files for name in file.unresolved))
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR,
        message=say("OpenCV cannot be imported: it needs {lacking}, which this system does not have.", lacking=lacking),
        because=tuple(
            Evidence(fact="environment.binaries", value=say("needs {lacking}", lacking=lacking), source=file.path)
            for file in files
        ),
        remedies=(*_remedies(environment), NEW_ENVIRONMENT),
    )


def _remedies(environment: Environment) -> Iterator[Remedy]:
    here = installed(environment)
    both = [name for name in (*WITH_WINDOWS, *WITH_WINDOWS.values()) if name in here]
    item = next((here[name] for name in WITH_WINDOWS if name in here), None)
    if item is not None:
        wanted = f"{WITH_WINDOWS[item.name.lower().replace('_', '-')]}=={item.version}"
        commands = dict.fromkeys(
            (
                *pip(environment, "uninstall", "-y", *both),
                *pip(environment, "install", "--no-deps", wanted),
            )
        )
        yield Remedy(text=say("Put the build without windows in its place."), commands=tuple(commands), safe=False)
    yield Remedy(
        text=say("Or ask the administrator to install the packages libgl1 and libglib2.0-0 (Debian, Ubuntu)."),
        safe=False,
    )


# Debian's package of each library.
_DEBIAN = {
    "libGL.so": "libgl1",
    "libEGL.so": "libegl1",
    "libgthread-2.0.so": "libglib2.0-0",
    "libglib-2.0.so": "libglib2.0-0",
    "libgobject-2.0.so": "libglib2.0-0",
    "libSM.so": "libsm6",
    "libICE.so": "libice6",
    "libXext.so": "libxext6",
    "libXrender.so": "libxrender1",
    "libX11.so": "libx11-6",
    "libX11-xcb.so": "libx11-xcb1",
    "libgtk-x11-2.0.so": "libgtk2.0-0",
    "libgtk-3.so": "libgtk-3-0",
}


def _mends(reading: Reading) -> Iterator[Remedy]:
    yield Remedy(
        text=say(
            "Put the build of OpenCV without windows in its place; both use the same folder, so the other goes first."
        ),
        commands=(
            (
                "python",
                "-m",
                "pip",
                "uninstall",
                "-y",
                "opencv-python",
                "opencv-contrib-python",
                "opencv-python-headless",
            ),
            ("python", "-m", "pip", "install", "opencv-python-headless"),
        ),
        safe=False,
    )
    library = reading.groups.get("library", "")
    stem = re.sub(r"\.so.*", ".so", library)
    package = _DEBIAN.get(stem)
    which = (
        say("{package} (it has {library})", package=package, library=library)
        if package
        else say("libgl1 and libglib2.0-0")
    )
    yield Remedy(
        text=say(
            "Or have the system's package installed, in the image or by the administrator: {which}"
            " on Debian and Ubuntu, mesa-libGL and glib2 on Fedora and Rocky.",
            which=which,
        ),
        safe=False,
    )


def _weigh_library(hit: Hit, log: Log) -> float | None:
    """OpenCV is nearly always the one that asks; where another package does, the remedy differs."""
    by = asker(hit)
    if by == "cv2" or log.found(_CV2):
        return 0.96
    return 0.55 if by not in ("", OWN) else 0.92


_CV2 = r"import cv2|from cv2|[/\\]cv2[/\\]|\bopencv"

LOG = LogSide(
    signatures=(
        Signature(
            pattern=r"(?P<library>lib(?:GL|EGL|GLX|GLdispatch|gthread-2\.0|glib-2\.0|gobject-2\.0"
            r"|SM|ICE|Xext|Xrender|X11|X11-xcb|xcb[\w-]*|gtk-[\w.-]+?"
            r"|gdk[\w.-]+?|xkbcommon[\w-]*|fontconfig|dbus-1)\.so[.\d]*): cannot open shared object file",
            weigh=_weigh_library,
            looks_at=(_CV2,),
        ),
        Signature(pattern=r"undefined symbol: (?P<symbol>_glapi\w+|g_\w+|gl[A-Z]\w+)", confidence=0.4),
        Signature(
            pattern=r"Could not load the Qt platform plugin \"xcb\" in \"[^\"\n]*cv2[/\\]qt[/\\]plugins\"",
            confidence=0.8,
        ),
        Signature(pattern=r"no Qt platform plugin could be initialized", confidence=0.5, beside=(_CV2,)),
        # The editions of Windows without media features.
        Signature(pattern=r"DLL load failed while importing cv2", confidence=0.45),
    ),
    message=(
        later("OpenCV cannot be imported: it needs {library}, which this system does not have."),
        later("OpenCV cannot be used here: what its window functions need is not there."),
    ),
    remedies=lambda reading: tuple(_mends(reading)),
)


RULE = Rule(
    code="LIB109",
    cause="opencv_system_lib_missing",
    title=later("OpenCV misses a library of the system"),
    needs=("environment.binaries",),
    check=check,
    rank=46,
    log=LOG,
)

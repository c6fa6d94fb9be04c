"""A program reads video or sound by FFmpeg's libraries, and no release of them that it can use is there.

What you see
    "Could not load libtorchcodec", "libavutil.so.59: cannot open shared object file", torchaudio's "Failed to initialize FFmpeg
    extension", "No such file or directory: 'ffmpeg'".

Why
    torchcodec, torchaudio and torchvision's video reader bring no FFmpeg: they look for its shared libraries, releases 4 to 8
    (libavutil.so.56 to .60), one after the other. A static ffmpeg program, or the one inside imageio-ffmpeg, has no such
    libraries; on Windows only the "full-shared" builds have them.

How envfix knows
    From logs alone. torchcodec's message lists one attempt for each release of FFmpeg: where all of them miss libav*, FFmpeg is
    missing; where one of them misses a symbol of torch, torchcodec belongs to another torch.

How to mend
    FFmpeg of conda-forge in the environment, the system's package, or the "full-shared" build on PATH (Windows). Then the
    torchcodec that was made for the installed torch.

What not to do
    pip's packages ffmpeg and ffmpeg-python are wrappers without the libraries. A link from libavutil.so.58 to libavutil.so.56
    crashes.

Sources
    torchcodec's README and its loader; torchaudio's _extension/utils.py; FFmpeg's table of library versions.
"""

from __future__ import annotations

from envfix.model.finding import Remedy
from envfix.model.language import later
from envfix.model.log import Hit, Log, Signature
from envfix.rules._log import LogSide
from envfix.rules._rule import Rule

# One release of FFmpeg that works is enough.
_LOADED = r"Successfully loaded FFmpeg\d"
_TORCHCODEC = r"Could not load libtorchcodec"
_OTHER_REASON = (
    r"undefined symbol: (?:_Z|aoti_|torch_)\w+|Symbol not found: _+(?:Z|aoti|torch)\w+"
    r"|lib(?:torch\w*|c10\w*|npp\w+|nvrtc|cudart)\.(?:so[.\d]*|dylib): cannot open"
    r"|Library not loaded: @rpath/libpython"
)


def _weigh_torchcodec(hit: Hit, log: Log) -> float | None:
    """Its list of attempts tells which of its three "likely causes" it is."""
    del hit
    if log.found(_OTHER_REASON):
        return 0.4
    return 0.95 if log.found(_MISSING) else 0.75


def _weigh_library(hit: Hit, log: Log) -> float | None:
    """Attempts for several releases of FFmpeg fail while one of them works."""
    del hit
    if log.found(_LOADED):
        return None
    return 0.5 if log.found(_TORCHCODEC) and log.found(_OTHER_REASON) else 0.94


_MISSING = (
    r"(?P<library>lib(?:avutil|avcodec|avformat|avdevice|avfilter|swscale|swresample"
    r"|postproc|openh264|x264)(?:\.so)?[\w.-]*?(?:\.so[.\d]*|\.dylib)): cannot open shared object"
    r"|Library not loaded: [^\s']*?(?P<library2>lib(?:avutil|avcodec|avformat|avdevice|swscale|swresample)[\w.]*\.dylib)"
    r"|(?:Could not find module|Error loading) [\"'][^\"'\n]{0,200}(?P<library3>(?:avutil|avcodec|avformat|swscale)-\d+\.dll)"
)

LOG = LogSide(
    signatures=(
        Signature(pattern=_MISSING, weigh=_weigh_library, looks_at=(_LOADED, _TORCHCODEC, _OTHER_REASON)),
        Signature(pattern=_TORCHCODEC, weigh=_weigh_torchcodec, looks_at=(_OTHER_REASON, _MISSING)),
        Signature(
            pattern=r"Failed to ini?tialize FFmpeg extension|FFmpeg libraries are not found"
            r"|FFmpeg extension is not available|ffmpeg_extension|requires FFmpeg extension",
            confidence=0.93,
            unless=(_LOADED,),
        ),
        Signature(
            pattern=r"No such file or directory: '(?:ffmpeg|ffprobe|avconv)'|(?:ffmpeg"
            r"|ffprobe): (?:command )?not found|'(?:ffmpeg|ffprobe)' is not recognized"
            r"|command not found: (?:ffmpeg|ffprobe)",
            confidence=0.88,
        ),
        Signature(
            pattern=r"No ffmpeg exe could be found|[Ff][Ff]mpeg (?:is |was )?not (?:found"
            r"|installed)|Couldn't find ff(?:mpeg|probe) or av(?:conv|probe)|[Uu]nable to find (?:a "
            r"suitable )?(?:version of )?ffmpeg",
            confidence=0.85,
        ),
        Signature(
            pattern=r"Not compiled with video_reader support|video_reader backend is not available"
            r"|PyAV is not installed, and is necessary",
            confidence=0.65,
        ),
        Signature(pattern=r"Couldn't find appropriate backend to handle uri", confidence=0.55),
        Signature(
            pattern=r"torchcodec is not installed correctly so built-in audio decoding will fail", confidence=0.6
        ),
        Signature(
            pattern=r"To support decoding (?:audio|video) (?:data|files?), please install 'torchcodec'", confidence=0.4
        ),
    ),
    message=(
        later(
            "FFmpeg's libraries are missing: {library} is not where the loader looks, nor another"
            " release that would do."
        ),
        later("FFmpeg's libraries, or the program ffmpeg, are missing here."),
    ),
    remedies=(
        Remedy(
            text=later(
                "Put FFmpeg with its shared libraries into the conda environment (releases 4 to 7"
                " serve every torchcodec)."
            ),
            commands=(("conda", "install", "-c", "conda-forge", "ffmpeg<8"),),
        ),
        Remedy(
            text=later(
                "Or have the system's package installed (ffmpeg on Debian and Ubuntu); on Windows"
                " unpack a full-shared build and put its bin folder on PATH."
            ),
            safe=False,
        ),
        Remedy(
            text=later(
                "If FFmpeg is there and torchcodec still does not load, take the torchcodec made"
                " for the installed torch."
            ),
            commands=(("python", "-m", "pip", "list"), ("ffmpeg", "-version")),
        ),
    ),
    tell_apart=Remedy(
        text=later(
            "See whether FFmpeg's shared libraries are there; if so, torchcodec and torch are of different releases."
        ),
        commands=(("ldconfig", "-p"), ("ffmpeg", "-version")),
    ),
)

RULE = Rule(
    code="LIB112",
    cause="ffmpeg_libraries_missing",
    title=later("FFmpeg's libraries are missing"),
    needs=(),
    check=None,  # no fact shows it yet: the libraries of torchcodec are not looked at
    rank=47,
    log=LOG,
)

"""A downloaded file is damaged: cut off, altered on the way, or left half-written in a cache.

What you see
    "THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE", "zipfile.BadZipFile: File is not a zip file",
    conda's "CondaVerificationError: The package for pytorch ... appears to be corrupted", uv's "Hash mismatch for
    `torch==2.5.1`", or for weights "PytorchStreamReader failed reading zip archive: failed finding central
    directory".

Why
    The connection ended early, a proxy or mirror delivered something else, the disk was full, or an interrupted run
    left half a file in the cache, which is then used again. Weights that were fetched from a page of a web site or by
    git without LFS are not the file at all.

How envfix knows
    Only a log shows it: the messages of pip, uv, conda and torch about checksums and archives that cannot be read.

How to mend
    Drop that one file from the cache and load it again; if the sum differs each time, the connection or the proxy
    damages it, so load it with a program that resumes or over another way.

What not to do
    Do not remove the check of hashes, and do not edit the expected sum: the file stays damaged.

Sources
    Messages of pip, uv, conda and torch; pip's documentation on its cache.
"""

from __future__ import annotations

from envfix.model.finding import Remedy
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.rules._downloads import fetches, installs, succeeded
from envfix.rules._log import LogSide, Reading
from envfix.rules._rule import Rule


def _while_installing(hit: Hit, log: Log) -> float | None:
    """Under pip, uv or conda a file that cannot be unpacked is a damaged download; elsewhere it may be any file."""
    del log
    if succeeded(hit):
        return None
    return 0.9 if installs(hit) else 0.7 if fetches(hit) or "torch" in hit.before[-1500:] else 0.35


def _extract(hit: Hit, log: Log) -> float | None:
    """Uv unpacks while it downloads: a connection that ends, or a full disk, shows as an archive that cannot be read."""
    del log
    later = hit.after[:700]
    if any(
        word in later for word in ("timeout", "timed out", "connection", "decoding response", "os error 28", "No space")
    ):
        return 0.2
    return 0.8


def _pickle(hit: Hit, log: Log) -> float | None:
    """A file of weights that is none: a page, a pointer of git LFS, the first half."""
    del log
    return 0.75 if "torch" in hit.before[-1800:] and "load" in hit.before[-1800:] else None


def _message(reading: Reading) -> str:
    groups = reading.groups
    if any(hit.groups.get("weights") for hit in reading.hits[:1]):
        return say("The file of weights is damaged or incomplete: it is no whole archive.")
    name = groups.get("package")
    return (
        say("The downloaded file of {name} is damaged or incomplete.", name=name)
        if name
        else say("A downloaded file is damaged or incomplete.")
    )


def _mends(reading: Reading) -> tuple[Remedy, ...]:
    if any(hit.groups.get("weights") for hit in reading.hits[:1]):
        return (
            Remedy(
                text=say(
                    "Delete that file and let it be loaded again; compare its size with the one on"
                    " the page it comes from."
                ),
                commands=(("rm", "WEIGHTS.pt"),),
                safe=False,
            ),
        )
    if any("onda" in hit.text or "InvalidArchive" in hit.text for hit in reading.hits):
        return (
            Remedy(
                text=say("Drop conda's downloaded and unpacked packages, and install again."),
                commands=(("conda", "clean", "--packages", "--tarballs"),),
            ),
        )
    return (
        Remedy(
            text=say("Load it again without the cache."),
            commands=(("python", "-m", "pip", "install", "--no-cache-dir", "torch", "torchvision"),),
        ),
        Remedy(
            text=say("With uv, drop what it keeps of torch first."),
            commands=(("uv", "cache", "clean", "torch"),),
        ),
        Remedy(
            text=say("If it fails each time, load the wheel with a program that can resume, and install the file."),
            commands=(
                ("curl", "-L", "-C", "-", "-O", "ADDRESS-OF-THE-WHEEL"),
                ("python", "-m", "pip", "install", "WHEEL.whl"),
            ),
        ),
    )


LOG = LogSide(
    signatures=(
        Signature(
            pattern=r"THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE"
            r"(?:[^\n]*\n\s*(?P<package>[a-z][\w.-]{1,40})(?:[=<>~!\s]\S*)? from http)?",
            confidence=0.95,
        ),
        Signature(
            pattern=r"[Hh]ash mismatch for `?(?P<package>[\w.+=-]{1,60})|Expected sha256 [0-9a-f]{64}|Hash for"
            r" (?P<which>\S{1,80}) from archive"
            r"|HashMismatch|does not match the (?:expected )?(?:hash|checksum)",
            confidence=0.9,
            quoted=True,
        ),
        Signature(pattern=r"invalid hash value \(expected", confidence=0.9, quoted=True),
        Signature(
            pattern=r"BadZip[Ff]ile: |File is not a zip file|Bad magic number for (?:central directory|file header)"
            r"|Bad CRC-32 for file"
            r"|BadZipfile|Truncated file header|invalid because it is not a (?:valid )?zip file|is not a (?:valid"
            r" )?(?:wheel filename|zip file)"
            r"|has an invalid wheel|Wheel '\S{1,200}' located at \S{1,300} is invalid",
            weigh=_while_installing,
            quoted=True,
        ),
        Signature(
            pattern=r"zlib\.error: Error -\d|gzip\.BadGzipFile|EOFError: Compressed file ended before"
            r"|tarfile\.ReadError|lzma\.LZMAError"
            r"|OSError: Invalid data stream",
            weigh=_while_installing,
            quoted=True,
        ),
        Signature(
            pattern=r"Failed to extract archive|[Ff]ailed to read from zip file|unable to locate the end of central"
            r" directory"
            r"|unexpected BufError|invalid Zip archive|bad (?:uncompressed size|crc32)",
            weigh=_extract,
            quoted=True,
        ),
        Signature(
            pattern=r"ChecksumMismatchError|CondaVerificationError|SafetyError: The package for|InvalidArchiveError"
            r"|appears to be corrupted"
            r"|package tarball has incorrect (?:checksum|size)|(?:File|Package) (?:not valid|cache"
            r" error):\s?(?:SHA256|MD5|file size)|checksum mismatch",
            confidence=0.93,
            quoted=True,
        ),
        Signature(
            pattern=r"(?P<weights>PytorchStreamReader failed(?: reading (?:zip archive|file \S{1,60}))?:? (?:failed"
            r" finding central directory"
            r"|file read failed|not a ZIP archive|invalid header or archive is corrupted|unsupported multidisk"
            r"|locator))",
            confidence=0.92,
            quoted=True,
        ),
        Signature(
            pattern=r"(?P<weights>PytorchStreamReader failed locating file|unexpected EOF, expected \d+ more bytes\."
            r" The file might be corrupted"
            r"|storage has wrong size: expected)",
            confidence=0.8,
            quoted=True,
        ),
        Signature(
            pattern=r"(?P<weights>invalid load key, '(?:\\x0[0-9a-f]|\\n|\s)|EOFError: Ran out of input|pickle"
            r" data was truncated"
            r"|MetadataIncompleteBuffer|HeaderTooLarge|Unable to load weights from pytorch checkpoint)",
            weigh=_pickle,
            quoted=True,
        ),
        Signature(pattern=r"Bad (?:hash|CRC-32) for file '|BadWheelFile", confidence=0.93),
        Signature(pattern=r"IncompleteRead\(", confidence=0.25, quoted=True),
    ),
    message=_message,
    remedies=_mends,
)

RULE = Rule(
    code="NET106",
    cause="corrupt_download_hash",
    title=later("A downloaded file is damaged"),
    needs=(),
    check=None,  # facts do not show it: nobody knows what a file should hold
    rank=75,
    log=LOG,
)

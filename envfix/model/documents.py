"""Records to JSON and back, and the one place that takes names, addresses and secrets out of what is shared."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, TypeVar

import msgspec
from packaging.version import Version

from envfix.model.versions import ComputeCapability, CudaVersion, DriverVersion

R = TypeVar("R")
_PARSERS: dict[type, Callable[[str], Any]] = {
    DriverVersion: DriverVersion.parse,
    CudaVersion: CudaVersion.parse,
    ComputeCapability: ComputeCapability.parse,
    Version: Version,
}


def to_builtins(record: object) -> Any:
    """The record as plain lists, dicts, strings and numbers; versions become their text."""
    return msgspec.to_builtins(record, enc_hook=_encode, str_keys=True)


def from_builtins(value: Any, kind: type[R]) -> R:
    """A record from plain values; raises ``msgspec.ValidationError`` with the path of what is wrong."""
    return msgspec.convert(value, kind, dec_hook=_decode)


def json_to_record(text: bytes, kind: type[R]) -> R:
    """A record straight from JSON; raises ``msgspec.ValidationError`` with the path of what is wrong."""
    return msgspec.json.decode(text, type=kind, dec_hook=_decode)


def learn(*kinds: type) -> None:
    """Let msgspec read what these records are made of, before threads convert to them.

    The first use of one in several threads at once brings the process down (msgspec 0.22).
    """
    for kind in kinds:
        with suppress(msgspec.ValidationError):
            msgspec.convert(None, kind, dec_hook=_decode)


def to_json(document: object, *, indent: int = 2) -> str:
    """One JSON document, ending without a newline."""
    builtins = to_builtins(document)
    try:
        plain = msgspec.json.encode(builtins)
    except UnicodeEncodeError:
        plain = msgspec.json.encode(_as_text(builtins))
    return msgspec.json.format(plain, indent=indent).decode()


_SURROGATES = re.compile("[\ud800-\udfff]")


def _as_text(value: Any) -> Any:
    """The same without the lone surrogates that stand for bytes which are no UTF-8 (names of files and variables)."""
    if isinstance(value, str):
        return _SURROGATES.sub("\ufffd", value)
    if isinstance(value, (list, tuple)):
        return [_as_text(item) for item in value]
    if isinstance(value, dict):
        return {_as_text(key): _as_text(item) for key, item in value.items()}
    return value


def _encode(value: object) -> object:
    if isinstance(value, (*_PARSERS,)):
        return str(value)
    raise NotImplementedError(f"cannot write a {type(value).__name__} as JSON")


def _decode(kind: type, value: object) -> object:
    if kind in _PARSERS and isinstance(value, str):
        return _PARSERS[kind](value)
    raise NotImplementedError(f"cannot read a {kind}")


_HIDDEN = "***"
# Each hides what follows its group ``kept``; a value that is hidden already stays as it is. Repetitions are bounded: a text
# without any secret must not take the square of its length.
_NAMES = (
    r"(?:token|passw(?:or)?d|passphrase|secret|api[_-]?key|access[_-]?key(?:[_-]?id)?|private[_-]?key|authorization|cookie"
    r"|_pass|_pwd)"
)
# How such a value is given: by = or :, as a word of its own, in JSON inside JSON as well.
_GIVEN = r"\\*[\"']?\s*[=:]\s*(?:(?:basic|bearer|token) +)?"
_SECRETS = (
    # https://user:password@host, also with an @ or a / in the password, or with nothing but a token
    re.compile(r"(?P<kept>[a-zA-Z][a-zA-Z0-9+.-]{0,30}://)[^/\s\"'<>]+(?=@)"),
    re.compile(r"(?P<kept>://)[^/\s@:\"'<>]{1,100}:(?!\d+/)[^\s@\"'<>]{1,300}(?=@)"),
    # user:password@host alone, as in a proxy; an image is named name:tag@sha256
    re.compile(r"(?P<kept>(?<![\w/.:-]))[\w.%+-]{1,100}:[^\s/@\"']{1,200}(?=@(?!sha\d)\w)"),
    # https://conda.anaconda.org/t/TOKEN/channel
    re.compile(r"(?P<kept>://[^\s\"']{0,300}?/t/|://dl\.cloudsmith\.io/(?!public/)(?:basic/)?)[^/\s\"']+"),
    re.compile(r"(?P<kept>[?&][\w.-]{0,60}(?:sig|signature|credential|key|auth|pass|pwd)=)[^\s\"'&]+", re.IGNORECASE),
    re.compile(
        rf"(?P<kept>{_NAMES}{_GIVEN}(?P<quote>\\*[\"'])?)(?(quote)(?:(?!(?P=quote)).){{1,2000}}|[^\s\"'&,;\\]+)",
        re.IGNORECASE,
    ),
    re.compile(r"(?P<kept>--[\w-]{0,60}(?:token|password|secret|api-?key)\s+)[^\s\"']+", re.IGNORECASE),
    re.compile(r"(?P<kept>\s(?:-u|--user)[ =][\w.@-]{1,100}:)[^\s\"']+"),
    re.compile(
        r"(?P<kept>\bsshpass\s{1,9}-p\s{0,9}|\blogin\s{1,9}\S{1,100}\s{1,9}password\s{1,9}|\bbearer\s{1,9}(?=\S{12}))\S+",
        re.IGNORECASE,
    ),
    # Tokens that are known by their beginning, wherever they stand.
    re.compile(
        r"(?P<kept>\b(?:hf_|gh[opsu]_|github_pat_|glpat-|nvapi-|pypi-|npm_|dckr_pat_|xox[abp]-|sk-|AKIA|ASIA|AIza|eyJ))"
        r"[A-Za-z0-9_-]{16,}(?:\.[A-Za-z0-9_-]+){0,2}"
    ),
)
_SECRET_NAME = re.compile(
    r"token|passw(?:or)?d|passphrase|secret|(?:api|access|private)_?key|credential|authori[sz]ation|(?:auth|_pass|_pwd)$",
    re.IGNORECASE,
)


def without_secrets(value: Any) -> Any:
    """The same text, or plain lists and dicts of texts, with ``***`` for passwords and tokens; names and places stay."""
    return _mapped(value, _without_secrets)


def _without_secrets(text: str) -> str:
    for pattern in _SECRETS:
        text = pattern.sub(rf"\g<kept>{_HIDDEN}", text)
    return text


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    """Every string changed, keys included; what a variable named like a secret holds is hidden whole."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, (list, tuple)):
        return [_mapped(item, change) for item in value]
    if isinstance(value, dict):
        return {
            change(str(key)): _HIDDEN
            if isinstance(item, str) and item and _SECRET_NAME.search(str(key))
            else _mapped(item, change)
            for key, item in value.items()
        }
    return value


# A whole serial id, or its beginning, which CUDA_VISIBLE_DEVICES takes as well; and the ids of anything else.
_ID = re.compile(
    r"(?:\b(?P<kind>(?:GPU|MIG)-)[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{1,12}){0,4}"
    r"|(?<![\w-])[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})(?![\w-])"
)
_NETWORK_CARD = re.compile(
    r"(?<![\w:-])[0-9a-fA-F]{2}(?P<mark>[:-])(?:[0-9a-fA-F]{2}(?P=mark)){4}[0-9a-fA-F]{2}(?![\w:-])"
)
# An address of a machine: versions look the same, but stand behind no // and before no port.
_ADDRESS = re.compile(
    r"(?<![\w.])(?!127\.|0\.0\.0\.0|192\.0\.2\.)(?:(?<=//)|(?<=@)|(?=[\d.]{7,15}:\d{2,5}(?!\w)))(?:\d{1,3}\.){3}\d{1,3}(?![\w.])"
)
# Names of accounts and machines that name nobody, and words that envfix itself needs to understand what it reads.
_NOBODY = frozenset(
    re.findall(
        r"\S+",
        """
        abi about absent activate active adds admin administrator alias aliases all all_proxy amd and answer any
        architectures ask asked auto available avx backend base base_prefix bat be bin binaries bits boot brackets
        bsub built built_for bundled bus by bytes cache can cannot capability caps ccache cdi cert certificate
        certificates cfg cgroup channel channels chosen cl clang clang_major__ class cns code comm command compilers
        completed compute_mode conda conda- conda-libmamba-solver- conda-meta conda_records condabin condarc conf
        config configuration configured container containers control control_error copies cp cpp_libraries cpu
        cpu_flags cpython crt crw cu cuda cuda-nvcc cudnn cupti custom customised customised_by daemon darwin data
        default defaults define desktop dev device devices disk disk_space disks display_active dist dist-packages
        distributions dkms docker dockerenv does driver drivers dumpfullversion dumpversion ec2-user ecc ecc_errors
        efi efivars empty enabled engines env envfix envfix_gpu_facts envfix_interpreter_facts
        envfix_native_facts environ environment environments envs error etc everything exclusive-process
        exclusive-thread exe executable exited experimental explicit externally externally_managed extra fabric
        fabric_manager facts failed false family file files final find-links firmware flag folder found free
        free_threaded from fs gb gcc getenv git glibc glibcxx glob global gpu gpus granted group groups guest has
        headers home hook host host-vgpu host-vsga host_config http http_proxy https https_proxy id if image
        implementation in in-progress in_group include index ini install installed installer instances intel
        interpreter invocation io is iso it job json kernel kernel_log kernels kind ko kubernetes lab laptop launchers
        layers ld lib lib64 libc10 libc_version libcublas libcublaslt libcuda libcudart libcudnn libcufft libcupti
        libcurand libcusolver libcusparse libmamba libnccl libnvjitlink libnvrtc library libstdc libtorch licensed
        limit limit_in_bytes limits link links linux list listed lists local localhost location login long_paths
        longer loopback lsf lspci machine main major mamba mambaforge managed map master max media meminfo memory
        memory_free memory_total meta metadata micromamba mig mig_instances miniconda miniforge mirrored missing
        missing_dlls ml mnt mod model modeset modprobe module module_files modules more mounts msc musl name nano
        needs network no no-answer no_proxy nobody node noexec none not not- not-permitted not-started not-supported
        notebook nouveau null numpy nv_tegra_release nvcc nvidia nvidia- nvidia-ctk nvidia-modprobe nvidia-nvswitch
        nvidia-smi nvidia_drm nvidia_modeset nvidia_uvm nvml nvswitches of official offline ollama on open opencv
        openmp opt option or os os-release other_kernels outcome own owner package packages passthrough path
        path_files pbs pbsnodes pci pending permitted persistence pid pip pip3 platform podman pool power prefix
        priority private problem problems proc process processes product program programs prohibited proprietary
        proxies proxy pt pth public purelib purelib_writable purpose py pyenv pypi pypy python python2 python3 pytorch
        pytorch- pyvenv qsub reachable read read_text real real_path record regular release releaselevel remote repair
        requires resources retries root run run_script runs runs_code runtime say sbatch sbin scheduler script
        script_folders scripts secs secure_boot self server servers service set settings shared shim shims shm since
        single site site-packages site_packages slurm sm sm_86 smi snap so soabi solver source space src srv ssl
        started startup state states stats stderr stdlib stdout strategy student success such sudo suggested support
        suspend_stats suspended sys system system_facts systemd systems tags target targets tegra temp temporary test
        text than that the there this threaded timed timed-out timeout tmp toml tool toolkit toolkits tools torch
        torchaudio torchrun torchvision total train triton true txt type ubuntu uctv ultralytics units unknown
        unopened unreadable unresolved unsupported updates url usable user user_site user_site_enabled users usr uuid
        uv uvm vagrant value values var variable variables vendor venv verify version version__ version_file versions
        vfio-pci vgpu video virtualenv virtualization weak-updates which win win32 windows with word work worker
        working working_folder works workspace workstation wrapper writable wsl wsl_libraries xdg yaml yes yml yolo
        yolov8
        """,
    )
)


class Redactor:
    """Takes out what names a person, a place or a secret: home folder, people, host, credentials, GPU serial ids.

    ``people`` are the users of this machine whose names were seen, the one who runs envfix first. The same input always gives
    the same output, so that redacted facts can still be compared with each other.
    """

    def __init__(self, *, home: str | None = None, people: Iterable[str] = (), host: str | None = None) -> None:
        self._rules: list[tuple[re.Pattern[str], str]] = []
        if home and home.rstrip("/") and home != "~":
            self._rules.append((re.compile(rf"{re.escape(home.rstrip('/'))}(?![\w.-])"), "~"))
        if host:
            # The whole name with its domain before the short one.
            self._hide(host, "host")
            self._hide(host.partition(".")[0], "host")
        for number, name in enumerate(dict.fromkeys(people)):
            self._hide(name, f"user{number + 1}" if number else "user")
        self._ids: dict[str, str] = {}
        self._addresses: dict[str, str] = {}

    def _hide(self, name: str, stand_in: str) -> None:
        if len(name) < 2 or name.lower() in _NOBODY or name.isdecimal():
            return
        # Short names are words or parts of words too often; long ones are hidden also within anna_yolo and anna-desktop.
        before, after = (r"(?<![^\W_])", r"(?![^\W_])") if len(name) > 3 else (r"(?<![\w-])", r"(?![\w-])")
        self._rules.append((re.compile(before + re.escape(name) + after), stand_in))

    def text(self, text: str) -> str:
        """The text without names and secrets."""
        text = _ADDRESS.sub(self._address, _ID.sub(self._id, _without_secrets(text)))
        text = _NETWORK_CARD.sub(r"00\g<mark>00\g<mark>00\g<mark>00\g<mark>00\g<mark>00", text)
        for pattern, stand_in in self._rules:
            text = pattern.sub(stand_in, text)
        return text

    def value(self, value: Any) -> Any:
        """The same for every string inside plain lists and dicts, keys included."""
        return _mapped(value, self.text)

    def _id(self, match: re.Match[str]) -> str:
        """The stand-in of a serial id; the beginning of a known one becomes the beginning of its stand-in."""
        said = match[0].lower()
        for whole, stand_in in self._ids.items():
            if whole.startswith(said):
                return stand_in[: len(said)]
        return self._ids.setdefault(
            said, f"{match['kind'] or ''}{len(self._ids):08d}-0000-0000-0000-000000000000"[: len(said)]
        )

    def _address(self, match: re.Match[str]) -> str:
        """One of the addresses that are kept for examples."""
        return self._addresses.setdefault(match[0], f"192.0.2.{len(self._addresses) % 254 + 1}")

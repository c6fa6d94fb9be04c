"""Records to JSON and back, and the one place that takes names, addresses and secrets out of what is shared."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
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
_SECRETS = (
    # https://user:password@host, also with an @ in the password or with nothing but a token; proxy = user:password@host
    re.compile(r"(?P<kept>[a-zA-Z][a-zA-Z0-9+.-]{0,30}://)[^/\s\"'<>]+(?=@)"),
    re.compile(r"(?P<kept>^|\bproxy[\"']?\s*[=:]\s*[\"']?)[^\s/@:\"']{1,2000}:[^\s/\"']{0,2000}(?=@)", re.IGNORECASE),
    # https://conda.anaconda.org/t/TOKEN/channel
    re.compile(r"(?P<kept>://[^\s\"']{0,300}?/t/)[^/\s\"']+"),
    re.compile(r"(?P<kept>[?&][\w.-]{0,60}(?:sig|signature|credential|key)=)[^\s\"'&]+", re.IGNORECASE),
    re.compile(
        r"(?P<kept>(?:token|password|passwd|secret|api[_-]?key|access[_-]?key|authorization)[\"']?\s*[=:]\s*[\"']?"
        r"(?:(?:basic|bearer|token) +)?)[^\s\"'&,;]+",
        re.IGNORECASE,
    ),
    re.compile(r"(?P<kept>--[\w-]{0,60}(?:token|password|secret|api-?key)\s+)[^\s\"']+", re.IGNORECASE),
    # Tokens that are known by their beginning, wherever they stand.
    re.compile(r"(?P<kept>\b(?:hf_|gh[opsu]_|github_pat_|glpat-|nvapi-|pypi-|xox[abp]-|sk-))[A-Za-z0-9_-]{16,}"),
)
_SECRET_NAME = re.compile(
    r"token|passw(?:or)?d|secret|api_?key|access_?key|credential|authori[sz]ation|auth$", re.IGNORECASE
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


# A whole serial id, or its beginning, which CUDA_VISIBLE_DEVICES takes as well.
_GPU_ID = re.compile(r"\b(?P<kind>GPU|MIG)-[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{1,12}){0,4}(?![\w-])")
# Names of accounts and machines that name nobody, and words that envfix itself needs to understand what it reads.
_NOBODY = frozenset(
    re.findall(
        r"\S+",
        """
        absent admin administrator all amd answer architectures ask asked auto base base_prefix bin bits boot bus
        capability channel channels clang class command conda conda-meta condabin condarc conf config container cp cpu
        cpython cu cuda cudnn cupti data default defaults desktop dev device devices dist distributions docker dockerenv
        driver dumpfullversion dumpversion ec2-user enabled env envfix envfix_gpu_facts envfix_interpreter_facts environ
        environment environments envs error etc executable exited externally externally_managed extra facts false file
        files final find-links folder found free free_threaded gb gcc getenv git glibc glob global gpu gpus group guest
        home host id image implementation include index install installed intel interpreter io iso json kernel kernels
        kind lab laptop lib lib64 libc_version libcuda library link links linux listed local localhost location login
        loopback lspci machine main mamba mambaforge managed master media memory memory_free memory_total meta metadata
        micromamba miniconda miniforge missing ml mnt model module musl name nano network no no-answer node none not-
        found not-permitted notebook null numpy nv_tegra_release nvcc nvidia nvidia-smi nvml of official ollama on open
        opencv opt os os-release outcome owner package packages path pci permitted pid pip platform pool prefix private
        problem proc processes product proprietary pt public purelib purelib_writable py pyenv pypi pypy python python2
        python3 pytorch read read_text real real_path record release releaselevel requires root run run_script sbin
        script server service shared shims since site site-packages site_packages slurm sm smi snap so source src srv
        state stderr stdlib stdout student sudo support sys system system_facts target tegra temp test text threaded
        timed timed-out tmp toml tool toolkit tools torch torchaudio torchvision total train triton true type ubuntu
        ultralytics unknown unreadable user user_site user_site_enabled users usr uv vagrant value var venv version
        version_file versions virtualenv which win win32 work worker working working_folder works workspace workstation
        writable wsl xdg yolo yolov8

        active alias any available backend be brackets by bytes cache can cannot ccache cert certificate
        certificates cgroup chosen cl compilers configuration configured control crt custom darwin define disk
        disks does empty everything exe experimental explicit flag from fs groups has headers host_config http
        https if in ini is it libmamba limit limit_in_bytes limits list lists longer major map max meminfo
        mirrored more mounts msc needs nobody noexec not offline option or priority problems program programs
        proxies proxy purpose reachable regular remote resources retries say secs self servers set settings shm
        single solver ssl started states strategy such suggested systems targets temporary than that the there
        timeout toolkits txt unsupported url values variable variables verify with word yaml yes yml
        abi activate active adds alias aliases bat built built_for cfg copies customised customised_by exe launchers
        long_paths missing_dlls path_files program proxy pth pyvenv runs runs_code script_folders scripts shim soabi
        startup torchrun txt windows wrapper
        avx binaries built_for bundled cns code conda_records configuration cpp_libraries cpu_flags
        envfix_native_facts glibcxx installer ld libc10 libcublas libcublaslt libcudart libcudnn libcufft
        libcupti libcurand libcusolver libcusparse libnccl libnvjitlink libnvrtc libstdc libtorch needs openmp
        proxy tags uctv unresolved
        active bsub caps cdi cgroup code comm completed compute_mode containers control_error crw daemon
        display_active dkms drivers ecc ecc_errors efi efivars engines exclusive-process exclusive-thread fabric
        fabric_manager failed firmware granted hook host-vgpu host-vsga in-progress in_group instances
        invocation job kernel_log ko kubernetes licensed lsf mig mig_instances mod modeset modprobe module_files
        modules not-started not-supported nouveau nvidia-ctk nvidia_drm nvidia_modeset nvidia_uvm nvswitches
        other_kernels own passthrough pbs pbsnodes pending persistence podman power process prohibited qsub
        repair runtime sbatch scheduler secure_boot stats success suspend_stats suspended systemd units unopened
        updates usable uuid uvm vfio-pci vgpu video virtualization weak-updates wsl_libraries
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

    def _hide(self, name: str, stand_in: str) -> None:
        if len(name) < 2 or name.lower() in _NOBODY or name.isdecimal():
            return
        # Short names are words or parts of words too often; long ones are hidden also within anna_yolo and anna-desktop.
        before, after = (r"(?<![^\W_])", r"(?![^\W_])") if len(name) > 3 else (r"(?<![\w-])", r"(?![\w-])")
        self._rules.append((re.compile(before + re.escape(name) + after), stand_in))

    def text(self, text: str) -> str:
        """The text without names and secrets."""
        text = _GPU_ID.sub(self._id, _without_secrets(text))
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
            said, f"{match['kind']}-{len(self._ids):08d}-0000-0000-0000-000000000000"[: len(said)]
        )

"""The verbs, wired: detect → judge → decide → act. This is the public API; no stage prints, none reaches back."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from difflib import get_close_matches
from pathlib import Path

from envfix import snapshots
from envfix.errors import EnvfixError, SnapshotError, UsageError
from envfix.host import index
from envfix.host.index import IndexCandidate
from envfix.host.interface import ProbeHost
from envfix.host.real import RealHost
from envfix.host.recording import RecordingHost
from envfix.host.target import Answer
from envfix.model.documents import to_json
from envfix.model.facts import NOT_ASKED, Environment, IndexState, Interpreter, Machine, Observed, TorchImport, absent, unknown
from envfix.model.finding import Diagnosis, Verdict
from envfix.model.report import CausePage, Report
from envfix.model.reporter import NullReporter, Reporter
from envfix.probes import (
    conda,
    cuda_toolkit,
    displays,
    host_compiler,
    interpreter,
    nvidia_driver,
    os_libc,
    package_sources,
    torch_install,
)
from envfix.rules import _rule
from envfix.snapshots import Snapshot
from envfix.tables.loader import Tables, load

NOBODY = NullReporter()
PROBE_TIMEOUT = 10.0
IMPORT_TIMEOUT = 120.0
INDEX_TIMEOUT = 5.0
VARIABLES = (
    "CUDA_",
    "CONDA_",
    "VIRTUAL_ENV",
    "NVIDIA_",
    "PYTHON",
    "PIP_",
    "UV_",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "PYTORCH_",
    "TORCH_",
    "SLURM_JOB",
    "SLURM_GPUS",
)


def detect(
    host: ProbeHost, target: str | None = None, *, with_import: bool = True, timeout: float = PROBE_TIMEOUT
) -> tuple[Machine, Environment]:
    """Ask the machine and one interpreter on it; ``target`` as in ``--python``, None for what ``python`` means in the shell.

    Everything is asked side by side within ``timeout`` seconds a question; the import of torch may take longer. Raises
    nothing for a broken machine: what cannot be told is *unknown* with the reason.
    """
    chosen = interpreter.resolve(host, target)
    with ThreadPoolExecutor(8) as pool:
        asked = pool.submit(interpreter.probe, host, chosen, timeout=timeout)
        nvidia = pool.submit(nvidia_driver.probe, host, timeout=timeout)
        platform = pool.submit(os_libc.probe, host)
        pci = pool.submit(displays.probe, host, timeout=timeout)
        toolkits = pool.submit(cuda_toolkit.probe, host, timeout=timeout)
        compilers = pool.submit(host_compiler.probe, host, timeout=timeout)
        conda_install = pool.submit(conda.probe, host)
        identity, answer = asked.result()
        environment = _environment(host, chosen.path, identity, answer, pool, with_import=with_import)
        driver, gpus, layers = nvidia.result()
        machine = Machine(
            platform=platform.result(),
            driver=driver,
            gpus=gpus,
            driver_layers=layers,
            displays=pci.result(),
            toolkits=toolkits.result(),
            host_compilers=compilers.result(),
            conda=conda_install.result(),
            variables=host.environ(VARIABLES),
        )
    return machine, environment


def _environment(
    host: ProbeHost,
    python: str | None,
    identity: Observed[Interpreter],
    answer: Answer,
    pool: ThreadPoolExecutor,
    *,
    with_import: bool,
) -> Environment:
    value = identity.value
    installed = torch_install.distributions(answer, "metadata folders on the target's path")
    torch = torch_install.torch_build(answer, installed)
    imported: Future[Observed[TorchImport]] | None = None
    if with_import and python is not None and value is not None and not torch.is_absent:
        # Through the very path the user's shell would run: a wrapper may set variables that matter.
        imported = pool.submit(torch_install.torch_import, host, python, timeout=IMPORT_TIMEOUT)
    return Environment(
        interpreter=identity,
        distributions=installed,
        torch=torch,
        torchvision=torch_install.vision_build(answer, installed),
        package_sources=package_sources.probe(host, value.prefix if value else None),
        elsewhere=torch_install.elsewhere(host, value)
        if value
        else unknown("environments near by", "the target is unknown"),
        torch_import=imported.result() if imported else _no_import(torch.is_absent, asked=with_import),
    )


def _no_import(torch_is_absent: bool, *, asked: bool) -> Observed[TorchImport]:  # noqa: FBT001
    if torch_is_absent:
        return absent("import torch", "there is no torch to import")
    return unknown("import torch", NOT_ASKED if not asked else "the target cannot be asked")


def judge(machine: Machine, environment: Environment, tables: Tables) -> tuple[Verdict, ...]:
    """What every rule says of these facts."""
    return _rule.judge(machine, environment, tables)


def diagnose(machine: Machine, environment: Environment, tables: Tables) -> Diagnosis:
    """Judge, and put the most likely root cause first."""
    return _rule.diagnose(judge(machine, environment, tables))


def report(
    target: str | None = None,
    *,
    snapshot: str | None = None,
    with_import: bool = True,
    network: bool = False,
    reporter: Reporter = NOBODY,
) -> Report:
    """Detect and judge this machine, or judge a saved one; raises ``EnvfixError`` where envfix itself cannot."""
    host = RealHost()
    if snapshot is not None:
        saved = read_snapshot(host, snapshot)
        machine, environment = saved.machine, saved.environment
    else:
        reporter.stage("looking at this machine and its Python")
        machine, environment = detect(host, target, with_import=with_import, timeout=time_limit(host))
    diagnosis = diagnose(machine, environment, tables_for(host))
    indexes = ask_indexes(host, environment, reporter) if network and snapshot is None else ()
    return Report(machine=machine, environment=environment, diagnosis=diagnosis, indexes=indexes, origin=snapshot)


def ask_indexes(
    host: RealHost, environment: Environment, reporter: Reporter, wanted: tuple[str, ...] = ("auto",)
) -> tuple[IndexState, ...]:
    """Which indexes answer from here and what they hold of torch: those named in ``wanted``, or all that are configured."""
    interpreter_value = environment.interpreter.value
    settings = package_sources.read_settings(host, interpreter_value.prefix if interpreter_value else None)
    candidates = _index_candidates(environment, wanted, tables_for(host), settings.with_credentials)
    reporter.stage("asking " + ", ".join(dict.fromkeys(candidate.name for candidate in candidates)) + " which torch wheels they have")
    return index.check_indexes(candidates, timeout=INDEX_TIMEOUT, cache_dir=host.getenv("ENVFIX_CACHE_DIR"))


def _index_candidates(
    environment: Environment, wanted: tuple[str, ...], tables: Tables, credentials: Callable[[str], str]
) -> tuple[IndexCandidate, ...]:
    official = tables.indexes.official()
    known = index.candidates_from(
        environment.package_sources.value or (), [IndexCandidate(name="official", url=official.base)], credentials=credentials
    )
    if "auto" in wanted:
        return known
    chosen = [candidate for candidate in known if candidate.name in wanted]
    for name in wanted:
        row = tables.indexes.by_name(name)
        if row is not None and row.kind == "mirror":
            chosen.append(IndexCandidate(name=name, url=row.base))
        elif "://" in name or name.startswith(("/", "./", "~")):
            chosen.append(IndexCandidate(name=name, url=name, configured_in="--index"))
        elif not any(candidate.name == name for candidate in known):
            hint = "auto, official, pypi, an address, or one of " + ", ".join(row.name for row in tables.indexes.mirrors())
            raise UsageError(f"--index {name!r} is not known", hint=hint)
    return tuple(chosen)


def read_snapshot(host: RealHost, path: str) -> Snapshot:
    """The machine saved in a file; raises ``SnapshotError``."""
    answer = host.read_text(path, limit=snapshots.SIZE_LIMIT)
    if answer.outcome != "read":
        raise SnapshotError(f"cannot read {path}: {answer.problem or 'there is no such file'}")
    return snapshots.read(answer.text, path)


def save_snapshot(
    path: str, target: str | None = None, *, with_import: bool = True, reporter: Reporter = NOBODY
) -> str:
    """Write this machine's facts and transcript, redacted, to ``path``; raises ``EnvfixError`` where that is impossible."""
    host = RealHost()
    recording = RecordingHost(host)
    reporter.stage("looking at this machine and its Python")
    machine, environment = detect(recording, target, with_import=with_import, timeout=time_limit(host))
    redactor = snapshots.redactor_here(host.system_facts()["home"])
    content = snapshots.document(
        machine, environment, recording.transcript, redactor, target=target, with_import=with_import
    )
    try:
        host.write_text(path, to_json(content) + "\n")
    except OSError as error:
        raise EnvfixError(f"cannot write {path}: {error.strerror or error}", hint="name another file with -o") from error
    return path


def causes(name: str | None = None) -> tuple[CausePage, ...]:
    """The catalogue of causes, or the one of that name or code; raises ``UsageError`` for an unknown one."""
    pages = [CausePage(code=r.code, cause=r.cause, title=r.title, manual=_rule.manual(r)) for r in _rule.all_rules()]
    if name is None:
        return tuple(sorted(pages, key=lambda page: page.code))
    chosen = [page for page in pages if name.lower() in (page.cause, page.code.lower())]
    if not chosen:
        near = get_close_matches(name, [page.cause for page in pages], n=1)
        raise UsageError(
            f"there is no cause named {name!r}", hint=f"did you mean {near[0]}?" if near else "`envfix causes` lists them all"
        )
    return tuple(chosen)


def tables_for(host: RealHost) -> Tables:
    """The compatibility tables: those named by ``ENVFIX_TABLES``, else envfix's own."""
    folder, cache = host.getenv("ENVFIX_TABLES"), host.getenv("ENVFIX_CACHE_DIR")
    return load(Path(folder) if folder else None, cache=Path(cache) if cache else None)


def time_limit(host: RealHost) -> float:
    """Seconds a single question to the machine may take: ``ENVFIX_TIMEOUT``, else 10."""
    text = host.getenv("ENVFIX_TIMEOUT")
    try:
        seconds = float(text) if text else PROBE_TIMEOUT
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 3600:  # noqa: PLR2004
        raise UsageError(f"ENVFIX_TIMEOUT={text!r} is not a number of seconds between 0 and 3600")
    return seconds

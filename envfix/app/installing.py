"""install: decide, price, check, ask, fetch, act, prove; whatever fails, the environment is the old one, whole."""

from __future__ import annotations

import io
import os.path
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import msgspec
from packaging.utils import canonicalize_name

from envfix.app import gpu_failure, holding, scene
from envfix.app.planning import PlanRequest, decide
from envfix.app.pricing import Priced, price
from envfix.app.recovering import settle
from envfix.app.settings import NAME_A_PYTHON, NOBODY, cache_folder, standing, tables_for, time_limit
from envfix.app.verifying import idle_device
from envfix.errors import InstallError, TargetError, UsageError
from envfix.host import signals
from envfix.host.locking import EnvironmentLock
from envfix.host.real import RealHost
from envfix.installer import acting, changes, preflight
from envfix.installer.changes import Layout
from envfix.installer.interface import TORCH_FAMILY, DownloadError, Installer, Resolution
from envfix.installer.pip import PipInstaller
from envfix.installer.problems import UNRECOGNISED
from envfix.installer.uv import UvInstaller
from envfix.lockers.constraints import constraints
from envfix.model.facts import Interpreter
from envfix.model.language import look_up, say
from envfix.model.outcome import Installation, Rung, Verification
from envfix.model.plan import REGISTRY, Plan
from envfix.model.reporter import Reporter
from envfix.verifier import ladder

if TYPE_CHECKING:
    from envfix.app.conda_stack import CondaDecision

Backend = Literal["auto", "uv", "pip", "conda"]
# Bytes of a download whose time is told beforehand: measuring it takes up to two seconds.
WORTH_TELLING = 100_000_000
# How sure a cause must be to stand in for the installer's own words.
SURE = 0.8


class InstallRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to install and where (``plan``), and how; ``keep``: also what fails its verification."""

    plan: PlanRequest
    backend: Backend = "auto"
    allow_base: bool = False
    keep: bool = False


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """An installation that is ready to start: checked, resolved and priced, nothing changed yet.

    ``bring`` is a Python that uv fetches first, ``conda`` the decision where conda packages are wanted, ``notes`` are what the
    user should know before agreeing, ``in_use`` says which programs run on the torch that is replaced,
    ``replaces`` what goes.
    """

    request: InstallRequest
    plan: Plan
    priced: Priced | None = None
    python: str | None = None
    bring: str | None = None
    layout: Layout | None = None
    backend: Literal["uv", "pip", "conda"] = "uv"
    conda: CondaDecision | None = None
    options: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    in_use: str | None = None
    replaces: tuple[str, ...] = ()


def prepare(request: InstallRequest, *, dry_run: bool = False, reporter: Reporter = NOBODY) -> Prepared:
    """Everything that can fail before the first change: place, plan, price, room. Raises ``EnvfixError``."""
    if not dry_run:
        standing(RealHost())
    return _prepare(request, {}, dry_run=dry_run, reporter=reporter)


def confirm(prepared: Prepared, ask: Callable[[str], bool], *, yes: bool, even_in_use: bool = False) -> None:
    """Go on only with the user's consent; raises ``UsageError`` that says what to add.

    Programs that run on the torch which is replaced need a word of their own: ``--yes`` alone does not harm them.
    """
    if prepared.in_use is not None and not even_in_use:
        if yes or not ask(say("{in_use}. Replace it all the same?", in_use=prepared.in_use)):
            raise InstallError(
                say("{in_use}; nothing was changed", in_use=prepared.in_use),
                hint=say("end them first, install beside it with --new-env PATH, or add --even-in-use"),
            )
    elif not yes and not ask(_question(prepared)):
        raise UsageError(
            say("nothing was installed: it was not confirmed"), hint=say("add --yes to install without being asked")
        )


def _question(prepared: Prepared) -> str:
    """What the user agrees to, with what goes."""
    if prepared.layout is None:
        return say("Make {new_env} like this?", new_env=prepared.request.plan.new_env)
    goes = say(" It replaces {replaces}.", replaces=", ".join(prepared.replaces)) if prepared.replaces else ""
    return say("Change {prefix} like this?{goes}", prefix=prepared.layout.prefix, goes=goes)


def install(
    prepared: Prepared, *, reporter: Reporter = NOBODY, on_rung: Callable[[Rung], None] | None = None
) -> Installation:
    """Download everything, then change the environment, then climb the ladder in it.

    Raises ``InstallError`` when a step fails: then the environment is as it was before. It is also where verification fails
    (``taken_back``), unless the request says ``keep``.
    """
    with signals.as_interruptions():
        uv = UvInstaller(RealHost())
        before = uv.incompatibilities(prepared.python) if prepared.layout and prepared.python else ()
        try:
            done = _install(prepared, reporter, on_rung)
        except acting.Unproven as failure:
            return failure.installation
        except InstallError as failure:
            if failure.hint == UNRECOGNISED:
                failure.hint = _explained(failure.message) or failure.hint
            raise
        misfits = [line for line in uv.incompatibilities(done.python) if line not in before]
    notes = tuple(say("a package no longer fits: {line}", line=line) for line in misfits)
    return msgspec.structs.replace(
        done, notes=(*prepared.notes, *done.notes, *notes), made=prepared.layout is None, keep_with=_keep_with(done)
    )


def _explained(text: str) -> str | None:
    """What envfix's catalogue of causes says of an installer's words; None where it knows nothing of them for sure."""
    from envfix import explaining

    tables = tables_for(RealHost())
    causes = explaining.alone(explaining.read(io.BytesIO(text.encode("utf-8", "replace"))), tables).causes
    if not causes or causes[0].confidence < SURE:
        return None
    remedy = f" {causes[0].remedies[0].text}" if causes[0].remedies else ""
    return say(
        "{message}{remedy} (`envfix causes {cause}` tells more)",
        message=causes[0].message,
        remedy=remedy,
        cause=causes[0].cause,
    )


def _keep_with(done: Installation) -> tuple[str, ...]:
    """The command that adds a package and leaves the stack alone."""
    if done.constraints_file is None:
        return ()
    has_pip = "pip" in acting.versions(changes.layout_of(done.prefix))
    program = (done.python, "-m", "pip", "install") if has_pip else ("uv", "pip", "install", "--python", done.python)
    return (*program, "-c", done.constraints_file, "PACKAGE")


def _install(prepared: Prepared, reporter: Reporter, on_rung: Callable[[Rung], None] | None) -> Installation:
    if prepared.bring is not None:
        from envfix.installer import pythons

        prepared = msgspec.structs.replace(prepared, python=pythons.bring(RealHost(), prepared.bring, reporter))
    if prepared.conda is not None:
        return _install_conda(prepared, prepared.conda, reporter, on_rung)
    prepared = _fetched(prepared, reporter)
    priced, plan, request = prepared.priced, prepared.plan, prepared.request
    if priced is None or priced.resolution is None or prepared.python is None:
        raise InstallError(
            say("the plan was not resolved, so nothing can be installed"), hint=say("run `envfix plan` to see why")
        )
    host = RealHost()
    resolution, held = priced.resolution, constraints(plan)
    prove = _proof(host, plan, resolution.versions, reporter, on_rung)

    installer = _installer(host, prepared, reporter)

    def work(python: str, lock: EnvironmentLock) -> Installation:
        prefix = request.plan.new_env or (prepared.layout.prefix if prepared.layout else "")
        return installer.install(
            resolution, python=python, prefix=prefix, constraints=held, options=prepared.options, lock=lock
        )

    def touched(layout: Layout) -> acting.Touched:
        return acting.by_wheels(host, layout, resolution.versions, installer.incoming(resolution))

    what = changes.in_words(resolution.versions)
    if request.plan.new_env is not None:
        base = prepared.python

        def make(lock: EnvironmentLock) -> str:
            return _uv(host, prepared, reporter).create_environment(base, request.plan.new_env or "", lock=lock).python

        return acting.into_new(
            request.plan.new_env, make, touched, what=what, work=work, prove=prove, keep=request.keep, reporter=reporter
        )
    assert prepared.layout is not None  # noqa: S101 - an existing environment has one
    return acting.into_existing(
        touched(prepared.layout),
        prepared.python,
        what=what,
        work=work,
        prove=prove,
        keep=request.keep,
        reporter=reporter,
    )


def _proof(
    host: RealHost,
    plan: Plan,
    versions: Mapping[str, str],
    reporter: Reporter,
    on_rung: Callable[[Rung], None] | None,
) -> acting.Proof:
    """Climbs the ladder as far as the packages go, on the device that the plan is for."""
    on_cpu = plan.choice is not None and plan.choice.variant == "cpu"

    def prove(python: str) -> Verification:
        device = "cpu" if on_cpu else idle_device(holding.ask(host, time_limit(host)), reporter)
        climbed = ladder.verify(
            host,
            python,
            level="yolo" if "ultralytics" in versions else "cuda",
            expect={name: version for name, version in versions.items() if name in ("torch", "torchvision")},
            gpu_expected=bool(plan.target.gpus) and plan.choice is not None and plan.choice.compatibility != "cpu",
            device=device,
            reporter=reporter,
            on_rung=on_rung,
        )
        return gpu_failure.explained(climbed, scene.here(host, python, reporter))

    return prove


def _prepare_conda(request: InstallRequest, *, dry_run: bool, reporter: Reporter) -> Prepared:
    """The same for conda packages."""
    from envfix.app.conda_stack import plan_conda
    from envfix.installer.conda import refuse_base

    host = RealHost()
    decision = plan_conda(request.plan, reporter=reporter)
    prepared = Prepared(request=request, plan=decision.plan, python=decision.python, backend="conda", conda=decision)
    if decision.plan.status != "ok" or decision.prefix is None:
        return prepared
    if decision.is_new:
        path = os.path.abspath(os.path.expanduser(decision.prefix))
        settle(path, reporter)
        preflight.check_new_path(host, path)
        return msgspec.structs.replace(
            prepared, conda=msgspec.structs.replace(decision, prefix=path), python=os.path.join(path, "bin", "python")
        )
    refuse_base(decision.prefix, allow_base=request.allow_base)
    interpreter = decision.environment.interpreter.value
    if interpreter is None or dry_run:
        return prepared
    layout = changes.layout_for(interpreter)
    notes = preflight.check_target(host, interpreter, allow_base=request.allow_base, by_pip=False)
    return msgspec.structs.replace(prepared, layout=layout, notes=notes)


def _install_conda(
    prepared: Prepared, decision: CondaDecision, reporter: Reporter, on_rung: Callable[[Rung], None] | None
) -> Installation:
    from envfix.installer.conda import CondaInstaller

    host, solution, prefix = RealHost(), decision.solution, decision.prefix
    if solution is None or prefix is None or prepared.python is None:
        raise InstallError(
            say("the plan was not solved, so nothing can be installed"), hint=say("run `envfix plan` to see why")
        )
    installer = CondaInstaller(host, reporter, settings=decision.settings)
    installer.fetch(solution)
    prove = _proof(host, prepared.plan, _wheel_names(solution.versions), reporter, on_rung)
    what = changes.in_words(solution.versions)

    def work(python: str, lock: EnvironmentLock) -> Installation:
        del python, lock  # rattler works within envfix itself, which holds the lock
        return installer.install(solution, prefix, allow_base=prepared.request.allow_base)

    if prepared.layout is None:
        python = prepared.python
        comes = installer.changes(solution, prefix)
        return acting.into_new(
            prefix,
            lambda _: python,
            lambda layout: acting.by_conda(layout, comes.created, comes.kept, {}),
            what=what,
            work=work,
            prove=prove,
            keep=prepared.request.keep,
            reporter=reporter,
        )
    comes = installer.changes(solution, prefix)
    replaced = {name: old for name, (old, _) in comes.replaced.items()}
    return acting.into_existing(
        acting.by_conda(prepared.layout, comes.created, comes.kept, replaced),
        prepared.python,
        what=what,
        work=work,
        prove=prove,
        keep=prepared.request.keep,
        reporter=reporter,
    )


def _or_new(error: UsageError, request: InstallRequest) -> UsageError:
    """The same error, which also tells how to make the environment that is not there."""
    target = request.plan.target
    is_version = target is not None and re.fullmatch(r"[\d.]+t?", target)
    if target is None or is_version or request.plan.new_env is not None or error.hint != look_up(NAME_A_PYTHON):
        return error
    hint = say("{hint}; --new-env {target} makes that environment", hint=error.hint, target=target)
    return UsageError(error.message, hint=hint)


def _wheel_names(versions: Mapping[str, str]) -> dict[str, str]:
    """Packages of conda by the names that Python knows them by."""
    return {"torch" if name == "pytorch" else name: version for name, version in versions.items()}


def _prepare(request: InstallRequest, failed: Mapping[str, str], *, dry_run: bool, reporter: Reporter) -> Prepared:
    """The same; ``failed`` are indexes that could not deliver, with the reason."""
    if request.backend == "conda":
        return _prepare_conda(request, dry_run=dry_run, reporter=reporter)
    host = RealHost()
    if request.plan.new_env is not None:
        path = os.path.abspath(os.path.expanduser(request.plan.new_env))
        request = msgspec.structs.replace(request, plan=msgspec.structs.replace(request.plan, new_env=path))
        settle(path, reporter)
        preflight.check_new_path(host, path)
    try:
        decision = decide(request.plan, failed=failed, reporter=reporter)
    except UsageError as error:
        raise _or_new(error, request) from error
    if decision.plan.status != "ok":
        return Prepared(request=request, plan=decision.plan)
    bring = None if decision.python is not None else _to_bring(request, decision.plan.target.python)
    interpreter = decision.environment.interpreter.value
    layout = None if request.plan.new_env is not None or interpreter is None else changes.layout_for(interpreter)
    backend = _backend(request, interpreter)
    notes: tuple[str, ...] = ()
    if layout is not None and interpreter is not None and not dry_run:
        cache = UvInstaller(host).cache_dir if backend == "uv" else None
        notes = preflight.check_target(host, interpreter, allow_base=request.allow_base, cache_dir=cache)
    installed = {} if layout is None else acting.versions(layout)
    priced = price(decision, installed=installed, offline=request.plan.goal.offline, reporter=reporter)
    prepared = Prepared(
        request=request,
        plan=priced.plan,
        priced=priced,
        python=decision.python,
        bring=bring,
        layout=layout,
        backend=backend,
        options=_options(interpreter) if layout is not None else (),
        addresses=decision.addresses,
        notes=notes,
    )
    if dry_run or priced.plan.status != "ok":
        return prepared
    if priced.resolution is None:
        reason, hint = (priced.refusal.message, priced.refusal.hint) if priced.refusal else (say("no answer"), None)
        raise InstallError(say("uv cannot resolve this plan: {reason}; nothing was changed", reason=reason), hint=hint)
    builds = any(not file.filename.endswith(".whl") for file in priced.resolution.downloads)
    notes = (*notes, *preflight.check_temporary(host, builds=builds))
    _check_room(host, prepared)
    prepared = _with_time(host, prepared)
    goes = tuple(_replaced(installed, priced.resolution.versions))
    return msgspec.structs.replace(prepared, notes=notes, in_use=_in_use(prepared, installed), replaces=goes)


def _replaced(installed: Mapping[str, str], wanted: Mapping[str, str]) -> Iterator[str]:
    """What is there in another version than the wanted one."""
    for name, version in wanted.items():
        old = installed.get(canonicalize_name(name))
        if old is not None and not changes.same_version(old, version):
            yield f"{name} {old}"


def _with_time(host: RealHost, prepared: Prepared) -> Prepared:
    """The plan with how long the download will take, where it is one to think about."""
    assert prepared.priced is not None and prepared.priced.resolution is not None  # noqa: S101, PT018
    resolution = prepared.priced.resolution
    if resolution.bytes_to_download < WORTH_TELLING:
        return prepared
    seconds = _uv(host, prepared, NOBODY).download_seconds(resolution)
    return msgspec.structs.replace(prepared, plan=msgspec.structs.replace(prepared.plan, download_seconds=seconds))


def _to_bring(request: InstallRequest, version: str) -> str:
    """The version of Python that uv is to bring; raises ``TargetError`` where there is nothing to make of it."""
    if request.plan.new_env is None:
        raise TargetError(
            say(
                "Python {version} is not on this machine, so there is no environment of it to install into",
                version=version,
            ),
            hint=say("make one with --new-env PATH: uv brings that Python along"),
        )
    return version


def _in_use(prepared: Prepared, installed: Mapping[str, str]) -> str | None:
    """The programs that would lose the torch they run on, in one sentence."""
    layout, resolution = prepared.layout, prepared.priced.resolution if prepared.priced else None
    if layout is None or resolution is None or "torch" not in installed:
        return None
    if changes.same_version(installed["torch"], resolution.versions.get("torch", installed["torch"])):
        return None
    from envfix.host.processes import in_use_message, users_of

    # A notebook in which envfix is started is among its parents.
    users = users_of([os.path.join(site, "torch") for site in layout.site_packages], parents=True)
    return in_use_message(users.processes) if users.processes else None


def _fetched(prepared: Prepared, reporter: Reporter) -> Prepared:
    """Bring everything onto this disk; where the torch index fails, the next one that has the same versions is taken."""
    host, failed = RealHost(), dict[str, str]()
    while True:
        priced, choice = prepared.priced, prepared.plan.choice
        if priced is None or priced.resolution is None or choice is None:
            return prepared
        try:
            resolution = _fetch(host, prepared, reporter)
        except DownloadError as error:
            if choice.index == REGISTRY or not _is_from(error, priced):
                raise
            failed[choice.index] = error.message.splitlines()[0]
            following = _prepare(prepared.request, failed, dry_run=False, reporter=reporter)
            other = following.plan.choice
            if following.priced is None or following.priced.resolution is None or other is None:
                raise
            if following.priced.resolution.versions != priced.resolution.versions:
                error.hint = say(
                    "the next index has another stack, torch {torch}{local_label}: take it with --index {index}",
                    torch=other.torch,
                    local_label=other.local_label,
                    index=other.index,
                )
                raise
            reporter.note(
                say(
                    "{index} failed ({failed}): going on with {index_2}",
                    index=choice.index,
                    failed=failed[choice.index],
                    index_2=other.index,
                )
            )
            prepared = msgspec.structs.replace(following, python=prepared.python)
        else:
            return msgspec.structs.replace(prepared, priced=msgspec.structs.replace(priced, resolution=resolution))


def _fetch(host: RealHost, prepared: Prepared, reporter: Reporter) -> Resolution:
    """Everything onto this disk; the answer is what is to be installed."""
    assert prepared.priced is not None and prepared.priced.resolution is not None  # noqa: S101, PT018
    installer = _installer(host, prepared, reporter)
    fetched = installer.fetch(prepared.priced.resolution, python=prepared.python or "")
    refusal = installer.refusal(fetched, options=prepared.options) if prepared.layout else None
    if refusal is not None:
        raise InstallError(
            say("{installer} refuses what was resolved:\n{refusal}", installer=installer.name, refusal=refusal),
            hint=say("leave out --backend {installer}", installer=installer.name),
        )
    return fetched


def _is_from(error: DownloadError, priced: Priced) -> bool:
    """Whether it was the torch index that failed, and not the default one."""
    location = priced.sources.torch_url or ""
    family = [name for name in priced.resolution.versions if name in TORCH_FAMILY] if priced.resolution else []
    server = urlsplit(location).netloc.rpartition("@")[2]
    return (bool(server) and server in error.message) or any(
        re.search(rf"\b{re.escape(name)}\b(?![-_])", error.message) for name in family
    )


def _installer(host: RealHost, prepared: Prepared, reporter: Reporter) -> Installer:
    if prepared.backend == "pip":
        return PipInstaller(
            host,
            reporter,
            python=prepared.python or "",
            prefix=prepared.layout.prefix if prepared.layout else None,
            store=_store(host),
            addresses=prepared.addresses,
            offline=prepared.request.plan.goal.offline,
        )
    return _uv(host, prepared, reporter)


def _uv(host: RealHost, prepared: Prepared, reporter: Reporter) -> UvInstaller:
    offline = prepared.request.plan.goal.offline
    return UvInstaller(host, reporter, addresses=prepared.addresses, store=_store(host), offline=offline)


def _store(host: RealHost) -> str:
    """Where envfix keeps the wheels that it fetches itself."""
    return os.path.join(cache_folder(host), "wheels")


def _backend(request: InstallRequest, interpreter: Interpreter | None) -> Literal["uv", "pip"]:
    """uv, unless pip is asked for, or the environment is conda's: there its own pip does it."""
    if request.backend == "pip":
        return "pip"
    is_conda = interpreter is not None and interpreter.kind in ("conda", "base")
    return "pip" if request.backend == "auto" and is_conda and request.plan.new_env is None else "uv"


def _options(interpreter: Interpreter | None) -> tuple[str, ...]:
    """What uv and pip want to hear before they change a Python that says it belongs to the system."""
    return ("--break-system-packages",) if interpreter is not None and interpreter.externally_managed else ()


def _check_room(host: RealHost, prepared: Prepared) -> None:
    priced, prefix = (
        prepared.priced,
        prepared.request.plan.new_env or (prepared.layout.prefix if prepared.layout else ""),
    )
    assert priced is not None and priced.resolution is not None  # noqa: S101, PT018
    cache = cache_folder(host) if prepared.backend == "pip" else UvInstaller(host).cache_dir
    needed = priced.plan.disk_bytes or 0
    new = 2 * priced.resolution.bytes_to_download
    preflight.check_space(host, prefix, cache, host.getenv("TMPDIR") or "/tmp", needed, new_bytes=new)  # noqa: S108

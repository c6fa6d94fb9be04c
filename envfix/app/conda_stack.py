"""plan --backend conda: which conda packages run here, from the channels of the user's own .condarc, proven by a solve."""

from __future__ import annotations

import os.path
import re
import time
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from packaging.requirements import Requirement

from envfix.app.planning import ANY_INDEX, PlanRequest, look
from envfix.app.settings import NOBODY, tables_for
from envfix.errors import UsageError
from envfix.host import channels as asking
from envfix.host.channels import ChannelQuestion
from envfix.host.real import RealHost
from envfix.installer import conda as installing
from envfix.installer.conda import CondaInstaller, Listing, Package, Solution, Source, Unsolvable, Wish
from envfix.installer.preflight import unpacked_bytes
from envfix.model.conda_names import SUBDIRS
from envfix.model.documents import without_secrets
from envfix.model.facts import ChannelState, CondaSettings, Environment, Machine
from envfix.model.language import look_up, retold, say
from envfix.model.plan import Choice, Goal, PackagePin, Plan, PlanTarget, Rejection
from envfix.model.reporter import Reporter
from envfix.model.versions import CudaVersion
from envfix.probes import conda as probe
from envfix.probes.package_sources import without_credentials
from envfix.resolver import conda_choice
from envfix.resolver.conda_choice import TORCH, WITH_WHEELS, RankedBuild, Ranking
from envfix.resolver.request import parse_packages, read_request
from envfix.resolver.target import Elsewhere, describe
from envfix.rules._channels import alternatives, places
from envfix.tables.loader import Tables

# Without any configuration of conda, this channel is asked: it is free for everybody and looked after.
DEFAULT_CHANNEL = "conda-forge"
CHANNEL_TIMEOUT = 5.0
MOST_TRIES = 6
ALL_SOLVES_LIMIT = 180.0
_FAMILY = ("torchvision", "torchaudio")
# A glibc for machines of which it is not known: what today's systems have.
_GLIBC = "2.39"
_KERNEL = "5.10"
_OTHER_INSTALLERS = ("pip", "uv")


class CondaDecision(msgspec.Struct, frozen=True, kw_only=True):
    """A conda plan with what installing needs: the environment's folder, the solution, the channels with their addresses.

    ``prefix`` is None where the plan is for another machine, ``solution`` where nothing can be installed. ``states`` is what
    each channel answered, ``condarc`` the text of a working .condarc (empty: the user's own works).
    """

    plan: Plan
    environment: Environment
    python: str | None = None
    prefix: str | None = None
    is_new: bool = False
    solution: Solution | None = None
    sources: tuple[Source, ...] = ()
    states: tuple[ChannelState, ...] = ()
    settings: CondaSettings = CondaSettings()
    condarc: str = ""


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What a new solution takes over from an older one: packages by name, version and build, where they still fit.

    ``specs`` is what was asked for beside torch and Python, ``channels`` are names and addresses.
    """

    packages: tuple[tuple[str, str, str], ...]
    specs: tuple[str, ...]
    channels: tuple[tuple[str, str], ...]


class _Work(msgspec.Struct, frozen=True, kw_only=True):
    """What is known before the channels are asked."""

    request: PlanRequest
    tables: Tables
    target: PlanTarget
    machine: Machine
    environment: Environment
    settings: CondaSettings
    prefix: str | None
    is_new: bool
    kept: Kept | None = None

    @property
    def subdir(self) -> str:
        """The channels' name for the platform."""
        return SUBDIRS.get(self.target.platform, "linux-64")

    @property
    def python(self) -> str | None:
        """The environment's interpreter, where it is there."""
        value = self.environment.interpreter.value
        return value.executable if value is not None and not self.is_new else None


def plan_conda(
    request: PlanRequest,
    *,
    kept: Kept | None = None,
    reporter: Reporter = NOBODY,
    installer: CondaInstaller | None = None,
) -> CondaDecision:
    """The conda stack for this request, or the one constraint that blocks; with ``kept`` what that leaves of an older one.

    Raises ``UsageError`` for a request that makes no sense, such as an environment that is not conda's.
    """
    host = RealHost()
    tables = tables_for(host)
    read_request(request.goal, tables)  # nonsense is refused before anything is asked
    work = msgspec.structs.replace(_looked(request, host, tables, reporter), kept=kept)
    offline = _offline(work)
    if offline is not None:
        return _decision(work, offline)
    names = _named(work)
    states = _asked(names, work, reporter)
    good = _sources(names, states, work)
    rows = [state for state in states if not state.suggested]
    if not good:
        return _decision(work, _no_channel(work, states), states=states)
    driver = installer or CondaInstaller(host, reporter, settings=work.settings)
    listings = _read(good, driver, work, reporter)
    usable = tuple(row.source for row in listings if row.problem is None)
    states = (*rows, *(state for state in states if state.suggested))
    states = tuple(_with_problem(state, listings) for state in states)
    told = tuple(_about_channels(states))
    if not usable:
        return _decision(work, _no_channel(work, states), states=states)
    records = [one for row in listings for one in row.packages]
    goal = work.request.goal
    ranking = conda_choice.choose_conda(work.target, goal, records, tables)
    if ranking.conflict is not None:
        conflict = msgspec.structs.replace(ranking.conflict, reasons=(*ranking.conflict.reasons, *told))
        return _decision(work, conflict, states=states, sources=usable)
    missing = _missing(work, records, usable)
    if missing is not None:
        return _decision(work, msgspec.structs.replace(missing, reasons=(*missing.reasons, *told)), states=states)
    return _solved(work, ranking, records, usable, states, told, driver, reporter)


# --- looking ---


def _looked(request: PlanRequest, host: RealHost, tables: Tables, reporter: Reporter) -> _Work:
    if request.new_env is not None and re.fullmatch(r"[^/\\~.][^/\\]*", request.new_env):
        path = installing.environment_path(host, request.new_env)
        request = msgspec.structs.replace(request, new_env=path)
    elif request.new_env is not None:
        path = os.path.abspath(os.path.expanduser(request.new_env))
        request = msgspec.structs.replace(request, new_env=path)
    machine, environment = look(request, host, tables, reporter)
    said = Elsewhere(
        driver=request.driver,
        gpus=request.gpus,
        platform=request.platform,
        glibc=request.glibc,
        python=request.target,
    )
    return _Work(
        request=request,
        tables=tables,
        target=describe(machine, environment.interpreter, said, tables),
        machine=machine,
        environment=environment,
        settings=probe.read_settings(host)[0],
        prefix=_prefix(request, environment),
        is_new=request.new_env is not None,
    )


def _prefix(request: PlanRequest, environment: Environment) -> str | None:
    """The folder of the environment that is planned for; raises ``UsageError`` where it is none of conda's."""
    if request.new_env is not None:
        return request.new_env
    value = environment.interpreter.value
    if request.snapshot is not None or value is None:
        return None
    if value.kind not in ("conda", "base"):
        raise UsageError(
            say("{prefix} is not a conda environment, so --backend conda cannot change it", prefix=value.prefix),
            hint=say("make one with --new-env PATH, or leave out --backend conda"),
        )
    return value.prefix


def _offline(work: _Work) -> Plan | None:
    """Why no channel may be asked; None where that is allowed."""
    if work.request.goal.offline:
        why, way = say("--offline forbids that"), say("leave out --offline")
    elif work.settings.offline:
        where = work.settings.set_in.get("offline", ".condarc")
        why, way = (
            say("`offline: true` in {where} forbids that", where=where),
            say("take `offline: true` out of {where}", where=where),
        )
    else:
        return None
    text = say("a conda plan needs the channels' lists of packages, and {why}", why=why)
    return _conflict(work, "index", text, (way, look_up(WITH_WHEELS)))


# --- channels ---


def _named(work: _Work) -> tuple[tuple[str, str], ...]:
    """The channels with each of their addresses: those that --index names, else the user's own, else conda-forge."""
    goal, settings, tables = work.request.goal, work.settings, work.tables
    if goal.indexes != ANY_INDEX:
        named = [(_label(text), _as_address(text)) for text in goal.indexes if text != "auto"]
        return tuple(dict.fromkeys(named))
    if work.kept is not None and work.kept.channels:
        # The user's own address of the same channel may hold a password, which no lock does.
        own = {without_credentials(url): (name, url) for name, url in places(settings, tables)}
        return tuple(own.get(url, (name, url)) for name, url in work.kept.channels)
    if not settings.channels:
        settings = msgspec.structs.replace(settings, channels=(DEFAULT_CHANNEL,))
    return places(settings, tables)


def _label(text: str) -> str:
    return text.rstrip("/").rpartition("/")[2] or text


def _as_address(text: str) -> str:
    from pathlib import Path

    return text.rstrip("/") if "://" in text else Path(os.path.abspath(os.path.expanduser(text))).as_uri()


def _asked(names: Sequence[tuple[str, str]], work: _Work, reporter: Reporter) -> tuple[ChannelState, ...]:
    """What each address answers to one small question; for channels that do not answer, what their other places do."""
    shown = ", ".join(dict.fromkeys(_shown(name) for name, _ in names))
    reporter.stage(say("asking {shown} whether they answer", shown=shown))
    states = _ask([ChannelQuestion(name=name, url=url) for name, url in names], work)
    known = {url for _, url in names}
    answered = {state.name for state in states if state.reachable}
    dead = [name for name, _ in names if _shown(name) not in answered]
    others = [
        ChannelQuestion(name=name, url=url, suggested=True)
        for name in dict.fromkeys(dead)
        for url in alternatives(name, work.tables)
        if url not in known
    ]
    return states + (_ask(others, work) if others else ())


def _ask(questions: list[ChannelQuestion], work: _Work) -> tuple[ChannelState, ...]:
    verify = work.settings.ssl_verify
    certificates = verify if verify and "/" in verify else None
    states = asking.check_channels(
        questions, work.subdir, timeout=CHANNEL_TIMEOUT, proxies=work.settings.proxies, certificates=certificates
    )
    if verify != "false":
        return states
    # Whoever trusts every certificate is not stopped by one: reading the list shows whether the channel works.
    return tuple(
        msgspec.structs.replace(state, reachable=True, problem=None)
        if "certificate" in (state.problem or "")
        else state
        for state in states
    )


def _sources(names: Sequence[tuple[str, str]], states: Sequence[ChannelState], work: _Work) -> tuple[Source, ...]:
    """The addresses that answer, in order; of a mirrored channel the first one only."""
    found: list[Source] = []
    for (name, url), state in zip(names, states, strict=False):
        mirrored = name in work.settings.mirrored_channels and any(one.name == _shown(name) for one in found)
        if state.reachable and not mirrored:
            found.append(Source(name=_shown(name), url=url))
    return tuple(found)


def _read(sources: Sequence[Source], driver: CondaInstaller, work: _Work, reporter: Reporter) -> tuple[Listing, ...]:
    reporter.stage(
        say("reading what {fromkeys} hold", fromkeys=", ".join(dict.fromkeys(source.name for source in sources)))
    )
    names = [TORCH, *_FAMILY, "pip", *(name for name, _ in _packages(work.request.goal))]
    return driver.listings(sources, list(dict.fromkeys(names)), work.subdir)


def _with_problem(state: ChannelState, listings: Sequence[Listing]) -> ChannelState:
    """A channel that answered and could not be read after all."""
    for row in listings:
        if row.problem is not None and (row.source.name, row.source.shown) == (state.name, state.location):
            return msgspec.structs.replace(state, reachable=False, problem=row.problem)
    return state


def _about_channels(states: Sequence[ChannelState]) -> Iterator[str]:
    """Which channels are dead, and a .condarc without them."""
    dead = [state for state in states if not state.suggested and not state.reachable]
    for state in dead:
        yield say(
            "the channel {state} ({location}) is left out: {problem}",
            state=state.name,
            location=state.location,
            problem=retold(state.problem or ""),
        )
    text = working_condarc(states) if dead else ""
    if text:
        yield say("a .condarc with channels that answer (envfix does not write it):\n{text}", text=text)


def working_condarc(states: Sequence[ChannelState]) -> str:
    """The text of a .condarc that names only addresses that answer, in the old order; empty where none does."""
    lines: list[str] = []
    for name in dict.fromkeys(state.name for state in states):
        good = [state for state in states if state.name == name and state.reachable]
        configured = [state.location for state in good if not state.suggested]
        lines += configured or [state.location for state in good if state.problem is None][:1]
    rows = [f"  - {address}" for address in dict.fromkeys(lines)]
    return "\n".join(("channels:", *rows, "channel_priority: strict")) if rows else ""


def _no_channel(work: _Work, states: Sequence[ChannelState]) -> Plan:
    return _conflict(
        work,
        "index",
        say("no conda channel can be used"),
        (say("name one that answers: --index ADDRESS"), look_up(WITH_WHEELS)),
        more=tuple(_about_channels(states)),
    )


# --- solving ---


def _packages(goal: Goal) -> tuple[tuple[str, str], ...]:
    """What was asked for beside torch, as conda names and version specs."""
    return tuple((conda_choice.conda_name(item.name), _specifier(item)) for item in parse_packages(goal.packages))


def _specifier(item: Requirement) -> str:
    return str(item.specifier)


def _missing(work: _Work, records: Sequence[Package], sources: Sequence[Source]) -> Plan | None:
    """A conflict where a package that was asked for is in no channel; None where all are there."""
    there = {one.name for one in records}
    for name, _ in _packages(work.request.goal):
        if name not in there:
            shown = say(" and ").join(dict.fromkeys(source.name for source in sources))
            ways = [
                say(
                    "without it: --with none, and later `pip install {name}` with the environment's own pip", name=name
                ),
                look_up(WITH_WHEELS),
            ]
            forge = work.tables.conda.channel(DEFAULT_CHANNEL)
            if forge is not None and all(source.name != DEFAULT_CHANNEL for source in sources):
                ways.insert(0, say("add {url} to the channels in .condarc", url=forge.url))
            return _conflict(
                work,
                "companion",
                say("{shown} hold{s} no {name}", shown=shown, s="s" if " and " not in shown else "", name=name),
                tuple(ways),
            )
    return None


def _wish(build: RankedBuild, work: _Work, records: Sequence[Package], sources: tuple[Source, ...]) -> Wish:
    builds = "|".join(re.escape(text) for text in build.builds)
    source = next(one for one in sources if (one.name, one.shown) == (build.channel, build.address))
    python = ".".join(work.target.python.rstrip("t").split(".")[:2])
    kept = work.kept
    specs = [
        f'{TORCH}[version="=={build.torch}",build="^({builds})$",channel="{source.url}"]',
        f"python {python}.* *_cp{python.replace('.', '')}t" if work.target.tag.endswith("t") else f"python {python}.*",
        # conda gives every new environment a pip of its own, without which `pip` would be another environment's.
        *(("pip",) if kept is None and work.is_new and any(one.name == "pip" for one in records) else ()),
        *(f"{name} {spec}".strip() for name, spec in _packages(work.request.goal)),
        *(kept.specs if kept is not None else ()),
    ]
    virtual = virtual_packages(work.target, work.machine, work.tables)
    if build.variant.startswith("cu") and not work.target.gpus:
        # That CUDA was asked for by name, for another machine than this one.
        virtual.setdefault("__cuda", (str(CudaVersion.parse(build.variant)), "0"))
    return Wish(
        specs=tuple(specs),
        sources=sources,
        subdir=work.subdir,
        virtual=virtual,
        constraints=tuple(_same_flavour(build, records)),
        priority=work.settings.channel_priority,
        prefix=None if work.is_new else work.prefix,
        kept=kept.packages if kept is not None else (),
    )


def _same_flavour(build: RankedBuild, records: Sequence[Package]) -> Iterator[str]:
    """What goes with torch must be built for the same CUDA as torch: a solver alone takes a CPU build too."""
    for name in _FAMILY:
        rows = [one for one in records if one.name == name]
        flavours = {one.build: conda_choice.read_build(one.build, one.depends) for one in rows}
        good = [
            text
            for text, flavour in flavours.items()
            if flavour.kind == "plain" or (flavour.cuda.variant if flavour.cuda else "cpu") == build.variant
        ]
        if good and len(good) < len(flavours):
            yield f'{name}[build="^({"|".join(re.escape(text) for text in good)})$"]'


def virtual_packages(target: PlanTarget, machine: Machine, tables: Tables) -> dict[str, tuple[str, str]]:
    """What conda calls virtual packages, from facts and tables: system, C library, and the CUDA that the driver serves."""
    found: dict[str, tuple[str, str]] = {}
    if target.platform.startswith("linux"):
        found |= {"__unix": ("0", "0"), "__linux": (_kernel(machine), "0")}
        if target.libc != "musl":
            found["__glibc"] = (target.glibc or _GLIBC, "0")
    elif target.platform.startswith("macosx"):
        found |= {"__unix": ("0", "0"), "__osx": ("14.0", "0")}
    else:
        found["__win"] = ("0", "0")
    found["__archspec"] = ("1", target.platform.rpartition("_")[2] if "x86_64" not in target.platform else "x86_64")
    served = tables.drivers.newest_cuda(target.driver) if target.driver is not None and target.gpus else None
    if served is not None:
        found["__cuda"] = (str(served), "0")
    return found


def _kernel(machine: Machine) -> str:
    place = machine.platform.value
    match = re.match(r"\d+(?:\.\d+)*", (place.kernel if place is not None else None) or "")
    return match[0] if match else _KERNEL


def _solved(
    work: _Work,
    ranking: Ranking,
    records: Sequence[Package],
    sources: tuple[Source, ...],
    states: tuple[ChannelState, ...],
    told: tuple[str, ...],
    driver: CondaInstaller,
    reporter: Reporter,
) -> CondaDecision:
    """The best build that the solver finds a whole stack for."""
    refused: list[tuple[RankedBuild, Unsolvable]] = []
    give_up = time.monotonic() + ALL_SOLVES_LIMIT
    for build in ranking.builds[:MOST_TRIES]:
        reporter.stage(say("solving with {build} from {channel}", build=build.name, channel=build.channel))
        answer = driver.solve(_wish(build, work, records, sources))
        if isinstance(answer, Solution):
            plan = _answer(build, answer, work, ranking, refused, told, sources)
            return _decision(work, plan, solution=answer, states=states, sources=sources)
        refused.append((build, answer))
        if time.monotonic() > give_up:
            break
    first, why = refused[0]
    rejected = tuple(conda_choice.as_rejection(build, answer.message) for build, answer in refused)
    more = tuple(f"{build.name}: {answer.message}" for build, answer in refused[1:])
    plan = Plan(
        status="conflict",
        target=work.target,
        reasons=(f"{first.name}: {why.message}", *more, *told),
        rejected=(*rejected, *ranking.rejected),
        blocked_by=rejected[0].because,
        nearest=first.choice,
        ways_out=tuple(_ways_out(work, refused)),
    )
    return _decision(work, plan, states=states, sources=sources)


def _ways_out(work: _Work, refused: Sequence[tuple[RankedBuild, Unsolvable]]) -> Iterator[str]:
    if any(answer.timed_out for _, answer in refused):
        yield say("ask for less at once: name the release (--torch), or leave packages out (--with none)")
    if not work.is_new:
        yield say("what is installed in the environment may stand in the way: try a new one with --new-env PATH")
    yield look_up(WITH_WHEELS)


def _answer(
    build: RankedBuild,
    solution: Solution,
    work: _Work,
    ranking: Ranking,
    refused: Sequence[tuple[RankedBuild, Unsolvable]],
    told: tuple[str, ...],
    sources: Sequence[Source],
) -> Plan:
    pins = _pins(build, solution, work)
    passed = tuple(
        say("{other} is not taken: {answer}", other=other.name, answer=answer.message) for other, answer in refused
    )
    rejected: tuple[Rejection, ...] = tuple(
        conda_choice.as_rejection(other, answer.message) for other, answer in refused
    )
    return Plan(
        status="ok",
        target=work.target,
        choice=_choice(build, solution),
        packages=pins,
        commands=_commands(work, pins, sources),
        downloads=tuple(one.download for one in solution.packages),
        download_bytes=solution.total_bytes,
        cached_bytes=solution.cached_bytes,
        disk_bytes=unpacked_bytes(solution.total_bytes),
        reasons=(*build.reasons, *passed, *told, *_about_environment(work, solution)),
        rejected=(*rejected, *ranking.rejected),
        pages=((build.channel, build.variant),),
    )


def _choice(build: RankedBuild, solution: Solution) -> Choice:
    vision, audio = (solution.package(name) for name in _FAMILY)
    return msgspec.structs.replace(
        build.choice,
        torchvision=vision.version if vision is not None else None,
        torchaudio=audio.version if audio is not None else None,
    )


def _pins(build: RankedBuild, solution: Solution, work: _Work) -> tuple[PackagePin, ...]:
    asked = {name for name, _ in _packages(work.request.goal)}
    why = {
        TORCH: say(
            "the build for {which}",
            which=say("the CPU") if build.variant == "cpu" else conda_choice.read_variant(build.variant),
        ),
        "python": say("the Python of this environment") if not work.is_new else say("the Python that was asked for"),
        **dict.fromkeys(_FAMILY, say("the build that goes with {build}", build=build.name)),
    }
    order = ["python", TORCH, *_FAMILY]
    rows = [one for one in solution.packages if one.name in order or one.name in asked]
    rows.sort(key=lambda one: (order.index(one.name) if one.name in order else len(order), one.name))
    return tuple(
        PackagePin(
            name=one.name,
            specifier=f"=={one.version}={one.build}",
            index=one.channel,
            because=why.get(one.name, say("asked for")) if one.name not in asked else say("asked for"),
        )
        for one in rows
    )


def _commands(work: _Work, pins: Sequence[PackagePin], sources: Sequence[Source]) -> tuple[tuple[str, ...], ...]:
    """What a user could type instead, with the program that is there; nothing where there is none."""
    host = RealHost()
    program = next((name for name in probe.PROGRAMS if host.which(name)), None)
    if program is None or work.prefix is None:
        return ()
    channels = [word for source in sources for word in ("-c", source.shown)]
    verb = "create" if work.is_new else "install"
    specs = [f"{pin.name}{pin.specifier}" for pin in pins]
    return ((program, verb, "-p", work.prefix, "--override-channels", *channels, *specs),)


def _about_environment(work: _Work, solution: Solution) -> Iterator[str]:
    """What changes in an environment that is there: packages that go, and pip's that are written over."""
    if work.is_new or work.prefix is None:
        return
    before = {row.name: row for row in installing.installed(work.prefix)}
    after = solution.versions
    gone = sorted(f"{row.name} {row.version}" for name, row in before.items() if name not in after)
    if gone:
        yield say("conda takes away what nothing needs any more: {gone}", gone=", ".join(gone))
    for row in work.environment.distributions.value or ():
        name = conda_choice.conda_name(row.name)
        if row.installer in _OTHER_INSTALLERS and name in after:
            yield (
                say(
                    "{installer} has installed {row} {version} there: conda's {name} {after} is"
                    " written over it; take it away first: `{python} -m pip uninstall {row}`",
                    installer=row.installer,
                    row=row.name,
                    version=row.version,
                    name=name,
                    after=after[name],
                    python=work.python or "python",
                )
            )


# --- putting together ---


def _conflict(work: _Work, by: Any, text: str, ways: tuple[str, ...], *, more: tuple[str, ...] = ()) -> Plan:
    return Plan(status="conflict", target=work.target, reasons=(text, *more), blocked_by=by, ways_out=ways)


def _decision(
    work: _Work,
    plan: Plan,
    *,
    solution: Solution | None = None,
    sources: tuple[Source, ...] = (),
    states: tuple[ChannelState, ...] = (),
) -> CondaDecision:
    dead = any(not state.suggested and not state.reachable for state in states)
    return CondaDecision(
        plan=plan,
        environment=work.environment,
        python=work.python,
        prefix=work.prefix,
        is_new=work.is_new,
        solution=solution,
        sources=sources,
        states=states,
        settings=work.settings,
        condarc=working_condarc(states) if dead else "",
    )


def _shown(name: str) -> str:
    text: str = without_secrets(name)
    return text

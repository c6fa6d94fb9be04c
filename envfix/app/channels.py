"""Which conda channels answer from here, and where else those that do not could be had."""

from __future__ import annotations

import msgspec

from envfix.host import channels
from envfix.host.channels import ChannelQuestion
from envfix.host.real import RealHost
from envfix.model.documents import without_secrets
from envfix.model.facts import ChannelState, CondaInstall, CondaSettings, Machine, Observed, found
from envfix.model.language import say
from envfix.model.reporter import Reporter
from envfix.probes import conda
from envfix.rules._channels import alternatives, places
from envfix.tables.loader import Tables

CHANNEL_TIMEOUT = 5.0
_SUBDIRS = {
    "linux_x86_64": "linux-64",
    "linux_aarch64": "linux-aarch64",
    "win_amd64": "win-64",
    "macosx_arm64": "osx-arm64",
    "macosx_x86_64": "osx-64",
}


def with_channels_asked(host: RealHost, machine: Machine, tables: Tables, reporter: Reporter) -> Machine:
    """The machine with what its conda channels answered just now; unchanged where there is no conda."""
    installed = machine.conda.value
    if installed is None or installed.settings is None:
        return machine
    settings, _ = conda.read_settings(host)
    wanted = places(settings, tables)
    reporter.stage(
        "asking " + ", ".join(dict.fromkeys(_shown(name) for name, _ in wanted)) + say(" whether they answer")
    )
    place = machine.platform.value
    subdir = _SUBDIRS.get(place.tag if place else "", "linux-64")
    states = _ask([ChannelQuestion(name=name, url=url) for name, url in wanted], subdir, settings)
    dead = dict.fromkeys(name for (name, _), state in zip(wanted, states, strict=True) if not state.reachable)
    asked = {url for _, url in wanted}
    others = [
        ChannelQuestion(name=name, url=url, suggested=True)
        for name in dead
        for url in alternatives(name, tables)
        if url not in asked
    ]
    states += _ask(others, subdir, settings) if others else ()
    answered = msgspec.structs.replace(installed, states=states)
    fact: Observed[CondaInstall] = found(answered, machine.conda.source)
    return msgspec.structs.replace(machine, conda=fact)


def _ask(questions: list[ChannelQuestion], subdir: str, settings: CondaSettings) -> tuple[ChannelState, ...]:
    certificates = settings.ssl_verify if settings.ssl_verify and "/" in settings.ssl_verify else None
    return channels.check_channels(
        questions, subdir, timeout=CHANNEL_TIMEOUT, proxies=settings.proxies, certificates=certificates
    )


def _shown(name: str) -> str:
    text: str = without_secrets(name)
    return text

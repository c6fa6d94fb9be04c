"""What is asked of a machine and of an environment: a fact each, by the probe that finds it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from envfix.host.interface import ProbeHost
from envfix.host.target import Answer
from envfix.model.facts import Interpreter, Observed
from envfix.probes import (
    commands,
    conda,
    conda_records,
    cuda_toolkit,
    device_state,
    displays,
    elsewhere,
    held_stack,
    host_compiler,
    native_libraries,
    network_settings,
    os_libc,
    resources,
    scheduler,
    startup,
)

# A fact of the machine each, asked side by side; a second argument is the time limit of one question in seconds.
PROBES: dict[str, Callable[[ProbeHost, float], Observed[Any]]] = {
    "platform": lambda host, _: os_libc.probe(host),
    "displays": lambda host, timeout: displays.probe(host, timeout=timeout),
    "toolkits": lambda host, timeout: cuda_toolkit.probe(host, timeout=timeout),
    "host_compilers": lambda host, timeout: host_compiler.probe(host, timeout=timeout),
    "conda": lambda host, _: conda.probe(host),
    "commands": lambda host, _: commands.probe(host),
    "device_state": lambda host, _: device_state.probe(host),
    "scheduler": lambda host, _: scheduler.probe(host),
    "resources": lambda host, _: resources.probe(host),
    "libraries": lambda host, _: native_libraries.probe(host),
    "network": lambda host, _: network_settings.probe(host),
}
# A fact of the environment each, asked once the target has answered, with where is looked for it.
ENVIRONMENT_PROBES: dict[str, tuple[str, Callable[[ProbeHost, Interpreter, Answer], Observed[Any]]]] = {
    "elsewhere": (elsewhere.SOURCE, lambda host, target, _: elsewhere.probe(host, target)),
    "startup": (startup.SOURCE, startup.probe),
    "held": (held_stack.SOURCE, lambda _host, _target, answer: held_stack.probe(answer)),
    "conda_records": (conda_records.SOURCE, lambda _host, _target, answer: conda_records.probe(answer)),
    "disk": ("the target", lambda host, target, _: resources.probe_prefix(host, target)),
}
# What decides a plan.
BRIEF = ("platform", "displays")

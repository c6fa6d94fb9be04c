"""fleet: ask many nodes, or read what was gathered, and put those together that are in the same state."""

from __future__ import annotations

from importlib.util import find_spec

from envfix.fleet import travelling
from envfix.host.real import RealHost

# The management library's own bindings, one file of the standard library's means: what a node's driver is asked with.
BINDINGS = "pynvml"


def collector_files(host: RealHost) -> dict[str, str]:
    """What travels to a node: the collector, the scripts of the probes, and what they import."""
    paths = {name: host.script_path(name) for name in (travelling.COLLECTOR, *travelling.SCRIPTS)}
    bindings = find_spec(BINDINGS)
    if bindings is not None and bindings.origin:
        paths[f"{BINDINGS}.py"] = bindings.origin
    return {name: host.read_text(path).text for name, path in paths.items()}

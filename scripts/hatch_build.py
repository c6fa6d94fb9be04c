"""Compiles the compatibility tables when a wheel is built, so that an installed envfix reads JSON and no YAML.

A wheel carries ``envfix/_compat_tables/*.json``. An editable install carries none: it reads the checkout's own
tables, and a copy beside them would only grow stale. Needs PyYAML, nothing else of what envfix needs.
"""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class TablesHook(BuildHookInterface[Any]):
    """Adds the compiled tables to a standard wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile every table; raises ``SourceError`` when one is not readable and ``OSError`` when it is missing."""
        if self.target_name != "wheel" or version == "editable":
            return
        root = Path(self.root)
        sources = _sources(root)
        tables = root / "compat_tables"
        compiled = {name: sources.compile_table((tables / f"{name}.yaml").read_bytes()) for name in sources.NAMES}
        self._folder = tempfile.TemporaryDirectory(prefix="envfix-tables-")
        for name, content in compiled.items():
            file = Path(self._folder.name) / f"{name}.json"
            file.write_bytes(content)
            build_data["force_include"][str(file)] = f"envfix/_compat_tables/{name}.json"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Remove the compiled files once they are in the wheel."""
        folder = getattr(self, "_folder", None)
        if folder is not None:
            folder.cleanup()


def _sources(root: Path) -> ModuleType:
    """The module that compiles tables, loaded by its path: envfix itself cannot be imported while it is being built."""
    spec = importlib.util.spec_from_file_location("envfix_table_sources", root / "envfix" / "tables" / "sources.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError("envfix/tables/sources.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

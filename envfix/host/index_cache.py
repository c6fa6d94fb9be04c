"""Keeps what indexes answered, one small file for each list; a broken or unwritable cache is as good as none."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class IndexCache:
    """The lists of files in a folder (None: nothing is kept); a list is named by what was asked."""

    def __init__(self, folder: str | None) -> None:
        self._folder = None if folder is None else Path(folder, "indexes")

    def read(self, *asked: str) -> tuple[tuple[str, ...] | None, float]:
        """The files kept for a question and their age in seconds."""
        path = self._path(asked)
        if path is None:
            return None, 0.0
        try:
            kept: Mapping[str, Any] = json.loads(path.read_text("utf-8"))
            age = time.time() - float(kept["at"])
            if kept["asked"] == list(asked) and age >= 0:
                return tuple(str(name) for name in kept["files"]), age
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            pass
        return None, 0.0

    def write(self, files: Sequence[str], *asked: str) -> None:
        """Keep the files that an index answered just now."""
        path = self._path(asked)
        if path is None:
            return
        text = json.dumps({"asked": asked, "at": time.time(), "files": list(files)})
        temporary = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(text, "utf-8")
            temporary.replace(path)

    def _path(self, asked: Sequence[str]) -> Path | None:
        if self._folder is None:
            return None
        return self._folder / f"{hashlib.sha256(chr(10).join(asked).encode()).hexdigest()[:24]}.json"

"""What lies in an environment, so that two moments of it can be compared byte for byte."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

Tree = dict[str, str]


def tree(folder: Path | str) -> Tree:
    """Every file with its hash, every link with its target, modes and owners; without bytecode and envfix's own files."""
    found: Tree = {}
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in (".envfix", "__pycache__")]
        for name in (*names, *folders):
            path = os.path.join(place, name)
            relative = os.path.relpath(path, folder)
            told = os.lstat(path)
            access = f"{told.st_mode:o} {told.st_uid}:{told.st_gid}"
            if os.path.islink(path):
                found[relative] = f"-> {os.readlink(path)} {access}"
            elif os.path.isdir(path):
                found[relative] = access
            else:
                found[relative] = f"{hashlib.sha256(Path(path).read_bytes()).hexdigest()} {access}"
    return found


def differences(one: Tree, other: Tree) -> list[str]:
    """The paths that are not the same in both."""
    return sorted(path for path in {*one, *other} if one.get(path) != other.get(path))

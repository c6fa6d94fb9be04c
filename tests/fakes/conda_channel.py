"""A real conda channel in a folder, and real installations from it: packages as conda-build lays them out, installed by rattler."""

from __future__ import annotations

import asyncio
import bz2
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest


def add_package(channel: Path, name: str, version: str, build: str, files: Mapping[str, str]) -> None:
    """A ``.tar.bz2`` package for linux-64 with these files (paths below the prefix)."""
    contents = {path: text.encode() for path, text in files.items()}
    index = {"name": name, "version": version, "build": build, "build_number": 0, "depends": [], "subdir": "linux-64"}
    rows = [
        {
            "_path": path,
            "path_type": "hardlink",
            "sha256": hashlib.sha256(data).hexdigest(),
            "size_in_bytes": len(data),
        }
        for path, data in contents.items()
    ]
    described = {
        "info/index.json": json.dumps(index),
        "info/paths.json": json.dumps({"paths": rows, "paths_version": 1}),
        "info/files": "\n".join(contents) + "\n",
        "info/about.json": "{}",
    }
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for path, data in {**{path: text.encode() for path, text in described.items()}, **contents}.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    place = channel / "linux-64"
    place.mkdir(parents=True, exist_ok=True)
    (channel / "noarch").mkdir(exist_ok=True)
    (place / f"{name}-{version}-{build}.tar.bz2").write_bytes(bz2.compress(raw.getvalue()))


def install(channel: Path, prefix: Path, *specs: str) -> None:
    """Solve and install from this channel alone, as conda would: records in conda-meta, files by hard links."""
    rattler = pytest.importorskip("rattler", reason="py-rattler is not installed")
    index = pytest.importorskip("rattler.index")

    async def work() -> None:
        platform = rattler.platform.Subdir("linux-64")
        await index.index_fs(channel, target_platform=platform)
        await index.index_fs(channel, target_platform=rattler.platform.Subdir("noarch"))
        records = await rattler.solve(
            [rattler.Channel(channel.as_uri())],
            [rattler.MatchSpec(spec) for spec in specs],
            platforms=["linux-64", "noarch"],
        )
        await rattler.install(records, prefix, cache_dir=channel / "cache", platform=platform, show_progress=False)

    asyncio.run(work())

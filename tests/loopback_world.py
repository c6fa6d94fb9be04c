"""A world of package indexes on loopback: a registry, the official torch index and its mirrors, with the real tables.

The tables are envfix's own with other addresses for the official index and the three mirrors.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.conftest import CHECKOUT, interpreter
from tests.fakes.running import Finished, cleaned_environment, envfix
from tests.fakes.targets import make_venv
from tests.loopback_index import Index, Wheel, make_wheel, serve

TAIL = "cp311-cp311-manylinux_2_28_x86_64"
MACHINE = ("--driver", "470.57.02", "--gpu", "RTX 3090", "--glibc", "2.36")
BASES = {
    "official": "https://download.pytorch.org/whl",
    "nju": "https://mirrors.nju.edu.cn/pytorch/whl",
    "sjtu": "https://mirror.sjtu.edu.cn/pytorch-wheels",
    "aliyun": "https://mirrors.aliyun.com/pytorch-wheels",
}
NOWHERE = "http://127.0.0.1:9"


def stack(torch: str, torchvision: str, label: str, tail: str = TAIL) -> tuple[Wheel, ...]:
    """A torch and its torchvision, and what a hostile torch index would like to slip in."""
    return (
        make_wheel("torch", f"{torch}{label}", tail, requires=("numpy",)),
        make_wheel("torchvision", f"{torchvision}{label}", tail, requires=(f"torch=={torch}",)),
        make_wheel("numpy", "99.0"),
    )


CU118 = stack("2.7.1", "0.22.1", "+cu118")
OLDER = stack("2.6.0", "0.21.0", "+cu118", "cp311-cp311-linux_x86_64")


@contextmanager
def world_in(folder: Path) -> Iterator[World]:
    """A registry, and four servers that stand for the official index and its mirrors."""
    with ExitStack() as running:
        servers = {name: running.enter_context(serve()) for name in (*BASES, "pypi")}
        servers["pypi"].add(
            "main",
            make_wheel("torch", "2.0.1", "cp311-cp311-manylinux1_x86_64", requires=("numpy",)),
            make_wheel("torchvision", "0.15.2", "cp311-cp311-manylinux1_x86_64", requires=("torch==2.0.1",)),
            make_wheel("ultralytics", "8.4.80", requires=("torch>=1.8.0", "torchvision>=0.9.0", "numpy>=1.23.0")),
            make_wheel("numpy", "1.26.4"),
            make_wheel("opencv-python", "4.11.0.86"),
        )
        yield World(servers, folder)


class World:
    """The servers, and envfix run against them."""

    def __init__(self, servers: dict[str, Index], folder: Path) -> None:
        self.servers = servers
        self.folder = folder
        self.dead: set[str] = set()
        make_venv(folder / "env", interpreter("3.11"), "3.11")

    def __getitem__(self, name: str) -> Index:
        return self.servers[name]

    def base(self, name: str) -> str:
        """The address that the tables give an index: a flat tree for Aliyun, as in reality."""
        if name in self.dead:
            return NOWHERE
        return f"{self.servers[name].base}/{'flat' if name == 'aliyun' else 'simple'}"

    def environment(self, **changes: str) -> dict[str, str]:
        """The variables of a process that sees this world and nothing of the real one."""
        tables = self.folder / "tables"
        shutil.copytree(CHECKOUT / "compat_tables", tables, dirs_exist_ok=True)
        text = (tables / "indexes.yaml").read_text()
        for name, base in BASES.items():
            assert f"base: {base}\n" in text
            text = text.replace(f"base: {base}\n", f"base: {self.base(name)}\n")
        (tables / "indexes.yaml").write_text(text)
        return cleaned_environment(
            ENVFIX_TABLES=str(tables),
            ENVFIX_CACHE_DIR=str(self.folder / "cache"),
            UV_CACHE_DIR=str(self.folder / "uv-cache"),
            UV_DEFAULT_INDEX=self["pypi"].url("simple", "main"),
            NO_PROXY="127.0.0.1",
            **changes,
        )

    def plan(self, *arguments: str, **changes: str) -> Finished:
        """`envfix plan` for the lab server of the story, with Python 3.11."""
        target = ("--python", str(self.folder / "env"))
        return envfix("plan", *target, *MACHINE, *arguments, env=self.environment(**changes), timeout=90)

    def json(self, *arguments: str, **changes: str) -> dict[str, Any]:
        """Its JSON document."""
        return self.plan("--json", *arguments, **changes).document

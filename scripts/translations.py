"""The gettext catalogues of envfix: what is said in the sources, and whether every sentence has a translation.

    python -m scripts.translations             bring envfix/locale/*/LC_MESSAGES/envfix.po and .mo up to date
    python -m scripts.translations --check     say what is not, and end with 1

Sentences are the first argument of ``say(...)``, ``later(...)`` and ``stated(...)``, also in the scripts that run in the
target, and the paragraphs that the help of a command is made of. Needs Babel.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import io
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from string import Formatter

from babel.messages.catalog import Catalog, Message
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from envfix.model.language import STATED

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "envfix"
LOCALE = PACKAGE / "locale"
KEYWORDS = ("say", "later", "stated")
# What stands above the translations; the rest of a .po's header changes with the clock.
HEADER = """\
Sentences of envfix for people. Texts of other programs stay English, so that they can be searched for.

Words: driver 驱动, card 显卡, wheel wheel 包, index 软件源, mirror 镜像, environment 环境, interpreter 解释器, package 包,
release 版本, build 构建版, toolkit CUDA 工具包, compute capability 计算能力, kernel module 内核模块, host 宿主机, container 容器,
administrator 管理员, channel 频道, lock 锁文件, plan 安装方案, finding 问题, cause 原因, remedy 解决办法, shared memory 共享内存.
Names of programs, packages, variables and options stay as they are."""


def sentences() -> Iterator[tuple[str, str, str | None]]:
    """Every sentence with the file it is said in and its context, in the order of the files."""
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        place = str(path.relative_to(ROOT))
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in KEYWORDS
                and node.args
            ):
                first = node.args[0]
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    of_facts = node.func.id == "stated" and names(first.value)
                    yield first.value, place, STATED if of_facts else None
            elif isinstance(node, ast.FunctionDef) and _is_command(node):
                for block in inspect.cleandoc(ast.get_docstring(node) or "").split("\n\n"):
                    if block and not block.startswith("\b"):
                        yield " ".join(block.split()), place, None


def template() -> Catalog:
    """All sentences, untranslated."""
    catalog = Catalog(charset="utf-8")
    for text, place, context in sentences():
        catalog.add(text, locations=[(place, 0)], context=context)
    return catalog


def updated(path: Path) -> Catalog:
    """The catalogue of a language with the sentences of today: translations by sentence, gone ones dropped."""
    with path.open("rb") as file:
        old = read_po(file)
    known = {
        (message.id, message.context): message.string
        for message in old
        if message.id and message.string and not message.fuzzy
    }
    new = Catalog(
        locale=path.parts[-3],
        domain="envfix",
        project="envfix",
        version="1",
        charset="utf-8",
        fuzzy=False,
        header_comment=_commented(HEADER),
    )
    for message in template():
        if message.id:
            translation = known.get((message.id, message.context), "")
            new.add(message.id, translation, locations=sorted(message.locations), context=message.context)
    return new


def as_po(catalog: Catalog) -> bytes:
    """The text of a .po without dates and line numbers, which change with every edit."""
    out = io.BytesIO()
    write_po(out, catalog, width=110, sort_output=True, omit_header=False, include_lineno=False)
    dates = (b'"POT-Creation-Date', b'"PO-Revision-Date', b'"Generated-By', b'"Last-Translator', b'"Language-Team')
    lines = [line for line in out.getvalue().splitlines(keepends=True) if not line.startswith(dates)]
    return b"".join(lines)


def as_mo(catalog: Catalog) -> bytes:
    """What gettext reads."""
    out = io.BytesIO()
    same = read_po(io.BytesIO(as_po(catalog)))
    # Else it would hold the time at which it was made.
    same.creation_date = same.revision_date = datetime(2026, 1, 1, tzinfo=timezone.utc)
    write_mo(out, same)
    return out.getvalue()


def faults(catalog: Catalog) -> Iterator[str]:
    """Sentences without a translation, or with one that names what is not told there."""
    for message in catalog:
        if not message.id:
            continue
        if not message.string:
            yield f"not translated: {message.id}"
        elif not _fits(message):
            yield f"other names in braces: {message.id}: {message.string}"


def names(text: str) -> set[str]:
    """What is filled into a sentence, with the form that numbers take."""
    return {f"{name}!{conversion}:{spec}" for _, name, spec, conversion in Formatter().parse(text) if name is not None}


def _fits(message: Message) -> bool:
    try:
        wanted = names(str(message.id))
    except ValueError:  # braces that are meant: nothing is filled in
        return True
    try:
        return names(str(message.string)) <= wanted
    except ValueError:
        return False


def _is_command(node: ast.FunctionDef) -> bool:
    """Whether a docstring is the help of a command."""
    calls = [each.func if isinstance(each, ast.Call) else each for each in node.decorator_list]
    return any(isinstance(call, ast.Attribute) and call.attr in ("command", "group") for call in calls)


def _commented(text: str) -> str:
    return "\n".join(f"# {line}".rstrip() for line in text.splitlines())


def main() -> int:
    """Update or check every catalogue."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    problems: list[str] = []
    for path in sorted(LOCALE.glob("*/LC_MESSAGES/envfix.po")):
        catalog = updated(path)
        problems += [f"{path.relative_to(ROOT)}: {fault}" for fault in faults(catalog)]
        for file, content in ((path, as_po(catalog)), (path.with_suffix(".mo"), as_mo(catalog))):
            if not file.exists() or file.read_bytes() != content:
                if check:
                    problems.append(f"{file.relative_to(ROOT)} is not up to date: python -m scripts.translations")
                else:
                    file.write_bytes(content)
    print("\n".join(problems[:20]) or "complete")
    if len(problems) > 20:
        print(f"... and {len(problems) - 20} more")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

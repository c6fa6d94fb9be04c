"""Writes the catalogue of causes, ``envfix/rules/CATALOGUE.md``, from the manual pages of the rules.

    python -m scripts.catalogue [--check]

``--check`` changes nothing and ends with 1 when the file is not what it should be; a test does the same.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from envfix.rules._rule import Rule, all_rules, manual

FILE = Path(__file__).resolve().parent.parent / "envfix" / "rules" / "CATALOGUE.md"
# The first three letters of a code say the part of the house.
FAMILIES = {
    "DRV": "The NVIDIA driver",
    "GPU": "The card",
    "CTR": "Containers and WSL",
    "VAR": "Variables and jobs",
    "INT": "The interpreter",
    "TOR": "The torch build",
    "FAM": "torch's family: torchvision, ultralytics, extensions",
    "LIB": "Native libraries",
    "MEM": "Memory and disk",
    "NET": "Getting packages",
    "CND": "conda",
    "TKT": "CUDA toolkit and host compiler",
}
_HEAD = """# Causes

The {count} causes that envfix tells apart. `envfix causes NAME` shows the same page in a terminal, `envfix causes WORDS` finds it.
This file is made from the rules beside it by `python -m scripts.catalogue`: edit the docstring of the rule, not this.
"""


def text() -> str:
    """The whole file."""
    rules = sorted(all_rules(), key=lambda rule: rule.code)
    families = {title: [rule for rule in rules if rule.code[:3] == letters] for letters, title in FAMILIES.items()}
    blocks = [_HEAD.format(count=len(rules))]
    for title, members in families.items():
        lines = [f"- [{rule.code} {_prose(rule.cause)}](#{_anchor(rule)}): {_prose(_title(rule))}" for rule in members]
        blocks.append("\n".join([f"**{title}**", "", *lines, ""]))
    for title, members in families.items():
        blocks.append(f"## {title}\n")
        blocks += [_page(rule) for rule in members]
    return "\n".join(blocks)


def _page(rule: Rule) -> str:
    return "\n".join(
        [f"### {rule.code} {rule.cause}", "", f"{_prose(_title(rule))} {_proof(rule)}", "", *_sections(rule)]
    )


def _sections(rule: Rule) -> Iterator[str]:
    """The parts of a manual page, each after its heading."""
    for block in manual(rule).strip().split("\n\n")[1:]:
        lines = block.split("\n")
        if not lines[0].startswith(" "):
            yield f"**{lines.pop(0)}**\\"
        yield from (_prose(line.strip()) for line in lines)
        yield ""


def _proof(rule: Rule) -> str:
    """Where envfix recognises it."""
    places = ["facts"] * (rule.check is not None) + ["logs"] * (rule.log is not None)
    return f"*Recognised from {' and '.join(places)}.*"


def _title(rule: Rule) -> str:
    """The first sentence of the manual page."""
    return " ".join(manual(rule).strip().split("\n\n")[0].split())


def _anchor(rule: Rule) -> str:
    return f"{rule.code.lower()}-{rule.cause}"


def _prose(line: str) -> str:
    """As Markdown: code stays code, and nothing else of a message is taken for markup."""
    parts = re.split(r"(``.+?``)", line)
    return "".join(part[1:-1] if part.startswith("``") else _escaped(part) for part in parts)


def _escaped(words: str) -> str:
    words = re.sub(r"([\\`*\[\]])", r"\\\1", words).replace("<", "&lt;")
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", words)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only say whether the file is fresh")
    fresh = text()
    if not parser.parse_args().check:
        FILE.write_text(fresh, encoding="utf-8")
    elif not FILE.exists() or FILE.read_text(encoding="utf-8") != fresh:
        sys.exit(f"{FILE} is not what the rules say: run `python -m scripts.catalogue`")


if __name__ == "__main__":
    main()

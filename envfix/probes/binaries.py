"""What the compiled files of torch, and of what is built upon it, need and offer: read from their ELF headers."""

from __future__ import annotations

import re
from typing import Any

from envfix.host.target import Answer
from envfix.model.documents import from_builtins
from envfix.model.facts import NOT_ASKED, Binaries, Binary, Observed, absent, found, unknown
from envfix.model.language import stated
from envfix.model.versions import ComputeCapability

SOURCE = stated("ELF headers of the target's libraries")


def parse(facts: dict[str, Any]) -> Binaries:
    """The script's answer as a record; raises ValueError or TypeError (msgspec's included) on a damaged one."""
    known = {key: facts[key] for key in Binaries.__struct_fields__ if key in facts}
    known["files"] = [_binary(row) for row in facts.get("files") or ()]
    return from_builtins(known, Binaries)


def _binary(row: dict[str, Any]) -> dict[str, Any]:
    known = {key: row[key] for key in Binary.__struct_fields__ if key in row}
    words = row.get("architectures")
    if words is not None:
        known["sm"], known["ptx"] = _capabilities(words, "sm_"), _capabilities(words, "compute_")
    return known


def _capabilities(words: list[str], kind: str) -> list[str]:
    # A number of two or three digits; anything else is no architecture.
    return [str(ComputeCapability.parse(word)) for word in words if re.fullmatch(kind + r"\d{2,3}", word)]


def read(answer: Answer) -> Observed[Binaries]:
    """What the target's libraries need, from its whole answer; unknown where the target could not tell."""
    if answer.facts is None:
        return unknown(SOURCE, answer.problem or stated("no answer"))
    if "binaries" not in answer.facts:
        return unknown(SOURCE, NOT_ASKED)
    said = answer.facts["binaries"]
    if said is None:
        return absent(SOURCE, stated("no torch, OpenCV or ONNX runtime is installed"))
    try:
        if "problem" in said:
            return unknown(SOURCE, stated("reading them failed ({problem}); please report it", problem=said["problem"]))
        return found(parse(said), SOURCE)
    except (ValueError, TypeError, AttributeError) as error:
        return unknown(
            SOURCE, stated("the answer is damaged ({kind}: {error})", kind=type(error).__name__, error=error)
        )

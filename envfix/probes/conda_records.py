"""What conda believes to be installed in the target's prefix, against the files it lists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from envfix.host.target import Answer
from envfix.model.documents import without_secrets
from envfix.model.facts import CondaRecord, Observed, absent, found, unknown
from envfix.model.language import stated

SOURCE = stated("conda-meta of the target")


def parse_records(rows: object) -> tuple[CondaRecord, ...]:
    """Records of the torch family as the target's script reads them; what is damaged is left out.

    A row: ``{"name": "pytorch", "version": "1.8.0", "build": "py3.8_cuda11.1_cudnn8.0.5_0", "prefix": "/env", "channel":
    "https://conda.anaconda.org/pytorch/linux-64", "listed_files": 9000, "missing_files": 0}``.
    """
    kept = []
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, Mapping):
            known: dict[str, Any] = {key: row[key] for key in CondaRecord.__struct_fields__ if key in row}
            try:
                kept.append(msgspec.convert(without_secrets(known), CondaRecord))
            except msgspec.ValidationError:
                continue
    return tuple(kept)


def probe(answer: Answer) -> Observed[tuple[CondaRecord, ...]]:
    """The torch family by conda's records, those of an active environment that is not the target's included."""
    if answer.facts is None:
        return unknown(SOURCE, answer.problem or stated("no answer"))
    rows = answer.facts.get("conda_records")
    return absent(SOURCE) if rows is None else found(parse_records(rows), SOURCE)

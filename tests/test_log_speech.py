"""What a program says raises an alarm; what people write about it does not."""

from __future__ import annotations

import io

import pytest

from envfix.logs.scanning import scan
from envfix.logs.speech import is_speech

PATTERN = r"Torch not compiled with CUDA enabled|CUDA out of memory"


def speech(text: str) -> bool:
    (hit, *_) = scan(io.BytesIO(text.encode()), (PATTERN,)).found(PATTERN)
    return is_speech(hit)


@pytest.mark.parametrize(
    "text",
    [
        "AssertionError: Torch not compiled with CUDA enabled",
        "Torch not compiled with CUDA enabled",
        "    raise AssertionError: Torch not compiled with CUDA enabled"[4:].replace("raise ", ""),
        "2024-01-01 10:00:00,123 - trainer - ERROR - Torch not compiled with CUDA enabled",
        "[rank0]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB",
        "E       AssertionError: Torch not compiled with CUDA enabled",
        '{"level": "error", "message": "Torch not compiled with CUDA enabled"}',
        "terminate called after throwing an instance of 'c10::Error'\n  what():  CUDA out of memory. Tried to allocate",
        "Error occurred when executing KSampler: Torch not compiled with CUDA enabled",
        "  0%|          | 0/8 [00:00<?, ?it/s]RuntimeError: CUDA out of memory. Tried to allocate",
        "Exception in thread Thread-1: CUDA out of memory",
    ],
)
def test_program_says_it(text: str) -> None:
    assert not speech(text)


@pytest.mark.parametrize(
    "text",
    [
        'If you see "Torch not compiled with CUDA enabled", reinstall torch.',
        "When the batch is too large you get CUDA out of memory errors.",
        "- Fix `Torch not compiled with CUDA enabled` on Windows (#123)",
        "This happens because Torch not compiled with CUDA enabled is raised early.",
        'raise AssertionError("Torch not compiled with CUDA enabled")',
        '    assert "CUDA out of memory" in str(error)',
        '    with pytest.raises(RuntimeError, match="CUDA out of memory"):',
        "To avoid RuntimeError: CUDA out of memory you should lower the batch.",
        "The message 'CUDA out of memory' means that the card is full.",
        "## How to fix CUDA out of memory",
    ],
)
def test_somebody_writes_about_it(text: str) -> None:
    assert speech(text)

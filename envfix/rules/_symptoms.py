"""Texts that say only that something does not work: any cause of a part of the house may be behind, and facts alone tell which."""

from __future__ import annotations

from envfix.rules import _log_patterns as texts

# What torch's friends print when they find no card.
NO_CARD = (
    r"Torch is not able to use GPU|GPU (?:is )?not available, defaulting to CPU|using `?device=cpu`?"
    r"|No GPU (?:found|detected|available)"
)
NO_WORK = (
    texts.NOT_AVAILABLE,
    texts.NO_CUDA_GPUS,
    texts.NO_DRIVER,
    texts.INVALID_DEVICE,
    texts.OLD_INVALID_DEVICE,
    NO_CARD,
)
NO_IMPORT = (texts.NO_MODULE_TORCH,)
# Each with the rules (by the beginning of their codes) whose findings explain it.
SYMPTOMS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(NO_WORK, ("DRV", "GPU", "CTR", "VAR11", "TOR101", "CND110")),
    **dict.fromkeys(NO_IMPORT, ("INT", "VAR101", "TOR102", "CND101")),
}
# So little that it is never told, unless facts prove the cause.
UNTOLD = 0.05


def symptoms_of(code: str) -> tuple[str, ...]:
    """The texts that may be a symptom of what a rule finds."""
    return tuple(pattern for pattern, codes in SYMPTOMS.items() if code.startswith(codes))

"""Which of several builds that fit is the better one."""

from __future__ import annotations

from envfix.model.versions import CudaVersion
from envfix.resolver.candidates import Candidate
from envfix.resolver.filters import compatibility
from envfix.resolver.situation import Situation, newest_cuda

Rank = tuple[int, tuple[int, ...], bool, bool, int, bool, bool, str]
_SURENESS = {"inferred": 0, "partly_verified": 1}
_SURE = 2
_MAJOR = 100


def rank(candidate: Candidate, situation: Situation) -> Rank:
    """How good a fitting build is; the greater the better.

    Files seen by name come before files that only follow from a rule; then the newest torch; of it a build whose list of
    architectures is no mere inference; then a driver that serves the CUDA directly; then the newest such CUDA, or among
    the others the one nearest to the driver's own. Between equal builds the one with a local label wins: its pin cannot
    be met by another build. Without labels the default registry is simpler.
    """
    direct = compatibility(candidate, situation) == "direct"
    return (
        sureness(candidate, situation),
        candidate.version.release,
        not doubtful(candidate, situation),
        direct,
        _nearness(candidate, situation, direct=direct),
        bool(candidate.build.label),
        candidate.source.part == "registry",
        candidate.variant,
    )


def doubtful(candidate: Candidate, situation: Situation) -> bool:
    """Whether it is only inferred, or disputed, which cards the build has code for, and a card needs that code."""
    code = candidate.build.code
    return bool(situation.cards) and code is not None and code.confidence == "inferred"


def sureness(candidate: Candidate, situation: Situation) -> int:
    """How sure it is that the file exists: 2 seen by name, 1 seen in indirect sources, 0 inferred."""
    wheel = candidate.file_for(situation.target.tag)
    return _SURE if candidate.source.saw(wheel.filename) else _SURENESS.get(wheel.confidence, _SURE)


def _nearness(candidate: Candidate, situation: Situation, *, direct: bool) -> int:
    if candidate.cuda is None or not situation.cards:
        return 0
    if direct:
        return _number(candidate.cuda)
    own = newest_cuda(situation.tables, situation.driver) if situation.driver else None
    return -abs(_number(candidate.cuda) - _number(own)) if own else 0


def _number(cuda: CudaVersion) -> int:
    return cuda.major * _MAJOR + cuda.minor

"""The verdict of a gate on one thing that it checked, and the levels of its tests."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from bench.gate.boundaries import boundaries

ALARM, GUARDED = 0.04, 0.01
"""The rates of false alarms of the composite and of all guards, over everything in one gate."""
SCORES = "scores"
"""The subject of a finding with every score, before and now; it is shown also if it passed."""
_GUARDS = 2
"""Guards that depend on chance: ends of speech, and duration."""


class Verdict(IntEnum):
    """The verdicts; the worst is the last."""

    PASS = 0
    INCONCLUSIVE = 1
    REGRESSED = 2


@dataclass(frozen=True, kw_only=True)
class Change:
    """A score in percent before and now.

    `margin` is the loss in points that is allowed, None for a score that is not gated, and `p` the
    adjusted p-value of a significant loss.
    """

    score: str
    before: float
    now: float
    margin: float | None
    p: float | None = None

    @property
    def p_text(self) -> str:
        """The adjusted p-value as text; "" without one."""
        return "" if self.p is None else "<0.001" if self.p < 0.001 else f"{self.p:.3f}"

    @property
    def words(self) -> str:
        """The change as a line of a table."""
        margin = "not gated" if self.margin is None else f"margin {self.margin:.2f}"
        worse = "" if self.p is None else f", significantly worse (adjusted p {self.p_text})"
        return f"{self.before:.2f} → {self.now:.2f}, {margin}{worse}"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was checked, and its verdict; a finding on scores has their `changes`."""

    cell: str
    what: str
    verdict: Verdict
    detail: str
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What counts as a loss, and how many tests share the false alarms.

    `share` of a golden's scores, if given, is the margin of allowed loss; otherwise the
    certificate's. `shares` are the analyses' shares of all items; `analysis` is this one's number.
    `groups` and `cells` are how many are judged.
    """

    share: float | None = None
    shares: tuple[float, ...] = (1.0,)
    analysis: int = 0
    groups: int = 1
    cells: int = 1

    @property
    def guard(self) -> float:
        """The level of one guard in one cell and analysis."""
        return GUARDED / (_GUARDS * self.cells * len(self.shares))

    @property
    def boundary(self) -> float:
        """The number of standard errors at which a loss is certain at this analysis."""
        return boundaries(self.shares, ALARM / self.groups)[self.analysis]


def overall(findings: Sequence[Finding]) -> Verdict:
    """Returns the worst of all."""
    return max((finding.verdict for finding in findings), default=Verdict.INCONCLUSIVE)

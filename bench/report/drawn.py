"""What a chart draws, before it is a picture: on the page (SVG) or in a file (matplotlib)."""

from dataclasses import dataclass

SHADES = 8
"""How many colours and dashes of lines the style sheet has; more lines take them again."""


@dataclass(frozen=True)
class Line:
    """Points (x, y) of one system; `faint` for published ones, drawn behind the measured."""

    label: str
    points: tuple[tuple[float, float], ...]
    faint: bool = False
    spread: tuple[tuple[float, float, float], ...] = ()


@dataclass(frozen=True)
class Bar:
    """One bar of a decomposition, from `low` to `high` on the score's axis."""

    label: str
    low: float
    high: float
    tone: str
    text: str

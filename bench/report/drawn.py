"""The data of a chart, before it is drawn on the page (SVG) or in a file (matplotlib)."""

from dataclasses import dataclass

SHADES = 8
"""The number of line styles in the style sheet; further lines reuse them."""


@dataclass(frozen=True)
class Line:
    """Points (x, y) of one system; `faint` ones are published and drawn behind measured ones."""

    label: str
    points: tuple[tuple[float, float], ...]
    faint: bool = False
    spread: tuple[tuple[float, float, float], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One bar of a decomposition, from `low` to `high` on the score's axis."""

    label: str
    low: float
    high: float
    tone: str
    text: str

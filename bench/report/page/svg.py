"""Small charts as inline SVG, coloured by the style sheet; their numbers are also in text."""

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from bench.report.drawn import SHADES, Bar, Line
from bench.report.sweeps import HeatCell, HeatMap

_WIDTH, _HEIGHT = 340.0, 216.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 40.0, 12.0, 12.0, 46.0


def _ticks(most: float) -> list[float]:
    """Returns four or five round numbers from 0 to the largest value."""
    steps = (n * 10.0**power for power in range(-3, 6) for n in (1, 2, 5))
    step = next(step for step in steps if most <= 5 * step)
    return [n * step for n in range(int(most / step) + 1)]


def _svg(title: str, body: Sequence[Markup], width: float, height: float) -> Markup:
    return Markup(
        '<svg class="chart" viewBox="0 0 {:g} {:g}" role="img" aria-label="{}">{}</svg>'
    ).format(width, height, title, Markup("").join(body))


def _text(x: float, y: float, text: str, kind: str, *, anchor: str = "middle") -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" class="{}" text-anchor="{}">{}</text>').format(
        x, y, kind, anchor, text
    )


def lines(title: str, drawn: Sequence[Line], named: Mapping[float, str], along: str) -> Markup:
    """Returns a chart with a line for each system; `named` are places on the x axis `along`."""
    places = sorted(named)
    span = (places[-1] - places[0]) or 1
    highs = [y for line in drawn for _, y in line.points]
    highs += [high for line in drawn for *_, high in line.spread]
    ticks = _ticks(max(highs, default=1))
    most = max(max(highs, default=1), ticks[-1]) or 1

    def x(value: float) -> float:
        return _LEFT + (value - places[0]) / span * (_WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - value / most * (_HEIGHT - _TOP - _BOTTOM)

    # Its content is hidden from screen readers, which read the numbers elsewhere.
    read = [
        f"{line.label}: " + ", ".join(f"{b:.2f} at {named[a]}" for a, b in line.points) + "."
        for line in drawn
        if not line.faint
    ]
    body = [
        Markup('<line class="grid" x1="{:g}" x2="{:g}" y1="{:.1f}" y2="{:.1f}"/>').format(
            _LEFT, _WIDTH - _RIGHT, y(tick), y(tick)
        )
        for tick in ticks
    ]
    body += [_text(_LEFT - 6, y(tick) + 4, f"{tick:g}", "tick", anchor="end") for tick in ticks]
    body += [_text(x(p), _HEIGHT - 28, text, "tick") for p, text in named.items()]
    body.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 8, along, "label"))
    shade = 0
    for line in sorted(drawn, key=lambda line: not line.faint):
        kind = "faint" if line.faint else f"shade{shade % SHADES}"
        shade += not line.faint
        path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in line.points)
        body.append(Markup('<g class="{}"><title>{}</title>').format(kind, line.label))
        if len(line.spread) > 1:
            edge = [(a, low) for a, low, _ in line.spread]
            edge += [(a, high) for a, _, high in reversed(line.spread)]
            body.append(
                Markup('<polygon class="spread" points="{}"/>').format(
                    " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in edge)
                )
            )
        body.append(Markup('<polyline class="line" points="{}"/>').format(path))
        body += [
            Markup('<circle class="dot" cx="{:.1f}" cy="{:.1f}" r="{}"/>').format(
                x(a), y(b), 2.2 if line.faint else 3.4
            )
            for a, b in line.points
        ]
        body.append(Markup("</g>"))
    return _svg(" ".join([f"{title}.", *read]), body, _WIDTH, _HEIGHT)


_WIDE, _HIGH = 76.0, 40.0
"""The size of a heat map's cell."""


def heat(heat_map: HeatMap) -> Markup:
    """Returns a heat map with a frame at the best cell, dashed at cells that do not differ."""
    left, top = 84.0, 8.0
    below = top + _HIGH * len(heat_map.rows)
    width, height = left + _WIDE * len(heat_map.columns) + 8, below + 48
    values = [cell.value for cell in heat_map.cells.values()]
    least, span = min(values), (max(values) - min(values)) or 1
    body = [
        _text(left - 8, top + _HIGH * (y + 0.5) + 4, name, "tick", anchor="end")
        for y, name in enumerate(heat_map.rows)
    ]
    body.append(_text(left - 8, below + 18, f"{heat_map.down} ↑", "label", anchor="end"))
    body += [
        _text(left + _WIDE * (x + 0.5), below + 18, name, "tick")
        for x, name in enumerate(heat_map.columns)
    ]
    body.append(_text((left + width - 8) / 2, below + 38, heat_map.across, "label"))
    read = []
    for (x, y), cell in sorted(heat_map.cells.items(), key=lambda pair: pair[0][::-1]):
        strength = 0.06 + 0.44 * (cell.value - least) / span
        body += _heat_cell(left + _WIDE * x, top + _HIGH * y, cell, strength)
        how = ", the best" if cell.best else ", not told apart from the best" if cell.alike else ""
        at = f"{heat_map.across} {heat_map.columns[x]}, {heat_map.down} {heat_map.rows[y]}"
        read.append(f"{at}: {cell.text} {cell.spread}{how}.")
    return _svg(" ".join([f"{heat_map.title}.", *read]), body, width, height)


def _heat_cell(left: float, top: float, cell: HeatCell, strength: float) -> list[Markup]:
    def rect(kind: str, inset: float, opacity: float) -> Markup:
        return Markup(
            '<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:g}" height="{:g}" '
            'fill-opacity="{:.2f}"/>'
        ).format(kind, left + inset, top + inset, _WIDE - 2 * inset, _HIGH - 2 * inset, opacity)

    body = [
        rect("heat", 1, strength),
        _text(left + _WIDE / 2, top + 18, cell.text, "value"),
        _text(left + _WIDE / 2, top + 32, cell.spread, "half"),
    ]
    if cell.best or cell.alike:
        body.append(rect("frame best" if cell.best else "frame alike", 2.5, 0))
    return body


def bars(title: str, drawn: Sequence[Bar]) -> Markup:
    """Returns bars below each other, each with its name on the left and its number on the right."""
    width, step, left, right = 460.0, 26.0, 92.0, 86.0
    most = max((bar.high for bar in drawn), default=1) or 1
    least = min(0.0, *(bar.low for bar in drawn)) if drawn else 0.0
    scale = (width - left - right) / (most - least)
    body = []
    for row, bar in enumerate(drawn):
        top = row * step + 3
        x, wide = left + (bar.low - least) * scale, max((bar.high - bar.low) * scale, 1)
        body += [
            _text(left - 8, top + 14, bar.label, "label", anchor="end"),
            Markup(
                '<rect class="bar {}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:g}"/>'
            ).format(bar.tone, x, top, wide, step - 6),
            _text(x + wide + 6, top + 14, bar.text, "tick", anchor="start"),
        ]
    return _svg(title, body, width, len(drawn) * step + 4)

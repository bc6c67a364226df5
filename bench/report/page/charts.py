"""The charts of a run: waterfalls, prompt shares, sweeps."""

from collections.abc import Iterator
from typing import Any

import polars as pl

from bench.jobs.tables import Table2
from bench.metrics.base import ALWAYS, SHORT
from bench.metrics.shipped import KNOWN, METRICS, scores_of
from bench.report.drawn import SHADES, Bar, Line
from bench.report.page.finished import Finished
from bench.report.page.svg import bars, lines
from bench.report.page.words import visible
from bench.tables.comparison import heads

Plain = dict[str, Any]


def _fall(rows: list[Plain]) -> list[Bar]:
    """Returns the bars of one model and score, from the caption as text down to the model."""
    at = rows[0]["start"]
    drawn = [Bar(label="caption", low=0, high=at, tone="whole", text=f"{at:.1f}")]
    for row in rows:
        after = at - row["lost"]
        half = (row["high"] - row["low"]) / 2
        text = f"{-row['lost']:+.1f} ±{half:.1f}"
        kind = "lost" if row["lost"] >= 0 else "won"
        drawn.append(
            Bar(label=row["step"], low=min(at, after), high=max(at, after), tone=kind, text=text)
        )
        at = after
    return [
        *drawn,
        Bar(label="result", low=0, high=rows[0]["end"], tone="whole", text=f"{rows[0]['end']:.1f}"),
    ]


def falls(run: Finished) -> Iterator[tuple[str, list[Bar]]]:
    """Yields each model and score that every table shows, with the bars of its waterfall."""
    frame = run.tables.get("waterfall")
    if frame is None or frame.is_empty():
        return
    always = [score.name for score in scores_of(METRICS) if score.display_priority >= ALWAYS]
    shown = frame.filter(pl.col("metric").is_in(always))
    for (system, metric), part in shown.group_by("system", "metric", maintain_order=True):
        yield f"{visible(str(system))}: {metric}", _fall(part.to_dicts())


def waterfalls(run: Finished) -> Iterator[Plain]:
    """Yields a chart for each of `falls`, with its numbers for screen readers."""
    for name, drawn in falls(run):
        yield {"title": name, "svg": bars(name, drawn), "bars": drawn}


def curves(run: Finished) -> Iterator[tuple[str, list[Line], dict[float, str]]]:
    """Yields the scores of short tables, with lines over the prompt's share, and the shares' names.

    Published rows on the same dataset are included. A score whose measured rows have only one share
    has no curve.
    """
    frame = run.tables.get(Table2.name)
    if frame is None or frame.is_empty():
        return
    same = (pl.col("block") == "measured") | (pl.col("dataset") == run.protocol.dataset)
    levels = {score.head: score.display_priority for score in KNOWN}
    for head in (head for head in heads(frame) if levels.get(head, ALWAYS) >= SHORT):
        drawn = []
        for (system, block), part in frame.filter(same).group_by(
            "system", "block", maintain_order=True
        ):
            rows = part.filter(pl.col(head).is_not_null()).sort("prompt").to_dicts()
            if rows:
                drawn.append(_line(visible(str(system)), rows, head, block == "published"))
        if any(len(line.points) > 1 for line in drawn if not line.faint):
            shares = sorted({share for line in drawn for share, _ in line.points})
            yield head, drawn, {share: f"{share:.0%}" for share in shares}


def prompt_curves(run: Finished) -> Plain | None:
    """Returns a chart for each of `curves`, with published rows behind; None without a prompt."""
    charts, legend = [], dict[str, str]()
    for head, drawn, named in curves(run):
        svg = lines(f"{head} by prompt share", drawn, named, "share of the reference speech given")
        charts.append({"title": head, "svg": svg})
        measured = [line.label for line in drawn if not line.faint]
        for number, label in enumerate(measured):
            legend.setdefault(label, f"shade{number % SHADES}")
        legend |= {f"{line.label} (published)": "faint" for line in drawn if line.faint}
    if not charts:
        return None
    return {
        "charts": charts,
        "legend": [{"label": k, "kind": v} for k, v in legend.items()],
        "published": "faint" in legend.values(),
    }


def _line(label: str, rows: list[Plain], head: str, faint: bool) -> Line:
    low, high = f"{head}_low", f"{head}_high"
    spread = tuple((r["prompt"], r[low], r[high]) for r in rows if r[low] is not None)
    points = tuple((row["prompt"], row[head]) for row in rows)
    return Line(label, points, faint, () if faint else spread)

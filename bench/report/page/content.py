"""The content of a page of finished runs: one structure for JSON, and its media.

All its texts are `visible`. Cells and items are referred to by number; every cell has a column for
each fact, with a row for each of its items.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from bench.datasets.base import Item
from bench.datasets.scenes.facts import said
from bench.jobs.naming import told_apart
from bench.metrics.base import Score
from bench.metrics.counted import leading
from bench.metrics.shipped import KNOWN, METRICS, scores_of
from bench.report.page.finished import Finished
from bench.report.page.media import Media, pictures, sounds
from bench.report.page.words import all_visible, differences
from bench.scoring.taxonomy import KINDS
from bench.store.manifest import read_manifest
from bench.tables.audit import UNALIKE, disagreement

Plain = dict[str, Any]


@dataclass(frozen=True)
class Content:
    """`data` is for the page's program; `media` are the pictures and sounds by name.

    `unreadable` are the items whose pictures could not be read, which are left out.
    """

    data: Plain
    media: Media
    unreadable: tuple[str, ...]


@dataclass(frozen=True)
class _Known:
    """An item of the runs; without its dataset only the name is known."""

    id: str
    item: Item | None
    left_out: int

    @property
    def key(self) -> tuple[str, ...]:
        """The item's identity across runs: its name and its captions."""
        return (self.id, *self.captions)

    @property
    def captions(self) -> tuple[str, ...]:
        return tuple(caption.text for caption in self.item.captions) if self.item else ()

    @property
    def scored(self) -> list[tuple[int, str]]:
        """Returns the references of its scores, each with its number."""
        return [(n, text) for n, text in enumerate(self.captions) if n != self.left_out]


def _items(run: Finished) -> dict[str, _Known]:
    """Returns a run's items by name, in the order of its rows."""
    known = {item.id: item for item in run.dataset.items} if run.dataset else {}
    caption, leaves_out = run.job.get("caption", "rotating"), run.protocol.left_out != "none"
    items = {}
    for name in run.rows["item"].unique(maintain_order=True):
        item = known.get(name)
        items[name] = _Known(name, item, item.chosen(caption) if item and leaves_out else -1)
    return items


def _asr(cell: Plain, cells: Sequence[Plain]) -> str:
    """Returns the name of a cell's ASR: its label, and what distinguishes it from others."""
    own, *rest = (
        str(each["signature"]["asr"]).split(".")
        for each in (cell, *(other for other in cells if other["asr"] == cell["asr"]))
    )
    apart = [part for part in own if any(part not in other for other in rest)]
    return " ".join([str(cell["asr"]), *apart])


def _labels(runs: Sequence[Finished]) -> list[str]:
    """Returns a name for every cell: its system, and what distinguishes it from other cells."""
    cells: list[tuple[str, list[str]]] = []
    endings: list[str] = []
    for run in runs:
        manifest = read_manifest(run.folder)
        described = {c.transcript_key: c.described for c in manifest.cells} if manifest else {}
        for cell in run.cells:
            words = [
                f"{cell['prompt']:.0%} prompt",
                cell["part"],
                _asr(cell, run.cells) or "text",
                *described.get(cell["transcript_key"], ()),
            ]
            cells.append((cell["system"], words))
            # With several runs, every name includes the run.
            endings.append(f", {run.name}" if len(runs) > 1 else "")
    return [name + ending for name, ending in zip(told_apart(cells), endings, strict=True)]


def _metrics(runs: Sequence[Finished]) -> list[Plain]:
    """Returns the scores of items, in order; `wrong` is their median."""
    known = {score.name: score for score in KNOWN}
    level_by_name = {
        name: level for run in runs for name, level in run.scores.select("metric", "kept").rows()
    }
    metrics: list[Plain] = []
    for name, level in level_by_name.items():
        values = [run.rows[name] for run in runs if name in run.rows.columns]
        if values:
            usual = pl.concat(values).fill_nan(None).median()
            head = known.get(name, Score(name, name)).head
            wrong = round(usual, 1) if isinstance(usual, float) else 0.0
            metrics.append({"name": name, "head": head, "kept": level, "wrong": wrong})
    return metrics


def _lead(metrics: Sequence[Plain]) -> str:
    known = [score for score in scores_of(METRICS) if any(m["name"] == score.name for m in metrics)]
    return leading(known).name if known else (metrics[0]["name"] if metrics else "")


def _facts(item: Item | None, tokens: str | None) -> list[list[Any]]:
    """Returns, for every kind of fact, what is said of the picture, and whether it is true."""
    if item is None or not item.facts:
        return []
    facts = said(tokens or "")
    pairs = (fact.split(": ", 1) for fact in item.facts)
    return [[facts.get(kind, ""), facts.get(kind) in true.split("|")] for kind, true in pairs]


def _columns(
    rows: pl.DataFrame, places: dict[str, int], known: dict[str, _Known], metrics: Sequence[Plain]
) -> Plain:
    """Returns a cell's rows as columns of plain values, without media."""
    items = [known[name] for name in rows["item"]]
    texts = [text or "" for text in rows["transcript"]]
    nearest = differences(texts, [item.scored for item in items])
    bits = pl.sum_horizontal(
        pl.col(kind).fill_null(False).cast(pl.Int64) * 2**n for n, kind in enumerate(KINDS)
    )
    return {
        "item": [places[item.id] for item in items],
        "reason": rows["reason"].fill_null("").to_list(),
        "text": texts,
        "reference": [difference.reference for difference in nearest],
        "edits": [difference.edits for difference in nearest],
        "pieces": [difference.pieces for difference in nearest],
        "kinds": rows.select(kinds=bits)["kinds"].to_list(),
        "seconds": rows["seconds"].fill_null(0).round(2).to_list(),
        "logprob": rows["avg_logprob"].fill_nan(None).round(3).to_list(),
        "facts": [
            _facts(item.item, tokens) for item, tokens in zip(items, rows["tokens"], strict=True)
        ],
        "scores": {
            metric["name"]: rows[metric["name"]].fill_nan(None).round(3).to_list()
            for metric in metrics
            if metric["name"] in rows.columns
        },
    }


def _apart(run: Finished) -> Iterator[tuple[str, list[Plain | None]]]:
    """Yields each cell with another ASR's transcripts by item; None for an item without one."""
    tokens = {name: part for (name,), part in run.rows.group_by("cell")}
    groups: dict[tuple[str, str], list[Plain]] = {}
    for cell in run.cells:
        if cell["asr"]:
            groups.setdefault((cell["cell"][:-9], cell["part"]), []).append(cell)
    for cells in groups.values():
        for cell in cells if len(cells) > 1 else ():
            other = next(each for each in cells if each is not cell)
            name = _asr(other, run.cells)
            pairs = tokens[cell["cell"]].join(
                tokens[other["cell"]].select("item", theirs="transcript", other="tokens"),
                on="item",
                how="left",
                maintain_order="left",
            )
            yield (
                cell["cell"],
                [
                    {"asr": name, "text": row["theirs"] or "", "apart": round(apart, 3)}
                    for row in pairs.iter_rows(named=True)
                    for apart in (disagreement(row["tokens"] or "", row["other"] or ""),)
                ],
            )


def _add_sounds(cells: Sequence[Plain], paths: Sequence[Sequence[Path]], media: Media) -> Plain:
    """Adds the name of its sound to every row; returns each sound's seconds and peaks."""
    flat = list(dict.fromkeys(path for own in paths for path in own))
    medium_by_path = dict(zip(flat, sounds(flat), strict=True))
    names = {path: media.add(medium) for path, medium in medium_by_path.items()}
    for cell, own in zip(cells, paths, strict=True):
        cell["rows"]["sound"] = [names[path] for path in own]
    return {
        names[p]: [medium.seconds, medium.peaks]
        for p, medium in medium_by_path.items()
        if medium is not None
    }


def _cell(cell: Plain, number: int, label: str, asr: str) -> Plain:
    names = ("system", "role", "pattern", "prompt", "part", "n", "failed", "unended", "kinds")
    said = "|".join(f"{name}:{value or '-'}" for name, value in cell["signature"].items())
    return {name: cell[name] for name in names} | {
        "run": number,
        "key": cell["cell"],
        "label": label,
        "asr": asr,
        "scores": cell["scores"],
        "signature": said,
    }


def read_content(runs: Sequence[Finished]) -> Content:
    """Returns everything that a page of finished runs shows; the first run is the baseline."""
    media, metrics = Media(), _metrics(runs)
    known = [_items(run) for run in runs]
    union = {item.key: item for own in known for item in own.values()}
    # Items are the same if name and captions are equal; another dataset may have the same names.
    place = {key: number for number, key in enumerate(union)}
    labels = iter(_labels(runs))
    cells: list[Plain] = []
    paths: list[list[Path]] = []
    for number, (run, own) in enumerate(zip(runs, known, strict=True)):
        places = {name: place[item.key] for name, item in own.items()}
        frames = {name: part for (name,), part in run.rows.group_by("cell", maintain_order=True)}
        apart = dict(_apart(run))
        for cell in run.cells:
            rows = frames[cell["cell"]]
            shown_cell = _cell(cell, number, next(labels), _asr(cell, run.cells))
            shown_cell["rows"] = _columns(rows, places, own, metrics)
            shown_cell["rows"]["other"] = apart.get(cell["cell"], [])
            cells.append(shown_cell)
            paths.append([run.speech(cell, name) for name in rows["item"]])
    items = list(union.values())
    shown = pictures(item.item.image if item.item else Path() for item in items)
    data = {
        "lead": _lead(metrics),
        "metrics": metrics,
        "kinds": [{"name": name, "meaning": meaning} for name, meaning in KINDS.items()],
        "unalike": UNALIKE,
        "runs": [run.name for run in runs],
        "cells": cells,
        "items": [
            {
                "id": item.id,
                "picture": media.add(picture),
                "captions": item.captions,
                "left_out": item.left_out,
                "facts": [fact.split(": ", 1) for fact in (item.item.facts if item.item else ())],
            }
            for item, picture in zip(items, shown, strict=True)
        ],
        "sounds": _add_sounds(cells, paths, media),
    }
    pairs = zip(items, shown, strict=True)
    unreadable = tuple(item.id for item, picture in pairs if item.item and picture is None)
    return Content(all_visible(data), media, unreadable)

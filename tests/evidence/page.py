"""How fast a page is built, painted, filtered and sorted, with random rows.

Words are those of the shipped scenes' captions; scores are random. There is no speech, whose
encoding takes time in proportion to its length, and which a page does not read before it is played.
"""

import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from bench.commands.options import Parser, path, whole
from bench.common.machine import save
from bench.datasets.base import Dataset
from bench.datasets.scenes.load import load_scenes
from bench.metrics.shipped import METRICS, scores_of
from bench.report.page.build import build
from bench.report.page.content import read_content
from bench.report.page.finished import Finished
from bench.scoring.taxonomy import KINDS
from bench.store.columns import schema
from bench.tables.protocol import Protocol
from bench.tables.sweep import COLUMNS
from tests.evidence.browser import opened_browser
from tests.evidence.program import program

_PLACES = {
    "sort": "#/items?sort=a&desc=1",
    "paired sort": "#/items?sort=diff",
    "filter": "#/items?sort=a&min=50",
    "search": "#/items?q=beach",
    "side by side": "#/compare",
}
"""The views that are timed, each after the list of all items."""
_ANSWER = """async (place) => {
    const goes = async (hash) => {
        const moved = new Promise((done) => addEventListener("hashchange", done, { once: true }));
        location.hash = hash;
        await moved;
        return document.body.getBoundingClientRect().height;
    };
    await goes("#/items");
    const before = performance.now();
    await goes(place);
    return performance.now() - before;
}"""
_PAINT = """() => new Promise((done) => new PerformanceObserver((list) => {
    const found = list.getEntriesByName("first-contentful-paint");
    if (found.length) done(found[0].startTime);
}).observe({ type: "paint", buffered: true }))"""


def _dataset(count: int) -> Dataset:
    scenes = load_scenes()
    items = tuple(
        replace(scenes.items[n % len(scenes.items)], id=f"item_{n:05d}") for n in range(count)
    )
    return replace(scenes, items=items)


def _cell(name: str, number: int, dataset: Dataset, draw: random.Random) -> pl.DataFrame:
    names = [s.name for m in METRICS if m.against != "caption" for s in m.scores]
    rows: list[dict[str, Any]] = []
    for item in dataset.items:
        words = draw.choice(item.captions).text.split()
        said = " ".join(w if draw.random() > 0.1 * number else draw.choice(words) for w in words)
        scores = {metric: 100 * draw.random() for metric in names}
        kinds = {kind: draw.random() < 0.02 for kind in KINDS}
        fixed = {"reason": "", "seconds": 3.0, "avg_logprob": -0.3}
        texts = {"item": item.id, "transcript": said, "tokens": said}
        rows.append(texts | fixed | scores | kinds | {"cell": name})
    return pl.DataFrame(rows)


def drawn_run(items: int, cells: int, seed: int) -> Finished:
    """Returns a run of random rows, as if it had been read from a folder."""
    draw, dataset = random.Random(seed), _dataset(items)
    names = [f"system-{n}-00000000-{n:08x}" for n in range(cells)]
    rows = pl.concat(_cell(name, n, dataset, draw) for n, name in enumerate(names))
    levels = {score.name: score.display_priority for score in scores_of(METRICS)}
    described = tuple(
        {
            "cell": name,
            "transcript_key": f"{n:016x}",
            "system": f"system {n}",
            "role": "system",
            "pattern": "",
            "prompt": 0.0,
            "part": "whole",
            "asr": "an ASR",
            "n": items,
            "failed": 0,
            "unended": 0,
            "kinds": dict.fromkeys(KINDS, 0.02),
            "scores": {},
            "signature": {"asr": "an ASR", "normaliser": "none"},
        }
        for n, name in enumerate(names)
    )
    protocol = Protocol(
        dataset="scenes",
        split="test",
        dataset_digest="",
        speech="none",
        items=items,
        of=items,
        asr="an ASR",
        references="all",
    )
    blank = dict.fromkeys(schema(COLUMNS))
    frame = pl.DataFrame(
        [blank | {"metric": metric, "kept": level} for metric, level in levels.items()],
        schema=schema(COLUMNS),
    )
    nowhere = Path("drawn")
    return Finished(
        name="drawn",
        folder=nowhere,
        job={},
        protocol=protocol,
        asr="an ASR",
        cells=described,
        rows=rows,
        scores=frame,
        tables={},
        dataset=dataset,
        lost="",
    )


def _timed(file: Path, rounds: int) -> dict[str, float]:
    """Returns milliseconds of the first paint and of every view, medians over rounds."""
    seconds: dict[str, list[float]] = {}
    with opened_browser() as browser:
        for _ in range(rounds):
            context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)
            page = context.new_page()
            page.goto(file.as_uri())
            seconds.setdefault("first paint", []).append(page.evaluate(_PAINT))
            for name, place in _PLACES.items():
                seconds.setdefault(name, []).append(page.evaluate(_ANSWER, place))
            context.close()
    return {name: sorted(times)[len(times) // 2] for name, times in seconds.items()}


def run(items: int, cells: int, rounds: int, out: Path | None) -> int:
    """Prints how long pages of these sizes take, and how large they are.

    Raises UserError if there is no browser.
    """
    finished = drawn_run(items, cells, 0)
    before = time.monotonic()
    content = read_content([finished])
    page = build([finished], content, "single-file", title="drawn", beside="")
    built = time.monotonic() - before
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "page.html"
        file.write_text(page.html, encoding="utf-8")
        times = _timed(file, rounds)
    print(f"{items} items x {cells} cells, no speech: built in {built:.1f} s, {page.bytes:,} bytes")
    for name, seconds in times.items():
        print(f"  {name}: {seconds:.0f} ms")
    figures = {"items": items, "cells": cells, "built_seconds": built, "bytes": page.bytes}
    save(figures | {"milliseconds": times}, out)
    return 0


def main(words: Sequence[str]) -> int:
    """Measures what the command line asks for; the exit code."""
    parser = Parser(
        prog="python -m tests.evidence.page",
        description="How fast a page is made, shown and filtered.",
    )
    parser.add_argument("--items", type=whole(1, 10_000_000), default=1000)
    parser.add_argument("--cells", type=whole(1, 100), default=8)
    parser.add_argument("--rounds", type=whole(1, 100_000), default=5)
    parser.add_argument("--save", type=path, help="write the figures as JSON")
    given = parser.parse_args(words)
    return run(given.items, given.cells, given.rounds, given.save)


if __name__ == "__main__":
    program(main)

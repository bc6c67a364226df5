"""`pixvox show plan`: images and seeds that detect a difference, from a run's variances."""

from argparse import Namespace
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import polars as pl

from bench.commands.arguments import add_runs
from bench.commands.options import Parser, number, run_name
from bench.commands.runfolders import find
from bench.commands.scoredagain import FinishedSystem, counting, finished_systems, job_of
from bench.common.atomic import disk_errors
from bench.common.errors import UserError
from bench.common.text import clean, plural
from bench.common.validation import did_you_mean
from bench.metrics.base import Array
from bench.metrics.counted import leading
from bench.metrics.loading import metrics_of
from bench.metrics.shipped import scores_of
from bench.report.page.finished import Finished, read_finished
from bench.report.terminal import make_console, say_lines, show_frame
from bench.scoring.planning import LEVEL, Spread, influences, reach_of, spread_of
from bench.systems.base import Role

_SEEDS = (1, 2, 4, 8)


@dataclass(frozen=True)
class Sought:
    """A difference of a score, in its unit, and the power to detect it."""

    difference: float
    power: float
    metric: str


@dataclass(frozen=True)
class PlanOptions:
    """The options of the command; the default metric is the one that leaderboards are sorted by."""

    difference: float
    power: float
    metric: str | None = None


def add_arguments(parser: Parser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("run", type=run_name, metavar="RUN", help="a finished run, or its folder")
    parser.add_argument(
        "--difference", type=number(0.001, 1000), required=True, help="of the score, in its unit"
    )
    parser.add_argument("--metric", help="the score; without, the one that boards are sorted by")
    parser.add_argument(
        "--power", type=number(0.1, 0.999), default=0.8, help="share found (%(default)s)"
    )
    add_runs(parser)


def run(args: Namespace) -> int:
    """Prints the images and seeds that every pair of the run's systems needs."""
    return plan(args.runs, args.run, PlanOptions(args.difference, args.power, args.metric))


def plan(runs: Path, name: str, options: PlanOptions) -> int:
    """Prints what every pair of a run's systems needs; raises UserError for invalid options."""
    with disk_errors(runs):
        run = read_finished(find(runs, name))
        scores = scores_of(metrics_of(job_of(run).scoring.metrics))
        metric = options.metric or leading(scores).name
        sought = Sought(options.difference, options.power, metric)
        frame = needs(run, sought)
    console = make_console()
    unit = f"{sought.difference:g} of {sought.metric}"
    show_frame(frame, f"Images that detect a difference of {unit} in {run.name}", console)
    say_lines(console, list(_notes(run, sought)))
    return 0


def needs(run: Finished, sought: Sought) -> pl.DataFrame:
    """A row a pair of systems with the same prompt: images needed by seeds, and seeds needed."""
    own = _influences(run, sought.metric)
    pairs = _pairs(run, own)
    reach = reach_of(sought.difference, sought.power)
    images = run.rows["item"].n_unique()
    return pl.DataFrame(
        [
            {"systems": f"{a.system} and {b.system}{a.where}"}
            | _needed(spread_of(own[a], own[b], drawn=(a.sampled, b.sampled)), reach, images)
            for a, b in pairs
        ],
        schema={
            "systems": pl.String,
            **{_head(seeds): pl.Int64 for seeds in _SEEDS},
            f"seeds for {images} images": pl.String,
        },
    )


def _head(seeds: int) -> str:
    return plural(seeds, "seed")


def _needed(spread: Spread, reach: float, images: int) -> dict[str, Any]:
    by_seeds: dict[str, Any] = {}
    for seeds in _SEEDS:
        # If the variance between seeds is unknown, the effect of more seeds is not predicted.
        is_known = seeds == 1 or spread.seeds is not None
        by_seeds[_head(seeds)] = spread.images_needed(reach, seeds) if is_known else None
    enough = spread.seeds_needed(reach, images)
    is_known = spread.seeds is not None or enough == 1
    text = "too few images" if enough is None else str(enough) if is_known else "not known"
    return by_seeds | {f"seeds for {images} images": text}


def _pairs(
    run: Finished, systems: Iterable[FinishedSystem]
) -> list[tuple[FinishedSystem, FinishedSystem]]:
    pairs = [(a, b) for a, b in combinations(systems, 2) if a.place == b.place]
    if not pairs:
        raise UserError(
            clean(
                f"{run.folder}: no two systems have the same prompt, so none can be compared; "
                "name a run with two such systems"
            )
        )
    return pairs


def _influences(run: Finished, metric: str) -> dict[FinishedSystem, Array]:
    """The influences of images on a score, of every system that competes and has the score."""
    own: dict[FinishedSystem, Array] = {}
    names: dict[str, None] = {}
    with counting(run) as count:
        for system in (row for row in finished_systems(run) if row.role == Role.SYSTEM):
            counted = [count(cell) for cell in system.cells]
            known = [score.name for score in counted[0].scores]
            names |= dict.fromkeys(known)
            if metric in known:
                own[system] = influences(counted, metric)
    if names and not own:
        raise UserError(f"--metric {metric}: {did_you_mean(metric, names)}")
    return own


def _notes(run: Finished, sought: Sought) -> Iterator[str]:
    yield (
        f"A two-sided test at {LEVEL:.0%} detects a difference of {sought.difference:g} with a "
        f"power "
        f"of {sought.power:.0%} on this many images, both systems on the same ones. Variances are "
        f"those of {plural(run.rows['item'].n_unique(), 'image')} of this run and are uncertain "
        "themselves: take a fifth more."
    )
    yield (
        "A seed is one draw for every image. If a system that samples has a single seed in this "
        "run, the effect of more seeds is unknown; run two."
    )

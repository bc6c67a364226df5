"""`pixvox listen`: plans a listening test, and scores its answers."""

import json
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from bench.commands.arguments import add_runs
from bench.commands.options import Parser, number, path, run_name, whole
from bench.commands.runfolders import find
from bench.common.atomic import disk_errors, write_text
from bench.common.errors import UserError
from bench.common.text import clean, plural
from bench.listening.answers import read_all
from bench.listening.power import LEVEL, pairs_needed, raters_needed, ratings_needed
from bench.listening.score import POWER, Result, score
from bench.metrics.base import SHORT
from bench.report.page.finished import read_finished
from bench.report.terminal import make_console, say, show_frame

_PANELS = (1, 2, 4, 8)
"""Multiples of one sitting's answers, for raters with several sittings."""


def add_arguments(parser: Parser) -> None:
    """Adds the arguments of the command."""
    kinds = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    score = kinds.add_parser("score", help="score the answers of a page's test")
    score.add_argument("files", type=path, nargs="+", help="the files that raters sent back")
    score.add_argument(
        "--run", type=run_name, help="the page's run, for its automatic scores beside"
    )
    add_runs(score)
    score.add_argument("--save", type=path, help="write the figures as JSON")
    plan = kinds.add_parser("plan", help="how many raters detect a difference")
    plan.add_argument("--share", type=number(0.01, 0.99), default=0.6, help="preferences to find")
    plan.add_argument("--difference", type=number(0.01, 4), default=0.3, help="of ratings, 1 to 5")
    plan.add_argument("--spread", type=number(0.01, 4), default=1.2, help="of such differences")
    plan.add_argument("--each", type=whole(1, 1000), default=12, help="pairs in one sitting")
    plan.add_argument("--alike", type=number(0, 1), default=0.05, help="answers of one rater")


def run(args: Namespace) -> int:
    """Plans a test, or scores one."""
    return _score(args) if args.what == "score" else _plan(args)


def _plan(args: Namespace) -> int:
    """Prints how many raters detect a difference, with one sitting each and with several."""
    share, difference = args.share, args.difference
    wanted = {
        f"{share:.0%} prefer the better one": pairs_needed(max(share, 1 - share), POWER),
        f"{difference:g} points of rating apart": ratings_needed(difference, args.spread, POWER),
    }
    rows = [
        {
            "difference": name,
            "independent answers": needed,
            "answers a rater": args.each * times,
            "raters": raters_needed(needed, args.each * times, args.alike),
        }
        for name, needed in wanted.items()
        for times in _PANELS
    ]
    console = make_console()
    show_frame(pl.DataFrame(rows), f"To detect it in {POWER:.0%}, at {LEVEL:.0%}", console)
    say(
        console,
        f"Answers of one rater are taken to be alike by {args.alike:g}, single differences of "
        f"ratings to spread by {args.spread:g} points. After a pilot, take what pixvox listen "
        "score found.",
    )
    return 0


def _score(args: Namespace) -> int:
    """Prints the scores of a listening test, and the automatic scores of the run if one is named.

    Raises UserError for files that are not answers of one test, and if no rater passed the checks.
    """
    answers = read_all(list(args.files))
    try:
        test = score(answers)
    except ValueError as error:
        raise UserError(f"{args.files[0]}: {error}") from error
    cells = {"a": answers[0].a, "b": answers[0].b}
    automatic = _automatic(args.run, args.runs, {of: system.cell for of, system in cells.items()})
    console = make_console()
    show_frame(pl.DataFrame(_rows(test, automatic)), "Listening test", console)
    for line in _notes(test):
        say(console, line)
    if args.save is not None:
        with disk_errors(args.save):
            whole = asdict(test) | {"page": answers[0].page, "automatic": automatic}
            write_text(args.save, json.dumps(_plain(whole), indent=1) + "\n")
    return 0


def _automatic(run: str | None, runs: Path, cells: dict[str, str]) -> dict[str, dict[str, float]]:
    """Returns the scores of the short tables for both cells, by "a" and "b"."""
    if run is None:
        return {}
    finished = read_finished(find(runs, run))
    priority_by_metric = dict(finished.scores.select("metric", "kept").rows())
    known = {cell["cell"]: cell["scores"] for cell in finished.cells}
    for cell in cells.values():
        if cell not in known:
            raise UserError(f"{clean(cell)}: is no cell of {run}; name the run of the page")
    return {
        of: {
            name: entry["score"]
            for name, entry in known[cell].items()
            if priority_by_metric.get(name, 0) >= SHORT and entry["score"] is not None
        }
        for of, cell in cells.items()
    }


def _rows(test: Result, automatic: dict[str, dict[str, float]]) -> list[dict[str, Any]]:
    names = {"a": test.a, "b": test.b, "reference": "hidden reference", "anchor": "anchor"}
    preferred = {"a": 100 * (1 - test.preference.value), "b": 100 * test.preference.value}
    scores = dict.fromkeys(name for own in automatic.values() for name in own)
    return [
        {"system": names[of], "rating": estimate.value, "from": estimate.low, "to": estimate.high}
        | {"preferred": preferred.get(of)}
        | {name: automatic.get(of, {}).get(name) for name in scores}
        for of, estimate in test.ratings.items()
    ]


def _notes(test: Result) -> list[str]:
    better, apart = test.preference, test.difference
    lines = [
        f"{test.b} is preferred to {test.a} in {better.value:.0%} [{better.low:.0%}, "
        f"{better.high:.0%}] of {plural(test.pairs, 'pair')} ({plural(test.ties, 'tie')}, which "
        f"count half), by {plural(test.raters, 'rater')}; {POWER:.0%} of such tests find "
        f"{0.5 + better.findable:.0%}.",
        f"Its ratings are {apart.value:+.2f} [{apart.low:+.2f}, {apart.high:+.2f}] apart; "
        f"{POWER:.0%} of such tests find {apart.findable:.2f}.",
        "Brackets: 95%, over raters and pictures. Agreement (Krippendorff's alpha): "
        + ", ".join(f"{name} {_alpha(value)}" for name, value in test.agreement.items())
        + ".",
    ]
    if test.inattentive:
        left = ", ".join(test.inattentive)
        lines.append(f"Left out, for a check was answered wrong: {left}.")
    return [clean(line) for line in lines]


def _alpha(value: float) -> str:
    return f"{value:.2f}" if value == value else "not defined: no answers of two raters"


def _plain(content: Any) -> Any:
    """Returns a value for JSON: NaN becomes null."""
    if isinstance(content, dict):
        return {name: _plain(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [_plain(value) for value in content]
    return None if isinstance(content, float) and content != content else content

"""`pixvox leaderboard`: adds runs to a leaderboard, prints, verifies and publishes it."""

import os
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from bench.commands.arguments import add_runs
from bench.commands.options import Parser, path, run_name
from bench.commands.runfolders import find
from bench.common.atomic import disk_errors, write_text
from bench.common.errors import UserError
from bench.common.text import clean, plural
from bench.metrics.base import ALWAYS, SHORT
from bench.report.fit import Column, first_fit, numbers, texts
from bench.report.page.board import board_page
from bench.report.terminal import draw, make_console, say
from bench.report.text import score as score_text
from bench.tables.leaderboard import SHOWN, SIGNED, Entry, add_run, read_board
from bench.tables.ranking import Ranked, ranked

_ORDER = (
    ("±",),
    *((score.head,) for score in SHOWN if score.display_priority < SHORT),
    ("earlier",),
    ("added",),
    *(
        (s.head,)
        for s in sorted(SHOWN, key=lambda s: s.display_priority)
        if SHORT <= s.display_priority < ALWAYS
    ),
)
"""The columns that are dropped if the width is too small, in order."""


def add_arguments(parser: Parser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument(
        "what",
        choices=("add", "show", "verify", "page"),
        help="add a run's systems, print the ranking, check that no entry was changed, or write "
        "the ranking as an HTML file",
    )
    parser.add_argument("run", type=run_name, nargs="?", help="the run to add: its name or folder")
    parser.add_argument(
        "--board",
        type=path,
        default=Path("results/leaderboard.jsonl"),
        help="the board's file; the first run that is added sets its protocol, so another protocol "
        "needs another file (default: %(default)s)",
    )
    add_runs(parser)
    parser.add_argument("-o", "--out", type=path, help="the page's HTML file; beside the board")


def run(args: Namespace) -> int:
    """Adds a run to a leaderboard, prints it, verifies it, or writes it as an HTML page."""
    if args.what == "show":
        return show(args.board)
    if args.what == "verify":
        return verify(args.board)
    if args.what == "page":
        return page(args.board, args.runs, args.out)
    if args.run is None:
        raise UserError("leaderboard add: name the run; pixvox runs list shows them")
    added = add_run(find(args.runs, args.run), args.board)
    there = f"{added.known} were there already"
    print(f"{clean(str(args.board))}: {added.new} entries added, {there}")
    return 0


def verify(board: Path) -> int:
    """Reports whether every entry is unchanged and follows the one before; returns 3 if not."""
    try:
        entries = read_board(board)
    except UserError as error:
        print(clean(str(error)))
        return 3
    if not entries:
        raise UserError(f"{board}: no entries; name a board with --board")
    last = entries[-1].hash
    print(f"{clean(str(board))}: {len(entries)} entries, none changed; the last is {last}")
    return 0


def _columns(ranking: Sequence[Ranked], left_out: Sequence[str]) -> list[Column]:
    def score(entry: Entry, name: str) -> str:
        estimate = entry.scores[name]
        text, spread = score_text(
            {"x": estimate.score, "x_low": estimate.low, "x_high": estimate.high}, "x"
        )
        return text if "±" in left_out else f"{text}{spread}"

    shown = [ranked.entry for ranked in ranking]
    columns = [
        numbers("", [ranked.place for ranked in ranking]),
        texts("system", [entry.system for entry in shown]),
        numbers("seeds", [entry.seeds or "-" for entry in shown]),
        numbers("prompt", [f"{entry.prompt:.0%}" for entry in shown]),
        *(numbers(s.head, [score(entry, s.name) for entry in shown]) for s in SHOWN),
        numbers("failed", [entry.failed for entry in shown]),
        numbers("added", [entry.added[:10] for entry in shown]),
        numbers("earlier", [ranked.earlier for ranked in ranking]),
    ]
    return [column for column in columns if column.head not in left_out]


def _entries(board: Path) -> list[Entry]:
    entries = read_board(board)
    if not entries:
        raise UserError(f"{board}: empty; add a run: pixvox leaderboard add RUN")
    return entries


def show(board: Path) -> int:
    """Prints the board, the best first within a prompt share."""
    entries = _entries(board)
    ranking = ranked(entries)
    console = make_console()
    columns, left_out = first_fit(lambda out: _columns(ranking, out), _ORDER, console.width)
    draw(console, columns)
    if left_out:
        shown = f"Left out to fit {console.width} characters: {', '.join(left_out)}"
        say(console, f"{shown}; all of it is in {board}.", "dim")
    say(console, "|".join(f"{name}:{entries[0].signature[name]}" for name in SIGNED), "dim")
    return 0


def page(board: Path, runs: Path, out: Path | None) -> int:
    """Writes the board as one HTML file, whose entries link to their runs' reports."""
    entries = _entries(board)
    target = out or board.with_suffix(".html")
    reports: dict[str, str] = {}
    for name in dict.fromkeys(entry.run for entry in entries):
        # A run's name comes from the file; only a plain name leads to a folder of `runs`.
        report = runs / Path(name).name / "report.html"
        if report.is_file():
            reports[name] = quote(os.path.relpath(report, target.parent))
    with disk_errors(target):
        write_text(target, board_page(entries, reports, board.stem))
    lacking = len({entry.run for entry in entries} - reports.keys())
    print(clean(f"{target}: {plural(len(entries), 'entry', 'entries')}, none changed"))
    if lacking:
        print(f"{plural(lacking, 'run')} without a page; make them: pixvox report RUN")
    return 0

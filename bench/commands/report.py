"""`pixvox report`: writes a page of finished runs, with tables, pictures and speech."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from bench.commands.arguments import add_runs
from bench.commands.options import Parser, path, run_name
from bench.commands.runfolders import find
from bench.common.atomic import disk_errors, write_text
from bench.common.errors import UserError
from bench.common.text import clean, plural
from bench.report.page.build import Form, build, form_of
from bench.report.page.content import read_content
from bench.report.page.finished import read_finished
from bench.report.page.papers import write_figures


def add_arguments(parser: Parser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument(
        "names",
        type=run_name,
        nargs="+",
        metavar="RUN",
        help="names or folders of finished runs, the baseline first",
    )
    parser.add_argument("-o", "--out", type=path, help="an .html file, or a folder for index.html")
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--single-file",
        dest="form",
        action="store_const",
        const="single-file",
        help="all in one file, whatever its size",
    )
    form.add_argument(
        "--folder",
        dest="form",
        action="store_const",
        const="folder",
        help="speech and pictures in files beside the page",
    )
    parser.add_argument("--figures", type=path, help="a folder for charts as .svg and .png too")
    parser.add_argument("--title", default="", help="the page's title; else the runs' names")
    add_runs(parser)


def _target(folders: Sequence[Path], out: Path | None) -> Path:
    """Returns the path of the page's HTML: by default in the first run's folder."""
    if out is None:
        names = "+".join(folder.name for folder in folders)
        return folders[0] / ("report.html" if len(folders) == 1 else f"report-{names}.html")
    return out if out.suffix in (".html", ".htm") else out / "index.html"


def run(args: Namespace) -> int:
    """Writes the page of finished runs and prints its path; the first run is the baseline.

    Charts are also written as files into the folder `figures`, if it is given. Raises UserError for
    a missing or unfinished run, and for a run that is named twice.
    """
    form: Form | None = args.form
    with disk_errors(args.runs):
        folders = [find(args.runs, name) for name in args.names]
        if len({folder.name for folder in folders}) < len(folders):
            raise UserError("report: two of the runs have the same name; name each run once")
        finished_runs = [read_finished(folder) for folder in folders]
        content = read_content(finished_runs)
    target = _target(folders, args.out)
    usual, why = form_of(content)
    if form is not None:
        why = "as asked"
    page = build(
        finished_runs,
        content,
        form or usual,
        title=args.title or ", ".join(folder.name for folder in folders),
        beside=f"{target.stem}-media",
    )
    with disk_errors(target):
        media = target.with_name(f"{target.stem}-media")
        for old in sorted(media.glob("piece-*.js")):
            old.unlink()
        for name, text in page.pieces.items():
            write_text(media / name, text)
        write_text(target, page.html)
    what = "one file" if page.form == "single-file" else f"a page and {len(page.pieces)} pieces"
    print(clean(f"{target}: {what}, {page.bytes / 1e6:.1f} MB ({why}); open it in a browser"))
    for run in finished_runs:
        if run.lost:
            print(clean(f"{run.name}: without pictures and references: {run.lost}"))
    if missing := content.unreadable:
        several = plural(len(missing), "picture")
        print(clean(f"without {several} that could not be read, the first is that of {missing[0]}"))
    if args.figures is not None:
        with disk_errors(args.figures):
            files = [f for run in finished_runs for f in write_figures(run, args.figures)]
        nothing = "no figures: no prompt share, axis or ceiling of the job gives a chart"
        several = f"{plural(len(files), 'file')} of figures" if files else nothing
        print(clean(f"{args.figures}: {several}"))
    return 0

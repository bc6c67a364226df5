"""The command line: every command of `pixvox`, and what each takes."""

from argparse import BooleanOptionalAction
from pathlib import Path
from typing import Any

from bench.commands.options import (
    Parser,
    Version,
    address,
    each,
    name,
    named,
    number,
    override,
    path,
    run_name,
    weights,
    whole,
)

RUNS = Path("results/runs")

_ITEMS = whole(1, 10_000_000)
_IMAGES = whole(1, 1_000_000)
_ROUNDS = whole(1, 100_000)
_SEED = whole(0, 2**32 - 1)


def parser() -> Parser:
    """All commands, and what each takes."""
    pixvox = Parser(
        prog="pixvox", description="Evaluate image-to-speech models, PixVoxLM among them."
    )
    pixvox.add_argument("--version", action=Version, nargs=0, help="print the version")
    commands = pixvox.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run an evaluation job, or resume it")
    _job(run, "a job file, such as jobs/demo.yaml")
    pixvox.lists_plugins = run.lists_plugins = True
    run.add_argument("--limit", type=_ITEMS, help="take only the first N items")
    run.add_argument("--runs", type=path, default=RUNS, help="where runs are kept")
    run.add_argument("--dry-run", action="store_true", help="only say what there is to do")
    run.add_argument("--verbose", action="store_true", help="say how busy each stage was")
    _address(run)
    _publish(run)
    rescore = commands.add_parser("rescore", help="score a run's transcripts again, without models")
    _job(rescore, "its job file, with another scoring perhaps")
    rescore.add_argument("--limit", type=_ITEMS, help="take only the first N items")
    rescore.add_argument("--runs", type=path, default=RUNS, help="where runs are kept")
    _publish(rescore)
    init = commands.add_parser("init", help="write a job for what lies in some folders")
    init.add_argument(
        "folders",
        type=path,
        nargs="*",
        default=[Path()],
        metavar="FOLDER",
        help="pictures with captions, audio files, a checkpoint; without any, the current folder",
    )
    init.add_argument(
        "-o", "--out", type=path, default=Path("job.yaml"), help="the job file (%(default)s)"
    )
    _speak_parser(commands.add_parser("speak", help="generate the speech of pictures"))
    train = commands.add_parser("train", help="run a training job, or resume it")
    train.add_argument("job", type=path, help="a job file, such as jobs/train/encodec-tiny.yaml")
    _changes(train, "plan.steps=100")
    train.add_argument("--seed", type=_SEED, help="another than the job's; adds -seedN to output")
    _address(train)
    doctor = commands.add_parser("doctor", help="push one item through every stage")
    _job(doctor, "a job file; without one, the zoo", nargs="?")
    scenes = commands.add_parser("scenes", help="build a split of the scenes dataset")
    scenes.add_argument("folder", type=path)
    scenes.add_argument("--split", type=name, default="test")
    scenes.add_argument("--images", type=_IMAGES, default=200)
    scenes.add_argument("--seed", type=_SEED, default=0)
    scenes.add_argument("--lossy", action="store_true", help="speech as Opus instead of PCM")
    scenes.add_argument(
        "--units",
        type=weights,
        metavar="CODEC",
        help="also store the units that this codec makes of the speech before it is stored",
    )
    scenes.add_argument("--bandwidth", type=number(0.1, 100), help="that codec's, in kbps")
    _narrate_parser(
        commands.add_parser("narrate", help="read the captions of a dataset aloud, or continue")
    )
    runs = commands.add_parser("runs", help="list, show, verify or prune what has been run")
    runs.add_argument("what", choices=("list", "show", "verify", "prune"))
    runs.add_argument("name", type=run_name, nargs="?", help="a run; all but list need it")
    runs.add_argument("--runs", type=path, default=RUNS, help="where runs are kept")
    _push_parser(commands.add_parser("push", help="send a finished run to the Hugging Face hub"))
    _report_parser(commands.add_parser("report", help="a page to look at and listen to"))
    compare = commands.add_parser("compare", help="two finished runs: paired differences")
    compare.add_argument(
        "names", type=run_name, nargs=2, metavar="RUN", help="the baseline, and what it became"
    )
    compare.add_argument(
        "--systems", nargs=2, metavar=("A", "B"), help="one of the first run's, one of the second's"
    )
    compare.add_argument("-o", "--out", type=path, help="a file for the same as Markdown")
    compare.add_argument("--runs", type=path, default=RUNS, help="where runs are kept")
    _listen_parser(
        commands.add_parser("listen", help="plan a listening test, or score its answers")
    )
    _gate_parser(commands.add_parser("gate", help="judge a job by a golden: pass, regressed, ..."))
    trend = commands.add_parser("trend", help="how committed figures moved, and where they changed")
    trend.add_argument("file", type=path, help="a committed JSON file, such as a table's")
    trend.add_argument("--only", default="", help="figures that have this in their name")
    trend.add_argument("--plot", type=path, help="draw them: an .svg or .png")
    board = commands.add_parser("leaderboard", help="keep scores of one protocol, best first")
    board.add_argument(
        "what",
        choices=("add", "show", "verify", "page"),
        help="add a run's systems, print the ranking, check that no entry was changed, or write "
        "the ranking as an HTML file",
    )
    board.add_argument("run", type=run_name, nargs="?", help="the run to add: its name or folder")
    board.add_argument(
        "--board",
        type=path,
        default=Path("results/leaderboard.jsonl"),
        help="the board's file, which the first `add` makes and whose protocol that run sets; name "
        "another file for another protocol (default: %(default)s)",
    )
    board.add_argument("--runs", type=path, default=RUNS, help="where runs are kept")
    board.add_argument("-o", "--out", type=path, help="the page's HTML file; beside the board")
    _plan_parser(commands.add_parser("plan", help="how many images and seeds find a difference"))
    _subgroups_parser(
        commands.add_parser("subgroups", help="a run's scores by a column of a CSV file")
    )
    commands.add_parser("plugins", help="what installed packages add, with their versions")
    _model_parser(commands.add_parser("model", help="look at weights"))
    _perf_parser(commands.add_parser("perf", help="measure decoding and transcribing"))
    return pixvox


def _job(parser: Parser, meaning: str, **options: Any) -> None:
    """An evaluation's job file, and what replaces values of it."""
    parser.add_argument("job", type=path, help=meaning, **options)
    _changes(parser, "systems.0.decoding.guidance=1.5")
    parser.add_argument(
        "--asr", type=named("--asr", "model"), help="transcribe by this model alone, such as base"
    )
    parser.add_argument(
        "--dataset", type=named("--dataset", "name"), help="its name, or {name: ..., root: ...}"
    )


def _changes(parser: Parser, example: str) -> None:
    parser.add_argument(
        "--set",
        dest="changes",
        type=override,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help=f"a value in place of the job's, such as {example}; may be repeated",
    )


def _address(parser: Parser) -> None:
    parser.add_argument(
        "--address",
        type=address,
        help="join this Ray cluster: HOST:PORT or auto; local for none (the job's, RAY_ADDRESS)",
    )


def _publish(parser: Parser) -> None:
    parser.add_argument(
        "--publish",
        metavar="ADDRESS",
        help="copy tables, reports and speech there afterwards: s3://BUCKET/FOLDER, gs://, hf://",
    )


def _speak_parser(parser: Parser) -> None:
    parser.add_argument("images", type=path, nargs="+", metavar="IMAGE")
    parser.add_argument("-o", "--out", type=path, required=True, help="the folder for WAV files")
    parser.add_argument(
        "--weights",
        type=weights,
        default="zoo:pixvox-tiny-delay",
        help="a folder, zoo:NAME or a hub id (%(default)s)",
    )
    parser.add_argument(
        "--prompt", type=path, help="a WAV file that each speech starts with: its start, not all"
    )
    parser.add_argument(
        "--temperature",
        type=each(number(0, 100)),
        default=0.5,
        help="0 is greedy (%(default)s); it and the next three: one, or A,B,... for each codebook",
    )
    parser.add_argument(
        "--guidance",
        type=each(number(0, 100)),
        default=1.0,
        help="how far away from speech of no picture (%(default)s is none)",
    )
    parser.add_argument(
        "--top-k",
        type=each(whole(0, 32_767)),
        default=0,
        help="draw from so many of the likeliest units, 0 for all (%(default)s)",
    )
    parser.add_argument(
        "--top-p",
        type=each(number(0.000001, 1)),
        default=1.0,
        help="draw from the likeliest units that reach this probability (%(default)s)",
    )
    parser.add_argument(
        "--longest-run",
        type=whole(0, 1000),
        default=0,
        help="end after so many frames of one first-codebook unit, 0 for never (%(default)s)",
    )
    parser.add_argument(
        "--candidates",
        type=whole(1, 1000),
        default=1,
        help="draw so many speeches and keep the best (%(default)s)",
    )
    parser.add_argument("--seed", type=_SEED, default=0, help="of the draws (%(default)s)")
    parser.add_argument(
        "--max-seconds",
        type=number(0.1, 30),
        default=6.0,
        help="the longest speech, its prompt included (%(default)s)",
    )


def _narrate_parser(parser: Parser) -> None:
    parser.add_argument("job", type=path, help="a file such as jobs/flickr8k/narrate.yaml")
    parser.add_argument("--splits", type=name, nargs="+", metavar="SPLIT", help="train, val, ...")
    parser.add_argument("--voice", type=weights, help="piper:joe, a folder or a hub id")
    parser.add_argument("--captions", type=whole(1, 1000), help="the first N of each image")
    parser.add_argument("--items", type=path, help="a file of ids or image names: only these")
    parser.add_argument("--codec", type=weights, help="write the units of this codec, too")
    parser.add_argument("--bandwidth", type=number(0.1, 100), help="that codec's, in kbps")
    parser.add_argument(
        "--sound", action=BooleanOptionalAction, help="write the speech; without, units"
    )
    parser.add_argument("--layout", choices=("flickr", "manifest"), help="how speech is listed")
    parser.add_argument("--workers", type=whole(0, 1000), help="processes; 0 for one a core")
    _address(parser)
    parser.add_argument("-o", "--output", type=path, help="the folder for speech and lists")


def _plan_parser(parser: Parser) -> None:
    parser.add_argument("run", type=run_name, metavar="RUN", help="a finished run, or its folder")
    parser.add_argument(
        "--difference", type=number(0.001, 1000), required=True, help="of the score, in its unit"
    )
    parser.add_argument("--metric", help="the score; without, the one that boards are sorted by")
    parser.add_argument(
        "--power", type=number(0.1, 0.999), default=0.8, help="share found (%(default)s)"
    )
    parser.add_argument("--runs", type=path, default=RUNS, help="where runs are kept")


def _subgroups_parser(parser: Parser) -> None:
    parser.add_argument("run", type=run_name, metavar="RUN", help="a finished run, or its folder")
    parser.add_argument("file", type=path, help="a CSV file with the column id, item or image")
    parser.add_argument("--by", required=True, metavar="COLUMN", help="its column with the groups")
    parser.add_argument("-o", "--out", type=path, help="write all scores as CSV")
    parser.add_argument("--runs", type=path, default=RUNS, help="where runs are kept")


def _listen_parser(parser: Parser) -> None:
    kinds = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    score = kinds.add_parser("score", help="what the raters of a page's test answered")
    score.add_argument("files", type=path, nargs="+", help="the files that raters sent back")
    score.add_argument(
        "--run", type=run_name, help="the page's run, for its automatic scores beside"
    )
    score.add_argument("--runs", type=path, default=RUNS, help="where runs are kept")
    score.add_argument("--save", type=path, help="write the figures as JSON")
    plan = kinds.add_parser("plan", help="how many raters a difference needs")
    plan.add_argument("--share", type=number(0.01, 0.99), default=0.6, help="preferences to find")
    plan.add_argument("--difference", type=number(0.01, 4), default=0.3, help="of ratings, 1 to 5")
    plan.add_argument("--spread", type=number(0.01, 4), default=1.2, help="of such differences")
    plan.add_argument("--each", type=whole(1, 1000), default=12, help="pairs in one sitting")
    plan.add_argument("--alike", type=number(0, 1), default=0.05, help="answers of one rater")


def _push_parser(parser: Parser) -> None:
    parser.add_argument("run", type=run_name, help="a finished run: its name or folder")
    parser.add_argument("repo", type=weights, metavar="REPO", help="USER/NAME on the hub")
    parser.add_argument(
        "--kind",
        dest="repo_type",
        choices=("model", "dataset"),
        default="model",
        help="REPO's kind (%(default)s)",
    )
    parser.add_argument("--private", action="store_true", help="of a repository that is not there")
    parser.add_argument("--speech", action="store_true", help="send the WAV files too")
    parser.add_argument("--yes", action="store_true", help="send; without, only say what")
    parser.add_argument("--runs", type=path, default=RUNS, help="where runs are kept")


def _report_parser(parser: Parser) -> None:
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
        help="speech and pictures in pieces beside the page",
    )
    parser.add_argument("--figures", type=path, help="a folder for charts as .svg and .png too")
    parser.add_argument("--title", default="", help="the page's title; else the runs' names")
    parser.add_argument("--runs", type=path, default=RUNS, help="where runs are kept")


def _gate_parser(parser: Parser) -> None:
    _job(parser, "a job file, such as jobs/demo.yaml")
    golden = Path("results/golden")
    parser.add_argument("--baseline", type=path, default=golden, help="a golden, or their folder")
    parser.add_argument("--budget", default="15m", help="how long it may take: 90s, 15m, 1h")
    parser.add_argument("--exact", action="store_true", help="bit for bit, for a refactoring")
    parser.add_argument("--accept", action="store_true", help="make a new golden, deliberately")
    parser.add_argument("--any-machine", action="store_true", help="quality from other hardware")
    parser.add_argument("--allow-inconclusive", action="store_true", help="then exit 0, not 4")
    parser.add_argument("--margin", help="the loss allowed, such as 5%%, of a score")
    parser.add_argument("--base", help="a git revision: compare its speed with this checkout's")
    parser.add_argument("--out", type=path, help="where junit.xml, comment.md, ... go")
    parser.add_argument("--links", default="", help="the address at which --out will be found")


def _model_parser(parser: Parser) -> None:
    commands = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    info = commands.add_parser("info", help="sizes and parameter counts")
    info.add_argument(
        "weights",
        type=weights,
        help="base, tiny, zoo:NAME, a folder or a hub id; PixVoxLM's or BLIP's",
    )


def _perf_parser(parser: Parser) -> None:
    commands = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    decode = commands.add_parser("decode", help="our engine, eager decoding, and the floor")
    decode.add_argument(
        "--weights",
        type=weights,
        default="zoo:pixvox-tiny-delay",
        help="or base, tiny: of that size, random",
    )
    decode.add_argument("--slots", type=whole(1, 4096), default=32)
    decode.add_argument("--seconds", type=number(0.1, 30), default=6.0, help="the longest speech")
    decode.add_argument("--images", type=_IMAGES, default=200)
    decode.add_argument("--rounds", type=_ROUNDS, default=3, help="each way runs once a round")
    decode.add_argument(
        "--codebooks", type=whole(1, 64), default=8, help="K, where weights is base"
    )
    decode.add_argument("--save", type=path, help="write the figures as JSON")
    gpu = commands.add_parser(
        "gpu", help="whether a GPU computes what the CPU does, and how fast, in 8 minutes"
    )
    gpu.add_argument("--save", type=path, help="write the report as JSON, and Markdown beside it")
    transcribe = commands.add_parser(
        "transcribe", help="Whisper beside its floor, and what a shorter window changes"
    )
    transcribe.add_argument(
        "--weights",
        type=weights,
        nargs="*",
        default=["zoo:pixvox-tiny-delay", "zoo:pixvox-tiny-parallel"],
        help="whose speech is transcribed beside the recorded (%(default)s)",
    )
    transcribe.add_argument("--images", type=_IMAGES, default=200)
    transcribe.add_argument("--rounds", type=_ROUNDS, default=1)
    transcribe.add_argument("--save", type=path, help="write the figures as JSON")

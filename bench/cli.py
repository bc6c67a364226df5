"""The `pixvox` command. Nothing heavy is imported before a command runs."""

import argparse
import errno
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.commands.options import Parser, Version, name, number, path, weights, whole

RUNS = Path("results/runs")

_ITEMS = whole(1, 10_000_000)
_IMAGES = whole(1, 1_000_000)
_ROUNDS = whole(1, 100_000)
_SEED = whole(0, 2**32 - 1)


def _parser() -> Parser:
    parser = Parser(
        prog="pixvox", description="Evaluate image-to-speech models, PixVoxLM among them."
    )
    parser.add_argument("--version", action=Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run an evaluation job, or go on with it")
    run.add_argument("job", type=path, help="a job file, such as jobs/demo.yaml")
    run.add_argument("--limit", type=_ITEMS, help="take only the first N items")
    run.add_argument("--runs", type=path, default=RUNS, help="where runs are kept")
    run.add_argument("--dry-run", action="store_true", help="only say what there is to do")
    rescore = commands.add_parser("rescore", help="score a run's transcripts again, without models")
    rescore.add_argument("job", type=path, help="its job file, with another scoring perhaps")
    rescore.add_argument("--limit", type=_ITEMS, help="take only the first N items")
    rescore.add_argument("--runs", type=path, default=RUNS, help="where runs are kept")
    _speak_parser(commands.add_parser("speak", help="generate the speech of pictures"))
    train = commands.add_parser("train", help="run a training job, or go on with it")
    train.add_argument("job", type=path, help="a job file, such as jobs/train/encodec-tiny.yaml")
    doctor = commands.add_parser("doctor", help="push one item through every stage")
    doctor.add_argument("job", type=path, nargs="?", help="a job file; without one, the zoo")
    scenes = commands.add_parser("scenes", help="build a split of the scenes dataset")
    scenes.add_argument("folder", type=path)
    scenes.add_argument("--split", type=name, default="test")
    scenes.add_argument("--images", type=_IMAGES, default=200)
    scenes.add_argument("--seed", type=_SEED, default=0)
    scenes.add_argument("--lossy", action="store_true", help="speech as Opus instead of PCM")
    chaos = commands.add_parser("chaos", help="kill small runs at random and compare every byte")
    chaos.add_argument("--rounds", type=_ROUNDS, default=20)
    chaos.add_argument("--job", type=path, help="a small job to run for real, instead of stubs")
    chaos.add_argument("--items", type=_ITEMS, default=200, help="of stubs")
    chaos.add_argument("--seed", type=_SEED, default=0)
    chaos.add_argument("--at-once", type=whole(1, 64), default=1, help="rounds beside each other")
    chaos.add_argument("--save", type=path, help="write the verdict as JSON")
    runs = commands.add_parser("runs", help="list, show, verify or prune what has been run")
    runs.add_argument("what", choices=("list", "show", "verify", "prune"))
    runs.add_argument("name", type=name, nargs="?", help="the run's name; all but list need it")
    runs.add_argument("--runs", type=path, default=RUNS, help="where runs are kept")
    _gate_parser(commands.add_parser("gate", help="judge a job by a golden: pass, regressed, ..."))
    trend = commands.add_parser("trend", help="how committed figures moved, and where they changed")
    trend.add_argument("file", type=path, help="a committed JSON file, such as a table's")
    trend.add_argument("--only", default="", help="figures that have this in their name")
    trend.add_argument("--plot", type=path, help="draw them: an .svg or .png")
    board = commands.add_parser("leaderboard", help="keep scores of one protocol, best first")
    board.add_argument("what", choices=("add", "show", "verify"))
    board.add_argument("run", type=name, nargs="?", help="the run's name, to add it")
    board.add_argument("--board", type=path, default=Path("results/leaderboard.jsonl"))
    board.add_argument("--runs", type=path, default=RUNS, help="where runs are kept")
    _model_parser(commands.add_parser("model", help="look at weights"))
    _perf_parser(commands.add_parser("perf", help="measure speed, and what rounding changes"))
    return parser


def _speak_parser(parser: Parser) -> None:
    parser.add_argument("images", type=path, nargs="+", metavar="IMAGE")
    parser.add_argument("-o", "--out", type=path, required=True, help="the folder for WAV files")
    parser.add_argument("--weights", type=weights, default="zoo:pixvox-tiny-delay")
    parser.add_argument("--prompt", type=path, help="a WAV file that each speech starts with")
    parser.add_argument("--temperature", type=number(0, 100), default=0.5, help="0 is greedy")
    parser.add_argument("--top-k", type=whole(0, 32_767), default=0, help="0 keeps all")
    parser.add_argument("--top-p", type=number(0.000001, 1), default=1.0)
    parser.add_argument("--seed", type=_SEED, default=0)
    parser.add_argument("--max-seconds", type=number(0.1, 30), default=6.0)


def _gate_parser(parser: Parser) -> None:
    parser.add_argument("job", type=path, help="a job file, such as jobs/demo.yaml")
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
    decode.add_argument("--images", type=_IMAGES, default=200)
    decode.add_argument("--rounds", type=_ROUNDS, default=3, help="each way runs once a round")
    decode.add_argument(
        "--codebooks", type=whole(1, 64), default=8, help="K, where weights is base"
    )
    invariance = commands.add_parser("invariance", help="what another slot count changes")
    invariance.add_argument("--images", type=_IMAGES, default=200)
    invariance.add_argument("--temperature", type=number(0, 100), default=0.5)
    scheduler = commands.add_parser("scheduler", help="what an item costs beside the models")
    scheduler.add_argument("--items", type=_ITEMS, nargs="+", default=[10_000, 100_000])
    scheduler.add_argument("--save", type=path, help="write the figures as JSON")
    gates = commands.add_parser("gate", help="how often the gate is wrong, either way")
    gates.add_argument("golden", type=path, help="a golden of one model's seeds, and another model")
    gates.add_argument("--speed", type=path, default=Path("results/perf/speed.json"))
    gates.add_argument("--gates", type=_ROUNDS, default=200, help="simulated runs of each kind")
    gates.add_argument("--items", type=_ITEMS, nargs="+", default=[48, 200])
    gates.add_argument("--save", type=path, help="write the figures as JSON")
    speed = commands.add_parser("speed", help="replicates for perf gate, some really slowed")
    speed.add_argument("--weights", type=weights, default="zoo:pixvox-tiny-delay")
    speed.add_argument("--rounds", type=_ROUNDS, default=20)
    speed.add_argument("--save", type=path, default=Path("results/perf/speed.json"))
    units = commands.add_parser("units", help="whether units are the same in every way of running")
    units.add_argument("--images", type=_IMAGES, default=200)
    units.add_argument("--save", type=path, help="write the figures as JSON")
    tests = commands.add_parser("statistics", help="whether the tests reject as often as they say")
    tests.add_argument("--splits", type=_ROUNDS, default=200)
    tests.add_argument("--items", type=_ITEMS, default=1000)
    tests.add_argument("--replicates", type=whole(100, 100_000), default=1000)
    tests.add_argument("--save", type=path, help="write the figures as JSON")
    for command in (decode, invariance):
        command.add_argument(
            "--weights", type=weights, default="zoo:pixvox-tiny-delay", help="or base, tiny"
        )
        command.add_argument("--slots", type=whole(1, 4096), default=32)
        command.add_argument(
            "--seconds", type=number(0.1, 30), default=6.0, help="the longest speech"
        )
        command.add_argument("--save", type=path, help="write the figures as JSON")


def _run(arguments: argparse.Namespace) -> int:
    from bench.commands.run import run_job

    score_only = arguments.command == "rescore"
    dry = not score_only and arguments.dry_run
    return run_job(arguments.job, arguments.runs, arguments.limit, score_only, dry)


def _speak(arguments: argparse.Namespace) -> int:
    from bench.commands.speak import Plan, speak
    from bench.common.progress import quiet_libraries

    quiet_libraries()
    how = {
        "temperature": arguments.temperature,
        "top_k": arguments.top_k,
        "top_p": arguments.top_p,
        "seed": arguments.seed,
        "max_seconds": arguments.max_seconds,
    }
    return speak(Plan(arguments.images, arguments.out, arguments.weights, arguments.prompt, how))


def _train(arguments: argparse.Namespace) -> int:
    from bench.common.atomic import disk_errors
    from bench.common.errors import bad_input
    from bench.common.lock import locked
    from bench.common.progress import progress, quiet_libraries
    from bench.common.yamlfile import parse
    from bench.training.pixvox import state_folder
    from bench.training.run import RUNNERS
    from bench.training.spec import TrainingJob
    from bench.training.stop import kept, stopping

    job = parse(arguments.job, TrainingJob)
    quiet_libraries()
    folder = state_folder(job)
    with bad_input(), disk_errors(folder), locked(folder), stopping() as stop:
        try:
            with progress() as report:
                RUNNERS[type(job)](job, report, stop)
        except KeyboardInterrupt:
            print(kept(folder), file=sys.stderr)
            raise
    print(f"weights: {job.output}")
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    from bench.commands.doctor import examine
    from bench.common.progress import quiet_libraries

    quiet_libraries()
    return examine(arguments.job)


def _scenes(arguments: argparse.Namespace) -> int:
    from bench.common.progress import progress
    from bench.datasets.scenes.build import SplitPlan, build_split

    plan = SplitPlan(arguments.split, arguments.images, arguments.seed, lossy=arguments.lossy)
    with progress() as report:
        for done in build_split(plan, arguments.folder):
            report("scenes", done, plan.images)
    return 0


def _chaos(arguments: argparse.Namespace) -> int:
    from bench.selfcheck.chaos.rounds import run

    sizes = (arguments.rounds, arguments.items, arguments.seed, arguments.at_once)
    return run(*sizes, arguments.save, arguments.job)


def _gate(arguments: argparse.Namespace) -> int:
    from bench.gate import looks as gate

    plan = gate.Plan(
        arguments.job,
        arguments.baseline,
        gate.seconds(arguments.budget),
        arguments.exact,
        arguments.any_machine,
        gate.share(arguments.margin) if arguments.margin else None,
        arguments.base,
        arguments.out,
        arguments.links,
        arguments.allow_inconclusive,
    )
    if arguments.accept:
        return gate.accept(arguments.job, arguments.baseline)
    return gate.gate(plan)


def _trend(arguments: argparse.Namespace) -> int:
    from bench.commands import trend

    return trend.run(arguments.file, arguments.only, arguments.plot)


def _leaderboard(arguments: argparse.Namespace) -> int:
    from bench.commands.leaderboard import show
    from bench.common.errors import UserError
    from bench.tables import leaderboard

    if arguments.what in ("show", "verify"):
        commands = {"show": show, "verify": leaderboard.verify}
        return commands[arguments.what](arguments.board)
    if arguments.run is None:
        raise UserError("leaderboard add: name the run; pixvox runs list shows them")
    return leaderboard.add(arguments.runs / arguments.run, arguments.board)


def _runs(arguments: argparse.Namespace) -> int:
    from bench.commands import runs
    from bench.common.atomic import disk_errors
    from bench.common.errors import UserError

    if arguments.what == "list":
        with disk_errors(arguments.runs):
            return runs.listing(arguments.runs)
    if arguments.name is None:
        raise UserError(f"runs {arguments.what}: name a run; pixvox runs list shows them")
    commands = {"show": runs.show, "verify": runs.verify, "prune": runs.prune}
    with disk_errors(arguments.runs):
        return commands[arguments.what](arguments.runs, arguments.name)


def _model(arguments: argparse.Namespace) -> int:
    from bench.commands.model_info import info
    from bench.common.errors import bad_input

    with bad_input():
        return info(arguments.weights)


def _perf(arguments: argparse.Namespace) -> int:
    from bench.common.errors import bad_input
    from bench.common.progress import quiet_libraries

    if arguments.what == "scheduler":
        from bench.perf import scheduler

        return scheduler.run(arguments.items, arguments.save)
    if arguments.what == "gate":
        from bench.selfcheck import gates as gate

        stored = (arguments.golden, arguments.speed)
        return gate.run(*stored, arguments.gates, arguments.items, arguments.save)
    if arguments.what == "speed":
        from bench.selfcheck import gates as gate

        return gate.measure_speed(arguments.weights, arguments.rounds, arguments.save)
    if arguments.what == "units":
        from bench.perf import units

        return units.run(arguments.images, arguments.save)
    if arguments.what == "statistics":
        from bench.selfcheck import rates as statistics

        sizes = (arguments.splits, arguments.items, arguments.replicates)
        return statistics.run(*sizes, arguments.save)
    quiet_libraries()
    with bad_input():
        return _measure(arguments)


def _measure(arguments: argparse.Namespace) -> int:
    if arguments.what == "decode":
        from bench.perf import decode

        plan = decode.Plan(
            arguments.weights,
            arguments.slots,
            arguments.images,
            arguments.seconds,
            arguments.rounds,
            codebooks=arguments.codebooks,
        )
        return decode.run(plan, arguments.save)
    from bench.perf import invariance

    return invariance.run(
        invariance.Plan(
            arguments.weights,
            arguments.slots,
            arguments.images,
            arguments.seconds,
            arguments.temperature,
        ),
        arguments.save,
    )


_COMMANDS = {
    "run": _run,
    "rescore": _run,
    "speak": _speak,
    "train": _train,
    "doctor": _doctor,
    "scenes": _scenes,
    "runs": _runs,
    "chaos": _chaos,
    "leaderboard": _leaderboard,
    "gate": _gate,
    "trend": _trend,
    "model": _model,
    "perf": _perf,
}
_LIGHT = ("runs", "leaderboard", "trend", "model")
"""Commands that only read, and start nothing."""


def main(argv: Sequence[str] | None = None) -> int:
    """Does a command's work in this process; the exit code, as docs/cluster.md lists them."""
    return _work(_parser().parse_args(argv), _again(argv))


def entry(argv: Sequence[str] | None = None) -> int:
    """The command: what is more than looking at files is done in a child, under supervision."""
    arguments = _parser().parse_args(argv)
    if arguments.command in _LIGHT:
        return _work(arguments, _again(argv))
    from bench.common.supervisor import supervise

    return supervise(
        lambda: _work(arguments, _again(argv)),
        f"{_kept(arguments)}go on with: {_again(argv)}",
        lambda why: _gate_failed(arguments, why),
    )


def _again(argv: Sequence[str] | None) -> str:
    return f"pixvox {shlex.join(argv if argv is not None else sys.argv[1:])}"


def _kept(arguments: argparse.Namespace) -> str:
    """A gate keeps nothing: it judges what one version does from the beginning."""
    return "" if arguments.command == "gate" else "what was done is kept; "


def _gate_failed(arguments: argparse.Namespace, why: str) -> None:
    """A gate that did not come to judge says so where its findings would be."""
    if arguments.command == "gate" and not arguments.accept:
        from bench.gate.ci import publish_failure

        publish_failure(why, arguments.out)


def _work(arguments: argparse.Namespace, again: str) -> int:
    """Bad input is one line on stderr and 2, a failed run one line and 3, a bug a traceback and 3.

    1 is the gate's REGRESSED and nothing else.
    """
    from bench.common.errors import RunFailed, UserError
    from bench.common.text import clean

    try:
        code = _COMMANDS[arguments.command](arguments)
        sys.stdout.flush()
        return code
    except (UserError, RunFailed) as error:
        why = clean(str(error))
        print(f"pixvox: {why}", file=sys.stderr)
        _gate_failed(arguments, why)
        return 2 if isinstance(error, UserError) else 3
    except KeyboardInterrupt:
        print(f"\nstopped; {_kept(arguments)}go on with: {again}", file=sys.stderr)
        _gate_failed(arguments, "it was stopped by Ctrl-C")
        return 130
    except (Exception, SystemExit) as error:
        why = _machines_fault(error)
        if why:
            print(f"pixvox: {why}", file=sys.stderr)
        else:
            import traceback

            # A bug shows itself, and so does a class of the user that ends the process.
            traceback.print_exc()
        _gate_failed(arguments, why or f"a bug: {clean(' '.join(repr(error).split()))}")
        return 3


def _machines_fault(error: BaseException) -> str:
    """What an error means that is neither ours nor the input's; "" for every other."""
    # Rich ends the process with 1 where nobody reads what it prints.
    cause = error.__context__ if isinstance(error, SystemExit) else error
    if isinstance(cause, BrokenPipeError):
        # What Python still holds for the reader must not fail again when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return "the reader of its output went away"
    if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{cause}; make room, and run the same command again"
    return ""


if __name__ == "__main__":
    sys.exit(entry())

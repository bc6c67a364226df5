"""The `pixvox` command. Nothing heavy is imported before a command runs.

`entry` imports all else itself: Python ends with 1 where an import fails, and 1 is REGRESSED.
"""

import os
import sys
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from bench.common.jobfile import JobFile


def _run(arguments: "argparse.Namespace") -> int:
    from bench.commands.run import RunOptions, run_job

    if arguments.command == "rescore":
        rescore = RunOptions(runs=arguments.runs, score_only=True, publish_to=arguments.publish)
        return run_job(_job_file(arguments), rescore)
    options = RunOptions(
        runs=arguments.runs,
        address=arguments.address,
        dry=arguments.dry_run,
        verbose=arguments.verbose,
        publish_to=arguments.publish,
    )
    return run_job(_job_file(arguments), options)


def _job_file(arguments: "argparse.Namespace") -> "JobFile":
    """The job file that is named, and what the options change of it."""
    from bench.common.jobfile import JobFile, Override

    # A gate takes as many items as its golden has, a doctor one.
    limit = getattr(arguments, "limit", None)
    short = [
        arguments.asr,
        limit and Override(("limit",), limit, "--limit", str(limit)),
        arguments.dataset,
    ]
    return JobFile(arguments.job, (*filter(None, short), *arguments.changes))


def _init(arguments: "argparse.Namespace") -> int:
    from bench.commands.init import init

    return init(arguments.folders, arguments.out)


def _speak(arguments: "argparse.Namespace") -> int:
    from bench.commands.speak import SpeakOptions, speak

    how = {
        "temperature": arguments.temperature,
        "top_k": arguments.top_k,
        "top_p": arguments.top_p,
        "guidance": arguments.guidance,
        "longest_run": arguments.longest_run,
        "candidates": arguments.candidates,
        "seed": arguments.seed,
        "max_seconds": arguments.max_seconds,
    }
    return speak(
        SpeakOptions(arguments.images, arguments.out, arguments.weights, arguments.prompt, how)
    )


def _train(arguments: "argparse.Namespace") -> int:
    from bench.common.atomic import disk_errors
    from bench.common.errors import bad_input
    from bench.common.interrupt import stoppable
    from bench.common.jobfile import JobFile
    from bench.common.lock import locked
    from bench.common.progress import progress
    from bench.execution.cluster import refuse_submitted
    from bench.training.keeping import state_folder
    from bench.training.run import RUNNERS
    from bench.training.spec import TrainingJob, at_address, seeded
    from bench.training.stop import describe_checkpoint

    job = JobFile(arguments.job, tuple(arguments.changes)).read(TrainingJob)
    if arguments.seed is not None:
        job = seeded(job, arguments.seed)
    refuse_submitted(job.output, "output")
    if arguments.address is not None:
        job = at_address(job, arguments.address)
    folder = state_folder(job)
    with bad_input(), disk_errors(folder), locked(folder), stoppable() as stop:
        try:
            with progress() as report:
                RUNNERS[type(job)](job, report, stop)
        except KeyboardInterrupt:
            print(describe_checkpoint(folder), file=sys.stderr)
            raise
    print(f"weights: {job.output}")
    return 0


def _doctor(arguments: "argparse.Namespace") -> int:
    from bench.commands.doctor import examine
    from bench.common.errors import UserError

    if arguments.job is None and (changes := _job_file(arguments).changes):
        raise UserError(f"doctor: name the job file that {changes[0]} is to change")
    return examine(_job_file(arguments) if arguments.job else None)


def _scenes(arguments: "argparse.Namespace") -> int:
    from bench.common.errors import UserError
    from bench.common.progress import progress
    from bench.datasets.scenes.build import SplitPlan, build_split

    if arguments.units is not None and arguments.bandwidth is None:
        raise UserError("--units needs --bandwidth, the codec's in kbps")
    plan = SplitPlan(arguments.split, arguments.images, arguments.seed, lossy=arguments.lossy)
    with progress() as report:
        for done in build_split(plan, arguments.folder):
            report("scenes", done, plan.images)
        if arguments.units is not None:
            from bench.datasets.scenes.units import build_units

            for done, all_of in build_units(arguments.folder, arguments.units, arguments.bandwidth):
                report("units", done, all_of)
    return 0


def _narrate(arguments: "argparse.Namespace") -> int:
    from bench.commands.narrate import narrate

    options = {
        "splits": arguments.splits,
        "voice": arguments.voice,
        "captions": arguments.captions,
        "codec": arguments.codec,
        "bandwidth": arguments.bandwidth,
        "sound": arguments.sound,
        "items": None if arguments.items is None else str(arguments.items),
        "layout": arguments.layout,
        "workers": arguments.workers,
        "address": arguments.address,
        "output": None if arguments.output is None else str(arguments.output),
    }
    return narrate(arguments.job, options)


def _push(arguments: "argparse.Namespace") -> int:
    from bench.commands.push import PushOptions, push

    options = PushOptions(
        runs=arguments.runs,
        run=arguments.run,
        repo=arguments.repo,
        repo_type=arguments.repo_type,
        private=arguments.private,
        speech=arguments.speech,
        send=arguments.yes,
    )
    return push(options)


def _gate(arguments: "argparse.Namespace") -> int:
    from bench.gate import looks as gate

    job = _job_file(arguments)
    plan = gate.GateOptions(
        job=job,
        baseline=arguments.baseline,
        budget=gate.seconds(arguments.budget),
        exact=arguments.exact,
        any_machine=arguments.any_machine,
        margin=gate.share(arguments.margin) if arguments.margin else None,
        base=arguments.base,
        out=arguments.out,
        links=arguments.links,
        allow_inconclusive=arguments.allow_inconclusive,
    )
    if arguments.accept:
        return gate.accept(job, arguments.baseline)
    return gate.judge_job(plan)


def _trend(arguments: "argparse.Namespace") -> int:
    from bench.commands import trend

    return trend.run(arguments.file, arguments.only, arguments.plot)


def _leaderboard(arguments: "argparse.Namespace") -> int:
    from bench.commands.leaderboard import page, show
    from bench.commands.runs import find
    from bench.common.errors import UserError
    from bench.tables import leaderboard

    if arguments.what in ("show", "verify"):
        commands = {"show": show, "verify": leaderboard.verify}
        return commands[arguments.what](arguments.board)
    if arguments.what == "page":
        return page(arguments.board, arguments.runs, arguments.out)
    if arguments.run is None:
        raise UserError("leaderboard add: name the run; pixvox runs list shows them")
    return leaderboard.add(find(arguments.runs, arguments.run), arguments.board)


def _report(arguments: "argparse.Namespace") -> int:
    from bench.commands.report import report

    asked = (arguments.out, arguments.form, arguments.title, arguments.figures)
    return report(arguments.runs, arguments.names, *asked)


def _compare(arguments: "argparse.Namespace") -> int:
    from bench.commands.compare import compare

    return compare(arguments.runs, arguments.names, arguments.systems, arguments.out)


def _listen(arguments: "argparse.Namespace") -> int:
    from bench.commands import listen

    if arguments.what == "score":
        return listen.judge(arguments.files, arguments.run, arguments.runs, arguments.save)
    sizes = (arguments.spread, arguments.each, arguments.alike)
    return listen.plan(arguments.share, arguments.difference, *sizes)


def _runs(arguments: "argparse.Namespace") -> int:
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


def _plan(arguments: "argparse.Namespace") -> int:
    from bench.commands.plan import PlanOptions, plan

    options = PlanOptions(arguments.difference, arguments.power, arguments.metric)
    return plan(arguments.runs, arguments.run, options)


def _subgroups(arguments: "argparse.Namespace") -> int:
    from bench.commands.subgroups import subgroups

    asked = (arguments.file, arguments.by, arguments.out)
    return subgroups(arguments.runs, arguments.run, *asked)


def _plugins(arguments: "argparse.Namespace") -> int:
    from bench.commands.plugins import listing

    return listing()


def _model(arguments: "argparse.Namespace") -> int:
    from bench.commands.model_info import info
    from bench.common.errors import bad_input

    with bad_input():
        return info(arguments.weights)


def _perf(arguments: "argparse.Namespace") -> int:
    from bench.commands.perf import measure

    return measure(arguments)


_COMMANDS = {
    "run": _run,
    "rescore": _run,
    "init": _init,
    "speak": _speak,
    "train": _train,
    "doctor": _doctor,
    "scenes": _scenes,
    "narrate": _narrate,
    "report": _report,
    "compare": _compare,
    "listen": _listen,
    "runs": _runs,
    "push": _push,
    "leaderboard": _leaderboard,
    "gate": _gate,
    "trend": _trend,
    "plan": _plan,
    "subgroups": _subgroups,
    "plugins": _plugins,
    "model": _model,
    "perf": _perf,
}
_LIGHT = (
    *("init", "report", "compare", "listen", "runs", "leaderboard", "trend", "plan", "subgroups"),
    *("plugins", "model"),
)
"""Commands that only read, and start nothing."""


def main(argv: "Sequence[str] | None" = None) -> int:
    """Does a command's work in this process; the exit code, as docs/cluster.md lists them."""
    from bench.commands.parser import parser
    from bench.common.streams import replace_unprintable

    replace_unprintable()
    return _work(parser().parse_args(argv), _again(argv))


def entry(argv: "Sequence[str] | None" = None) -> int:
    """The command; its exit code is 1 only where a gate's verdict is REGRESSED."""
    arguments: argparse.Namespace | None = None
    try:
        from bench.common.streams import prepare

        prepare()
        from bench.commands.parser import parser

        arguments = parser().parse_args(argv)
        return _supervised(arguments, argv)
    except KeyboardInterrupt:
        return 130
    except SystemExit as error:
        # The parser ends with 0 and 2; whatever else ends the process is a failed run.
        if error.code in (0, 2, None):
            raise
        return _failed(error, arguments)
    except BaseException as error:
        return _failed(error, arguments)


def _failed(error: BaseException, arguments: "argparse.Namespace | None") -> int:
    """Says of an error that nothing else has reported what can still be said; gives 3."""
    try:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        print(f"pixvox: the command could not run ({why})", file=sys.stderr)
        if arguments is not None:
            _gate_failed(arguments, why)
    except Exception:
        # Without memory or a place to write nothing is left but the code.
        return 3
    return 3


def _supervised(arguments: "argparse.Namespace", argv: "Sequence[str] | None") -> int:
    """What is more than looking at files is done in a child, under supervision."""
    if arguments.command in _LIGHT:
        return _work(arguments, _again(argv))
    import signal

    from bench.common.supervisor import supervise

    # A training that is stopped writes a checkpoint first; everything else commits as it goes.
    training = arguments.command == "train"
    return supervise(
        lambda: _work(arguments, _again(argv)),
        f"{_kept(arguments)}continue with: {_again(argv)}",
        lambda why: _gate_failed(arguments, why),
        (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if training else (signal.SIGINT,),
    )


def _check_current_folder() -> None:
    from bench.common.errors import UserError

    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise UserError("the current folder was removed; change to one that exists") from error


def _again(argv: "Sequence[str] | None") -> str:
    import shlex

    return f"pixvox {shlex.join(argv if argv is not None else sys.argv[1:])}"


def _kept(arguments: "argparse.Namespace") -> str:
    """A gate keeps nothing: it judges what one version does from the beginning."""
    return "" if arguments.command == "gate" else "what was done is kept; "


def _gate_failed(arguments: "argparse.Namespace", why: str) -> None:
    """A gate that did not come to judge says so where its findings would be."""
    if arguments.command == "gate" and not arguments.accept:
        from bench.gate.failure import publish_failure

        try:
            publish_failure(why, arguments.out)
        except OSError as error:
            print(f"pixvox: the report could not be written: {error}", file=sys.stderr)


def _work(arguments: "argparse.Namespace", again: str) -> int:
    """Bad input is one line on stderr and 2, a failed run one line and 3, a bug a traceback and 3.

    1 is the gate's REGRESSED and nothing else.
    """
    from bench.common.errors import RunFailed, UserError
    from bench.common.text import clean
    from pixvox.cache import share_cache

    try:
        _check_current_folder()
        share_cache()
        code = _COMMANDS[arguments.command](arguments)
        sys.stdout.flush()
        return code
    except (UserError, RunFailed) as error:
        why = clean(str(error))
        print(f"pixvox: {why}", file=sys.stderr)
        _gate_failed(arguments, why)
        return 2 if isinstance(error, UserError) else 3
    except KeyboardInterrupt:
        print(f"\nstopped; {_kept(arguments)}continue with: {again}", file=sys.stderr)
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
    finally:
        try:
            sys.stdout.flush()
        except OSError:
            # What Python still holds for the reader must not fail again when it ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _machines_fault(error: BaseException) -> str:
    """What an error means that is neither ours nor the input's; "" for every other."""
    # Rich ends the process with 1 where nobody reads what it prints.
    cause = error.__context__ if isinstance(error, SystemExit) else error
    if isinstance(cause, BrokenPipeError):
        return "the reader of its output went away"
    if isinstance(cause, OSError):
        from bench.common.atomic import refusal

        return refusal(cause)
    return ""


if __name__ == "__main__":
    sys.exit(entry())

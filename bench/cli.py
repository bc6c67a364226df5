"""The `pixvox` command. No large library is imported before a command runs.

`entry` imports everything else itself: Python exits with 1 if an import fails, and 1 means
REGRESSED.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence
    from typing import Any

    from bench.commands.options import Parser


@dataclass(frozen=True)
class Command:
    """A command: its line of help, and the module with its `add_arguments` and `run`.

    A group has commands in place of a module. A `light` command only reads, starts no processes,
    and runs without a supervisor.
    """

    help: str
    module: str = ""
    light: bool = False
    commands: "Mapping[str, Command] | None" = None


COMMANDS: "Mapping[str, Command]" = {
    "run": Command("run an evaluation job, or resume it", "run"),
    "rescore": Command("score a run's transcripts again, without models", "rescore"),
    "init": Command("write a job for the data in some folders", "init", light=True),
    "speak": Command("generate the speech of pictures", "speak"),
    "train": Command("run a training job, or resume it", "train"),
    "doctor": Command("push one item through every stage", "doctor"),
    "scenes": Command("build a split of the scenes dataset", "scenes"),
    "narrate": Command("read the captions of a dataset aloud, or continue", "narrate"),
    "runs": Command("list, show, verify, prune or push runs", "runs", light=True),
    "report": Command("write a page with tables, pictures and speech", "report", light=True),
    "compare": Command("compare two finished runs, paired by image", "compare", light=True),
    "listen": Command("plan a listening test, or score its answers", "listen", light=True),
    "gate": Command("judge a job by a golden: pass, regressed, ...", "gate"),
    "leaderboard": Command("keep scores of one protocol, best first", "leaderboard", light=True),
    "show": Command(
        "weights, plug-ins, trends; plans and subgroups of a run",
        light=True,
        commands={
            "model": Command("a model's sizes and parameter counts", "model_info"),
            "plugins": Command("what installed packages add, with their versions", "plugins"),
            "trend": Command("how committed figures moved, and where they changed", "trend"),
            "plan": Command("how many images and seeds detect a difference", "plan"),
            "subgroups": Command("a run's scores by a column of a CSV file", "subgroups"),
        },
    ),
    "perf": Command("measure decoding, transcribing, and two versions", "perf"),
}


def _called(words: "Sequence[str]", commands: "Mapping[str, Command]") -> "list[str]":
    """Returns the names of the command and of its group: words before any option."""
    name = next((word for word in words if not word.startswith("-")), "")
    if name not in commands:
        return []
    within = commands[name].commands
    return [name, *(_called(words[words.index(name) + 1 :], within) if within else ())]


def _module(names: "Sequence[str]") -> "Any":
    """Returns the module of a command; None without a command, or for a group alone."""
    from importlib import import_module

    within, module = COMMANDS, ""
    for name in names:
        module, within = within[name].module, within[name].commands or {}
    return import_module(f"bench.commands.{module}") if module else None


def _parser(names: "Sequence[str]") -> "Parser":
    """Returns the parser of the command line, with the arguments of the command that is called."""
    from bench.commands.options import Parser, Version

    parser = Parser(
        prog="pixvox", description="Evaluate image-to-speech models, PixVoxLM among them."
    )
    parser.lists_plugins = True
    parser.add_argument("--version", action=Version, nargs=0, help="print the version")
    inner, commands, dest = parser, COMMANDS, "command"
    for name in (*names, None):
        if not commands:
            break
        subparsers = inner.add_subparsers(dest=dest, required=True, metavar=dest.upper())
        added = {key: subparsers.add_parser(key, help=c.help) for key, c in commands.items()}
        if name is not None:
            inner, commands, dest = added[name], commands[name].commands or {}, "what"
    module = _module(names)
    if module is not None:
        module.add_arguments(inner)
    return parser


def parse(argv: "Sequence[str]") -> "argparse.Namespace":
    """Returns the arguments of a command line; ends the process with 2 if they are invalid."""
    arguments: argparse.Namespace = _parser(_called(argv, COMMANDS)).parse_args(argv)
    return arguments


def main(argv: "Sequence[str] | None" = None) -> int:
    """Runs a command in this process and returns its exit code, as listed in docs/cluster.md."""
    from bench.common.streams import replace_unprintable

    words = sys.argv[1:] if argv is None else argv
    replace_unprintable()
    return _work(parse(words), words)


def entry(argv: "Sequence[str] | None" = None) -> int:
    """Runs the command and returns its exit code, which is 1 only for the verdict REGRESSED."""
    words = sys.argv[1:] if argv is None else argv
    try:
        from bench.common.streams import prepare

        prepare()
        return _supervised(words)
    except KeyboardInterrupt:
        return 130
    except SystemExit as error:
        # The parser exits with 0 or 2; any other exit of the process is a failed run.
        if error.code in (0, 2, None):
            raise
        return _failed(error, words)
    except BaseException as error:
        return _failed(error, words)


def _failed(error: BaseException, words: "Sequence[str]") -> int:
    """Reports an error that nothing else has reported, as far as possible; returns 3."""
    try:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        print(f"pixvox: the command could not run ({why})", file=sys.stderr)
        _gate_failed(words, why)
    except (Exception, SystemExit):
        # Without memory or a writable stream, only the exit code is left.
        return 3
    return 3


def _supervised(words: "Sequence[str]") -> int:
    """Runs a command that is not light in a supervised child and returns its exit code.

    The child parses its arguments too, because the command's module imports what its work needs.
    """
    names = _called(words, COMMANDS)
    if not names or COMMANDS[names[0]].light:
        return _work(parse(words), words)
    import signal

    from bench.common.supervisor import supervise

    def parse_and_work() -> int:
        try:
            arguments = parse(words)
        except SystemExit as error:
            sys.stdout.flush()
            return error.code if isinstance(error.code, int) else 0
        return _work(arguments, words)

    # A training that is stopped writes a checkpoint first; everything else is committed as it goes.
    training = names[0] == "train"
    return supervise(
        parse_and_work,
        f"{_what_is_kept(words)}continue with: {_again(words)}",
        lambda why: _gate_failed(words, why),
        (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if training else (signal.SIGINT,),
    )


def _check_current_folder() -> None:
    from bench.common.errors import UserError

    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise UserError("the current folder was removed; change to one that exists") from error


def _again(words: "Sequence[str]") -> str:
    import shlex

    return f"pixvox {shlex.join(words)}"


def _is_gate(words: "Sequence[str]") -> bool:
    return _called(words, COMMANDS) == ["gate"]


def _what_is_kept(words: "Sequence[str]") -> str:
    """Returns the start of a message; "" for a gate, which never reuses rows."""
    return "" if _is_gate(words) else "what was done is kept; "


def _gate_failed(words: "Sequence[str]", why: str) -> None:
    """Reports the failure of a gate in the files for its findings."""
    if _is_gate(words):
        _module(["gate"]).report_failure(parse(words), why)


def _work(arguments: "argparse.Namespace", words: "Sequence[str]") -> int:
    """Runs a command; returns 2 for invalid input, 3 for a failed run (one line each on stderr).

    A bug gives a traceback and 3. Only REGRESSED gives 1.
    """
    from bench.common.errors import RunFailed, UserError
    from bench.common.text import clean
    from pixvox.cache import share_cache

    try:
        _check_current_folder()
        share_cache()
        code: int = _module(_called(words, COMMANDS)).run(arguments)
        sys.stdout.flush()
        return code
    except (UserError, RunFailed) as error:
        why = clean(str(error))
        print(f"pixvox: {why}", file=sys.stderr)
        _gate_failed(words, why)
        return 2 if isinstance(error, UserError) else 3
    except KeyboardInterrupt:
        print(f"\nstopped; {_what_is_kept(words)}continue with: {_again(words)}", file=sys.stderr)
        _gate_failed(words, "it was stopped by Ctrl-C")
        return 130
    except (Exception, SystemExit) as error:
        why = _machines_fault(error)
        if why:
            print(f"pixvox: {why}", file=sys.stderr)
        else:
            import traceback

            # A bug is printed as a traceback, and so is a user's class that ends the process.
            traceback.print_exc()
        _gate_failed(words, why or f"a bug: {clean(' '.join(repr(error).split()))}")
        return 3
    finally:
        try:
            sys.stdout.flush()
        except OSError:
            # Python's buffered output for the closed pipe must not fail again at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _machines_fault(error: BaseException) -> str:
    """Returns what an error that is neither a bug nor invalid input means; "" for other errors."""
    # Rich ends the process with 1 if the reader of its output has closed the pipe.
    cause = error.__context__ if isinstance(error, SystemExit) else error
    if isinstance(cause, BrokenPipeError):
        return "the reader of its output closed the pipe"
    if isinstance(cause, OSError):
        from bench.common.atomic import refusal

        return refusal(cause)
    return ""


if __name__ == "__main__":
    sys.exit(entry())

"""What the command line takes: bounded numbers, possible paths, and one line for what is wrong."""

import argparse
import difflib
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from bench.common.paths import unusable_path

if TYPE_CHECKING:
    from bench.common.jobfile import Override

T = TypeVar("T")


def _short(text: str) -> str:
    return repr(text) if len(text) <= 40 else f"{text[:37]!r}…"


def whole(low: int, high: int) -> Callable[[str], int]:
    """Returns an argument that is a whole number from `low` to `high`."""

    def read(text: str) -> int:
        if re.fullmatch(r"[-+]?[0-9]{1,20}", text) and low <= int(text) <= high:
            return int(text)
        raise argparse.ArgumentTypeError(
            f"{_short(text)}: a whole number from {low:,} to {high:,} is wanted"
        )

    return read


def number(low: float, high: float) -> Callable[[str], float]:
    """Returns an argument that is a finite number from `low` to `high`."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if low <= value <= high:
            return value
        raise argparse.ArgumentTypeError(
            f"{_short(text)}: a number from {low:g} to {high:g} is wanted"
        )

    return read


def each(read: Callable[[str], T]) -> Callable[[str], T | list[T]]:
    """Returns a reader of one argument, or of a list with commas, one for each codebook."""

    def several(text: str) -> T | list[T]:
        parts = [read(part) for part in text.split(",")]
        return parts if len(parts) > 1 else parts[0]

    return several


def path(text: str) -> Path:
    """Returns an argument that some file or folder could be named."""
    if reason := unusable_path(text):
        raise argparse.ArgumentTypeError(f"{_short(text)}: {reason}")
    return Path(text)


def override(text: str) -> "Override":
    """Returns an argument KEY=VALUE that replaces a value of a job."""
    from bench.common.errors import UserError
    from bench.common.jobfile import read_override

    try:
        return read_override(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def named(option: str, field: str) -> "Callable[[str], Override]":
    """An argument that replaces a mapping of a job by one with a name, or by another in YAML."""

    def read(text: str) -> "Override":
        from bench.common.errors import UserError
        from bench.common.jobfile import read_named

        try:
            return read_named(option, field, text)
        except UserError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return read


def weights(text: str) -> str:
    """Returns an argument that names weights: a path, `zoo:NAME` or a hub id."""
    path(text)
    return text


def address(text: str) -> str:
    """Returns an argument that names a Ray cluster; what it says is checked before it is joined."""
    if 0 < len(text) <= 200:
        return text
    raise argparse.ArgumentTypeError(f"{_short(text)}: HOST:PORT, auto or local is wanted")


def name(text: str) -> str:
    """Returns an argument that names a run or a split: a plain name that leads nowhere else."""
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", text):
        return text
    raise argparse.ArgumentTypeError(
        f"{_short(text)}: a name of letters, digits, - and _ is wanted, at most 100 characters"
    )


def run_name(text: str) -> str:
    """Returns an argument that names a run: its name, or the path of its folder."""
    return str(path(text)) if "/" in text or text in (".", "..") else name(text)


class Parser(argparse.ArgumentParser):
    """Tells what is wrong with the arguments in one line, and what may have been meant.

    The help of one that `lists_plugins` ends with the kinds that installed packages add.
    """

    lists_plugins = False

    def format_help(self) -> str:
        """Returns the help's text."""
        if self.lists_plugins:
            from bench.commands.pluginhelp import help_line

            self.epilog = help_line()
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        """Ends with status 2."""
        line = " ".join(message.split())
        self.exit(2, f"pixvox: {line}; see: {self.prog} --help\n")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parses arguments as argparse does; the error for an unknown option names the nearest."""
        arguments, unknown = self.parse_known_args(args, namespace)
        if unknown:
            near = _nearest(unknown[0], self.options(getattr(arguments, "command", None)))
            self.error(f"{_short(unknown[0])} is not known{near}")
        return arguments

    def options(self, command: str | None) -> list[str]:
        """Returns all options of a command, its subcommands' too."""
        known: list[str] = []
        for action in self._actions:
            known += action.option_strings
            if isinstance(action, argparse._SubParsersAction):
                chosen = action.choices.items()
                for name, parser in chosen:
                    if command in (None, name) and isinstance(parser, Parser):
                        known += parser.options(None)
        return known

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        # argparse lists all choices; the nearest is what most want.
        if action.choices is not None and value not in action.choices:
            choices = [str(choice) for choice in action.choices]
            near = _nearest(str(value), choices) or f"; choose one of {', '.join(choices)}"
            raise argparse.ArgumentError(action, f"{_short(str(value))} is not known{near}")


def _nearest(given: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(given.split("=")[0], known, 1, 0.6)
    return f"; did you mean {near[0]}?" if near else ""


class Version(argparse.Action):
    """Prints the installed version; read only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version

        print(f"pixvox-bench {version('pixvox-bench')}")
        parser.exit(0)

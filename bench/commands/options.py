"""Types of command-line arguments: bounded numbers, paths and names, with errors of one line."""

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
    """Returns a type for whole numbers from `low` to `high`."""

    def read(text: str) -> int:
        if re.fullmatch(r"[-+]?[0-9]{1,20}", text) and low <= int(text) <= high:
            return int(text)
        raise argparse.ArgumentTypeError(
            f"{_short(text)}: a whole number from {low:,} to {high:,} is needed"
        )

    return read


def number(low: float, high: float) -> Callable[[str], float]:
    """Returns a type for finite numbers from `low` to `high`."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if low <= value <= high:
            return value
        raise argparse.ArgumentTypeError(
            f"{_short(text)}: a number from {low:g} to {high:g} is needed"
        )

    return read


def each(read: Callable[[str], T]) -> Callable[[str], T | list[T]]:
    """Returns a type for one value, or a list with commas, one for each codebook."""

    def several(text: str) -> T | list[T]:
        parts = [read(part) for part in text.split(",")]
        return parts if len(parts) > 1 else parts[0]

    return several


def path(text: str) -> Path:
    """Returns an argument as a path that can exist."""
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
    """Returns a type for arguments that set a mapping of a job, by a name or in YAML."""

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
    """Returns an argument that names a Ray cluster; it is checked before the cluster is joined."""
    if 0 < len(text) <= 200:
        return text
    raise argparse.ArgumentTypeError(f"{_short(text)}: HOST:PORT, auto or local is needed")


def name(text: str) -> str:
    """Returns an argument that names a run or a split: a plain name, not a path."""
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", text):
        return text
    raise argparse.ArgumentTypeError(
        f"{_short(text)}: a name of letters, digits, - and _ is needed, at most 100 characters"
    )


def run_name(text: str) -> str:
    """Returns an argument that names a run: its name, or the path of its folder."""
    return str(path(text)) if "/" in text or text in (".", "..") else name(text)


class Parser(argparse.ArgumentParser):
    """Reports errors in arguments in one line, with the nearest known name.

    With `lists_plugins`, the help ends with the kinds that installed packages add.
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
        # argparse lists all choices; the nearest one is usually meant.
        if action.choices is not None and value not in action.choices:
            choices = [str(choice) for choice in action.choices]
            near = _nearest(str(value), choices) or f"; choose one of {', '.join(choices)}"
            raise argparse.ArgumentError(action, f"{_short(str(value))} is not known{near}")


def _nearest(given: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(given.split("=")[0], known, 1, 0.6)
    return f"; did you mean {near[0]}?" if near else ""


class Version(argparse.Action):
    """Prints the installed version, which is read only on request."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version

        print(f"pixvox-bench {version('pixvox-bench')}")
        parser.exit(0)

"""A job file with the values that options of the command line set in it."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.common.errors import UserError

Key = tuple[str | int, ...]
"""The names and list indexes that lead to a value of a file."""

_NAME = r"[A-Za-z_][\w-]*"
_KEY = re.compile(rf"{_NAME}(?:\.(?:[0-9]{{1,6}}|{_NAME})|\[[0-9]{{1,6}}\])*", re.ASCII)


@dataclass(frozen=True)
class Override:
    """A value for one key, set by `option` with the argument `text` on the command line."""

    key: Key
    value: Any
    option: str
    text: str


def read_override(text: str) -> Override:
    """Parses an argument of `--set`, such as `systems.0.decoding.guidance=1.5`.

    Raises UserError for anything but KEY=VALUE with a value in YAML.
    """
    from bench.common.strictyaml import read_yaml

    key, equals, value = text.partition("=")
    if not equals or not _KEY.fullmatch(key):
        raise UserError(f"{text[:60]!r}: write KEY=VALUE, such as systems.0.decoding.guidance=1.5")
    if not value.strip():
        raise UserError(f"{key}: has no value; write {key}=null for none")
    parts = re.findall(r"[^.\[\]]+", key)
    path = tuple(int(part) if part.isdecimal() else part for part in parts)
    return Override(path, read_yaml(value, key), "--set", text)


def read_named(option: str, field: str, text: str) -> Override:
    """Parses the argument of an option such as `--asr base`.

    It is the value of one `field` of a mapping, or the mapping in YAML.
    """
    from bench.common.strictyaml import read_yaml

    is_yaml = text.lstrip()[:1] in ("{", "[")
    value = read_yaml(text, option) if is_yaml else {field: text}
    return Override((option.removeprefix("--"),), value, option, text)


@dataclass(frozen=True)
class JobFile:
    """A job file, and values that replace its own; the last value of a key counts."""

    path: Path
    overrides: tuple[Override, ...] = ()

    @property
    def changes(self) -> tuple[str, ...]:
        """The options that set the overrides, quoted for a shell."""
        return tuple(
            f"{override.option} {shlex.quote(override.text)}" for override in self.overrides
        )

    @property
    def words(self) -> str:
        """The file and its overrides as arguments of a command, quoted for a shell."""
        return " ".join([shlex.quote(str(self.path)), *self.changes])

    def read(self, kind: Any) -> Any:
        """Returns the content, with the overrides, as `kind`.

        Raises UserError that names the file and all that is wrong. The option is added to an error
        that the file without the overrides does not have.
        """
        from pydantic import ValidationError

        from bench.common.strictyaml import MAX_BYTES, read_yaml
        from bench.common.validation import faults, format_errors
        from bench.common.yamlfile import read_small, strict

        content = read_yaml(read_small(self.path, MAX_BYTES), str(self.path))
        changed = content
        for override in self.overrides:
            try:
                changed = _replaced(changed, override.key, (), override.value)
            except (TypeError, ValueError) as error:
                raise UserError(f"{self.path}: {error} (given by {override.option})") from error
        try:
            return strict(changed, kind)
        except ValidationError as error:
            messages_by_path = faults(error, changed, kind)
        own: Mapping[str, Sequence[str]] = {}
        if self.overrides:
            try:
                strict(content, kind)
            except ValidationError as error:
                own = faults(error, content, kind)
        given = {
            path: self._option(path)
            for path, messages in messages_by_path.items()
            if own.get(path) != messages
        }
        raise UserError(
            f"{self.path}: {format_errors(messages_by_path, given if self.overrides else {})}"
        )

    def _option(self, path: str) -> str:
        """Returns the options that set the value at a path; all options where none of them did."""
        from bench.common.validation import written

        near = [override for override in self.overrides if _is_near(written(override.key), path)]
        options = dict.fromkeys(override.option for override in near or self.overrides)
        return " or ".join(options)


def _is_near(key: str, path: str) -> bool:
    """Returns whether two paths of keys are equal, or one is a prefix of the other."""
    short, long = sorted((key, path), key=len)
    return long == short or long.startswith((f"{short}.", f"{short}["))


def _replaced(content: Any, key: Key, above: Key, value: Any) -> Any:
    """Returns a copy of the content with another value at a key.

    It is copied because YAML aliases share their mappings. Missing mappings are added, and an index
    equal to a list's length appends. Raises ValueError for a larger index, and TypeError where the
    key leads through a value that is neither a mapping nor a list.
    """
    from bench.common.validation import shown, written

    if not key:
        return value
    (part, *rest), at = key, written(above)
    if isinstance(part, int):
        if not isinstance(content, list):
            raise TypeError(f"{at}: is {shown(content)}, not a list, so it has no entry {part}")
        if part > len(content):
            raise ValueError(f"{written((*above, part))}: the list has {len(content)} entries")
        before = content[part] if part < len(content) else None
        entry = _replaced(before, tuple(rest), (*above, part), value)
        return [*content[:part], entry, *content[part + 1 :]]
    if not isinstance(content, dict | None):
        raise TypeError(f"{at}: is {shown(content)}, not a mapping, so it has no key {part}")
    fields = content or {}
    return fields | {part: _replaced(fields.get(part), tuple(rest), (*above, part), value)}

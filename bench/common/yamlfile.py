"""Reads YAML files into strict models; all errors of a file are reported in one line."""

import json
import stat
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, TypeAdapter, ValidationError

from bench.common.errors import UserError
from bench.common.paths import unusable_path


class Strict(BaseModel):
    """The base class of all models of users' files: frozen, and unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _path(path: Path) -> Path:
    _named(str(path))
    return path


def _named(text: str) -> str:
    reason = unusable_path(text)
    if reason:
        raise ValueError(reason)
    return text


FilePath = Annotated[Path, AfterValidator(_path)]
"""A path that is valid on a file system."""
WeightsName = Annotated[str, AfterValidator(_named)]
"""Weights named by a path, `zoo:NAME` or a hub id; also a model's name that may be a path."""


def read_small(path: Path, most: int) -> str:
    """Returns the text of a UTF-8 file of at most `most` bytes.

    Raises UserError for anything else, including pipes and devices.
    """
    reason = unusable_path(str(path))
    if reason:
        raise UserError(f"{str(path)[:80]!r}: {reason}")
    try:
        file_stat = path.stat()
        if stat.S_ISDIR(file_stat.st_mode):
            raise UserError(f"{path}: is a folder; name a file in it")
        if not stat.S_ISREG(file_stat.st_mode):
            raise UserError(f"{path}: is not a plain file; copy it to one")
        if file_stat.st_size > most:
            raise UserError(f"{path}: {file_stat.st_size:,} bytes; at most {most:,} are read")
        return path.read_bytes().decode("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(f"{path}: no such file") from error
    except OSError as error:
        raise UserError(f"{path}: not readable ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}; convert the file") from error


def parse(path: Path, kind: Any) -> Any:
    """Reads a YAML file as `kind`; raises UserError that names the file and all that is wrong."""
    from bench.common.strictyaml import MAX_BYTES, read_yaml

    content = read_yaml(read_small(path, MAX_BYTES), str(path))
    return validate(content, kind, str(path))


def strict(content: Any, kind: Any) -> Any:
    """Validates plain content as `kind`; raises pydantic's ValidationError."""
    # Through JSON, because pydantic's strict mode accepts no list for a tuple. Strict mode does not
    # convert text to numbers or numbers to text.
    return TypeAdapter(kind).validate_json(json.dumps(content), strict=True)


def validate(content: Any, kind: Any, name: str) -> Any:
    """Validates plain content as `kind`; raises UserError naming `name` and all that is wrong."""
    from bench.common.validation import faults, format_errors

    try:
        return strict(content, kind)
    except ValidationError as error:
        raise UserError(f"{name}: {format_errors(faults(error, content, kind))}") from error

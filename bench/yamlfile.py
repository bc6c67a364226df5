"""YAML files into strict models, with one clear line for what is wrong."""

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from bench.errors import UserError

T = TypeVar("T")


class Strict(BaseModel):
    """The base of everything that a file may say: unknown keys are refused, nothing changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def parse(path: Path, kind: Any) -> Any:
    """Reads a YAML file as `kind`; raises UserError naming the file, the key and the reason."""
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError) as error:
        raise UserError(f"{path}: no such file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: not readable as YAML: {reason}") from error
    try:
        return TypeAdapter(kind).validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise UserError(f"{path}: {where}: {first['msg']}{more}") from error

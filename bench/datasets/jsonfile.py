"""Reads JSON files of public datasets: further keys are ignored, known keys are checked."""

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from bench.common.errors import UserError
from bench.datasets.base import text_lines


class Loose(BaseModel):
    """An object of a public dataset's file, which may have further keys."""

    model_config = ConfigDict(frozen=True, strict=True)


T = TypeVar("T", bound=BaseModel)


def parse_json(text: str, at: str) -> Any:
    """Parses a JSON text; raises UserError, naming the place `at`, also for a key given twice."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for n, key in enumerate(keys) if key in keys[:n])
            raise UserError(f"{at}: the key {twice[:80]!r} occurs twice; remove one")
        return content

    try:
        return json.loads(text, object_pairs_hook=unique)
    except UserError:
        raise
    except json.JSONDecodeError as error:
        place = at if error.lineno == 1 else f"{at}:{error.lineno}"
        hint = "; write / for \\ in paths" if "escape" in error.msg else ""
        raise UserError(
            f"{place}: not JSON at character {error.colno} ({error.msg}){hint}"
        ) from error
    except (RecursionError, ValueError) as error:
        raise UserError(f"{at}: not JSON that can be read ({error})") from error


def read_list(path: Path, key: str) -> tuple[dict[str, Any], list[Any]]:
    """Returns the JSON object of a file, and the list under its `key`.

    Raises UserError where the file holds anything else.
    """
    content = parse_json("\n".join(text_lines(path)), str(path))
    if not isinstance(content, dict) or not isinstance(content.get(key), list):
        raise UserError(f"{path}: expected an object with a list {key!r}; is it another format?")
    return content, content[key]


def validate_object(content: Any, kind: type[T], at: str) -> T:
    """Validates plain content as `kind`; raises UserError naming the first invalid key."""
    try:
        # Through JSON, because pydantic's strict mode accepts no list for a tuple.
        return kind.model_validate_json(json.dumps(content))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        message = f"{first['msg'][:1].lower()}{first['msg'][1:]}"
        raise UserError(f"{at}: {where + ': ' if where else ''}{message}"[:400]) from error

"""Reads YAML by the core schema of YAML 1.2, more strictly than PyYAML.

PyYAML reads YAML 1.1, where `010` is 8, `1:30` is 90, `no` is false, and the last of two equal keys
counts. Here numbers are decimal and finite, only `true` and `false` are booleans, everything else
is text, and a key that is given twice is an error. Errors name the line.
"""

import math
import re
from typing import Any

import yaml

from bench.common.errors import UserError

MAX_BYTES = 256 * 1024
"""Bytes of a file, more than any job needs."""
MAX_NODES = 100_000
"""Values with all aliases written out; a few lines of aliases can stand for billions."""
MAX_DIGITS = 40
"""Digits of a whole number; longer ones are probably text."""

_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_TAG = "tag:yaml.org,2002:"


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with only the resolvers and constructors of this file."""

    def refuse(self, node: yaml.Node, reason: str) -> yaml.constructor.ConstructorError:
        return yaml.constructor.ConstructorError(None, None, reason, node.start_mark)


def _scalar(loader: _Loader, node: yaml.ScalarNode) -> str:
    text = str(loader.construct_scalar(node))
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise loader.refuse(node, "half of a surrogate pair, which is no text")
    return text


def _null(loader: _Loader, node: yaml.ScalarNode) -> None:
    _scalar(loader, node)


def _bool(loader: _Loader, node: yaml.ScalarNode) -> bool:
    text = _scalar(loader, node).lower()
    if text not in ("true", "false"):
        raise loader.refuse(node, f"{text[:40]!r} is neither true nor false")
    return text == "true"


def _int(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = _scalar(loader, node)
    if _INT.fullmatch(text) is None:
        raise loader.refuse(node, f"{text[:40]!r} is not a whole number")
    if len(text) > MAX_DIGITS:
        raise loader.refuse(node, f"a number of {len(text)} digits; quote it if it is text")
    return int(text)


def _float(loader: _Loader, node: yaml.ScalarNode) -> float:
    text = _scalar(loader, node)
    number = float(text) if _FLOAT.fullmatch(text) else math.nan
    if not math.isfinite(number):
        raise loader.refuse(
            node, f"{text[:40]!r} is not a finite number; quote it if it is text, or write another"
        )
    return number


def _list(loader: _Loader, node: yaml.SequenceNode) -> list[Any]:
    return [loader.construct_object(entry, deep=True) for entry in node.value]


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str):
            raise loader.refuse(key_node, f"a key is text, not {str(key)[:40]}; quote it")
        if key in content:
            raise loader.refuse(key_node, f"the key {key[:80]!r} occurs twice; remove one")
        content[key] = loader.construct_object(value_node, deep=True)
    return content


def _unknown(loader: _Loader, node: yaml.Node) -> Any:
    raise loader.refuse(
        node, f"the tag {node.tag[:80]!r} makes objects; only plain values are read"
    )


_Loader.yaml_implicit_resolvers = {}
_Loader.yaml_constructors = {}
for _name, _pattern, _first in (
    ("bool", re.compile(r"true|True|TRUE|false|False|FALSE"), "tTfF"),
    ("null", re.compile(r"~|null|Null|NULL|"), "~nN\0"),
    ("int", _INT, "-+0123456789"),
    ("float", re.compile(f"{_FLOAT.pattern}|{_NOT_FINITE.pattern}"), "-+.0123456789"),
):
    _whole = re.compile(rf"(?:{_pattern.pattern})$")
    _Loader.add_implicit_resolver(_TAG + _name, _whole, ["" if c == "\0" else c for c in _first])
for _name, _constructor in (
    ("null", _null),
    ("bool", _bool),
    ("int", _int),
    ("float", _float),
    ("str", _scalar),
    ("seq", _list),
    ("map", _mapping),
):
    _Loader.add_constructor(_TAG + _name, _constructor)
_Loader.add_constructor(None, _unknown)


def _size(node: yaml.Node, known: dict[int, int], above: set[int]) -> int:
    """Returns the number of values of a node with all aliases written out.

    Raises ConstructorError for an alias inside its own anchor.
    """
    mark = id(node)
    if mark in above:
        raise yaml.constructor.ConstructorError(
            None, None, "an alias inside its own anchor", node.start_mark
        )
    if mark not in known:
        above.add(mark)
        children: list[yaml.Node] = []
        if isinstance(node, yaml.SequenceNode):
            children = list(node.value)
        elif isinstance(node, yaml.MappingNode):
            children = [part for pair in node.value for part in pair]
        known[mark] = 1 + sum(_size(child, known, above) for child in children)
        above.remove(mark)
    return known[mark]


def _format_error(error: Exception) -> str:
    """Returns a YAML error as one line: its place and its reason."""
    problem = getattr(error, "problem", None)
    mark = getattr(error, "problem_mark", None)
    if problem is None or mark is None:
        return " ".join(str(error).split())[:200]
    return f"line {mark.line + 1}: {' '.join(str(problem).split())[:200]}"


def read_yaml(text: str, name: str) -> Any:
    """Returns the single document in `text` as dicts with text keys, lists, and plain values.

    Raises UserError, which names `name` and the line, for what is not YAML, and for anchors that
    grow beyond MAX_NODES, keys given twice, tags, and numbers that are not finite.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            raise UserError(f"{name}: is empty")
        if _size(node, {}, set()) > MAX_NODES:
            raise UserError(f"{name}: more than {MAX_NODES:,} values; write fewer aliases")
        return loader.construct_document(node)
    except UserError:
        raise
    except RecursionError as error:
        raise UserError(f"{name}: not readable as YAML: nested too deeply") from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # PyYAML itself raises the last two, for escapes such as "\UFFFFFFFF".
        raise UserError(f"{name}: not readable as YAML: {_format_error(error)}") from error

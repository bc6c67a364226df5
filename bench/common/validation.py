"""Formats pydantic's errors for users, each with the path of its key as users write it.

pydantic's own errors name types and union branches of the code. Here the path of an error is
followed through the content, and the JSON schema gives the known keys and, in a field's
`description`, the reason for a bound.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

SHOWN = 10
"""How many errors are printed; further ones are only counted."""

_TYPES = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text (quote what is a number)",
    "path_type": "text, a path",
    "list_type": "a list, such as [a, b]",
    "tuple_type": "a list, such as [a, b]",
    "dict_type": "a mapping, such as {key: value}",
    "model_type": "a mapping, such as {key: value}",
    "model_attributes_type": "a mapping, such as {key: value}",
    "dataclass_type": "a mapping, such as {key: value}",
    "dataclass_exact_type": "a mapping, such as {key: value}",
}
_BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}
_LENGTHS = {
    "too_short": ("min_length", "at least", "entry", "entries"),
    "too_long": ("max_length", "at most", "entry", "entries"),
    "string_too_short": ("min_length", "at least", "character", "characters"),
    "string_too_long": ("max_length", "at most", "character", "characters"),
}


def keys_error(reasons: Mapping[str, str]) -> PydanticCustomError:
    """Returns an error for a validator to raise, with a reason for each of several keys."""
    return PydanticCustomError("keys", "several keys", {"reasons": dict(reasons)})


def _siblings(path: Sequence[str | int], content: Any) -> str:
    """Returns the other keys of the mapping that the last key of `path` is in."""
    for key in path[:-1]:
        content = content[key]
    return ", ".join(f"`{key}`" for key in content if key != path[-1])


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Returns a question with the most similar known name, or else the first 20 names."""
    names = list(known)
    near = difflib.get_close_matches(given.lower(), [name.lower() for name in names], 1, 0.6)
    if near:
        return f"did you mean `{next(n for n in names if n.lower() == near[0])}`?"
    return f"choose one of {', '.join(names[:20])}{', …' if len(names) > 20 else ''}"


def shown(value: Any) -> str:
    """Returns a value as an error quotes it, at most 60 characters."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "true", False: "false"}[value]
    text = f"{value:g}" if isinstance(value, float) else repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


class _Schema:
    """A JSON schema, walked along the keys and indices of some content."""

    def __init__(self, kind: Any) -> None:
        self.root = TypeAdapter(kind).json_schema()
        self.definitions: dict[str, Any] = self.root.get("$defs", {})

    def choices(self, node: Mapping[str, Any], content: Any) -> Iterator[Mapping[str, Any]]:
        """Yields the schemas of a node; of a discriminated union, the one that content names."""
        if "$ref" in node:
            yield node
            target = self.definitions[str(node["$ref"]).rsplit("/", 1)[-1]]
            yield from self.choices(target, content)
        elif "discriminator" in node:
            yield node
            named = _get(content, node["discriminator"]["propertyName"])
            mapping = node["discriminator"]["mapping"]
            known = isinstance(named, str) and named in mapping
            for target in [mapping[named]] if known else mapping.values():
                yield from self.choices({"$ref": target}, content)
        elif "anyOf" in node or "oneOf" in node:
            yield node
            for branch in (*node.get("anyOf", ()), *node.get("oneOf", ())):
                yield from self.choices(branch, content)
        else:
            yield node

    def at(self, path: Sequence[str | int], content: Any) -> list[Mapping[str, Any]]:
        """Returns all schemas of the value at a path of the content."""
        nodes = list(self.choices(self.root, content))
        for part in path:
            content = _get(content, part)
            following = [
                node["properties"][part]
                if isinstance(part, str) and part in node.get("properties", {})
                else node.get("items")
                for node in nodes
            ]
            nodes = [
                choice
                for node in following
                if isinstance(node, dict)
                for choice in self.choices(node, content)
            ]
        return nodes

    def place(self, key: str) -> str:
        """Returns the path of the mapping nearest to the root that has a key; "" if none has."""
        level, references = [("", self.root)], set()
        while level:
            following = []
            for path, node in level:
                for choice in self.choices(node, None):
                    if "$ref" in choice:
                        if choice["$ref"] in references:
                            break
                        references.add(choice["$ref"])
                    if key in choice.get("properties", {}):
                        return path
                    if isinstance(choice.get("items"), dict):
                        following.append((f"{path}[]", choice["items"]))
                    for name, inner in choice.get("properties", {}).items():
                        following.append((f"{path}.{name}".removeprefix("."), inner))
            level = following
        return ""


def _get(content: Any, part: str | int) -> Any:
    if isinstance(content, dict):
        return content.get(part)
    inside = isinstance(content, list) and isinstance(part, int) and part < len(content)
    return content[part] if inside else None


def _path(location: Sequence[str | int], content: Any) -> list[str | int]:
    """Returns the keys and indices of an error's location, without pydantic's union branches."""
    path: list[str | int] = []
    for part in location:
        listed = isinstance(part, int) and isinstance(content, list)
        named = isinstance(part, str) and isinstance(content, dict) and part in content
        if listed or named:
            path.append(part)
            content = _get(content, part)
    return path


def written(path: Sequence[str | int]) -> str:
    """Returns a path as users write it, such as `systems[2].decoding.temperature`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    text = text.removeprefix(".") or "the file"
    return text if len(text) <= 120 else text[:119] + "…"


def _reason(nodes: Iterable[Mapping[str, Any]]) -> str:
    """Returns the reason for a value's bounds, from its field's description; "" without one."""
    for node in nodes:
        if "description" in node and "properties" not in node:
            return f": {node['description']}"
    return ""


def _message(error: ErrorDetails, nodes: Sequence[Mapping[str, Any]]) -> str:
    """Returns the message of one error; `nodes` are the schemas of the value at its path."""
    kind, context, value = error["type"], error.get("ctx", {}), error["input"]
    if kind in _TYPES:
        return f"must be {_TYPES[kind]}, not {shown(value)}"
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        limit = context[key]
        bound = f"{limit:g}" if isinstance(limit, float) else f"{limit:,}"
        why = _reason(nodes) if kind.startswith("less") else ""
        return f"must be {words} {bound}, not {shown(value)}{why}"
    if kind in _LENGTHS:
        key, words, singular, several = _LENGTHS[kind]
        why = _reason(nodes) if kind.endswith("long") else ""
        return (
            f"must have {words} {context[key]:,} {singular if context[key] == 1 else several}{why}"
        )
    if kind in ("literal_error", "union_tag_invalid"):
        known = [node["enum"] for node in nodes if "enum" in node]
        known += [[node["const"]] for node in nodes if "const" in node]
        if kind == "union_tag_invalid":
            known = [list(n["discriminator"]["mapping"]) for n in nodes if "discriminator" in n]
        names = [str(name) for group in known for name in group]
        given = context["tag"] if kind == "union_tag_invalid" else value
        return f"{shown(given)} is not known; {did_you_mean(str(given)[:80], names)}"
    if kind == "string_pattern_mismatch":
        return f"cannot be {shown(value)}{_reason(nodes)}"
    if kind == "value_error":
        return str(context["error"])
    if kind == "json_invalid":
        return "nested too deeply"
    return f"{error['msg'][:1].lower()}{error['msg'][1:]}, not {shown(value)}"


def _lines(error: ErrorDetails, content: Any, schema: _Schema) -> Iterator[tuple[str, str]]:
    """Yields the paths and messages of one of pydantic's errors."""
    path = _path(error["loc"], content)
    kind, context = error["type"], error.get("ctx", {})
    if kind == "keys":
        for key, reason in context["reasons"].items():
            yield written([*path, key]), reason
        return
    if kind == "missing":
        yield written([*path, error["loc"][-1]]), "is missing"
        return
    if kind == "union_tag_not_found" and isinstance(error["input"], dict):
        at = next(n["discriminator"] for n in schema.at(path, content) if "discriminator" in n)
        known = ", ".join(at["mapping"])
        yield written([*path, at["propertyName"]]), f"is missing; choose one of {known}"
        return
    if kind == "too_short" and len(error["input"]) >= context["min_length"]:
        # pydantic leaves out the entries that have errors of their own.
        return
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        nodes = schema.at(path[:-1], content)
        known_keys = dict.fromkeys(key for node in nodes for key in node.get("properties", {}))
        place = schema.place(str(path[-1]))
        if path[-1] in known_keys:
            # Of another form of the same mapping, which the other keys rule out.
            yield written(path), f"unknown key beside {_siblings(path, content)}"
            return
        hint = f"it stands under `{place}`" if place else did_you_mean(str(path[-1]), known_keys)
        yield written(path), f"unknown key; {hint}"
        return
    nodes = schema.at(path, content)
    if kind == "union_tag_not_found":
        yield written(path), f"must be {_TYPES['dict_type']}, not {shown(error['input'])}"
        return
    if kind == "union_tag_invalid":
        path = [*path, context["discriminator"].strip("'")]
    yield written(path), _message(error, nodes)


def faults(error: ValidationError, content: Any, kind: Any) -> dict[str, list[str]]:
    """Returns the messages about each path of `content` that does not fit the schema of `kind`."""
    schema = _Schema(kind)
    messages_by_path: dict[str, list[str]] = {}
    errors = error.errors(include_url=False)
    at = [tuple(_path(details["loc"], content)) for details in errors]
    # pydantic reports errors for each type that a value may have. Where one type fits and only the
    # value or a part of it is wrong, the errors about the other types are left out.
    fitting_paths = {path[:n] for path in at for n in range(len(path))}
    fitting_paths |= {
        path for path, details in zip(at, errors, strict=True) if details["type"] not in _TYPES
    }
    for where, details in zip(at, errors, strict=True):
        if details["type"] in _TYPES and where in fitting_paths:
            continue
        for path, message in _lines(details, content, schema):
            messages = messages_by_path.setdefault(path, [])
            if message not in messages:
                messages.append(message)
    return messages_by_path


def format_errors(
    messages: Mapping[str, Sequence[str]], given: Mapping[str, str] | None = None
) -> str:
    """Returns all errors in one line, each after the path of its key.

    `messages` has the messages of each path. Several errors are numbered, and those after the
    first SHOWN only counted. `given` names, by path, the command-line option that set the value.
    """
    lines = [f"{path}: {' or '.join(texts)}" for path, texts in messages.items()]
    options = [f" (given by {given[path]})" if given and path in given else "" for path in messages]
    lines = [line + option for line, option in zip(lines, options, strict=True)]
    if len(lines) == 1:
        return lines[0]
    numbered = "; ".join(f"({n}) {line}" for n, line in enumerate(lines[:SHOWN], 1))
    more = f"; and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    return f"{len(lines)} errors: {numbered}{more}"

"""Puts a run's `model-index` into a model card's metadata; every other byte stays."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.common.errors import UserError

KEY = "model-index"
_FRONT = re.compile(r"\A(\s*---[ \t]*\r?\n)(.*?)(^---[ \t]*(?:\r?\n|\Z))", re.DOTALL | re.MULTILINE)
_FORM = f"its {KEY} does not have the hub's form (a list of a name and results each); fix it first"


@dataclass(frozen=True)
class Source:
    """Where results come from, as a card states it: the run, and the address of its tables."""

    name: str
    url: str


def updated_card(card: str, entries: Sequence[Mapping[str, Any]], source: Source) -> str:
    """Returns the card with these entries of a model-index.

    Results with a source of this name are replaced, all others stay. Raises UserError for metadata
    that cannot be read, or whose other keys would change.
    """
    import yaml

    match = _FRONT.match(card)
    head, front, rest = match.groups() if match else ("---\n", "", "---\n")
    body = card[match.end() :] if match else card
    metadata = _read_metadata(front)
    index = _merged(metadata.get(KEY) or [], entries, source)
    block = yaml.safe_dump({KEY: index}, sort_keys=False, allow_unicode=True) if index else ""
    changed = _replaced(front, block)
    if _read_metadata(changed) != {**metadata, KEY: index} and index:
        raise UserError(
            f"its {KEY} cannot be replaced alone; do not refer to parts of it elsewhere"
        )
    if "\r\n" in head:
        changed = re.sub(r"\r?\n", "\r\n", changed)
    return head + changed + rest + body


def _read_metadata(front: str) -> dict[str, Any]:
    import yaml

    try:
        metadata = yaml.safe_load(front)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"its metadata is not valid YAML ({reason}); fix it first") from error
    if metadata is None:
        return {}
    if not isinstance(metadata, dict):
        raise UserError("its metadata is not a mapping; fix it first")
    return metadata


def _merged(old: Any, entries: Sequence[Mapping[str, Any]], source: Source) -> list[dict[str, Any]]:
    """Returns the old entries without the source's results, with the new entries' results added."""
    if not isinstance(old, list):
        raise UserError(_FORM)
    index = [entry for entry in (_without(entry, source) for entry in old) if entry]
    by_name = {entry.get("name"): entry for entry in index}
    for entry in entries:
        results = [
            {**result, "source": {"name": source.name, "url": source.url}}
            for result in entry["results"]
        ]
        if entry["name"] in by_name:
            by_name[entry["name"]]["results"] += results
        else:
            index.append({"name": entry["name"], "results": results})
    return index


def _without(entry: Any, source: Source) -> dict[str, Any] | None:
    """Returns an entry without the source's results; None if it has no others."""
    results = entry.get("results") if isinstance(entry, dict) else None
    if not isinstance(results, list):
        raise UserError(_FORM)
    remaining = [result for result in results if not _is_from(result, source)]
    return None if results and not remaining else {**entry, "results": remaining}


def _is_from(result: Any, source: Source) -> bool:
    named = result.get("source") if isinstance(result, dict) else None
    return isinstance(named, dict) and named.get("name") == source.name


def _replaced(front: str, block: str) -> str:
    """Returns YAML with its model-index, if any, replaced by these lines."""
    import yaml

    root = yaml.compose(front)
    for key, value in root.value if root is not None else ():
        if key.value == KEY:
            start, end = key.start_mark.index, value.end_mark.index
            lines = front[start:end].splitlines(keepends=True)
            # A block ends at the comments above the next key, which belong to that key.
            while len(lines) > 1 and (not lines[-1].strip() or lines[-1].lstrip()[0] == "#"):
                end -= len(lines.pop())
            after = front[end:]
            return front[:start] + block + (after if lines[-1].endswith("\n") else after.lstrip())
    before = front if not front or front.endswith("\n") else f"{front}\n"
    return before + block

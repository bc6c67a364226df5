"""What is known to fail before anything is run: files that are not there, classes that are none."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.common.errors import UserError
from bench.common.text import clean
from bench.datasets.base import Choice, Item
from bench.jobs.cells import Cell
from bench.metrics.loading import metrics_of


def _line(what: str, missing: Sequence[Path], of: int) -> str:
    verb = "is" if len(missing) == 1 else "are"
    first = clean(str(missing[0]))
    return f"{len(missing)} of {of} {what} {verb} missing: no such file; first: {first}"


def _recordings(caption: Choice, items: Sequence[Item]) -> list[Path]:
    """The files of the chosen captions' recordings, of those items that have any."""
    chosen = [item.captions[item.chosen(caption) :][:1] for item in items]
    return [one.speech for captions in chosen for one in captions if one.speech is not None]


def check_references(items: Sequence[Item], caption: Choice, readings: Sequence[str]) -> None:
    """Raises UserError for items that have no reference left beside the chosen caption."""
    if "others" not in readings:
        return
    lone = [item.id for item in items if set(range(len(item.captions))) <= {item.chosen(caption)}]
    if lone:
        raise UserError(
            f"{len(lone)} of {len(items)} items have no second caption, so no reference is left "
            f"where one is left out; first: {lone[0]}; write scoring: {{references: all}}, and "
            "leave out systems that say or continue a caption"
        )


def missing_files(
    items: Sequence[Item], whole: Sequence[Item], cells: Sequence[Cell]
) -> Iterable[str]:
    """A line for each kind of file that systems need and that is not there, or not all of it.

    `items` are those asked for, `whole` the split's, in which shuffled speech is looked for. Each
    missing file still becomes a failed row.
    """
    # What is shuffled of another system's transcripts needs no files of its own.
    systems = [cell.system for cell in cells if cell.source is None]
    if any(system.needs_images for system in systems):
        gone = [item.image for item in items if not item.image.is_file()]
        if gone:
            yield _line("images", gone, len(items))
    said: set[bool] = set()
    caption = cells[0].caption
    for system in dict.fromkeys(systems):
        gone = [path for path in system.files(items) if not path.is_file()]
        if gone:
            yield _line(f"audio files of {clean(system.label)}", gone, len(items))
        seen = system.seen(whole)
        if not (system.uses_caption() and system.has_speech) or (seen is None) in said:
            continue
        said.add(seen is None)
        needed = _recordings(caption, items if seen is None else [seen[i.id] for i in items])
        which = "their caption" if caption == "rotating" else f"caption {caption}"
        gone = [path for path in needed if not path.is_file()]
        if gone:
            yield _line(f"recordings of {which}", gone, len(items))
        lacking = len(items) - len(needed)
        if lacking:
            yield f"{lacking} of {len(items)} items have no recording of {which}"


def check_classes(cells: Sequence[Cell], metrics: Sequence[str]) -> None:
    """Raises UserError for a class that cannot be used, before any actor or model is started.

    `metrics` are the job's own, by their entries.
    """
    metrics_of(metrics)
    for system in {cell.system.shared(): cell.system for cell in cells}.values():
        system.check()
    for asr in {cell.asr for cell in cells if cell.asr}:
        asr.check()

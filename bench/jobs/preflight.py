"""What is known to fail before anything is run: files that are not there, classes that are none."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.common.text import clean
from bench.datasets.base import Item
from bench.jobs.cells import Cell


def _line(what: str, missing: Sequence[Path], of: int) -> str:
    verb = "is" if len(missing) == 1 else "are"
    first = clean(str(missing[0]))
    return f"{len(missing)} of {of} {what} {verb} missing: no such file; first: {first}"


def _recordings(number: int, items: Sequence[Item]) -> list[Path]:
    """The files of one caption's recordings, of those items that have any."""
    captions = [item.captions[number] for item in items if number < len(item.captions)]
    return [caption.speech for caption in captions if caption.speech is not None]


def missing_files(
    items: Sequence[Item], whole: Sequence[Item], cells: Iterable[Cell]
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
    said: set[object] = set()
    for system in dict.fromkeys(systems):
        gone = [path for path in system.files(items) if not path.is_file()]
        if gone:
            yield _line(f"audio files of {clean(system.label)}", gone, len(items))
        number, seen = system.recordings(), system.seen(whole)
        if number is None or (number, seen is None) in said:
            continue
        said.add((number, seen is None))
        needed = _recordings(number, items if seen is None else [seen[i.id] for i in items])
        gone = [path for path in needed if not path.is_file()]
        if gone:
            yield _line(f"recordings of caption {number}", gone, len(items))
        lacking = len(items) - len(needed)
        if lacking:
            yield f"{lacking} of {len(items)} items have no recording of caption {number}"


def check_classes(cells: Sequence[Cell]) -> None:
    """Raises UserError for a class that cannot be imported, before any actor tries to."""
    for one in {cell.system.shared() for cell in cells} | {cell.asr for cell in cells if cell.asr}:
        one.check()

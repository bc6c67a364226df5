"""What is known to fail before anything is run: files that are not there, classes that are none."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.cells import Cell
from bench.datasets.types import Item
from bench.systems.files import wav_files
from bench.systems.plugin import check_entry
from bench.systems.recorded import shuffled
from bench.systems.specs import (
    PixVoxSpec,
    PromptSpec,
    PythonSpec,
    RecordedSpec,
    ResynthesisSpec,
    ShuffledSpec,
    SystemSpec,
    WavsSpec,
)
from bench.text import clean


def _line(what: str, missing: Sequence[Path], of: int) -> str:
    verb = "is" if len(missing) == 1 else "are"
    first = clean(str(missing[0]))
    return f"{len(missing)} of {of} {what} {verb} missing: no such file; first: {first}"


def _recordings(system: SystemSpec, items: Sequence[Item]) -> tuple[int, list[Path]] | None:
    """The number of the caption whose recordings a system needs, and the files; or None."""
    if isinstance(system, RecordedSpec | ResynthesisSpec | PromptSpec | ShuffledSpec):
        number = system.caption
    elif isinstance(system, PixVoxSpec) and system.prompts[0] > 0:
        number = system.prompt_caption
    else:
        return None
    captions = [item.captions[number] for item in items if number < len(item.captions)]
    return number, [caption.speech for caption in captions if caption.speech is not None]


def missing_files(
    items: Sequence[Item], whole: Sequence[Item], cells: Iterable[Cell]
) -> Iterable[str]:
    """A line for each kind of file that systems need and that is not there, or not all of it.

    `items` are those asked for, `whole` the split's, in which shuffled speech is looked for. Each
    missing file still becomes a failed row.
    """
    # What is shuffled of another system's transcripts needs no files of its own.
    systems = [cell.system for cell in cells if cell.source is None]
    if any(isinstance(system, PixVoxSpec | PythonSpec) for system in systems):
        gone = [item.image for item in items if not item.image.is_file()]
        if gone:
            yield _line("images", gone, len(items))
    told: set[object] = set()
    for system in systems:
        if isinstance(system, WavsSpec) and system not in told:
            told.add(system)
            files = [system.folder / name for name in wav_files(system, items).values()]
            gone = [path for path in files if not path.is_file()]
            if gone:
                yield _line(f"audio files of {clean(system.label)}", gone, len(items))
        source = items
        if isinstance(system, ShuffledSpec):
            others = shuffled(whole, system.seed)
            source = [others[item.id] for item in items]
        needed = _recordings(system, source)
        key = None if needed is None else (needed[0], isinstance(system, ShuffledSpec))
        if needed is None or key in told:
            continue
        told.add(key)
        gone = [path for path in needed[1] if not path.is_file()]
        if gone:
            yield _line(f"recordings of caption {needed[0]}", gone, len(items))
        lacking = len(items) - len(needed[1])
        if lacking:
            yield f"{lacking} of {len(items)} items have no recording of caption {needed[0]}"


def check_classes(cells: Iterable[Cell]) -> None:
    """Raises UserError for a Python class that cannot be imported, before any actor tries to."""
    systems = [cell.system for cell in cells if isinstance(cell.system, PythonSpec)]
    for system in {system.entry: system for system in systems}.values():
        check_entry(system)

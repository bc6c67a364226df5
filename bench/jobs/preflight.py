"""Checks before a run starts: missing files, and classes that cannot be used."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.common.audio import SpeechError
from bench.common.errors import UserError
from bench.common.text import clean
from bench.datasets.base import Caption, Choice, Dataset, Item
from bench.datasets.storedunits import has_units
from bench.jobs.cells import Cell
from bench.metrics.base import Files
from bench.metrics.loading import check_metrics
from bench.metrics.settings import MetricEntry
from bench.systems.base import System
from bench.systems.weightfacts import cached_codec_facts


def _line(what: str, missing: Sequence[Path], of: int) -> str:
    verb = "is" if len(missing) == 1 else "are"
    first = clean(str(missing[0]))
    return f"{len(missing)} of {of} {what} {verb} missing: no such file; first: {first}"


def _chosen(choice: Choice, items: Sequence[Item]) -> list[Caption]:
    """Returns the chosen caption of each item that has a caption of that number."""
    return [caption for item in items for caption in item.captions[item.chosen(choice) :][:1]]


def _played_from_units(system: System, captions: Sequence[Caption]) -> list[bool]:
    """Returns for each caption whether the system uses its stored units instead of a recording."""
    stored = [caption.units for caption in captions]
    codec = system.codec_of() if any(entry is not None for entry in stored) else None
    if codec is None:
        return [False] * len(stored)
    facts = cached_codec_facts(*codec)
    try:
        return [entry is not None and has_units(entry, facts) for entry in stored]
    except SpeechError:
        # Each row reports what is wrong with the file.
        return [False] * len(stored)


def check_references(items: Sequence[Item], caption: Choice, readings: Sequence[str]) -> None:
    """Raises UserError for items whose only caption is left out of the references."""
    if "others" not in readings:
        return
    lone = [item.id for item in items if set(range(len(item.captions))) <= {item.chosen(caption)}]
    if lone:
        raise UserError(
            f"{len(lone)} of {len(items)} items have no second caption, so no reference is left "
            f"without the spoken one; first: {lone[0]}; write scoring: {{references: all}}, and "
            "leave out systems that say or continue a caption"
        )


def unmatched(items: Sequence[Item], whole: Dataset, cells: Sequence[Cell]) -> Iterable[str]:
    """Returns a line for each mismatch between audio files and the items."""
    systems = [cell.system for cell in cells if cell.source is None]
    lines = (
        f"{clean(system.label)}: {clean(line)}"
        for system in systems
        for line in system.unmatched(items, whole)
    )
    return [*_shared_recordings(items), *dict.fromkeys(lines)]


def _shared_recordings(items: Sequence[Item]) -> Iterable[str]:
    """Yields a line if captions with different texts name the same recording."""
    captions: dict[Path, dict[str, str]] = {}
    for item in items:
        for caption in item.captions:
            if caption.speech is not None:
                captions.setdefault(caption.speech, {}).setdefault(caption.text, item.id)
    shared = {path: texts for path, texts in captions.items() if len(texts) > 1}
    if shared:
        path, texts = next(iter(shared.items()))
        first, second = list(texts.items())[:2]
        of = " and ".join(clean(f"{text!r} of {item}") for text, item in (first, second))
        line = f"{len(shared)} of {len(captions)} recordings have captions with different texts"
        yield f"{line}; first: {clean(path.name)}, for {of}"


def missing_files(
    items: Sequence[Item], whole: Sequence[Item], cells: Sequence[Cell]
) -> Iterable[str]:
    """Yields a line for each kind of file that systems need and that is missing for some items.

    `items` are the items of the job, `whole` is the split, from which a shuffled system takes
    items. Each missing file still becomes a failed row.
    """
    # Cells that use another cell's transcripts need no files of their own.
    systems = [cell.system for cell in cells if cell.source is None]
    if any(system.needs_images for system in systems):
        gone = [item.image for item in items if not item.image.is_file()]
        if gone:
            yield _line("images", gone, len(items))
    said: set[tuple[bool, str]] = set()
    caption = cells[0].caption
    for system in dict.fromkeys(systems):
        gone = [path for path in system.files(items) if not path.is_file()]
        if gone:
            yield _line(f"audio files of {clean(system.label)}", gone, len(items))
        views = system.item_view(whole)
        if not (system.uses_caption() and system.has_speech):
            continue
        chosen = _chosen(caption, items if views is None else [views[i.id] for i in items])
        for line in _missing_recordings(system, chosen, caption, len(items)):
            if (views is None, line) not in said:
                said.add((views is None, line))
                yield line


def _missing_recordings(
    system: System, chosen: Sequence[Caption], choice: Choice, of: int
) -> Iterable[str]:
    which = "their caption" if choice == "rotating" else f"caption {choice}"
    from_units = _played_from_units(system, chosen)
    needed = [caption for caption, without in zip(chosen, from_units, strict=True) if not without]
    files = [caption.speech for caption in needed if caption.speech is not None]
    gone = [path for path in files if not path.is_file()]
    if gone:
        yield _line(f"recordings of {which}", gone, of)
    lacking = of - sum(from_units) - len(files)
    if lacking:
        line = f"{lacking} of {of} items have no recording of {which}"
        units = sum(caption.units is not None for caption in needed if caption.speech is None)
        yield line + (
            f"; {units} have only units, which {clean(system.label)} cannot use" if units else ""
        )


def short_limits(items: Sequence[Item], cells: Sequence[Cell]) -> Iterable[str]:
    """Yields a line for each system whose longest speech is below 1.2 times the 95th percentile of
    the recordings' lengths, so that its speech would be cut off."""
    bounded = {cell.system.label: cell.system.longest_seconds() for cell in cells}
    if not any(bounded.values()):
        return
    files = [c.speech for item in items for c in item.captions if c.speech is not None]
    # Every nth recording, so that the check is fast and its result is always the same.
    sample = files[:: max(1, len(files) // _RECORDINGS)]
    lengths = sorted(seconds for file in sample if (seconds := _seconds(file)) is not None)
    if not lengths:
        return
    usual = lengths[math.ceil(0.95 * len(lengths)) - 1]
    for label, longest in bounded.items():
        if longest is not None and longest < _ROOM * usual:
            yield (
                f"{clean(label)}: speech is cut off at decoding.max_seconds {longest:g}; the 95th "
                f"percentile of {len(lengths)} recordings is {usual:.1f} s; "
                f"{_ROOM * usual:.1f} leaves room"
            )


_RECORDINGS = 200
"""About how many recordings' lengths are read."""
_ROOM = 1.2
"""The room above the 95th percentile, as a factor."""


def _seconds(file: Path) -> float | None:
    """Returns the length in a recording's header in seconds; None if libsndfile cannot read it."""
    import soundfile

    try:
        return float(soundfile.info(str(file)).duration)
    except (OSError, soundfile.SoundFileError):
        return None


def check_classes(cells: Sequence[Cell], metrics: Sequence[MetricEntry], files: Files) -> None:
    """Raises UserError for a class that cannot be used, before any actor or model is started.

    `metrics` are the job's own, and `files` those of its items.
    """
    check_metrics(metrics, files)
    for system in {cell.system.shared(): cell.system for cell in cells}.values():
        system.check()
    for asr in {cell.asr for cell in cells if cell.asr}:
        asr.check()

"""Expands a job to cells: digests of weights, codecs, data and protocols, hashed into keys."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.asr.base import Asr
from bench.common.errors import UserError
from bench.datasets.base import Choice, Dataset
from bench.jobs.cells import Cell, key_of
from bench.jobs.grid import matches, variants
from bench.jobs.spec import Job
from bench.systems.base import Content, Lookup, Role, System
from bench.systems.borrowing import Borrowing
from pixvox.decoding.protocol import PROTOCOL
from pixvox.digests import WeightsError

SPEECH_PROTOCOL = 2
"""Raise it when a change makes the same system generate differently (prompts, resampling, …)."""


def content_of(system: System, lookup: Lookup) -> Content:
    """Returns everything that a system's speech depends on.

    Raises UserError, with the system's name, for files that cannot be used.
    """
    try:
        return system.identified(lookup)
    except WeightsError as error:
        raise UserError(f"{system.label}: {error}") from error
    except OSError as error:
        # Only files that the job names are opened here, so the message can name the file.
        raise UserError(f"{system.label}: {error.filename}: {error.strerror}") from error


@dataclass(frozen=True)
class _Speech:
    """A variant of a system, its speech's key, and the content that the key is a digest of."""

    system: System
    prompt: float
    key: str
    content: Content


def _speeches(job: Job, dataset: Dataset) -> list[_Speech]:
    """Returns every variant of every system with its speech's key.

    Raises UserError for two equal variants, and for `candidates` in a grid without sampling.
    """
    speeches: list[_Speech] = []
    lookup = Lookup(dataset)
    for base in job.systems:
        for system in variants(base, job.grid):
            content = content_of(system, lookup)
            prompt = system.point().get("prompt", 0.0)
            caption = {"caption": job.caption} if system.uses_caption() else {}
            key = key_of(
                dict(content.depends)
                | {"prompt": prompt, "dataset": dataset.digest}
                | {"protocol": SPEECH_PROTOCOL, "decoding_protocol": PROTOCOL}
                | caption
            )
            speeches.append(_Speech(system, prompt, key, content))
    included = (point.values.get("candidates") for point in job.grid.include)
    asked = {*job.grid.values("candidates"), *included}
    drawn = {speech.system.point().get("candidates") for speech in speeches}
    if unused := sorted(number for number in asked - drawn if number and number > 1):
        raise UserError(
            f"grid: {unused[0]} candidates, but no system samples; greedy decoding gives the "
            "same speech each time: add a temperature, or remove them"
        )
    times = Counter(speech.key for speech in speeches)
    for speech in speeches:
        if times[speech.key] > 1:
            raise UserError(
                f"systems: {speech.system.label} at {speech.prompt:.0%} occurs twice; remove one"
            )
    return speeches


def expand(job: Job, dataset: Dataset, asrs: Sequence[tuple[Asr, Mapping[str, Any]]]) -> list[Cell]:
    """Returns a job's cells in its order; `asrs` has the facts of each ASR.

    Raises UserError for weights, codecs, files or patterns that do not fit, a cell named twice, a
    shuffled floor without speech or transcripts, or a grid without cells.
    """
    cells: list[Cell] = []
    for speech in _speeches(job, dataset):
        system = speech.system
        if not system.has_speech:
            cells.append(_text_cell(speech, job.caption))
            continue
        completes = speech.prompt > 0 and system.continues
        for asr, facts in asrs:
            if any(matches(point, system, asr.label) for point in job.grid.exclude):
                continue
            for part in job.parts if completes else ("whole",):
                stands_on = {"speech": speech.key} | dict(facts)
                if part != "whole":
                    stands_on["part"] = part
                cell = Cell(
                    label=system.label,
                    system=system,
                    pattern=speech.content.pattern,
                    prompt=speech.prompt,
                    asr=asr,
                    part=part,
                    speech_key=speech.key,
                    transcript_key=key_of(stands_on),
                    caption=job.caption,
                    weights=speech.content.weights,
                    codec=speech.content.codec,
                    trained_on=speech.content.trained_on,
                    plugins=speech.content.plugins,
                )
                cells.append(cell)
    if not cells:
        raise UserError(f"{job.name}: the grid has no cells left; exclude fewer")
    recorded = any(caption.speech for item in dataset.items for caption in item.captions)
    return [
        _of_another(cell, borrowing, cells, recorded)
        if (borrowing := cell.system.borrows(recorded))
        else cell
        for cell in cells
    ]


def _text_cell(speech: _Speech, caption: Choice) -> Cell:
    """Returns the cell of a system that is a text, which no ASR transcribes."""
    return Cell(
        label=speech.system.label,
        system=speech.system,
        pattern="",
        prompt=0.0,
        asr=None,
        part="whole",
        speech_key=speech.key,
        transcript_key=key_of({"text": speech.key}),
        caption=caption,
    )


def _source(cell: Cell, named: str | None, cells: Sequence[Cell], recorded: bool) -> Cell | None:
    """Returns the cell whose transcripts a cell uses: without a prompt, and of the same ASR."""
    for other in cells:
        alike = other.asr == cell.asr and not other.prompt and other.part == "whole"
        if other.system.borrows(recorded) or not alike:
            continue
        if other.label == named or (named is None and other.system.role == Role.SYSTEM):
            return other
    return None


def _of_another(cell: Cell, borrowing: Borrowing, cells: Sequence[Cell], recorded: bool) -> Cell:
    """Returns the cell of a floor that uses another cell's transcripts."""
    named = borrowing.of
    source = _source(cell, named, cells, recorded)
    if source is None:
        why = f"no system {named!r}" if named else "no recorded speech, and no system"
        raise UserError(
            f"systems: {cell.label}: there is {why} without a prompt whose transcripts could be "
            "shuffled; add one to the job, or remove this floor"
        )
    speech, transcribed = (
        key_of({"shuffled": key, "seed": borrowing.seed})
        for key in (source.speech_key, source.transcript_key)
    )
    return replace(
        cell,
        speech_key=speech,
        transcript_key=transcribed,
        weights=source.weights,
        codec=source.codec,
        source=source,
    )

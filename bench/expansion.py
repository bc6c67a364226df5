"""A job's cells: the digests of weights, codecs, data and protocols, hashed into keys."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.cells import Cell, key_of
from bench.datasets.types import Dataset
from bench.errors import UserError
from bench.grid import matches, prompts_of, variants
from bench.spec import AsrSpec, Job
from bench.systems.files import wavs_digest
from bench.systems.plugin import source_of
from bench.systems.specs import (
    CEILINGS,
    FLOORS,
    PixVoxSpec,
    PromptSpec,
    PythonSpec,
    ResynthesisSpec,
    ShuffledSpec,
    SystemSpec,
    TextSpec,
    UnitsSpec,
    WavsSpec,
)
from pixvox.codec import codec_facts
from pixvox.decoding import PROTOCOL
from pixvox.digests import WeightsError, digest, file_digest
from pixvox.patterns import PATTERN_NAMES, layout
from pixvox.weights import resolve

SPEECH_PROTOCOL = 2
"""Raised when a change makes the same system speak differently (prompt cut, resampling, …)."""


def _config(folder: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise UserError(
            f"{folder / 'config.json'}: not JSON ({error}); save the model again"
        ) from error
    return content


def _pixvox(spec: PixVoxSpec) -> tuple[dict[str, Any], str]:
    folder = resolve(spec.weights)
    config = _config(folder)
    if config.get("model_type") != "pixvox":
        raise UserError(f"{spec.weights}: a {config.get('model_type')} model, not a PixVoxLM")
    if config["pattern"] not in PATTERN_NAMES:
        raise UserError(
            f"{spec.weights}: unknown pattern {config['pattern']!r}; "
            f"this version knows {', '.join(PATTERN_NAMES)}"
        )
    if spec.pattern is not None and spec.pattern != config["pattern"]:
        raise UserError(
            f"{spec.weights}: trained on the pattern {config['pattern']!r}, the job asks for "
            f"{spec.pattern!r}; name the other checkpoint or drop the line"
        )
    codec_name = spec.codec or config["codec"]
    codec_digest, codebooks = codec_facts(codec_name, config["bandwidth"])
    if codebooks != config["num_codebooks"]:
        raise UserError(
            f"{spec.weights}: {config['num_codebooks']} codebooks, but {codec_name} has "
            f"{codebooks} at {config['bandwidth']} kbps; name the codec it was trained on"
        )
    if config["codec_digest"] and config["codec_digest"] != codec_digest:
        raise UserError(
            f"{spec.weights}: trained on the codec {config['codec_digest']}, {codec_name} is "
            f"{codec_digest}; name the codec it was trained on"
        )
    frames = round(spec.decoding.max_seconds * config["frame_rate"]) + 1
    steps = len(layout(config["pattern"], codebooks, frames).steps)
    if steps > config["max_position_embeddings"]:
        raise UserError(
            f"{spec.weights}: decoding.max_seconds {spec.decoding.max_seconds:g} needs {steps} "
            f"steps, the model has {config['max_position_embeddings']} positions; lower it"
        )
    content = spec.model_dump(exclude={"label", "prompts", "weights", "codec", "pattern"})
    content |= {"weights": digest(folder), "codec": codec_digest}
    if prompts_of(spec)[0] == 0:
        del content["prompt_caption"]
    return content, str(config["pattern"])


def _content(spec: SystemSpec, dataset: Dataset) -> tuple[dict[str, Any], str]:
    """What a system's speech depends on, digests for names, and its pattern."""
    try:
        match spec:
            case PixVoxSpec():
                return _pixvox(spec)
            case ResynthesisSpec() | PromptSpec():
                codec_digest, _ = codec_facts(spec.codec, spec.bandwidth)
                content = spec.model_dump(exclude={"label", "prompts"})
                return content | {"codec": codec_digest}, ""
            case WavsSpec():
                return {"kind": "wavs", "files": wavs_digest(spec, dataset.items)}, ""
            case UnitsSpec():
                codec_digest, _ = codec_facts(spec.codec, spec.bandwidth)
                if not spec.file.is_file():
                    raise UserError(f"{spec.file}: no such file; {spec.label} needs its units")
                units = file_digest(spec.file)[:16]
                return {"kind": "units", "units": units, "codec": codec_digest}, ""
            case ShuffledSpec(of=None):
                return spec.model_dump(exclude={"label", "of"}), ""
            case PythonSpec():
                content = spec.model_dump(exclude={"label", "training"})
                return content | {"source": file_digest(source_of(spec))[:16]}, ""
            case _:
                return spec.model_dump(exclude={"label"}), ""
    except WeightsError as error:
        raise UserError(str(error)) from error


@dataclass(frozen=True)
class _Speech:
    """A variant of a system, its pattern, its speech's key, and the digests it stands on."""

    system: SystemSpec
    pattern: str
    key: str
    weights: str
    codec: str


def _speeches(job: Job, dataset: Dataset) -> list[_Speech]:
    """Every variant of every system, its pattern and its speech's key."""
    found: list[_Speech] = []
    for base in job.systems:
        for spec in variants(base, job.grid):
            content, pattern = _content(spec, dataset)
            key = key_of(
                content
                | {"prompt": prompts_of(spec)[0], "dataset": dataset.digest}
                | {"protocol": SPEECH_PROTOCOL, "decoding_protocol": PROTOCOL}
            )
            facts = (str(content.get("weights", "")), str(content.get("codec", "")))
            found.append(_Speech(spec, pattern, key, *facts))
    keys = [one.key for one in found]
    for one in found:
        if keys.count(one.key) > 1:
            share = prompts_of(one.system)[0]
            raise UserError(
                f"systems: {one.system.label} at {share:.0%} is there twice; remove one"
            )
    return found


def expand(
    job: Job, dataset: Dataset, asrs: Sequence[tuple[AsrSpec, Mapping[str, Any]]]
) -> list[Cell]:
    """A job's cells, in its order; with every ASR, all that a transcript depends on but speech.

    Raises UserError for weights, codecs, files or patterns that do not fit, a cell named twice,
    a floor that has nothing to shuffle, or a grid that leaves no cell.
    """
    cells: list[Cell] = []
    for one in _speeches(job, dataset):
        spec, pattern, speech_key = one.system, one.pattern, one.key
        prompt = prompts_of(spec)[0]
        if isinstance(spec, TextSpec):
            key = key_of({"text": speech_key})
            cells.append(Cell(spec.label, spec, "", 0.0, None, "whole", speech_key, key))
            continue
        completes = prompt > 0 and isinstance(spec, PixVoxSpec)
        for asr, facts in asrs:
            if any(matches(point, spec, asr.label) for point in job.grid.exclude):
                continue
            for hear in job.hear if completes else ("whole",):
                content = {"speech": speech_key} | dict(facts)
                if hear != "whole":
                    content["hear"] = hear
                keys = (speech_key, key_of(content))
                made = (spec.label, spec, pattern, prompt, asr, hear, *keys)
                cells.append(Cell(*made, one.weights, one.codec))
    if not cells:
        raise UserError(f"{job.name}: the grid leaves no cell; exclude less")
    recorded = any(caption.speech for item in dataset.items for caption in item.captions)
    return [
        _of_system(cell, cell.system, cells)
        if isinstance(cell.system, ShuffledSpec) and (cell.system.of or not recorded)
        else cell
        for cell in cells
    ]


def _source(cell: Cell, named: str | None, cells: Sequence[Cell]) -> Cell | None:
    """Whose transcripts a shuffled cell takes: of the same ASR, without a prompt."""
    for other in cells:
        alike = other.asr == cell.asr and not other.prompt and other.hear == "whole"
        if isinstance(other.system, ShuffledSpec) or not alike:
            continue
        competes = not isinstance(other.system, CEILINGS + FLOORS)
        if other.label == named or (named is None and competes):
            return other
    return None


def _of_system(cell: Cell, spec: ShuffledSpec, cells: Sequence[Cell]) -> Cell:
    """A floor whose transcripts are another cell's, of other images."""
    source = _source(cell, spec.of, cells)
    if source is None:
        why = f"no system {spec.of!r}" if spec.of else "no recorded speech, and no system"
        raise UserError(
            f"systems: {spec.label}: there is {why} without a prompt whose transcripts could be "
            "shuffled; add one to the job, or remove this floor"
        )
    speech, heard = (
        key_of({"shuffled": key, "seed": spec.seed})
        for key in (source.speech_key, source.heard_key)
    )
    return replace(
        cell,
        speech_key=speech,
        heard_key=heard,
        weights=source.weights,
        codec=source.codec,
        source=source,
    )

"""A job's cells: the digests of weights, codecs, data and protocols, hashed into keys."""

import json
from pathlib import Path
from typing import Any

from bench.cells import Cell, key_of
from bench.datasets.types import Dataset
from bench.errors import UserError
from bench.spec import Job, PixVoxSpec, RecordedSpec, ResynthesisSpec, SystemSpec
from pixvox.codec import codec_facts
from pixvox.decoding import PROTOCOL
from pixvox.patterns import PATTERN_NAMES, layout
from pixvox.weights import WeightsError, digest, resolve

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
    return content, str(config["pattern"])


def _content(spec: SystemSpec) -> tuple[dict[str, Any], str]:
    """What a system's speech depends on, digests for names, and its pattern."""
    try:
        match spec:
            case PixVoxSpec():
                return _pixvox(spec)
            case RecordedSpec():
                return spec.model_dump(exclude={"label"}), ""
            case ResynthesisSpec():
                codec_digest, _ = codec_facts(spec.codec, spec.bandwidth)
                return spec.model_dump(exclude={"label"}) | {"codec": codec_digest}, ""
    except WeightsError as error:
        raise UserError(str(error)) from error


def expand(job: Job, dataset: Dataset, asr: dict[str, Any]) -> list[Cell]:
    """A job's cells, in its order; `asr` is all that a transcript depends on but the speech.

    Raises UserError for weights, codecs or patterns that do not fit, or a cell named twice.
    """
    cells: list[Cell] = []
    for spec in job.systems:
        content, pattern = _content(spec)
        prompts = spec.prompts if isinstance(spec, PixVoxSpec) else (0.0,)
        for prompt in prompts:
            speech_key = key_of(
                content
                | {"prompt": prompt, "dataset": dataset.digest}
                | {"protocol": SPEECH_PROTOCOL, "decoding_protocol": PROTOCOL}
            )
            heard_key = key_of({"speech": speech_key} | asr)
            cells.append(Cell(spec.label, spec, pattern, prompt, speech_key, heard_key))
    keys = [cell.speech_key for cell in cells]
    for cell in cells:
        if keys.count(cell.speech_key) > 1:
            raise UserError(
                f"systems: {cell.label} at {cell.prompt:.0%} is there twice; remove one"
            )
    return cells

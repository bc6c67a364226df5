"""A job's cells: the digests of weights, codecs, data and protocols, hashed into keys."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from bench.cells import Cell, key_of
from bench.datasets.types import Dataset
from bench.entries import source_of
from bench.errors import UserError
from bench.grid import matches, prompts_of, variants
from bench.spec import AsrSpec, Job
from bench.systems.files import read_units, wavs_digest
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
from pixvox.codec import CodecFacts, codec_facts
from pixvox.configfile import pixvox_config
from pixvox.configuration import PixVoxConfig
from pixvox.decoding import PROTOCOL
from pixvox.digests import WeightsError, digest, file_digest
from pixvox.modeling import PixVoxLM
from pixvox.patterns import layout
from pixvox.shapes import check_fit, shapes_of, tensor_shapes
from pixvox.weights import resolve

T = TypeVar("T")

SPEECH_PROTOCOL = 2
"""Raised when a change makes the same system speak differently (prompt cut, resampling, …)."""


@dataclass(frozen=True)
class _Model:
    """A PixVoxLM that was looked at once, for all its cells."""

    config: PixVoxConfig
    codec: str
    facts: CodecFacts
    digest: str


def _model(spec: PixVoxSpec) -> _Model:
    """The spec's weights, that they fit their config.json, the codec and each other."""
    folder = resolve(spec.weights)
    config = pixvox_config(folder)
    if spec.pattern is not None and spec.pattern != config.pattern:
        raise UserError(
            f"{spec.weights}: trained on the pattern {config.pattern!r}, the job asks for "
            f"{spec.pattern!r}; name the other checkpoint or drop the line"
        )
    codec = spec.codec or config.codec
    facts = codec_facts(codec, config.bandwidth)
    if facts.codebooks != config.num_codebooks:
        raise UserError(
            f"{spec.weights}: {config.num_codebooks} codebooks, but {codec} has "
            f"{facts.codebooks} at {config.bandwidth} kbps; name the codec it was trained on"
        )
    if config.codec_digest and config.codec_digest != facts.digest:
        raise UserError(
            f"{spec.weights}: trained on the codec {config.codec_digest}, {codec} is "
            f"{facts.digest}; name the codec it was trained on"
        )
    check_fit(folder, tensor_shapes(folder), shapes_of(PixVoxLM, config))
    return _Model(config, codec, facts, digest(folder))


class _Contents:
    """What each system's speech depends on; files are read and digested once a job."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.known: dict[tuple[Any, ...], Any] = {}

    def _once(self, key: tuple[Any, ...], made: Callable[[], T]) -> T:
        if key not in self.known:
            self.known[key] = made()
        found: T = self.known[key]
        return found

    def _codec(self, name: str, bandwidth: float) -> CodecFacts:
        return self._once(("codec", name, bandwidth), lambda: codec_facts(name, bandwidth))

    def _pixvox(self, spec: PixVoxSpec) -> tuple[dict[str, Any], str]:
        names = ("pixvox", spec.weights, spec.codec, spec.pattern)
        found = self._once(names, lambda: _model(spec))
        config, seconds = found.config, spec.decoding.max_seconds
        frames = round(seconds * config.frame_rate) + 1
        steps = self._once(
            ("steps", config.pattern, config.num_codebooks, frames),
            lambda: len(layout(config.pattern, config.num_codebooks, frames).steps),
        )
        if steps > config.max_position_embeddings:
            raise UserError(
                f"{spec.weights}: decoding.max_seconds {seconds:g} needs {steps} steps, the model "
                f"has {config.max_position_embeddings} positions; lower it"
            )
        content = spec.model_dump(exclude={"label", "prompts", "weights", "codec", "pattern"})
        content |= {"weights": found.digest, "codec": found.facts.digest}
        if prompts_of(spec)[0] == 0:
            del content["prompt_caption"]
        return content, config.pattern

    def _units(self, spec: UnitsSpec) -> str:
        if not spec.file.is_file():
            raise UserError(f"{spec.file}: no such file; {spec.label} needs its units")
        read_units(spec)
        return file_digest(spec.file)[:16]

    def _of(self, spec: SystemSpec) -> tuple[dict[str, Any], str]:
        match spec:
            case PixVoxSpec():
                return self._pixvox(spec)
            case ResynthesisSpec() | PromptSpec():
                content = spec.model_dump(exclude={"label", "prompts"})
                return content | {"codec": self._codec(spec.codec, spec.bandwidth).digest}, ""
            case WavsSpec():
                return {"kind": "wavs", "files": wavs_digest(spec, self.dataset.items)}, ""
            case UnitsSpec():
                codec = self._codec(spec.codec, spec.bandwidth).digest
                return {"kind": "units", "units": self._units(spec), "codec": codec}, ""
            case ShuffledSpec(of=None):
                return spec.model_dump(exclude={"label", "of"}), ""
            case PythonSpec():
                content = spec.model_dump(exclude={"label", "training"})
                return content | {"source": file_digest(source_of(spec.entry, spec.label))[:16]}, ""
            case _:
                return spec.model_dump(exclude={"label"}), ""

    def of(self, spec: SystemSpec) -> tuple[dict[str, Any], str]:
        """What a system's speech depends on, digests for names, and its pattern.

        Raises UserError, naming the system, for files that cannot be used.
        """
        try:
            return self._of(spec)
        except WeightsError as error:
            raise UserError(f"{spec.label}: {error}") from error
        except OSError as error:
            # All that is opened here is named in the job.
            raise UserError(f"{spec.label}: {error.filename}: {error.strerror}") from error


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
    contents = _Contents(dataset)
    for base in job.systems:
        for spec in variants(base, job.grid):
            content, pattern = contents.of(spec)
            key = key_of(
                content
                | {"prompt": prompts_of(spec)[0], "dataset": dataset.digest}
                | {"protocol": SPEECH_PROTOCOL, "decoding_protocol": PROTOCOL}
            )
            facts = (str(content.get("weights", "")), str(content.get("codec", "")))
            found.append(_Speech(spec, pattern, key, *facts))
    times = Counter(one.key for one in found)
    for one in found:
        if times[one.key] > 1:
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

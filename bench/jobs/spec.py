"""The schema of a job file.

A job names a dataset, the systems to evaluate on it, the ASR that transcribes, and the scoring.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from bench.asr.base import Asr
from bench.asr.shipped import DEFAULT, AnyAsr
from bench.common.bounds import Actors, CaptionNumber, Count, JobName, Seed
from bench.common.resampling import Resampling
from bench.common.validation import did_you_mean, keys_error, shown
from bench.common.yamlfile import Strict
from bench.datasets.base import to_evaluate
from bench.datasets.shipped import AnyDataset
from bench.jobs.grid import Grid, count
from bench.jobs.tables import TABLES, TableName
from bench.metrics.loading import MetricName
from bench.systems.shipped import AnySystem
from bench.tracking.base import Tracker
from bench.tracking.shipped import Tracking, tracker_of

MAX_CELLS = 10_000
"""The most cells of a job: each takes seconds to score, and nobody reads a larger table."""


Normaliser = Literal["none", "whisper"]
Reading = Literal["others", "all"]


def _how_many(value: Any) -> str:
    return "several" if isinstance(value, list | tuple) else "one"


class ScoringSpec(Strict):
    """How transcripts are scored."""

    references: Annotated[
        Annotated[Reading, Tag("one")]
        | Annotated[tuple[Reading, ...], Field(min_length=1, max_length=2), Tag("several")],
        Discriminator(_how_many),
    ] = "others"
    """What transcripts are compared with: `others`, all captions of the image except the job's
    `caption`, for every row; or `all`, which includes that caption, although some systems speak or
    continue it. The first of a list is the job's own; the second one gets additional tables."""
    normaliser: Annotated[
        Annotated[Normaliser, Tag("one")]
        | Annotated[tuple[Normaliser, ...], Field(min_length=1, max_length=2), Tag("several")],
        Discriminator(_how_many),
    ] = "none"
    """The normaliser of hypotheses and references before tokenising: none, or Whisper's English
    normaliser. The first of a list is the job's own; the others show how scores depend on it."""
    metrics: Annotated[tuple[MetricName, ...], Field(max_length=50)] = ()
    """Metrics beside those of every job: `dnsmos`, `dnsmos_p808`, `pauses` and `pitch` (with the
    extra `quality`), `sbert_sim` (with the extra `meaning`), `speaker_similarity` (with the extra
    `speaker`), `speaking_rate`, those with settings, what installed packages add, or classes of
    your own, `package.module:Class`."""
    replicates: Annotated[
        int, Field(ge=100, le=100_000, description="more would change no digit shown")
    ] = Resampling.replicates
    """The number of replicates of the bootstrap and the permutation test."""
    confidence: Annotated[float, Field(gt=0.5, le=0.999, description="as in 0.95")] = (
        Resampling.confidence
    )
    """The confidence level of the intervals."""
    seed: Seed = Resampling.seed
    """The seed of the replicates."""

    @property
    def resampling(self) -> Resampling:
        """The settings of intervals and tests."""
        return Resampling(replicates=self.replicates, confidence=self.confidence, seed=self.seed)

    @property
    def readings(self) -> tuple[Reading, ...]:
        """The sets of references, the job's own first."""
        return self.references if isinstance(self.references, tuple) else (self.references,)

    def with_reading(self, name: Reading) -> "ScoringSpec":
        """Returns the same scoring with one set of references."""
        return self.model_copy(update={"references": name})

    @property
    def normalisers(self) -> tuple[Normaliser, ...]:
        """The normalisers, the job's own first."""
        return self.normaliser if isinstance(self.normaliser, tuple) else (self.normaliser,)

    def with_normaliser(self, name: Normaliser) -> "ScoringSpec":
        """Returns the same scoring with one normaliser."""
        return self.model_copy(update={"normaliser": name})


class ClusterSpec(Strict):
    """The number of actors of each kind, and how long a batch may take."""

    address: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """The address of a running Ray cluster, HOST:PORT or `auto`, if the command line gives none;
    `null` uses RAY_ADDRESS. Without both, or with `local`, Ray is started on this machine."""
    generators: Actors = 0
    """How many actors generate; 0 for as many as the machine has room for."""
    transcribers: Actors = 0
    """How many actors transcribe; 0 for as many as the machine has room for."""
    deadline_seconds: Annotated[
        int, Field(ge=1, le=86_400, description="a batch that takes a day will not end")
    ] = 900
    """How long a batch may take before its actor is taken to hang."""
    latency_items: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Of how many of the first items each speech is generated and decoded alone, so that `speed.md`
    has the latency at batch 1. No key, score or golden depends on it."""


class Job(Strict):
    """One evaluation."""

    name: JobName
    """The run's name, and that of its folder under `results/runs/`: small letters, digits, `-` and
    `_`."""
    dataset: Annotated[AnyDataset, AfterValidator(to_evaluate)]
    """The dataset to evaluate on."""
    limit: Count | None = None
    """Use only the first items; `null` for all."""
    caption: CaptionNumber | Literal["rotating"] = "rotating"
    """The number, from 0, of the caption whose recorded speech is used for ceilings and prompts; it
    is left out of the references of every row. `rotating` uses a different number from image to
    image."""
    systems: Annotated[tuple[AnySystem, ...], Field(min_length=1)]
    """The systems to evaluate."""
    grid: Grid = Grid()
    """Axes along which the systems are varied."""
    asr: Annotated[
        Annotated[AnyAsr, Tag("one")]
        | Annotated[tuple[AnyAsr, ...], Field(min_length=1), Tag("several")],
        Discriminator(_how_many),
    ] = DEFAULT
    """The ASR. The first of a list is the job's own; the others show how scores depend on it."""
    parts: Annotated[
        tuple[Literal["whole", "continuation"], ...], Field(min_length=1, max_length=2)
    ] = ("whole",)
    """What is transcribed and scored if there is a prompt: the whole speech, the speech after the
    prompt, or both, in separate cells."""
    scoring: ScoringSpec = ScoringSpec()
    """How transcripts are scored."""
    cluster: ClusterSpec = ClusterSpec()
    """How many actors there are, and on which cluster."""
    tables: tuple[TableName, ...] = tuple(table.name for table in TABLES)
    """The tables: systems without a prompt, and systems with one."""
    tracking: Tracking | None = None
    """The tracker that measured rows are logged to after the tables are written: its name, or its
    settings. No key, digest or signature depends on it."""

    @property
    def tracker(self) -> Tracker | None:
        """The tracker with its settings; None without one."""
        return None if self.tracking is None else tracker_of(self.tracking)

    @property
    def asrs(self) -> tuple[Asr, ...]:
        """The ASRs, the job's own first."""
        return self.asr if isinstance(self.asr, tuple) else (self.asr,)

    @model_validator(mode="after")
    def _known_names(self) -> "Job":
        labels = [system.label for system in self.systems]
        transcribed = [asr.label for asr in self.asrs]
        for point in (*self.grid.include, *self.grid.exclude):
            if point.system is not None and point.system not in labels:
                near = did_you_mean(point.system, labels)
                raise keys_error({"grid": f"there is no system {shown(point.system)}; {near}"})
            if point.asr is not None and point.asr not in transcribed:
                near = did_you_mean(point.asr, transcribed)
                raise keys_error({"grid": f"there is no ASR {shown(point.asr)}; {near}"})
        return self

    @model_validator(mode="after")
    def _each_once(self) -> "Job":
        labels = [system.label for system in self.systems]
        reasons = {
            f"systems[{n}].label": f"{shown(label)} is the label of systems[{first}] too"
            for n, label in enumerate(labels)
            if (first := labels.index(label)) < n
        }
        had = {axis for system in self.systems for axis in system.values()}
        for axis in self.grid.crossed:
            if axis not in had:
                reasons[f"grid.{axis}"] = "no system of the job has this axis"
        if reasons:
            raise keys_error(reasons)
        return self

    @model_validator(mode="after")
    def _point_axes(self) -> "Job":
        """Refuses values of points on axes that the system does not have."""
        reasons: dict[str, str] = {}
        for number, point in enumerate(self.grid.include):
            system = next(each for each in self.systems if each.label == point.system)
            for axis in point.values.keys() - {"system", *system.values()}:
                why = f"{shown(system.label)} does not have this axis; remove it"
                if axis == "asr":
                    why = "all ASRs transcribe an included cell; use exclude to leave some out"
                reasons[f"grid.include[{number}].{axis}"] = why
        axes = {axis for system in self.systems for axis in system.values()}
        for number, point in enumerate(self.grid.exclude):
            for axis in point.values.keys() - {"system", "asr", "prompt", *axes}:
                reasons[f"grid.exclude[{number}].{axis}"] = "no system of the job has this axis"
        if reasons:
            raise keys_error(reasons)
        return self

    @model_validator(mode="after")
    def _bounded(self) -> "Job":
        variants = sum(count(system, self.grid) for system in self.systems)
        cells = variants * len(self.asrs) * len(self.parts)
        if cells > MAX_CELLS:
            reason = (
                f"makes {cells:,} cells, and a job has at most {MAX_CELLS:,}; name fewer values"
            )
            raise keys_error({"grid": reason})
        return self

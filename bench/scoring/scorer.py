"""Scores cells; every item of the job counts, and failed ones count as empty transcripts."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from bench.asr.base import Asr, Facts
from bench.datasets.base import Choice, Dataset
from bench.jobs.cells import Cell
from bench.jobs.spec import ScoringSpec
from bench.metrics.base import Array, AudioMetric, CorpusMetric, ImageMetric, Metric, RowMetric
from bench.metrics.counted import (
    Counted,
    audio_statistics,
    joined,
    row_statistics,
    statistics_of,
)
from bench.metrics.loading import files_of, metrics_of
from bench.metrics.normalise import normaliser
from bench.metrics.tokens import tokenise
from bench.scoring import taxonomy
from bench.scoring.inference import Interval, intervals
from bench.scoring.signature import ReferenceSet, Signature, idf_digest, signature
from bench.store.rows import measured_names

AsrFacts = Mapping[Asr, Facts]


@dataclass(frozen=True, kw_only=True)
class CellScores:
    """A cell's corpus scores with their intervals, and the scores of its items.

    Metrics against the spoken caption are included only if the words were given and not the model's
    own; metrics of speech only if there is speech. `failed` items count as empty transcripts;
    `unended` is the number that reached the length limit; `kinds` are the shares of items with each
    kind of failure. `unmeasured` has, by metric, the reasons why an audio metric has no value for
    items with speech.
    """

    cell: Cell
    counted: Counted
    scores: dict[str, Interval]
    items: pl.DataFrame
    n: int
    failed: int
    unended: int
    kinds: dict[str, float]
    signature: Signature
    unmeasured: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def corpus(self) -> dict[str, float]:
        """The corpus scores without their intervals."""
        return {name: estimate.score for name, estimate in self.scores.items()}


class Scorer:
    """Tokenises a split's references once and keeps its metrics open; a context manager.

    All cells are scored against the same references, from which CIDEr's document frequencies are
    computed: every caption of an image, or all except the one that `caption` chooses, which
    ceilings speak and prompts are cut from. `captions` are all captions, tokenised. `cache` is a
    folder for data that metrics compute from the references; it may be deleted.
    """

    def __init__(
        self,
        dataset: Dataset,
        spec: ScoringSpec,
        asrs: AsrFacts,
        cache: Path,
        *,
        caption: Choice = "rotating",
    ) -> None:
        self.dataset = dataset
        self.spec = spec
        self.asrs = asrs
        self.cache = cache
        self.files = files_of(dataset.items, caption)
        self.clean = normaliser(spec.normalisers[0])
        self._tokens: dict[str, str] = {}
        self.texts = dataset.references
        flat = iter(self.tokens([text for texts in self.texts.values() for text in texts]))
        self.captions = {
            item: tuple(next(flat) for _ in texts) for item, texts in self.texts.items()
        }
        self.chosen = {item.id: item.chosen(caption) for item in dataset.items}
        self.references = self.captions
        self.left_out = "none"
        if spec.readings[0] == "others":
            self.left_out = caption if caption == "rotating" else f"caption {caption}"
            self.references = {
                item: tuple(text for n, text in enumerate(texts) if n != self.chosen[item])
                for item, texts in self.captions.items()
            }
        self.idf = idf_digest(self.references)
        self.metrics = metrics_of(spec.metrics)
        self.against_caption = self._of("caption")
        self.of_speech = tuple(m for m in self.metrics if isinstance(m, AudioMetric | RowMetric))
        self._stack = ExitStack()
        facts = {item.id: item.facts for item in dataset.items}
        truths = {"references": self.references} | ({"facts": facts} if all(facts.values()) else {})
        self._count = {
            metric: (self._stack.enter_context(metric.opened(truth, cache)), truth)
            for against, truth in truths.items()
            for metric in self._of(against)
        } | {
            metric: (
                self._stack.enter_context(metric.opened(self.references, self.files, cache)),
                self.references,
            )
            for metric in self.metrics
            if isinstance(metric, ImageMetric)
        }

    def _of(self, against: str) -> tuple[Metric, ...]:
        texts = (metric for metric in self.metrics if isinstance(metric, Metric))
        return tuple(metric for metric in texts if metric.against == against)

    def __enter__(self) -> "Scorer":
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def tokens(self, texts: Sequence[str]) -> list[str]:
        """Returns texts normalised as the job asks, and tokenised; each text is tokenised once."""
        new = [text for text in dict.fromkeys(texts) if text not in self._tokens]
        tokens = tokenise([self.clean(text) for text in new])
        self._tokens |= dict(zip(new, tokens, strict=True))
        return [self._tokens[text] for text in texts]

    def counted(self, hypotheses: Mapping[str, str]) -> Counted:
        """Returns the statistics of tokenised texts, without metrics against the spoken caption."""
        threads = ThreadPoolExecutor()
        waited = {
            metric: threads.submit(statistics_of, metric, count, hypotheses, truth)
            for metric, (count, truth) in self._count.items()
            if metric.waits
        }
        try:
            parts = {
                metric: statistics_of(metric, count, hypotheses, truth)
                for metric, (count, truth) in self._count.items()
                if not metric.waits
            }
            parts |= {metric: future.result() for metric, future in waited.items()}
        finally:
            # After an interrupt, a metric's process is not waited for; closing the scorer ends it.
            threads.shutdown(wait=False, cancel_futures=True)
        return joined(list(self._count), [parts[metric] for metric in self._count])

    def _against_captions(self, table: pl.DataFrame) -> Counted:
        """Returns the columns of the metrics that compare with the spoken caption."""
        rows = table.select("item", "transcript", "caption").rows()
        said = {name: (self.texts[name][caption or 0],) for name, _, caption in rows}
        transcripts = {name: text or "" for name, text, _ in rows}
        parts = [
            statistics_of(metric, metric.statistics, transcripts, said)
            for metric in self.against_caption
        ]
        return joined(self.against_caption, parts)

    def spoken(self, table: pl.DataFrame) -> Counted:
        """What metrics of speech count of a cell's table, or of one with its columns.

        Those of sound whose measured values it does not have are left out.
        """
        counted = [
            metric
            for metric in self.of_speech
            if not isinstance(metric, AudioMetric)
            or measured_names(metric.name)[0] in table.columns
        ]
        empty = np.zeros((table.height, 0))
        return joined(counted, [empty, *(self._of_speech(metric, table) for metric in counted)])

    def _of_speech(self, metric: CorpusMetric, table: pl.DataFrame) -> Array:
        if isinstance(metric, AudioMetric):
            return audio_statistics(metric, table, files=self.files, cache=self.cache)
        assert isinstance(metric, RowMetric)
        return row_statistics(metric, table)

    def signature(self, cell: Cell, n: int, failed: int) -> Signature:
        """Returns a cell's signature over `n` items, of which `failed` failed."""
        counts = sorted({len(texts) for texts in self.references.values()})
        each = f"{counts[0]}-{counts[-1]}" if len(counts) > 1 else str(*counts)
        references = ReferenceSet(self.left_out, each, self.idf)
        facts = self.asrs[cell.asr] if cell.asr is not None else {}
        return signature(cell, self.dataset, self.spec, references, asr=facts, n=n, failed=failed)

    def score_all(self, tables: Sequence[tuple[Cell, pl.DataFrame]]) -> list[CellScores]:
        """Scores cells; tokenises all texts at once, because starting the JVM is slow."""
        self.tokens([text for _, table in tables for text in _texts(table)])
        return [self.score(cell, table) for cell, table in tables]

    def score(self, cell: Cell, table: pl.DataFrame) -> CellScores:
        """Scores a cell's table, which has a row for each item (see RunState.transcripts)."""
        names = table["item"].to_list()
        tokens = self.tokens(_texts(table))
        counted = self.counted(dict(zip(names, tokens, strict=True)))
        has_speech = bool(self.of_speech) and cell.system.has_speech
        if has_speech:
            counted = counted.beside(self.spoken(table))
        own = counted.each() if has_speech else counted.each() | self._without_speech(len(names))
        if cell.system.says_caption and self.against_caption:
            counted = counted.beside(self._against_captions(table))
        shortest = pl.Series([min(len(t.split()) for t in self.references[n]) for n in names])
        kinds = taxonomy.kinds(table, shortest)
        failed = table.filter(pl.col("status") != "ok")
        return CellScores(
            cell=cell,
            counted=counted,
            scores=intervals(counted, self.spec.resampling),
            items=table.drop(self._measured_names, strict=False).with_columns(
                pl.Series("tokens", tokens),
                *(pl.Series(name, values) for name, values in own.items()),
                *(kinds[name] for name in taxonomy.KINDS),
            ),
            n=len(names),
            failed=failed.height,
            unended=table.filter(~pl.col("ended")).height,
            kinds=taxonomy.shares(kinds),
            signature=self.signature(cell, len(names), failed.height),
            unmeasured=self._unmeasured(table) if has_speech else {},
        )

    def _without_speech(self, items: int) -> dict[str, pl.Series]:
        """Returns null scores of items by metrics of speech, for a system that is a text."""
        names = [score.name for metric in self.of_speech for score in metric.scores]
        return {name: pl.Series(name, [None] * items, dtype=pl.Float64) for name in names}

    @property
    def _audio(self) -> list[AudioMetric]:
        return [metric for metric in self.of_speech if isinstance(metric, AudioMetric)]

    @property
    def _measured_names(self) -> list[str]:
        return [name for metric in self._audio for name in measured_names(metric.name)]

    def _unmeasured(self, table: pl.DataFrame) -> dict[str, list[str]]:
        """Returns, by metric, why items with speech have no value."""
        # Only speech that could be decoded has a length.
        spoken = table.filter(pl.col("seconds") > 0)
        reasons = {}
        for metric in self._audio:
            values, reason = measured_names(metric.name)
            reasons[metric.name] = spoken.filter(pl.col(values).is_null())[reason].to_list()
        return {name: whys for name, whys in reasons.items() if whys}


def _texts(table: pl.DataFrame) -> list[str]:
    """Returns transcripts; "" for failed rows."""
    return table["transcript"].fill_null("").to_list()

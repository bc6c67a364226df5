"""What a run has and lacks: the ledger's rows of a job's cells.

The driver holds names, not rows: what is generated goes to the ledger and on to a transcriber.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from bench.common.audio import SpeechError
from bench.common.progress import Progress
from bench.datasets.base import Dataset, Item
from bench.execution.marks import Marks
from bench.jobs.cells import Cell
from bench.jobs.measurements import measurements_of
from bench.jobs.spec import Job
from bench.store.costs import SpeechCost
from bench.store.ledger import Ledger
from bench.store.rows import (
    GENERATED_SCHEMA,
    MEASURED_SCHEMA,
    TRANSCRIBED_SCHEMA,
    MeasuredRow,
    SpeechRow,
    TranscriptRow,
    frame,
    measured_columns,
)
from bench.systems.base import System

_TEXTS = 5000
"""Rows of a text that are committed at once."""


class RunState:
    """One job's run over one ledger: what is there, what is `missing`, how rows are committed."""

    def __init__(
        self,
        job: Job,
        dataset: Dataset,
        limit: int | None,
        cells: Sequence[Cell],
        ledger: Ledger,
        speech: Path,
    ) -> None:
        self.job = job
        self.items = dataset.items[:limit]
        self.cells = list(cells)
        self.ledger = ledger
        self.speech = speech
        self.index = {item.id: number for number, item in enumerate(self.items)}
        self.measurements = measurements_of(job.scoring.metrics)
        self.generated: dict[str, Marks] = {}
        self.transcribed: dict[str, Marks] = {}
        self.measured: dict[str, Marks] = {}
        self.costs: list[SpeechCost] = []
        for cell in (cell for cell in cells if cell.source is None):
            if cell.speech_key not in self.generated:
                final = ledger.final("generated", cell.speech_key, GENERATED_SCHEMA)
                if cell.asr is None:
                    final = iter(self.index)
                self.generated[cell.speech_key] = Marks(self.index, final)
            final = ledger.final("transcribed", cell.transcript_key, TRANSCRIBED_SCHEMA)
            self.transcribed[cell.transcript_key] = Marks(self.index, final)
            # What is to be generated again is to be transcribed again.
            self.transcribed[cell.transcript_key].keep(self.generated[cell.speech_key])
            for key in self.measured_keys(cell).values():
                final = ledger.final("measured", key, MEASURED_SCHEMA)
                self.measured[key] = Marks(self.index, final)
                self.measured[key].keep(self.generated[cell.speech_key])
        for cell in cells:
            if cell.source is not None:
                # Its rows are there as soon as its source's are.
                self.generated[cell.speech_key] = self.generated[cell.source.speech_key]
                self.transcribed[cell.transcript_key] = self.transcribed[cell.source.transcript_key]
        self._seen = {
            cell.system: cell.system.seen(dataset.items) for cell in cells if cell.source is None
        }

    @property
    def missing(self) -> int:
        """How many (cell, item) pairs still lack a transcript."""
        return sum(len(self.items) - marks.count for marks in self.transcribed.values())

    @property
    def metrics(self) -> tuple[str, ...]:
        """The job's audio metrics, as it names them."""
        return tuple(measurement.entry for measurement in self.measurements)

    @property
    def unmeasured(self) -> int:
        """How many (speech, metric, item) triples still lack a measured row."""
        return sum(len(self.items) - marks.count for marks in self.measured.values())

    def measured_keys(self, cell: Cell) -> dict[str, str]:
        """The ledger keys of what audio metrics measure of a cell's own speech, by metric."""
        if cell.asr is None or cell.source is not None:
            return {}
        return {each.entry: each.key(cell) for each in self.measurements}

    def is_whole(self, cell: Cell) -> bool:
        """Whether all items of a cell are transcribed and measured."""
        marks = (self.measured[key] for key in self.measured_keys(cell).values())
        return self.transcribed[cell.transcript_key].full and all(each.full for each in marks)

    def has_unfinished(self, cell: Cell) -> bool:
        """Whether speech that a cell has is not transcribed or not measured."""
        measured = (self.measured[key] for key in self.measured_keys(cell).values())
        counts = [marks.count for marks in (self.transcribed[cell.transcript_key], *measured)]
        return min(counts) < self.generated[cell.speech_key].count

    def unmeasured_by(self, cell: Cell, item: str) -> tuple[str, ...]:
        """The audio metrics that have not measured an item's speech."""
        keys = self.measured_keys(cell)
        return tuple(entry for entry, key in keys.items() if item not in self.measured[key])

    @property
    def untranscribed_rows(self) -> int:
        """How many rows actors have to transcribe: those of texts and borrowed ones are not."""
        own = (cell for cell in self.cells if cell.asr is not None and cell.source is None)
        return sum(len(self.items) - self.transcribed[cell.transcript_key].count for cell in own)

    def item(self, name: str, system: System) -> Item:
        """An item as a system sees it: shuffled speech belongs to another image."""
        seen = self._seen.get(system)
        return seen[name] if seen is not None else self.items[self.index[name]]

    def commit_speech(self, key: str, rows: list[SpeechRow]) -> None:
        """Commits what was generated, or failed to be."""
        self.ledger.append("generated", key, frame(rows, GENERATED_SCHEMA))
        self.generated[key].add(row.item for row in rows)

    def commit_transcripts(self, cell: Cell, rows: list[TranscriptRow]) -> None:
        """Commits what was transcribed, or failed to be."""
        self.ledger.append("transcribed", cell.transcript_key, frame(rows, TRANSCRIBED_SCHEMA))
        self.transcribed[cell.transcript_key].add(row.item for row in rows)

    def commit_measured(self, cell: Cell, metric: str, rows: list[MeasuredRow]) -> None:
        """Commits what an audio metric measured, or failed to."""
        key = self.measured_keys(cell)[metric]
        self.ledger.append("measured", key, frame(rows, MEASURED_SCHEMA))
        self.measured[key].add(row.item for row in rows)

    def unfinished(self, cell: Cell, generated: Marks) -> Iterator[list[SpeechRow]]:
        """What of the `generated` items this cell has not transcribed or measured, part by part."""
        given = Marks(self.index)
        for part in self.ledger.parts("generated", cell.speech_key, GENERATED_SCHEMA):
            rows = [SpeechRow(**row) for row in part.iter_rows(named=True)]
            chosen = [
                row
                for row in rows
                if row.final
                and row.item in generated
                and row.item not in given
                and (
                    row.item not in self.transcribed[cell.transcript_key]
                    or self.unmeasured_by(cell, row.item)
                )
            ]
            given.add(row.item for row in chosen)
            yield chosen

    def report_to(self, report: Progress) -> None:
        """Reports how far generating, transcribing and, where there is any, measuring are."""
        stages = {"generating": self.generated, "transcribing": self.transcribed}
        for what, stage in (stages | {"measuring": self.measured}).items():
            if stage:
                done = sum(marks.count for marks in stage.values())
                report(what, done, len(self.items) * len(stage))

    def write_text(self, cell: Cell) -> None:
        """A text needs no actor: its transcript is the caption."""
        todo = [item for item in self.items if item.id not in self.transcribed[cell.transcript_key]]
        for start in range(0, len(todo), _TEXTS):
            rows = [_text_row(cell, item) for item in todo[start : start + _TEXTS]]
            self.commit_transcripts(cell, rows)

    def transcripts(self, cell: Cell) -> pl.DataFrame:
        """The cell's transcribed rows of the items asked for, joined with what was generated."""
        if cell.source is not None:
            return self._of_others(cell, cell.source)
        transcribed = self.ledger.rows("transcribed", cell.transcript_key, TRANSCRIBED_SCHEMA)
        asked = pl.DataFrame({"item": list(self.index)}, schema={"item": pl.String})
        joined = asked.join(transcribed, on="item", how="left", maintain_order="left")
        for measurement in self.measurements if cell.asr is not None else ():
            rows = self.ledger.rows("measured", measurement.key(cell), MEASURED_SCHEMA)
            values = measured_columns(rows, measurement.metric.name)
            joined = joined.join(values, on="item", how="left", maintain_order="left")
        if not cell.system.has_speech:
            return joined.with_columns(
                caption=pl.Series([i.chosen(cell.caption) for i in self.items], dtype=pl.Int32),
                prompt_frames=pl.lit(0, pl.Int32),
                ended=pl.lit(True),
                generated_on=pl.lit(""),
                frames=pl.lit(0, pl.UInt32),
            )
        generated = self.ledger.rows("generated", cell.speech_key, GENERATED_SCHEMA)
        frames = pl.col("units").bin.size() // (2 * pl.col("codebooks").clip(1))
        facts = generated.select(
            "item",
            "caption",
            "prompt_frames",
            "ended",
            generated_on="device",
            frames=frames.cast(pl.UInt32),
        )
        return joined.join(facts, on="item", how="left")

    def _of_others(self, cell: Cell, source: Cell) -> pl.DataFrame:
        """The source's rows, each for another of the items asked for; a lone item fails."""
        borrowing = cell.system.borrows(recorded=False)
        assert borrowing is not None
        taken = borrowing.pairs(list(self.index))
        asked = pl.DataFrame(
            {"item": list(self.index), "other": [taken.get(name) for name in self.index]},
            schema={"item": pl.String, "other": pl.String},
        )
        rows = self.transcripts(source).rename({"item": "other"})
        joined = asked.join(rows, on="other", how="left", maintain_order="left").drop("other")
        return joined.with_columns(
            pl.col("status").fill_null("failed"),
            pl.col("reason").fill_null("there is no other item whose transcript it could take"),
            pl.col("cause").fill_null(""),
            # Another image's caption is none of this one's.
            caption=pl.lit(-1, pl.Int32),
        )


def _text_row(cell: Cell, item: Item) -> TranscriptRow:
    try:
        text = cell.system.transcript(item, item.chosen(cell.caption))
        return TranscriptRow(item.id, "ok", transcript=text)
    except SpeechError as error:
        return TranscriptRow(item.id, "failed", str(error))

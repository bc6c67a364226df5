"""Which rows of a job's cells the ledger has and lacks.

The driver keeps a mark for each row and not the rows themselves: these go to the ledger and on to
a transcriber.
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
from bench.metrics.settings import MetricEntry
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
"""Number of rows of a system without speech that are committed at once."""


class RunState:
    """The state of one job over one ledger: which rows are there; commits new rows."""

    def __init__(
        self,
        job: Job,
        dataset: Dataset,
        limit: int | None,
        cells: Sequence[Cell],
        *,
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
            # A row that is generated again is transcribed again.
            self.transcribed[cell.transcript_key].keep(self.generated[cell.speech_key])
            for key in self.measured_keys(cell).values():
                final = ledger.final("measured", key, MEASURED_SCHEMA)
                self.measured[key] = Marks(self.index, final)
                self.measured[key].keep(self.generated[cell.speech_key])
        for cell in cells:
            if cell.source is not None:
                # Its rows are the source's rows, so it has the same marks.
                self.generated[cell.speech_key] = self.generated[cell.source.speech_key]
                self.transcribed[cell.transcript_key] = self.transcribed[cell.source.transcript_key]
        self._views = {
            cell.system: cell.system.item_view(dataset.items)
            for cell in cells
            if cell.source is None
        }

    @property
    def missing(self) -> int:
        """The number of (cell, item) pairs without a transcript."""
        return sum(len(self.items) - marks.count for marks in self.transcribed.values())

    @property
    def metrics(self) -> tuple[MetricEntry, ...]:
        """The job's audio metrics, as the job gives them."""
        return tuple(measurement.entry for measurement in self.measurements)

    @property
    def unmeasured(self) -> int:
        """The number of (speech, metric, item) triples without a measured row."""
        return sum(len(self.items) - marks.count for marks in self.measured.values())

    def measured_keys(self, cell: Cell) -> dict[str, str]:
        """Returns the ledger keys of the measured rows of a cell's own speech, by audio metric."""
        if cell.asr is None or cell.source is not None:
            return {}
        return {str(each.entry): each.key(cell) for each in self.measurements}

    def is_whole(self, cell: Cell) -> bool:
        """Returns whether all items of a cell are transcribed and measured."""
        marks = (self.measured[key] for key in self.measured_keys(cell).values())
        return self.transcribed[cell.transcript_key].full and all(each.full for each in marks)

    def has_unfinished(self, cell: Cell) -> bool:
        """Returns whether a cell has generated speech that is not transcribed or not measured."""
        measured = (self.measured[key] for key in self.measured_keys(cell).values())
        counts = [marks.count for marks in (self.transcribed[cell.transcript_key], *measured)]
        return min(counts) < self.generated[cell.speech_key].count

    def unmeasured_by(self, cell: Cell, item: str) -> tuple[str, ...]:
        """Returns the audio metrics that have not measured an item's speech."""
        keys = self.measured_keys(cell)
        return tuple(entry for entry, key in keys.items() if item not in self.measured[key])

    @property
    def untranscribed_rows(self) -> int:
        """The number of rows that actors have to transcribe, without texts and borrowed rows."""
        own = (cell for cell in self.cells if cell.asr is not None and cell.source is None)
        return sum(len(self.items) - self.transcribed[cell.transcript_key].count for cell in own)

    def is_alone(self, name: str, system: System) -> bool:
        """Whether an item's speech is generated and decoded alone, to measure its latency."""
        return system.is_timed() and self.index[name] < self.job.cluster.latency_items

    def item(self, name: str, system: System) -> Item:
        """Returns an item as a system gets it; `shuffled` gets another item's speech."""
        view = self._views.get(system)
        return view[name] if view is not None else self.items[self.index[name]]

    def commit_speech(self, key: str, rows: list[SpeechRow]) -> None:
        """Commits generated rows, including failed ones, under a speech key."""
        self.ledger.append("generated", key, frame(rows, GENERATED_SCHEMA))
        self.generated[key].add(row.item for row in rows)

    def commit_transcripts(self, cell: Cell, rows: list[TranscriptRow]) -> None:
        """Commits transcribed rows of a cell, including failed ones."""
        self.ledger.append("transcribed", cell.transcript_key, frame(rows, TRANSCRIBED_SCHEMA))
        self.transcribed[cell.transcript_key].add(row.item for row in rows)

    def commit_measured(self, cell: Cell, metric: str, rows: list[MeasuredRow]) -> None:
        """Commits the rows that an audio metric measured, including failed ones."""
        key = self.measured_keys(cell)[metric]
        self.ledger.append("measured", key, frame(rows, MEASURED_SCHEMA))
        self.measured[key].add(row.item for row in rows)

    def unfinished(self, cell: Cell, generated: Marks) -> Iterator[list[SpeechRow]]:
        """Yields the rows of `generated` items that this cell has not transcribed or measured.

        The ledger is read part by part, and a list is yielded for each.
        """
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
        """Reports the progress of generating, transcribing and measuring."""
        stages = {"generating": self.generated, "transcribing": self.transcribed}
        for what, stage in (stages | {"measuring": self.measured}).items():
            if stage:
                done = sum(marks.count for marks in stage.values())
                report(what, done, len(self.items) * len(stage))

    def write_text(self, cell: Cell) -> None:
        """Commits the missing rows of a system without speech, whose text is the transcript."""
        todo = [item for item in self.items if item.id not in self.transcribed[cell.transcript_key]]
        for start in range(0, len(todo), _TEXTS):
            rows = [_text_row(cell, item) for item in todo[start : start + _TEXTS]]
            self.commit_transcripts(cell, rows)

    def transcripts(self, cell: Cell) -> pl.DataFrame:
        """Returns the cell's transcribed rows, one an item, joined with their generated rows."""
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
        """Returns the source's rows, each for another item; a single item fails."""
        borrowing = cell.system.borrows(recorded=False)
        assert borrowing is not None
        lenders = borrowing.pairs(list(self.index))
        asked = pl.DataFrame(
            {"item": list(self.index), "lender": [lenders.get(name) for name in self.index]},
            schema={"item": pl.String, "lender": pl.String},
        )
        rows = self.transcripts(source).rename({"item": "lender"})
        joined = asked.join(rows, on="lender", how="left", maintain_order="left").drop("lender")
        return joined.with_columns(
            pl.col("status").fill_null("failed"),
            pl.col("reason").fill_null("there is no other item whose transcript it could take"),
            pl.col("cause").fill_null(""),
            # The caption is another item's, so it has no number here.
            caption=pl.lit(-1, pl.Int32),
        )


def _text_row(cell: Cell, item: Item) -> TranscriptRow:
    try:
        text = cell.system.transcript(item, item.chosen(cell.caption))
        return TranscriptRow(item=item.id, status="ok", transcript=text)
    except SpeechError as error:
        return TranscriptRow(item=item.id, status="failed", reason=str(error))

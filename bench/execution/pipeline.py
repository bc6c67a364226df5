"""Moves batches from generators to transcribers, and commits every row as soon as it is returned.

Generators get no new work while many batches wait for transcribers.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, NoReturn, TypeVar

from bench.asr.base import Asr
from bench.common.atomic import write_bytes
from bench.common.audio import SpeechError
from bench.common.progress import Progress
from bench.execution.batches import Batch, batch_sizes
from bench.execution.division import Division
from bench.execution.marks import Marks
from bench.execution.parcels import needed_to_generate, needed_to_transcribe, pack
from bench.execution.pool import Pool, wait
from bench.execution.runstate import RunState
from bench.execution.stages import Stage, merge_stages
from bench.jobs.cells import Cell
from bench.store.costs import CostStage, with_keys
from bench.store.rows import MeasuredRow, SpeechRow, ToTranscribe, Transcribed, TranscriptRow
from bench.systems.base import ABSENT, System, lacks_files

Row = TypeVar("Row", SpeechRow, TranscriptRow, MeasuredRow)

POLL_SECONDS = 0.5
CLIPS = 8
"""At least this many clips are sent in a message to a transcriber, except the last. It is also the
number of items that a system without slots generates at once."""
CREDITS = 8
"""Generators get no new work while this many batches wait for each transcriber."""


@dataclass(frozen=True, kw_only=True)
class ActorPlan:
    """How actors of both kinds are started, how many there are, and the `deadline` of a batch in s.

    `generator` and `transcriber` start the actor of a place; a transcriber without an ASR only
    measures. `placed` is called once all actors have started, with the node ids of each kind's
    actors. With `sends_files`, actors work on parcels (bench.execution.parcels). Generators of the
    systems in `at_home` run on the driver's node, read its files, and are `at_home_most` at most.
    """

    generator: Callable[[int, System], Any]
    transcriber: Callable[[int, Asr | None], Any]
    division: Division
    deadline: float
    placed: Callable[[Mapping[str, Sequence[str]]], None]
    sends_files: bool = False
    at_home: frozenset[System] = frozenset()
    at_home_most: int = 1


class Pipeline:
    """All cells that one ASR transcribes."""

    def __init__(
        self,
        run: RunState,
        plan: ActorPlan,
        cells: Sequence[Cell],
        asr: Asr,
        *,
        report: Progress,
        stop: Callable[[], bool],
    ) -> None:
        self.state = run
        self.plan = plan
        self.cells = list(cells)
        self.report = report
        self.stop = stop
        # A multiple of the ASR's batch: an incomplete batch is padded, which wastes time.
        most = asr.most_at_once(on_gpu=bool(plan.division.transcriber_gpus))
        self.clips = most * -(-CLIPS // most)
        self.transcribed_as: dict[str, list[Cell]] = defaultdict(list)
        for cell in cells:
            self.transcribed_as[cell.speech_key].append(cell)
        self.generated_by: list[Pool[Any]] = []
        self.has_said_places = False
        self.pending: dict[str, list[SpeechRow]] = {cell.transcript_key: [] for cell in cells}
        transcripts = [run.transcribed[cell.transcript_key] for cell in cells]
        self.only_measures = all(marks.full for marks in transcripts)
        self.transcribing: Pool[Any] = Pool(
            lambda place: plan.transcriber(place, None if self.only_measures else asr),
            plan.division.transcribers,
            self._to_transcriber,
            plan.deadline,
            # Selected now, so that rows generated from here on are not transcribed twice.
            source=self._unfinished(
                [
                    (cell, run.generated[cell.speech_key].copy())
                    for cell in cells
                    if run.has_unfinished(cell)
                ]
            ),
        )

    def run(self) -> list[Stage]:
        """Runs until every cell is complete; returns how busy each stage was.

        Raises KeyboardInterrupt where it is stopped, and RunFailed where no actor is left.
        """
        groups: dict[str, dict[str, Cell]] = defaultdict(dict)
        for cell in self.cells:
            if not self.state.generated[cell.speech_key].full:
                groups[cell.generator.model_dump_json()].setdefault(cell.speech_key, cell)
        self._generate(list(groups.values()))
        while self.transcribing.busy:
            self._may_stop(None)
            self.transcribing.hand_out()
            wait([self.transcribing], POLL_SECONDS)
            self._take_transcribed()
            self._say_placed(None)
        self._close(self.transcribing)
        # Transcribers live from the first batch to the last, so their life is the time of both.
        seconds = self.transcribing.life
        name = "measuring" if self.only_measures else "transcribing"
        stages = [self.transcribing.stage(name, seconds)]
        if self.generated_by:
            # Models are loaded one after the other, and nothing is generated meanwhile.
            each = [pool.stage("generating", 0.0) for pool in self.generated_by]
            stages.append(replace(merge_stages(each)[0], seconds=each[0].actors * seconds))
        return stages

    def _close(self, pool: Pool[Any]) -> None:
        """Ends a pool's actors, and adds the costs that they report to the run's."""
        pool.close()
        cells = self.cells
        if pool is self.transcribing:
            stage: CostStage = "decoding"
            keys = {cell.system.model_dump_json(): cell.speech_key for cell in cells}
        else:
            stage = "generating"
            keys = {cell.speech_key: cell.speech_key for cell in cells}
        for costs in pool.costs:
            self.state.costs += with_keys(costs, stage, keys)

    def _generate(self, groups: Sequence[dict[str, Cell]]) -> None:
        """Generates the missing speech of each model, one model after the other.

        Without GPUs, the actors of the next model start while the last batches of the previous one
        are in flight: they reserve no resources.
        """
        upcoming = iter(groups)
        following = self._generators(next(upcoming, None))
        while following is not None:
            (generating, cells), following = following, None
            while generating.busy:
                self._may_stop(generating)
                self.transcribing.hand_out()
                if self.transcribing.waiting < CREDITS * self.plan.division.transcribers:
                    generating.hand_out()
                if (
                    following is None
                    and generating.draining
                    and not self.plan.division.generator_gpus
                ):
                    following = self._generators(next(upcoming, None))
                wait([generating, self.transcribing], POLL_SECONDS)
                self._take_generated(generating)
                self._take_transcribed()
                self._say_placed(generating)
            self._close(generating)
            self.generated_by.append(generating)
            for key in cells:
                for cell in self.transcribed_as[key]:
                    self._transcribe(cell, whole=False)
            if following is None:
                following = self._generators(next(upcoming, None))

    def _generators(
        self, cells: dict[str, Cell] | None
    ) -> tuple[Pool[Any], dict[str, Cell]] | None:
        """Starts the actors of the model of these cells; returns None without cells."""
        if cells is None:
            return None
        count = self.plan.division.generators
        system = next(iter(cells.values())).generator
        is_at_home = system in self.plan.at_home
        if is_at_home:
            count = min(count, self.plan.at_home_most)
        is_sent = self.plan.sends_files and not is_at_home
        pool: Pool[Any] = Pool(
            lambda place: self.plan.generator(place, system),
            count,
            _parcel_to_generator if is_sent else _items_of,
            self.plan.deadline,
            source=self._to_generate(cells, count),
        )
        return pool, cells

    def _to_transcriber(self, batch: Batch[ToTranscribe]) -> Any:
        system, part = batch.tag.system, batch.tag.part
        if not self.plan.sends_files:
            return system, part, batch.items
        entries = [_with_file(entry, system) for entry in batch.items]
        return pack((system, part, entries), needed_to_transcribe(entries))

    def _say_placed(self, generating: Pool[Any] | None) -> None:
        """Calls the plan's `placed` once, with the nodes of the first actors of each kind."""
        if self.has_said_places:
            return
        pools = {"generator": generating, "transcriber": self.transcribing}
        nodes = {kind: pool.nodes for kind, pool in pools.items() if pool is not None}
        if all(on is not None for on in nodes.values()):
            self.has_said_places = True
            self.plan.placed({kind: on for kind, on in nodes.items() if on is not None})

    def _may_stop(self, generating: Pool[Any] | None) -> None:
        if self.stop():
            self._wind_up(generating)

    def _wind_up(self, generating: Pool[Any] | None) -> NoReturn:
        """Commits the batches in flight, and raises KeyboardInterrupt.

        The next run transcribes what was generated and is not transcribed.
        """
        pools = [pool for pool in (generating, self.transcribing) if pool is not None]
        total = sum(pool.in_flight for pool in pools)
        while left := sum(pool.in_flight for pool in pools):
            self.report("stopping after batches in flight", total - left, total)
            # A pool with nothing in flight is left out: its actors may be failing to start.
            wait([pool for pool in pools if pool.in_flight], POLL_SECONDS)
            if generating is not None and generating.in_flight:
                self._take_generated(generating)
            if self.transcribing.in_flight:
                self._take_transcribed()
        for pool in pools:
            self._close(pool)
        raise KeyboardInterrupt

    def _to_generate(self, cells: dict[str, Cell], generators: int) -> Iterator[Batch[Any]]:
        """Yields the missing items in batches, each item with the variants that it lacks.

        First come those whose latency is asked for, each variant of each alone.
        """
        state, first = self.state, next(iter(cells.values()))
        marks = [(state.generated[key], cell.variant) for key, cell in cells.items()]
        lacking = [item for item in state.items if any(item.id not in done for done, _ in marks)]
        alone = [item for item in lacking if state.is_alone(item.id, first.system)]
        lacking = [item for item in lacking if not state.is_alone(item.id, first.system)]
        for item in alone:
            own = state.item(item.id, first.system)
            for done, variant in marks:
                if item.id not in done:
                    yield Batch(None, [(own, (variant,))])
        each = [cell.system.batch(CLIPS) for cell in cells.values()]
        size, most = batch_sizes(each, -(-len(lacking) // generators))
        start = 0
        while start < len(lacking):
            yield Batch(
                None,
                [
                    (
                        state.item(item.id, first.system),
                        tuple(variant for done, variant in marks if item.id not in done),
                    )
                    for item in lacking[start : start + size]
                ],
            )
            start, size = start + size, min(most, 2 * size)

    def _unfinished(self, cells: Sequence[tuple[Cell, Marks]]) -> Iterator[Batch[Any]]:
        """Yields batches of the speech that earlier runs generated and did not transcribe."""
        for cell, generated in cells:
            for rows in self.state.unfinished(cell, generated):
                yield from self._batches(cell, rows)

    def _take_generated(self, pool: Pool[Any]) -> None:
        rows: dict[str, list[SpeechRow]] = defaultdict(list)
        try:
            for done in pool.collect():
                cause = "machine" if done.machine else ""
                results: list[tuple[str, SpeechRow]] = done.result or [
                    (
                        variant.key,
                        SpeechRow(item=item.id, status="failed", reason=done.failure, cause=cause),
                    )
                    for item, variants in done.items
                    for variant in variants
                ]
                for key, row in results:
                    rows[key].append(self._settled(row, self.transcribed_as[key][0]))
        finally:
            # Rows that came together are committed as one part, because each part is synced to the
            # disk. `finally` commits them also where `collect` ends the run.
            for key, generated in rows.items():
                self.state.commit_speech(key, generated)
                for cell in self.transcribed_as[key]:
                    self.pending[cell.transcript_key] += generated
                    self._transcribe(cell, whole=True)

    def _transcribe(self, cell: Cell, whole: bool) -> None:
        """Queues a cell's generated rows for the transcribers; with `whole`, full batches only."""
        rows = self.pending[cell.transcript_key]
        count = len(rows) - len(rows) % self.clips if whole else len(rows)
        self.pending[cell.transcript_key] = rows[count:]
        for batch in self._batches(cell, rows[:count]):
            self.transcribing.submit(batch)

    def _batches(self, cell: Cell, rows: Sequence[SpeechRow]) -> Iterator[Batch[Any]]:
        """Yields the generated rows in batches for transcribers.

        Rows whose generation failed are committed as failed transcripts and measurements.
        """
        self._commit_failed(cell, [row for row in rows if row.status != "ok"])
        good = [self._entry(cell, row) for row in rows if row.status == "ok"]
        for start in range(0, len(good), self.clips):
            yield Batch(cell, good[start : start + self.clips])

    def _entry(self, cell: Cell, row: SpeechRow) -> ToTranscribe:
        """Returns a row with what the transcriber still has to do with its speech."""
        is_transcribed = row.item in self.state.transcribed[cell.transcript_key]
        return ToTranscribe(
            row=row,
            item=self.state.item(row.item, cell.system),
            keep=cell.part == "whole" and not is_transcribed,
            metrics=self.state.unmeasured_by(cell, row.item),
            is_transcribed=is_transcribed,
            alone=self.state.is_alone(row.item, cell.system),
        )

    def _commit_failed(self, cell: Cell, rows: Sequence[SpeechRow]) -> None:
        untranscribed = [
            TranscriptRow(item=row.item, status="failed", reason=row.reason, cause=row.cause)
            for row in rows
            if row.item not in self.state.transcribed[cell.transcript_key]
        ]
        unmeasured: dict[str, list[MeasuredRow]] = defaultdict(list)
        for row in rows:
            for metric in self.state.unmeasured_by(cell, row.item):
                failed = MeasuredRow(
                    item=row.item, status="failed", reason=row.reason, cause=row.cause
                )
                unmeasured[metric].append(failed)
        if untranscribed:
            self.state.commit_transcripts(cell, untranscribed)
        for metric, measured in unmeasured.items():
            self.state.commit_measured(cell, metric, measured)

    def _settled(self, row: Row, cell: Cell) -> Row:
        """Returns the row with the final cause of its failure.

        Files that were absent on the actor's node and that the driver has are a fault of the
        machine, not of the item.
        """
        if row.cause != ABSENT:
            return row
        if lacks_files(cell.system, self.state.item(row.item, cell.system), cell.caption):
            return replace(row, cause="")
        reason = f"{row.reason} on its actor's node, although the driver has it"
        return replace(row, cause="machine", reason=reason)

    def _keep(self, cell: Cell, transcribed: Transcribed) -> None:
        """Writes a row's speech as a WAV file, for people to listen to.

        A file that cannot be written is written from the ledger at the end of the run, where an
        error is reported.
        """
        if transcribed.wav:
            path = self.state.speech / cell.slug / f"{transcribed.row.item}.wav"
            with suppress(OSError):
                write_bytes(path, transcribed.wav)

    def _take_transcribed(self) -> None:
        rows: dict[Cell, list[TranscriptRow]] = defaultdict(list)
        values: dict[tuple[Cell, str], list[MeasuredRow]] = defaultdict(list)
        try:
            for done in self.transcribing.collect():
                cell, cause = done.tag, "machine" if done.machine else ""
                results: list[Transcribed] = done.result or [
                    _failed(entry, done.failure, cause) for entry in done.items
                ]
                for entry, result in zip(done.items, results, strict=True):
                    self._keep(cell, result)
                    if not entry.is_transcribed:
                        rows[cell].append(self._settled(result.row, cell))
                    for metric, row in zip(entry.metrics, result.measured, strict=True):
                        values[cell, metric].append(self._settled(row, cell))
        finally:
            for cell, transcripts in rows.items():
                self.state.commit_transcripts(cell, transcripts)
            for (cell, metric), measured in values.items():
                self.state.commit_measured(cell, metric, measured)
        self.state.report_to(self.report)


def _failed(entry: ToTranscribe, reason: str, cause: str) -> Transcribed:
    """Returns the failed transcript and measurements of a row."""
    item = entry.row.item
    measured = tuple(
        MeasuredRow(item=item, status="failed", reason=reason, cause=cause) for _ in entry.metrics
    )
    return Transcribed(
        TranscriptRow(item=item, status="failed", reason=reason, cause=cause), measured=measured
    )


def _items_of(batch: Batch[Any]) -> Any:
    return batch.items


def _parcel_to_generator(batch: Batch[Any]) -> Any:
    """Packs the items of a batch with the files that generating reads."""
    return pack(batch.items, needed_to_generate(batch.items))


def _with_file(entry: ToTranscribe, system: System) -> ToTranscribe:
    """Returns a row with the path of its speech, if the ledger does not hold the speech itself."""
    if entry.row.units or entry.row.audio:
        return entry
    try:
        return replace(entry, file=system.sound_file(entry.row, entry.item))
    except SpeechError:
        # The transcriber reports the error as the reason of its row.
        return entry

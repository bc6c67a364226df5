"""Speakers and listeners at work: what is spoken is committed and heard as it comes.

Listeners that have enough to do keep speakers from being given more.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from bench.asr.spec import AsrSpec
from bench.common.progress import Progress
from bench.execution.evaluation import Evaluation
from bench.execution.marks import Marks
from bench.execution.pool import Batch, Pool
from bench.execution.session import Sizes
from bench.jobs.cells import Cell
from bench.store.rows import HeardRow, Spoken, ToHear
from bench.systems.base import System

POLL_SECONDS = 0.5
LISTENER_CLIPS = 8
ROUNDS = 3
"""How many times a batch fills a speaker's slots."""
CREDITS = 8
"""Batches that may wait for each listener before speakers get no more work."""


@dataclass(frozen=True)
class Plan:
    """The two kinds of actor, how many of each, and how long a batch may take."""

    speaker: Any
    listener: Any
    sizes: Sizes
    deadline: float


def _new(actor: Any, *arguments: Any) -> Any:
    return actor.remote(*arguments)


class Pipeline:
    """All cells that one ASR hears."""

    def __init__(
        self,
        run: Evaluation,
        plan: Plan,
        cells: Sequence[Cell],
        asr: AsrSpec,
        checkpoint: Path,
        report: Progress,
        stop: Callable[[], bool],
    ) -> None:
        self.state = run
        self.plan = plan
        self.cells = list(cells)
        self.report = report
        self.stop = stop
        self.hearers: dict[str, list[Cell]] = defaultdict(list)
        for cell in cells:
            self.hearers[cell.speech_key].append(cell)
        self.pending: dict[str, list[Spoken]] = {cell.heard_key: [] for cell in cells}
        self.listening: Pool[Any] = Pool(
            partial(_new, plan.listener, asr, str(checkpoint), 1),
            plan.sizes.listeners,
            lambda batch: (batch.tag.system, batch.tag.hear, batch.items),
            plan.deadline,
            # Chosen now: what is spoken and heard meanwhile must not count as heard before.
            self._unheard(
                [
                    (cell, run.spoken[cell.speech_key].copy())
                    for cell in cells
                    if run.heard[cell.heard_key].count < run.spoken[cell.speech_key].count
                ]
            ),
        )

    def run(self) -> None:
        """Until every cell is whole; raises KeyboardInterrupt where it is stopped."""
        groups: dict[str, dict[str, Cell]] = defaultdict(dict)
        for cell in self.cells:
            if not self.state.spoken[cell.speech_key].full:
                groups[cell.speaker.model_dump_json()].setdefault(cell.speech_key, cell)
        for lacking in groups.values():
            self._speak(next(iter(lacking.values())).speaker, lacking)
        while self.listening.busy:
            self._may_stop(None)
            self._settle_heard(POLL_SECONDS)
        self.listening.close()

    def _speak(self, speaker: System, cells: dict[str, Cell]) -> None:
        count = self.plan.sizes.speakers
        speaking: Pool[Any] = Pool(
            partial(_new, self.plan.speaker, speaker, 1),
            count,
            lambda batch: batch.items,
            self.plan.deadline,
            self._to_speak(cells, count),
        )
        while speaking.busy:
            self._may_stop(speaking)
            room = self.listening.waiting < CREDITS * self.plan.sizes.listeners
            self._settle_spoken(speaking, hand_out=room)
            self._settle_heard(0.0 if room else POLL_SECONDS)
        speaking.close()
        for key in cells:
            for cell in self.hearers[key]:
                self._listen(cell, whole=False)

    def _may_stop(self, speaking: Pool[Any] | None) -> None:
        if self.stop():
            self._wind_up(speaking)

    def _wind_up(self, speaking: Pool[Any] | None) -> NoReturn:
        """Commits what is in flight; what was spoken and not heard is there for the next run."""
        while self.listening.flying or (speaking is not None and speaking.flying):
            if speaking is not None and speaking.flying:
                self._settle_spoken(speaking, hand_out=False)
            if self.listening.flying:
                self._settle_heard(POLL_SECONDS, hand_out=False)
        raise KeyboardInterrupt

    def _to_speak(self, cells: dict[str, Cell], speakers: int) -> Iterator[Batch[Any]]:
        """The missing items in batches, an item with every variant that it lacks."""
        state, some = self.state, next(iter(cells.values()))
        marks = [(state.spoken[key], cell.variant) for key, cell in cells.items()]
        lacking = [item for item in state.items if any(item.id not in done for done, _ in marks)]
        slots = max(cell.system.batch(LISTENER_CLIPS) for cell in cells.values())
        # Several fills of the slots, so that rows are replaced; but work for every speaker.
        size = max(1, min(ROUNDS * slots // len(cells), -(-len(lacking) // speakers)))
        for start in range(0, len(lacking), size):
            yield Batch(
                None,
                [
                    (
                        state.item(item.id, some.system),
                        tuple(variant for done, variant in marks if item.id not in done),
                    )
                    for item in lacking[start : start + size]
                ],
            )

    def _unheard(self, cells: Sequence[tuple[Cell, Marks]]) -> Iterator[Batch[Any]]:
        """What was there before anything new is spoken, read as it is wanted."""
        for cell, spoken in cells:
            for rows in self.state.unheard(cell, spoken):
                yield from self._batches(cell, rows)

    def _settle_spoken(self, pool: Pool[Any], hand_out: bool) -> None:
        for done in pool.poll(POLL_SECONDS if hand_out else 0.0, hand_out):
            cause = "machine" if done.machine else ""
            made: list[tuple[str, Spoken]] = done.result or [
                (variant.key, Spoken(item.id, "failed", done.failure, cause=cause))
                for item, variants in done.items
                for variant in variants
            ]
            rows: dict[str, list[Spoken]] = defaultdict(list)
            for key, row in made:
                rows[key].append(row)
            for key, some in rows.items():
                self.state.commit_spoken(key, some)
                for cell in self.hearers[key]:
                    self.pending[cell.heard_key] += some
                    self._listen(cell, whole=True)

    def _listen(self, cell: Cell, whole: bool) -> None:
        """Queues spoken rows for the listeners; with `whole`, full batches only."""
        rows = self.pending[cell.heard_key]
        count = len(rows) - len(rows) % LISTENER_CLIPS if whole else len(rows)
        self.pending[cell.heard_key] = rows[count:]
        for batch in self._batches(cell, rows[:count]):
            self.listening.submit(batch)

    def _batches(self, cell: Cell, rows: Sequence[Spoken]) -> Iterator[Batch[Any]]:
        """Rows as listeners' work; what was not spoken is committed as unheard, for its reason."""
        failed = [r for r in rows if r.status != "ok"]
        if failed:
            unheard = [HeardRow(r.item, "failed", r.reason, r.cause) for r in failed]
            self.state.commit_heard(cell, unheard)
        good = [
            ToHear(row, self.state.item(row.item, cell.system), self._keep(cell, row.item))
            for row in rows
            if row.status == "ok"
        ]
        for start in range(0, len(good), LISTENER_CLIPS):
            yield Batch(cell, good[start : start + LISTENER_CLIPS])

    def _keep(self, cell: Cell, item: str) -> Path | None:
        """Where speech is kept: the whole one, for people to listen to."""
        return self.state.speech / cell.slug / f"{item}.wav" if cell.hear == "whole" else None

    def _settle_heard(self, timeout: float, hand_out: bool = True) -> None:
        for done in self.listening.poll(timeout, hand_out):
            cause = "machine" if done.machine else ""
            rows = done.result or [
                HeardRow(entry.row.item, "failed", done.failure, cause) for entry in done.items
            ]
            self.state.commit_heard(done.tag, rows)
        self.state.told(self.report)

"""Runs a job: what the ledger lacks is spoken and heard, and committed as it comes.

The driver holds names, not rows: units go to the ledger and on to a listener, and listeners that
have enough to do keep speakers from being given more.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import polars as pl

from bench.cells import Cell
from bench.cluster.pool import Batch, Pool
from bench.cluster.session import ray_session, sizes
from bench.datasets.types import Item
from bench.ledger import Ledger
from bench.progress import Progress
from bench.rows import HEARD_SCHEMA, SPOKEN_SCHEMA, HeardRow, Spoken, ToHear, frame
from bench.spec import AsrSpec, Job, PixVoxSpec, SystemSpec

POLL_SECONDS = 0.5
LISTENER_CLIPS = 8
ROUNDS = 3
"""How many times a batch fills a speaker's slots."""
CREDITS = 8
"""Batches that may wait for each listener before speakers get no more work."""


@dataclass(frozen=True)
class Actors:
    """What speaks and what listens; `work` takes and gives what the real actors' does."""

    speaker: type
    listener: type


def real_actors() -> Actors:
    """Models: a system that speaks, a codec and an ASR that listen."""
    from bench.cluster.actors import ListenerActor, SpeakerActor

    return Actors(SpeakerActor, ListenerActor)


class Evaluation:
    """One job's run over one ledger. `missing` asks the ledger; `complete` makes it so."""

    def __init__(
        self, job: Job, items: Sequence[Item], cells: Sequence[Cell], ledger: Ledger, speech: Path
    ) -> None:
        self.job = job
        self.items = {item.id: item for item in items}
        self.cells = list(cells)
        self.ledger = ledger
        self.speech = speech
        self.spoken = {c: ledger.settled("spoken", c.speech_key, SPOKEN_SCHEMA) for c in cells}
        self.heard = {c: ledger.settled("heard", c.heard_key, HEARD_SCHEMA) for c in cells}
        for cell in cells:
            # What is to be spoken again is to be heard again.
            self.heard[cell] &= self.spoken[cell]
        self._pending: dict[Cell, list[Spoken]] = {cell: [] for cell in cells}
        self._done = {
            stage: sum(len(self.items.keys() & of[cell]) for cell in cells)
            for stage, of in (("spoken", self.spoken), ("heard", self.heard))
        }

    @property
    def missing(self) -> int:
        """How many (cell, item) pairs still lack a transcript."""
        return len(self.items) * len(self.cells) - self._done["heard"]

    def complete(
        self,
        checkpoint: Path,
        report: Progress,
        actors: Actors | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Speaks and hears all that is missing.

        Where `stop` says so nothing new is begun; what is in flight is committed, and
        KeyboardInterrupt raised.
        """
        actors = actors or real_actors()
        with ray_session(self.job.cluster):
            import ray

            has = ray.cluster_resources()
            plan = sizes(self.job.cluster, int(has.get("GPU", 0)), int(has.get("CPU", 1)))
            # One thread an actor: more would only fight over the same cores.
            hears = ray.remote(num_cpus=plan.cpu, num_gpus=plan.gpu)(actors.listener)
            speaks = ray.remote(num_cpus=0, num_gpus=plan.gpu)(actors.speaker)
            deadline = self.job.cluster.deadline_seconds
            unheard = {
                cell: (self.items.keys() & self.spoken[cell]) - self.heard[cell]
                for cell in self.cells
            }
            listening: Pool[Any] = Pool(
                partial(_new, hears, self.job.asr, str(checkpoint), 1),
                plan.listeners,
                lambda batch: (batch.tag.system, batch.items),
                deadline,
                self._spoken_before(unheard),
            )
            groups: dict[SystemSpec, list[Cell]] = defaultdict(list)
            for cell in self.cells:
                groups[cell.system].append(cell)
            for system, cells in groups.items():
                if all(self.items.keys() <= self.spoken[cell] for cell in cells):
                    continue
                speaking: Pool[Any] = Pool(
                    partial(_new, speaks, system, 1),
                    plan.speakers,
                    lambda batch: batch.items,
                    deadline,
                    self._to_speak(system, cells, plan.speakers),
                )
                while speaking.busy:
                    if stop():
                        self._wind_up(speaking, cells, listening, report)
                    room = listening.waiting < CREDITS * plan.listeners
                    self._settle_spoken(speaking, cells, listening, room)
                    self._settle_heard(listening, 0.0 if room else POLL_SECONDS, report)
                speaking.close()
                for cell in cells:
                    self._listen(listening, cell, whole=False)
            while listening.busy:
                if stop():
                    self._wind_up(None, [], listening, report)
                self._settle_heard(listening, POLL_SECONDS, report)
            listening.close()

    def _wind_up(
        self,
        speaking: Pool[Any] | None,
        cells: list[Cell],
        listening: Pool[Any],
        report: Progress,
    ) -> NoReturn:
        """Commits what is in flight; what was spoken and not heard is there for the next run."""
        while listening.flying or (speaking is not None and speaking.flying):
            if speaking is not None and speaking.flying:
                self._settle_spoken(speaking, cells, listening, hand_out=False)
            if listening.flying:
                self._settle_heard(listening, POLL_SECONDS, report, hand_out=False)
        raise KeyboardInterrupt

    def _to_speak(
        self, system: SystemSpec, cells: list[Cell], speakers: int
    ) -> Iterator[Batch[Any]]:
        """The missing items in batches, an item with every prompt share that it lacks."""
        lacking = {
            name: shares
            for name in self.items
            if (shares := tuple(c.prompt for c in cells if name not in self.spoken[c]))
        }
        slots = system.decoding.slots if isinstance(system, PixVoxSpec) else LISTENER_CLIPS
        # Several fills of the slots, so that rows are replaced; but work for every speaker.
        size = max(1, min(ROUNDS * slots // len(cells), -(-len(lacking) // speakers)))
        names = list(lacking)
        for start in range(0, len(names), size):
            chosen = names[start : start + size]
            yield Batch(system, [(self.items[name], lacking[name]) for name in chosen])

    def _spoken_before(self, unheard: dict[Cell, set[str]]) -> Iterator[Batch[Any]]:
        """What an earlier run spoke and nobody heard, read part by part as it is wanted."""
        for cell, wanted in unheard.items():
            if not wanted:
                continue
            for part in self.ledger.parts("spoken", cell.speech_key, SPOKEN_SCHEMA):
                rows = [Spoken(**row) for row in part.iter_rows(named=True)]
                chosen = [row for row in rows if row.item in wanted and row.settled]
                wanted -= {row.item for row in chosen}
                yield from self._batches(cell, chosen)

    def _settle_spoken(
        self, pool: Pool[Any], cells: list[Cell], listening: Pool[Any], hand_out: bool
    ) -> None:
        by_prompt = {cell.prompt: cell for cell in cells}
        for done in pool.poll(POLL_SECONDS if hand_out else 0.0, hand_out):
            cause = "machine" if done.machine else ""
            made: list[tuple[float, Spoken]] = done.result or [
                (share, Spoken(item.id, "failed", done.failure, cause=cause))
                for item, shares in done.items
                for share in shares
            ]
            for cell in cells:
                rows = [row for share, row in made if by_prompt[share] is cell]
                if rows:
                    self.ledger.append("spoken", cell.speech_key, frame(rows, SPOKEN_SCHEMA))
                    self.spoken[cell] |= {row.item for row in rows}
                    self._done["spoken"] += len(rows)
                    self._pending[cell] += rows
                    self._listen(listening, cell, whole=True)

    def _listen(self, pool: Pool[Any], cell: Cell, whole: bool) -> None:
        """Queues spoken rows for the listeners; with `whole`, full batches only."""
        rows = self._pending[cell]
        count = len(rows) - len(rows) % LISTENER_CLIPS if whole else len(rows)
        self._pending[cell] = rows[count:]
        for batch in self._batches(cell, rows[:count]):
            pool.submit(batch)

    def _batches(self, cell: Cell, rows: Sequence[Spoken]) -> Iterator[Batch[Any]]:
        """Rows as listeners' work; what was not spoken is committed as unheard, for its reason."""
        failed = [r for r in rows if r.status != "ok"]
        if failed:
            self._commit(cell, [HeardRow(r.item, "failed", r.reason, r.cause) for r in failed])
        good = [
            ToHear(r, self.items[r.item], self.speech / cell.slug / f"{r.item}.wav")
            for r in rows
            if r.status == "ok"
        ]
        for start in range(0, len(good), LISTENER_CLIPS):
            yield Batch(cell, good[start : start + LISTENER_CLIPS])

    def _settle_heard(
        self, pool: Pool[Any], timeout: float, report: Progress, hand_out: bool = True
    ) -> None:
        for done in pool.poll(timeout, hand_out):
            cause = "machine" if done.machine else ""
            rows = done.result or [
                HeardRow(entry.row.item, "failed", done.failure, cause) for entry in done.items
            ]
            self._commit(done.tag, rows)
        total = len(self.items) * len(self.cells)
        report("speaking", self._done["spoken"], total)
        report("listening", self._done["heard"], total)

    def _commit(self, cell: Cell, rows: list[HeardRow]) -> None:
        self.ledger.append("heard", cell.heard_key, frame(rows, HEARD_SCHEMA))
        self.heard[cell] |= {row.item for row in rows}
        self._done["heard"] += len(rows)

    def transcripts(self, cell: Cell) -> pl.DataFrame:
        """The cell's heard rows of the items asked for, joined with what was spoken."""
        heard = self.ledger.rows("heard", cell.heard_key, HEARD_SCHEMA)
        spoken = self.ledger.rows("spoken", cell.speech_key, SPOKEN_SCHEMA)
        facts = spoken.select("item", "caption", "prompt_frames", "ended", spoken_on="device")
        asked = pl.DataFrame({"item": list(self.items)}, schema={"item": pl.String})
        return asked.join(heard, on="item", how="left").join(facts, on="item", how="left")


def _new(actor: Any, *arguments: Any) -> Any:
    return actor.remote(*arguments)


def asr_content(spec: AsrSpec, checkpoint_digest: str) -> dict[str, Any]:
    """All that a transcript depends on beside the speech."""
    from bench.listening.whisper import PROTOCOL

    return {
        "asr": "openai-whisper",
        "weights": checkpoint_digest,
        "beam_size": spec.beam_size,
        "batch": spec.batch,
        "arithmetic": spec.arithmetic,
        "protocol": PROTOCOL,
    }

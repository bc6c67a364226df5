"""Runs a job: what the ledger lacks is spoken and heard, and committed as it comes."""

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from bench.cells import Cell
from bench.cluster.pool import Batch, Done, Pool
from bench.cluster.session import ray_session, sizes
from bench.datasets.types import Item
from bench.ledger import Ledger
from bench.progress import Progress
from bench.rows import HEARD_SCHEMA, SPOKEN_SCHEMA, HeardRow, Spoken, frame
from bench.spec import AsrSpec, Job, PixVoxSpec, SystemSpec

POLL_SECONDS = 0.5
LISTENER_CLIPS = 8
ROUNDS = 3
"""How many times a batch fills a speaker's slots."""


def _spoken_rows(ledger: Ledger, cell: Cell) -> dict[str, Spoken]:
    table = ledger.rows("spoken", cell.speech_key, SPOKEN_SCHEMA)
    return {row["item"]: Spoken(**row) for row in table.iter_rows(named=True)}


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
        self._queued: set[tuple[Cell, str]] = set()
        self.spoken = {cell: _spoken_rows(ledger, cell) for cell in cells}
        self.heard = {
            cell: set(ledger.rows("heard", cell.heard_key, HEARD_SCHEMA)["item"]) for cell in cells
        }

    def unspoken(self, cell: Cell) -> list[str]:
        """Items that the cell has no spoken row for."""
        return [name for name in self.items if name not in self.spoken[cell]]

    def unheard(self, cell: Cell) -> list[str]:
        """Items that were spoken, but not heard."""
        return [n for n in self.items if n in self.spoken[cell] and n not in self.heard[cell]]

    @property
    def missing(self) -> int:
        """How many (cell, item) pairs still lack a transcript."""
        return sum(len(self.items.keys() - self.heard[cell]) for cell in self.cells)

    def complete(self, checkpoint: Path, report: Progress) -> None:
        """Speaks and hears all that is missing."""
        with ray_session(self.job.cluster):
            import ray

            from bench.cluster.actors import ListenerActor, SpeakerActor

            has = ray.cluster_resources()
            plan = sizes(self.job.cluster, int(has.get("GPU", 0)), int(has.get("CPU", 1)))
            # One thread an actor: more would only fight over the same cores.
            hears = ray.remote(num_cpus=plan.cpu, num_gpus=plan.gpu)(ListenerActor)
            speaks = ray.remote(num_cpus=0, num_gpus=plan.gpu)(SpeakerActor)
            deadline = self.job.cluster.deadline_seconds
            listening: Pool[Any] = Pool(
                partial(_new, hears, self.job.asr, str(checkpoint), 1),
                plan.listeners,
                lambda batch: (batch.tag.system, batch.items),
                deadline,
            )
            for cell in self.cells:
                self._listen(listening, cell, self.unheard(cell))
            groups: dict[SystemSpec, list[Cell]] = defaultdict(list)
            for cell in self.cells:
                groups[cell.system].append(cell)
            for system, cells in groups.items():
                if not any(self.unspoken(cell) for cell in cells):
                    continue
                speaking: Pool[Any] = Pool(
                    partial(_new, speaks, system, 1), plan.speakers, lambda b: b.items, deadline
                )
                self._ask(speaking, system, cells, plan.speakers)
                while speaking.busy:
                    self._settle_spoken(speaking, cells, listening)
                    self._settle_heard(listening, 0.0, report)
                speaking.close()
                for cell in cells:
                    self._listen(listening, cell, self._waiting(cell))
            while listening.busy:
                self._settle_heard(listening, POLL_SECONDS, report)
            listening.close()

    def _ask(self, pool: Pool[Any], system: SystemSpec, cells: list[Cell], speakers: int) -> None:
        """Queues the missing items, an item with every prompt share that it lacks."""
        lacking: dict[str, list[float]] = defaultdict(list)
        for cell in cells:
            for name in self.unspoken(cell):
                lacking[name].append(cell.prompt)
        asked = [(self.items[name], tuple(lacking[name])) for name in self.items if name in lacking]
        slots = system.decoding.slots if isinstance(system, PixVoxSpec) else LISTENER_CLIPS
        # Several fills of the slots, so that rows are replaced; but work for every speaker.
        size = max(1, min(ROUNDS * slots // len(cells), -(-len(asked) // speakers)))
        for start in range(0, len(asked), size):
            pool.submit(Batch(system, asked[start : start + size]))

    def _settle_spoken(self, pool: Pool[Any], cells: list[Cell], listening: Pool[Any]) -> None:
        by_prompt = {cell.prompt: cell for cell in cells}
        for done in pool.poll(POLL_SECONDS):
            made: list[tuple[float, Spoken]] = done.result or [
                (share, Spoken(item.id, "failed", done.failure))
                for item, shares in done.items
                for share in shares
            ]
            for cell in cells:
                rows = [row for share, row in made if by_prompt[share] is cell]
                if rows:
                    self.ledger.append("spoken", cell.speech_key, frame(rows, SPOKEN_SCHEMA))
                    self.spoken[cell] |= {row.item: row for row in rows}
                    waiting = self._waiting(cell)
                    whole = len(waiting) - len(waiting) % LISTENER_CLIPS
                    self._listen(listening, cell, waiting[:whole])

    def _waiting(self, cell: Cell) -> list[str]:
        return [name for name in self.unheard(cell) if (cell, name) not in self._queued]

    def _listen(self, pool: Pool[Any], cell: Cell, names: Sequence[str]) -> None:
        """Queues spoken items; what was not spoken is committed as not heard, for its reason."""
        from bench.cluster.actors import ToHear

        self._queued.update((cell, name) for name in names)
        rows = [self.spoken[cell][name] for name in names]
        failed = [HeardRow(r.item, "failed", r.reason) for r in rows if r.status != "ok"]
        if failed:
            self._commit(cell, failed)
        good = [
            ToHear(r, self.items[r.item], self.speech / cell.slug / f"{r.item}.wav")
            for r in rows
            if r.status == "ok"
        ]
        for start in range(0, len(good), LISTENER_CLIPS):
            pool.submit(Batch(cell, good[start : start + LISTENER_CLIPS]))

    def _settle_heard(self, pool: Pool[Any], timeout: float, report: Progress) -> None:
        done: Done[Any]
        for done in pool.poll(timeout):
            rows = done.result or [
                HeardRow(entry.row.item, "failed", done.failure) for entry in done.items
            ]
            self._commit(done.tag, rows)
        spoken = sum(len(self.items.keys() & self.spoken[c].keys()) for c in self.cells)
        heard = sum(len(self.items.keys() & self.heard[c]) for c in self.cells)
        total = len(self.items) * len(self.cells)
        report("speaking", spoken, total)
        report("listening", heard, total)

    def _commit(self, cell: Cell, rows: list[HeardRow]) -> None:
        self.ledger.append("heard", cell.heard_key, frame(rows, HEARD_SCHEMA))
        self.heard[cell] |= {row.item for row in rows}

    def transcripts(self, cell: Cell) -> pl.DataFrame:
        """The cell's heard rows of the items asked for, joined with what was spoken."""
        heard = self.ledger.rows("heard", cell.heard_key, HEARD_SCHEMA)
        spoken = self.ledger.rows("spoken", cell.speech_key, SPOKEN_SCHEMA)
        facts = spoken.select("item", "caption", "prompt_frames", "ended")
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
        "protocol": PROTOCOL,
    }

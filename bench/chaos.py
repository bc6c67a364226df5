"""`pixvox chaos`: kills a small run at random, resumes it, and compares every byte.

The ledger, the scheduler and Ray are the real ones; what speaks and listens are stubs, whose
rows are a function of the item, so that a lost, doubled or mixed row shows. A run is a process
of its own (`python -m bench.chaos FOLDER ...`), because a driver is among what is killed.
"""

import argparse
import hashlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from bench.cells import Cell
from bench.datasets.types import Caption, Item
from bench.evaluation import Actors, Evaluation
from bench.ledger import Ledger
from bench.rows import HeardRow, Spoken
from bench.spec import DecodingSpec, Job, PixVoxSpec

KINDS = ("driver", "speaker", "listener", "raylet", "write", "rename", "disk")
"""Whom a kill meets: four processes, the driver just before and after a part's rename, a disk
that is full."""

_PATIENCE_SECONDS = 120


def _digest(*parts: object) -> bytes:
    return hashlib.sha256("\0".join(map(str, parts)).encode()).digest()


class StubSpeaker:
    """Speaks units that are a function of item and prompt share."""

    def __init__(self, system: PixVoxSpec, threads: int) -> None:
        self.pause = float(os.environ.get("PIXVOX_CHAOS_PAUSE", "0"))

    def work(self, asked: Sequence[tuple[Item, tuple[float, ...]]]) -> list[tuple[float, Spoken]]:
        time.sleep(self.pause)
        return [
            (share, Spoken(item.id, "ok", units=_digest(item.id, share), codebooks=4))
            for item, shares in asked
            for share in shares
        ]


class StubListener:
    """Hears words that are a function of the units."""

    def __init__(self, spec: object, checkpoint: str, threads: int) -> None:
        self.pause = float(os.environ.get("PIXVOX_CHAOS_PAUSE", "0"))

    def work(self, work: tuple[object, Sequence[Any]]) -> list[HeardRow]:
        time.sleep(self.pause)
        return [
            HeardRow(e.row.item, "ok", transcript=_digest(e.row.item, e.row.units.hex()).hex())
            for e in work[1]
        ]


def _silent(what: str, done: int, total: int) -> None:
    """Reports nothing."""


def evaluation(folder: Path, items: int, speakers: int, listeners: int) -> Evaluation:
    """The small run: two cells of one system that nothing has to be loaded for."""
    few = DecodingSpec(slots=4)
    system = PixVoxSpec(
        kind="pixvox", label="stub", weights="none", prompts=(0.0, 0.5), decoding=few
    )
    job = Job.model_validate(
        {
            "name": "chaos",
            "dataset": {"name": "scenes"},
            "systems": [system.model_dump()],
            "cluster": {"speakers": speakers, "listeners": listeners, "deadline_seconds": 30},
        }
    )
    cells = [Cell("stub", system, "delay", p, f"s{p}", f"h{p}") for p in system.prompts]
    caption = (Caption("a stub"),)
    things = [Item(f"i{n:06d}", Path("none.png"), caption) for n in range(items)]
    return Evaluation(job, things, cells, Ledger(folder / "ledger"), folder / "speech")


def finish(run: Evaluation, folder: Path) -> None:
    """Completes the run and writes `rows.parquet`: what a comparison compares."""
    with run.ledger.lock():
        if run.missing:
            run.complete(Path("none"), _silent, Actors(StubSpeaker, StubListener))
        tables = [
            run.transcripts(cell).with_columns(cell=pl.lit(cell.prompt)) for cell in run.cells
        ]
    pl.concat(tables).write_parquet(folder / "rows.parquet")


def _die_at(kind: str, after: int) -> None:
    """Has this process kill itself at the `after`-th commit, before or after the rename."""
    calls = Counter[str]()
    real = os.fsync

    def fsync(descriptor: Any) -> None:
        # A part's file is synced before it gets its name, its folder after.
        point = "rename" if Path(f"/proc/self/fd/{descriptor}").is_dir() else "write"
        calls[point] += 1
        if point == kind and calls[point] == after:
            os.kill(os.getpid(), signal.SIGKILL)
        real(descriptor)

    os.fsync = fsync  # type: ignore[assignment]


def child(arguments: Sequence[str]) -> int:
    """One attempt at the run; with `--die`, one that ends itself somewhere in a commit."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--items", type=int)
    parser.add_argument("--die", choices=("write", "rename", "disk", "none"))
    parser.add_argument("--after", type=int)
    given = parser.parse_args(arguments)
    if given.die == "disk":
        # Every file beyond so many bytes fails to be written, as on a full disk.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    elif given.die in ("write", "rename"):
        _die_at(given.die, given.after)
    run = evaluation(given.folder, given.items, 1, 1)
    if given.die == "disk":
        _fill_disk(run.ledger, given.after)
    finish(run, given.folder)
    return 0


def _fill_disk(ledger: Ledger, after: int) -> None:
    """From the `after`-th part on there is room for 100 bytes only."""
    real = ledger.append
    count = 0

    def append(stage: str, key: str, rows: pl.DataFrame) -> None:
        nonlocal count
        count += 1
        if count == after:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
        real(stage, key, rows)

    ledger.append = append  # type: ignore[method-assign]


@dataclass(frozen=True)
class Verdict:
    """What the rounds came to."""

    rounds: int
    kills: dict[str, int]
    lost: int
    doubled: int
    different: int

    @property
    def good(self) -> bool:
        return not (self.lost or self.doubled or self.different)


def _children(pid: int) -> dict[int, str]:
    """The names of all processes below one."""
    found: dict[int, str] = {}
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
            name = (stat.parent / "cmdline").read_bytes().split(b"\0")[0].decode()
        except OSError:
            continue
        parents.setdefault(int(text.rsplit(")", 1)[1].split()[1]), []).append(int(stat.parent.name))
        found[int(stat.parent.name)] = name
    below: dict[int, str] = {}
    stack = [pid]
    while stack:
        for one in parents.get(stack.pop(), []):
            below[one] = found[one]
            stack.append(one)
    return below


_NAMES = {"speaker": "ray::StubSpeaker", "listener": "ray::StubListener", "raylet": "raylet"}


def _kill(process: "subprocess.Popen[bytes]", kind: str, rng: random.Random) -> bool:
    """Kills what the kind names, once it is there; whether it was met before the run ended."""
    if kind == "driver":
        while process.poll() is None:
            if any(_NAMES["speaker"] in n for n in _children(process.pid).values()):
                time.sleep(rng.random())
                process.kill()
                return True
            time.sleep(0.05)
        return False
    while process.poll() is None:
        names = _children(process.pid).items()
        victims = [pid for pid, name in names if _NAMES[kind] in name]
        speaking = any(_NAMES["speaker"] in name for _, name in names)
        if victims and speaking:
            time.sleep(rng.random() * 0.5)
            try:
                os.kill(rng.choice(victims), signal.SIGKILL)
            except ProcessLookupError:
                continue
            return True
        time.sleep(0.05)
    return False


def _attempt(folder: Path, items: int, kind: str, rng: random.Random) -> bool:
    """One attempt that meets a kill of a kind; whether it was met."""
    die = kind if kind in ("write", "rename", "disk") else "none"
    command = [sys.executable, "-m", "bench.chaos", str(folder), "--items", str(items)]
    command += ["--die", die, "--after", str(rng.randint(1, max(1, items // 20)))]
    process = subprocess.Popen(
        command,
        env=os.environ | {"PIXVOX_CHAOS_PAUSE": "0.15"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    met = _kill(process, kind, rng) if die == "none" and kind != "none" else die != "none"
    try:
        code = process.wait(_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired as error:
        process.kill()
        raise RuntimeError(f"a run hung after the {kind} was killed") from error
    return met and not (die != "none" and code == 0)


def _compare(folder: Path, whole: pl.DataFrame) -> tuple[int, int, int]:
    """Lost, doubled and different rows against the unbroken run's."""
    rows = pl.read_parquet(folder / "rows.parquet")
    keys = ["cell", "item"]
    lost = whole.join(rows.filter(pl.col("status") == "ok"), on=keys, how="anti").height
    doubled = rows.height - rows.unique(keys).height
    same = (folder / "rows.parquet").read_bytes()
    return lost, doubled, int(hashlib.sha256(same).digest() != _file(whole))


def _file(frame: pl.DataFrame) -> bytes:
    import io

    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return hashlib.sha256(buffer.getvalue()).digest()


def unbroken(folder: Path, items: int) -> pl.DataFrame:
    """The rows of a run that nothing is done to."""
    _attempt(folder, items, "none", random.Random(0))
    return pl.read_parquet(folder / "rows.parquet")


def one_round(
    folder: Path, whole: pl.DataFrame, items: int, kinds: Sequence[str], rng: random.Random
) -> Verdict:
    """A run killed once in each of the ways and resumed, against the unbroken one's rows.

    Raises RuntimeError where a run hangs or cannot be finished.
    """
    kills = Counter[str]()
    for kind in kinds:
        kills[kind] += _attempt(folder, items, kind, rng)
    _attempt(folder, items, "none", rng)
    if not (folder / "rows.parquet").exists():
        raise RuntimeError(f"{folder}: the run could not be finished after its kills")
    return Verdict(1, dict(kills), *_compare(folder, whole))


def rounds(
    folder: Path, count: int, items: int, seed: int, report: Callable[[str, int, int], None]
) -> Verdict:
    """`count` rounds of one to three kills each, their kinds drawn from the seed."""
    whole = unbroken(folder / "unbroken", items)
    kills = Counter[str]()
    lost = doubled = different = 0
    for number in range(count):
        rng = random.Random(f"{seed}/{number}")
        kinds = [rng.choice(KINDS) for _ in range(rng.randint(1, 3))]
        found = one_round(folder / f"round{number}", whole, items, kinds, rng)
        kills.update(found.kills)
        lost, doubled = lost + found.lost, doubled + found.doubled
        different += found.different
        report("chaos", number + 1, count)
    return Verdict(count, dict(kills), lost, doubled, different)


def run(count: int, items: int, seed: int, save: Path | None) -> int:
    """Runs the rounds in a folder of their own and prints the verdict; 1 unless it is good."""
    import tempfile

    from bench.progress import progress

    with tempfile.TemporaryDirectory(prefix="pixvox-chaos-") as name, progress() as report:
        verdict = rounds(Path(name), count, items, seed, report)
    print(f"{verdict.rounds} rounds, kills that were met: {verdict.kills}")
    print(
        f"rows lost {verdict.lost}, doubled {verdict.doubled}; runs whose rows differ in any "
        f"byte: {verdict.different}: {'good' if verdict.good else 'BAD'}"
    )
    if save:
        from dataclasses import asdict

        save.write_text(json.dumps(asdict(verdict) | {"items": items, "seed": seed}) + "\n")
    return 0 if verdict.good else 1


if __name__ == "__main__":
    sys.exit(child(sys.argv[1:]))

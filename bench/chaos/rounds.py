"""`pixvox chaos`: kills a small run at random, resumes it, and compares every byte."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

from bench.chaos.attempt import OWN_DEATHS
from bench.errors import RunFailed
from bench.stub import PAUSE

PROCESSES = {
    "speaker": "ray::StubSpeaker",
    "listener": "ray::StubListener",
    "raylet": "raylet",
    "jvm": "java",
}
KINDS = ("driver", *PROCESSES, *OWN_DEATHS, "interrupt", "flip")
"""What a round does to a run: kills five kinds of process, ends the driver inside a commit, fills
its disk, interrupts it once or twice, flips a byte of a committed part."""

_PATIENCE_SECONDS = 120


@dataclass(frozen=True)
class Verdict:
    """What the rounds came to; `kills` counts only those that met their victim."""

    rounds: int
    kills: dict[str, int]
    lost: int
    doubled: int
    different: int

    @property
    def good(self) -> bool:
        return not (self.lost or self.doubled or self.different)


def below(pid: int) -> dict[int, str]:
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


def _victims(process: "subprocess.Popen[bytes]", kind: str) -> list[int]:
    """The processes that a kind means, once the run is under way."""
    names = below(process.pid).items()
    if kind == "jvm":
        return [pid for pid, name in names if Path(name).name == "java"]
    if not any(PROCESSES["speaker"] in name for _, name in names):
        return []
    if kind in PROCESSES:
        return [pid for pid, name in names if PROCESSES[kind] in name]
    return [process.pid]


def _hit(process: "subprocess.Popen[bytes]", kind: str, rng: random.Random) -> bool:
    """Does to the run what the kind names; whether its victim was met before the run ended."""
    while process.poll() is None:
        victims = _victims(process, kind)
        if not victims:
            time.sleep(0.05)
            continue
        time.sleep(rng.random() * (1.0 if kind in ("driver", "interrupt") else 0.5))
        try:
            if kind == "interrupt":
                process.send_signal(signal.SIGINT)
                if rng.random() < 0.5:
                    time.sleep(rng.random() * 0.2)
                    process.send_signal(signal.SIGINT)
            else:
                os.kill(rng.choice(victims), signal.SIGKILL)
        except ProcessLookupError:
            continue
        return process.poll() is None or process.returncode != 0
    return False


def _flip(folder: Path, rng: random.Random) -> bool:
    """Flips one bit of one committed part."""
    parts = sorted(folder.rglob("part-*.parquet"))
    if not parts:
        return False
    part = rng.choice(parts)
    data = bytearray(part.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    part.write_bytes(data)
    return True


def _attempt(folder: Path, items: int, kind: str, rng: random.Random) -> bool:
    """One attempt to which a kind is done; whether it met."""
    if kind == "flip":
        return _flip(folder, rng)
    die = kind if kind in OWN_DEATHS else "none"
    command = [sys.executable, "-m", "bench.chaos.attempt", str(folder), "--items", str(items)]
    command += ["--die", die, "--after", str(rng.randint(1, max(1, items // 20)))]
    with (folder.parent / f"{folder.name}.log").open("ab") as log:
        process = subprocess.Popen(
            command, env=os.environ | {PAUSE: "0.15"}, stdout=subprocess.DEVNULL, stderr=log
        )
    met = kind not in (*OWN_DEATHS, "none") and _hit(process, kind, rng)
    try:
        code = process.wait(_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired as error:
        process.kill()
        raise RunFailed(f"{folder}: a run hung after: {kind}") from error
    return met or (die != "none" and code != 0)


def _compare(folder: Path, whole: Path) -> tuple[int, int, int]:
    """Lost and doubled rows against the unbroken run's, and whether any byte differs."""
    rows = pl.read_parquet(folder / "rows.parquet")
    wanted = pl.read_parquet(whole / "rows.parquet")
    keys = ["cell", "item"]
    lost = wanted.join(rows.filter(pl.col("status") == "ok"), on=keys, how="anti").height
    doubled = rows.height - rows.unique(keys).height
    same = all(
        (folder / name).read_bytes() == (whole / name).read_bytes()
        for name in ("rows.parquet", "scores.json")
    )
    return lost, doubled, int(not same)


def unbroken(folder: Path, items: int) -> Path:
    """Makes a run that nothing is done to; gives its folder back."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    _attempt(folder, items, "none", random.Random(0))
    if not (folder / "scores.json").exists():
        raise RunFailed(f"{folder.parent / folder.name}.log: the unbroken run failed")
    return folder


def one_round(
    folder: Path, whole: Path, items: int, kinds: Sequence[str], rng: random.Random
) -> Verdict:
    """A run hit once in each of the ways and resumed, against the unbroken one's bytes.

    Raises RunFailed where a run hangs or cannot be finished.
    """
    kills = Counter[str]()
    for kind in kinds:
        kills[kind] += _attempt(folder, items, kind, rng)
    for name in ("rows.parquet", "scores.json"):
        (folder / name).unlink(missing_ok=True)
    _attempt(folder, items, "none", rng)
    if not (folder / "scores.json").exists():
        raise RunFailed(f"{folder}: the run could not be finished after: {', '.join(kinds)}")
    return Verdict(1, dict(kills), *_compare(folder, whole))


def rounds(
    folder: Path,
    count: int,
    items: int,
    seed: int,
    at_once: int,
    report: Callable[[str, int, int], None],
) -> Verdict:
    """`count` rounds of one or two blows each, their kinds drawn from the seed."""
    whole = unbroken(folder / "unbroken", items)

    def one(number: int) -> Verdict:
        rng = random.Random(f"{seed}/{number}")
        kinds = [rng.choice(KINDS) for _ in range(rng.randint(1, 2))]
        here = folder / f"round{number}"
        found = one_round(here, whole, items, kinds, rng)
        if not found.good:
            print(f"round {number}: {', '.join(kinds)}: {found}", flush=True)
        shutil.rmtree(here)
        return found

    kills = Counter[str]()
    found: list[Verdict] = []
    with ThreadPoolExecutor(at_once) as pool:
        for verdict in pool.map(one, range(count)):
            found.append(verdict)
            kills.update(verdict.kills)
            report("chaos", len(found), count)
    return Verdict(
        count,
        dict(sorted(kills.items())),
        sum(v.lost for v in found),
        sum(v.doubled for v in found),
        sum(v.different for v in found),
    )


def run(count: int, items: int, seed: int, at_once: int, save: Path | None) -> int:
    """Runs the rounds in a folder of their own and prints the verdict; 1 unless it is good."""
    import tempfile

    from bench.perf.machine import save as save_figures
    from bench.progress import progress

    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pixvox-chaos-") as name, progress() as report:
        verdict = rounds(Path(name), count, items, seed, at_once, report)
    print(f"{verdict.rounds} rounds, blows that met: {verdict.kills}")
    print(
        f"rows lost {verdict.lost}, doubled {verdict.doubled}; runs that differ in any "
        f"byte: {verdict.different}: {'good' if verdict.good else 'BAD'}"
    )
    seconds = round(time.monotonic() - started)
    figures = asdict(verdict) | {"items": items, "seed": seed, "seconds": seconds}
    save_figures(figures, save)
    return 0 if verdict.good else 1

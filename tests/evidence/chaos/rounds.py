"""Kills a small run at random, resumes it, and compares every byte."""

import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import polars as pl

from bench.common import scratch
from bench.common.errors import RunFailed
from bench.common.processes import kill, pids_with_variable
from bench.common.supervisor import FAILED
from tests.evidence.chaos.blows import BLOWS, FLIP, allowed, kinds, strike
from tests.evidence.chaos.subjects import OWN_DEATHS, Subject, real, stubs
from tests.evidence.raylets import Raylets, can_isolate
from tests.evidence.stub import PAUSE

_MARK = "PIXVOX_CHAOS"
_NOTHING = "none"
_PAUSES = {PAUSE: "0.15"}
_ORPHANS_SECONDS = 30.0
"""Seconds that a run's processes may live after its supervisor was killed."""


_CLUSTER_SECONDS = 120.0
"""Additional seconds for a run over a cluster, which is joined and whose nodes are replaced."""


@dataclass(frozen=True)
class Counts:
    """What the rounds came to.

    `kills` counts only blows that met their victim, `codes` how often a run ended with which code
    after which blow, `wrong` those that the blow does not allow, and `left` processes and
    temporary folders that a run did not take away.
    """

    rounds: int
    kills: dict[str, int] = field(default_factory=dict)
    codes: dict[str, dict[int, int]] = field(default_factory=dict)
    lost: int = 0
    doubled: int = 0
    different: int = 0
    wrong: int = 0
    left: int = 0

    @property
    def good(self) -> bool:
        return not (self.lost or self.doubled or self.different or self.wrong or self.left)

    def __add__(self, other: "Counts") -> "Counts":
        names = sorted({*self.codes, *other.codes})
        codes = {n: Counter(self.codes.get(n)) + Counter(other.codes.get(n)) for n in names}
        return Counts(
            self.rounds + other.rounds,
            dict(sorted((Counter(self.kills) + Counter(other.kills)).items())),
            {name: dict(sorted(counts.items())) for name, counts in codes.items()},
            self.lost + other.lost,
            self.doubled + other.doubled,
            self.different + other.different,
            self.wrong + other.wrong,
            self.left + other.left,
        )


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


def _left(mark: str, seconds: float) -> int:
    """Returns how many of a run's processes live after so many seconds, and kills them."""
    until = time.monotonic() + seconds
    while pids_with_variable(_MARK, mark) and time.monotonic() < until:
        time.sleep(0.1)
    left = pids_with_variable(_MARK, mark)
    for pid in left:
        kill(pid)
    return len(left)


@contextmanager
def _cluster(subject: Subject) -> Iterator[Raylets | None]:
    """Returns the cluster of a subject; None for a local run."""
    if not subject.raylets:
        yield None
        return
    isolated = bool(subject.hidden) and can_isolate()
    folder = scratch.make(levels=2)
    try:
        with Raylets(
            folder.path, subject.raylets, hidden=subject.hidden, isolated=isolated, settings=_PAUSES
        ) as cluster:
            yield cluster
    finally:
        folder.remove()


def _actors_left(subject: Subject, cluster: Raylets | None) -> int:
    """Returns how many of a run's actors a cluster still has some time after its end."""
    until = time.monotonic() + _ORPHANS_SECONDS
    while cluster is not None:
        names = cluster.processes.values()
        left = sum(subject.generator in name or subject.transcriber in name for name in names)
        if not left or time.monotonic() > until:
            return left
        time.sleep(0.1)
    return 0


def _attempt(
    subject: Subject,
    folder: Path,
    temporary: Path,
    kind: str,
    rng: random.Random,
    *,
    cluster: Raylets | None = None,
) -> Counts:
    """Makes one attempt with one interruption."""
    if kind == FLIP:
        return Counts(0, {kind: int(_flip(folder, rng))})
    die = kind if kind in OWN_DEATHS else _NOTHING
    # Of this process too: two tests may make a run of one name with one seed at the same time.
    mark = f"{folder.name}-{os.getpid()}-{rng.getrandbits(64):x}"
    environment = os.environ | _PAUSES | {"TMPDIR": str(temporary), _MARK: mark}
    environment["RAY_ADDRESS"] = "local"
    if cluster is not None:
        cluster.repair()
        environment |= cluster.environment()
    with folder.with_name(f"{folder.name}.log").open("ab") as log:
        process = subprocess.Popen(
            subject.command(folder, die, rng.randint(1, max(1, subject.items // 20))),
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
    met = kind in BLOWS and strike(process, kind, subject, rng, cluster=cluster)
    try:
        code = process.wait(subject.patience)
    except subprocess.TimeoutExpired as error:
        for pid in pids_with_variable(_MARK, mark):
            kill(pid)
        process.kill()
        raise RunFailed(f"{folder}: a run hung after: {kind}") from error
    left = _left(mark, _ORPHANS_SECONDS if code < 0 else 0.0)
    met = (met or die != _NOTHING) and (code != 0 or kind not in OWN_DEATHS)
    wrong = code not in allowed(kind)
    return Counts(0, {kind: int(met)}, {kind: {code: 1}}, wrong=int(wrong), left=left)


def _compare(subject: Subject, folder: Path, whole: Path) -> Counts:
    """Returns lost and duplicated rows, and whether any derived byte differs."""
    rows, wanted = subject.rows(folder), subject.rows(whole)
    keys = list(subject.keys)
    lost = wanted.join(rows.filter(pl.col("status") == "ok"), on=keys, how="anti").height
    doubled = rows.height - rows.unique(keys).height
    ours, theirs = subject.derived(folder), subject.derived(whole)
    same = ours.keys() == theirs.keys() and all(
        ours[name].read_bytes() == theirs[name].read_bytes() for name in ours
    )
    return Counts(1, lost=lost, doubled=doubled, different=int(not same))


def unbroken(subject: Subject, folder: Path) -> Path:
    """Runs the subject undisturbed, on this machine; returns its folder."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    done = one_round(replace(subject, raylets=0), folder, None, (), random.Random(0))
    if not done.good:
        raise RunFailed(f"{folder.with_name(folder.name)}.log: the unbroken run failed: {done}")
    return folder


def one_round(
    subject: Subject, folder: Path, whole: Path | None, blows: Sequence[str], rng: random.Random
) -> Counts:
    """Interrupts a run in each of the ways, resumes it, and compares it with an undisturbed one.

    Raises RunFailed where a run hangs or cannot be finished.
    """
    # A run's own temporary folder lies in this one, and its path must not get long.
    temporary = scratch.make(levels=2)
    try:
        counts = Counts(0)
        with _cluster(subject) as cluster:
            for kind in blows:
                counts += _attempt(subject, folder, temporary.path, kind, rng, cluster=cluster)
            for path in subject.derived(folder).values():
                path.unlink()
            counts += _attempt(subject, folder, temporary.path, _NOTHING, rng, cluster=cluster)
            counts += Counts(0, left=_actors_left(subject, cluster))
        # What a killed supervisor left is to be gone after the run that followed.
        folders = [path for path in temporary.path.iterdir() if path.is_dir()]
        counts += Counts(0, left=len(folders))
    finally:
        temporary.remove()
    return counts + _compare(subject, folder, whole or folder)


def rounds(
    subject: Subject,
    folder: Path,
    count: int,
    seed: int,
    at_once: int,
    report: Callable[[str, int, int], None],
) -> Counts:
    """Runs `count` rounds with one or two interruptions each, drawn from the seed."""
    whole = unbroken(subject, folder / "unbroken")
    # Every kind comes before any comes again.
    deck = random.Random(seed)
    drawn: list[str] = []
    while len(drawn) < 2 * count:
        drawn += deck.sample(kinds(subject), len(kinds(subject)))

    def run_round(number: int) -> Counts:
        rng = random.Random(f"{seed}/{number}")
        blows = drawn[2 * number : 2 * number + rng.randint(1, 2)]
        if FLIP in blows:
            # A damaged part needs a run that left one.
            blows = ["driver", FLIP]
        here = folder / f"round{number}"
        counts = one_round(subject, here, whole, blows, rng)
        if counts.good:
            shutil.rmtree(here)
        else:
            print(f"round {number}: {', '.join(blows)}: {counts}", flush=True)
        return counts

    total = Counts(0)
    with ThreadPoolExecutor(at_once) as pool:
        for counts in pool.map(run_round, range(count)):
            total += counts
            report("chaos", total.rounds, count)
    return total


def run(
    count: int,
    items: int,
    seed: int,
    at_once: int,
    *,
    save: Path | None,
    job: Path | None = None,
    raylets: int = 0,
) -> int:
    """Runs the rounds in a new folder and prints the counts; returns 3 if anything is wrong."""
    import tempfile

    from bench.common.machine import save as save_figures
    from bench.common.progress import progress

    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        # Under nohup every run would ignore a hang-up too. What is handled, and not ignored, is
        # back to its default in a new process.
        signal.signal(signal.SIGHUP, lambda *_: None)
    started = time.monotonic()
    subject = replace(real(job) if job is not None else stubs(items), raylets=raylets)
    if raylets:
        subject = replace(subject, patience=subject.patience + _CLUSTER_SECONDS)
        if job is not None and can_isolate():
            from tests.evidence.cluster import files_of

            subject = replace(subject, hidden=tuple(files_of(job, scratch.base(levels=2))))
    with tempfile.TemporaryDirectory(prefix="chaos-") as name, progress() as report:
        counts = rounds(subject, Path(name), count, seed, at_once, report)
    print(f"{counts.rounds} rounds, blows that met: {counts.kills}")
    print(f"exit codes by blow: {counts.codes}")
    print(
        f"rows lost {counts.lost}, doubled {counts.doubled}; runs that differ in any "
        f"byte: {counts.different}; wrong exit codes: {counts.wrong}; processes and folders "
        f"left: {counts.left}: {'good' if counts.good else 'BAD'}"
    )
    facts: dict[str, object] = {"job": job.name} if job is not None else {"items": items}
    facts |= {"raylets": raylets} if raylets else {}
    seconds = round(time.monotonic() - started)
    save_figures(asdict(counts) | facts | {"seed": seed, "seconds": seconds}, save)
    return 0 if counts.good else FAILED

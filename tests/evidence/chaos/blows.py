"""The interruptions of a run, and the exit codes that it may end with."""

import os
import random
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from bench.common.processes import below, first_child
from tests.evidence.chaos.subjects import OWN_DEATHS, Subject
from tests.evidence.raylets import Raylets

TERM, HANGUP, STOPPED, FAILED = 128 + signal.SIGTERM, 128 + signal.SIGHUP, 130, 3


@dataclass(frozen=True)
class Blow:
    """A signal to a process of the run; 0 beside `codes` is always allowed, 1 never.

    `early` says that the blow may fall before the actors are there, and `twice` that it falls
    twice.
    """

    victim: str
    signal: signal.Signals
    codes: tuple[int, ...] = ()
    early: bool = False
    twice: bool = False


# An actor that is hit while it starts ends the run: nothing has been learned of the machine yet.
BLOWS = {
    "interrupt": Blow("parent", signal.SIGINT, (STOPPED,), early=True),
    "interrupt twice": Blow("parent", signal.SIGINT, (STOPPED,), early=True, twice=True),
    "terminate": Blow("parent", signal.SIGTERM, (TERM,), early=True),
    "hang up": Blow("parent", signal.SIGHUP, (HANGUP,), early=True),
    "parent": Blow("parent", signal.SIGKILL, (-signal.SIGKILL,), early=True),
    "driver": Blow("child", signal.SIGKILL, (FAILED,), early=True),
    "driver terminated": Blow("child", signal.SIGTERM, (TERM,), early=True),
    "gcs_server": Blow("gcs_server", signal.SIGKILL, (FAILED,)),
    "raylet": Blow("raylet", signal.SIGKILL, (FAILED,)),
    "generator": Blow("generator", signal.SIGKILL, (FAILED,)),
    "transcriber": Blow("transcriber", signal.SIGKILL, (FAILED,)),
    "generator stopped": Blow("generator", signal.SIGSTOP, (FAILED,)),
    "transcriber stopped": Blow("transcriber", signal.SIGSTOP, (FAILED,)),
    "jvm": Blow("java", signal.SIGKILL),
    "node": Blow("node", signal.SIGKILL, (FAILED,)),
}
_OF_ONE_MACHINE, _OF_CLUSTER = "raylet", "node"
"""Blows to a Ray of the run's own, and to a cluster: there a new node takes a dead one's place."""
FLIP = "flip"
_EARLY_SHARE = 0.3


def kinds(subject: Subject) -> tuple[str, ...]:
    """Returns the kinds of interruption of a subject; stubs also end themselves in a commit."""
    other = _OF_ONE_MACHINE if subject.raylets else _OF_CLUSTER
    blows = [name for name in BLOWS if name != other]
    return (*blows, FLIP, *(OWN_DEATHS if subject.job is None else ()))


def allowed(kind: str) -> tuple[int, ...]:
    """Returns the exit codes that a run may end with after an interruption."""
    if kind in OWN_DEATHS:
        return (0, FAILED)
    return (0, *BLOWS[kind].codes) if kind in BLOWS else (0,)


def _victims(
    parent: int, blow: Blow, subject: Subject, *, early: bool, cluster: Raylets | None
) -> list[int]:
    """Returns the processes that the interruption is aimed at."""
    child, victim = first_child(parent), blow.victim
    if child is None:
        return []
    names = (below(child) | (cluster.processes if cluster is not None else {})).items()
    if victim == "java":
        return [pid for pid, name in names if Path(name).name == "java"]
    if not early and not any(subject.generator in name for _, name in names):
        return []
    if victim in ("parent", "child"):
        return [parent if victim == "parent" else child]
    # A node's processes end with it, whichever of them is looked at.
    actors = {
        "generator": subject.generator,
        "transcriber": subject.transcriber,
        "node": subject.generator,
    }
    wanted = actors.get(victim, victim)
    return [pid for pid, name in names if wanted in name]


def strike(
    process: "subprocess.Popen[bytes]",
    kind: str,
    subject: Subject,
    rng: random.Random,
    *,
    cluster: Raylets | None = None,
) -> bool:
    """Interrupts the run or its cluster; returns whether the run was hit before it ended."""
    blow = BLOWS[kind]
    early = blow.early and rng.random() < _EARLY_SHARE
    delay = rng.random() * (1.0 if blow.early else 0.5) * (1 if subject.job is None else 15)
    if blow.victim == "java":
        delay = rng.random() * 0.5
    while process.poll() is None:
        victims = _victims(process.pid, blow, subject, early=early, cluster=cluster)
        if not victims:
            time.sleep(0.05)
            continue
        time.sleep(delay)
        if cluster is not None and blow.victim == _OF_CLUSTER:
            cluster.replace_node(rng)
            return True
        try:
            os.kill(rng.choice(victims), blow.signal)
            if blow.twice:
                time.sleep(rng.random() * 0.2)
                process.send_signal(blow.signal)
        except ProcessLookupError:
            continue
        return True
    return False

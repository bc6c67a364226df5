"""Progress: bars on a terminal, one line now and then elsewhere."""

import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

LINE_EVERY_SECONDS = 10.0


class Progress(Protocol):
    """Told what is being done, how much of it is done, and how much there is."""

    def __call__(self, what: str, done: int, total: int) -> None: ...


def duration(seconds: float) -> str:
    """A duration for people: 40 s, 12 min, 3.5 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"


def pace(done: int, seconds: float, left: int) -> str:
    """How fast, and how long the rest takes at that pace; "" where nothing shows it yet."""
    if done < 1 or seconds <= 0:
        return ""
    rate = f"{done / seconds:.3g}/s" if done >= seconds else f"{seconds / done:.3g} s each"
    return f", {rate}" + (f", about {duration(seconds * left / done)} left" if left > 0 else "")


class _Lines:
    """Lines with the pace of the last minute: what is only read again comes first, and fast."""

    def __init__(self) -> None:
        self._said: dict[str, deque[tuple[float, int, int]]] = {}
        self._start = time.monotonic()

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        said = self._said.setdefault(what.split(" ")[0], deque(maxlen=7))
        if said:
            last, before, of = said[-1]
            early = done < total and now - last < LINE_EVERY_SECONDS
            if early or (before, of) == (done, total):
                return
            if done < before or total != of:
                said.clear()
        said.append((now, done, total))
        begun, first, _ = said[0]
        line = f"[{now - self._start:6.0f} s] {what}: {done}/{total}"
        print(line + pace(done - first, now - begun, total - done), file=sys.stderr, flush=True)


def quiet_libraries() -> None:
    """Keeps transformers from drawing bars of its own between ours."""
    from transformers.utils import logging

    logging.disable_progress_bar()


@contextmanager
def progress() -> Iterator[Progress]:
    """A reporter for the length of a task; the first word of what is done names its bar."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich import progress as bars
    from rich.console import Console
    from rich.text import Text

    class Pace(bars.ProgressColumn):
        """How many a second."""

        def render(self, task: bars.Task) -> Text:
            return Text(f"{task.speed:.3g}/s" if task.speed else "")

    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        Pace(),
        bars.TimeElapsedColumn(),
        bars.TimeRemainingColumn(),
    )
    with bars.Progress(*columns, console=Console(stderr=True)) as shown:
        tasks: dict[str, bars.TaskID] = {}

        def report(what: str, done: int, total: int) -> None:
            stage = what.split(" ")[0]
            if stage not in tasks:
                tasks[stage] = shown.add_task(what, total=total)
            elif done < shown.tasks[tasks[stage]].completed:
                shown.reset(tasks[stage])
            shown.update(tasks[stage], description=what, completed=done, total=total)

        yield report

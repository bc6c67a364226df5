"""Progress: bars on a terminal, and a line every 10 s elsewhere."""

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

LINE_EVERY_SECONDS = 10.0
_RECENT_SECONDS = 60.0
_FEWEST = 16
"""A speed is computed from at least this many results, also if they took longer."""
_TOGETHER_SECONDS = 1.0
"""Results that come within this time count as one."""
_LEAST_SECONDS = 5.0
"""No speed is shown before the results span this time."""


Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


def duration(seconds: float) -> str:
    """Returns a duration as text: 40 s, 12 min, 3.5 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"


class Speed:
    """The speed of one stage, from the times of its latest results.

    The time until the first result is start-up and does not count, nor do rows of earlier runs.
    Actors that started together return their results together. Such a round ends with a pause of
    at least a quarter of the longest one, and speeds are computed from the starts of rounds.
    """

    def __init__(self) -> None:
        self._came: deque[tuple[float, int]] = deque()
        self._at = (-1, -1)

    def update(self, done: int, total: int, now: float) -> None:
        """Notes how much is done; `now` is in seconds of the monotonic clock."""
        before, of = self._at
        self._at = (done, total)
        if done < before or total != of:
            self._came.clear()
        elif done > before:
            if self._came and now - self._came[-1][0] < _TOGETHER_SECONDS:
                now = self._came.pop()[0]
            self._came.append((now, done))
        while len(self._came) > _FEWEST and now - self._came[0][0] > _RECENT_SECONDS:
            self._came.popleft()

    def _rounds(self, now: float) -> list[tuple[float, int]]:
        """Returns each round's start and what was done at its end; [] if there is no speed yet."""
        times = [time for time, _ in self._came]
        if not times or times[-1] - times[0] < _LEAST_SECONDS:
            return []
        longest = max(after - before for before, after in pairwise(times))
        rounds, first_ended = [self._came[0]], times[0]
        for (before, _), (after, done) in pairwise(self._came):
            if after - before >= longest / 4:
                rounds.append((after, done))
                continue
            rounds[-1] = (rounds[-1][0], done)
            first_ended = after if len(rounds) == 1 else first_ended
        # The second of two rounds must be complete: it takes about as long as the first.
        lasted = first_ended - times[0] + _TOGETHER_SECONDS
        return [] if len(rounds) == 2 and now - rounds[1][0] < lasted else rounds

    def left(self, now: float) -> float:
        """Returns the seconds that the rest takes; 0 if there is no speed yet or nothing left."""
        (done, total), rounds = self._at, self._rounds(now)
        if not rounds or done >= total:
            return 0.0
        # Time since the last round counts, but at most the length of one round: while another
        # model starts, no results come.
        waited = min(now - rounds[-1][0], (rounds[-1][0] - rounds[0][0]) / (len(rounds) - 1))
        return max((total - done) / _per_second(rounds) - waited, 1.0)

    def words(self, now: float) -> str:
        """Returns the speed and the remaining time as text; "" if there is no speed yet."""
        rounds, left = self._rounds(now), self.left(now)
        if not rounds:
            return ""
        speed = _per_second(rounds)
        rate = f"{speed:.3g}/s" if speed >= 1 else f"{1 / speed:.3g} s each"
        return f"{rate}, about {duration(left)} left" if left else rate


def _per_second(rounds: Sequence[tuple[float, int]]) -> float:
    """Returns results a second, without the first and last round, which may be incomplete."""
    if len(rounds) == 2:
        (begun, first), (ended, last) = rounds
        return (last - first) / (ended - begun)
    return (rounds[-2][1] - rounds[0][1]) / (rounds[-1][0] - rounds[1][0])


class _Lines:
    """Prints a line for each stage every LINE_EVERY_SECONDS, and when it is complete."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[float, int, int]] = {}
        self._speeds: dict[str, Speed] = {}
        self._start = time.monotonic()

    def __call__(self, what: str, done: int, total: int) -> None:
        now, stage = time.monotonic(), what.split(" ")[0]
        speed = self._speeds.setdefault(stage, Speed())
        speed.update(done, total, now)
        if stage in self._said:
            last, before, of = self._said[stage]
            early = done < total and now - last < LINE_EVERY_SECONDS
            if early or (before, of) == (done, total):
                return
        self._said[stage] = (now, done, total)
        words = speed.words(now)
        line = f"[{now - self._start:6.0f} s] {what}: {done}/{total}"
        print(f"{line}, {words}" if words else line, file=sys.stderr, flush=True)


@contextmanager
def progress() -> Iterator[Progress]:
    """Gives a callback that shows progress; the first word of its first argument names a bar."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich import progress as bars
    from rich.console import Console
    from rich.text import Text

    speeds: dict[str, Speed] = {}

    class Pace(bars.ProgressColumn):
        """The column with speed and remaining time."""

        def render(self, task: bars.Task) -> Text:
            return Text(speeds[task.description.split(" ")[0]].words(time.monotonic()))

    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        Pace(),
        bars.TimeElapsedColumn(),
    )
    with bars.Progress(*columns, console=Console(stderr=True)) as shown:
        tasks: dict[str, bars.TaskID] = {}

        def report(what: str, done: int, total: int) -> None:
            stage = what.split(" ")[0]
            if stage not in tasks:
                speeds[stage] = Speed()
                tasks[stage] = shown.add_task(what, total=total)
            elif done < shown.tasks[tasks[stage]].completed:
                shown.reset(tasks[stage])
            speeds[stage].update(done, total, time.monotonic())
            shown.update(tasks[stage], description=what, completed=done, total=total)

        yield report

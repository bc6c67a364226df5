"""METEOR 1.5 (Denkowski & Lavie 2014) on the JVM, with pycocoevalcap's jar, supervised.

pycocoevalcap's own wrapper can hang for ever: a newline in a hypothesis shifts its protocol, its
stderr is never read, and its destructor waits for a lock. Here every call has a deadline, and a JVM
that ends or hangs is replaced once.
"""

import re
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from bench.common.errors import RunFailed
from bench.metrics.base import Array, Count, Hypotheses, Metric, References, Score
from bench.metrics.java import OPTIONS, java
from bench.metrics.paraphrases import paraphrases
from bench.metrics.tokens import package_file

DEADLINE_SECONDS = 600.0
_ALPHA, _BETA, _GAMMA, _DELTA = 0.85, 0.2, 0.6, 0.75
_CHUNKS, _MATCHED = 20, slice(21, 23)
_AT_ONCE = 16
"""How many items are sent before the first answer is read; their answers fit into any pipe."""
_WEIGHTS = (1.0, 0.6, 0.8, 0.6)
_UNSAFE = re.compile(r"\|\|\||[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]")


class _Ended(Exception):
    """The JVM ended, or was ended at its deadline."""


def _field(text: str) -> str:
    return " ".join(_UNSAFE.sub(" ", text).split())


def whole_table() -> Path:
    """Returns METEOR's English paraphrase table in pycocoevalcap."""
    return package_file("meteor/data/paraphrase-en.gz")


class MeteorJvm:
    """One JVM, kept for as many corpora as needed; use it as a context manager.

    `table` is a paraphrase table cut down to the references (bench.metrics.paraphrases); without
    one the whole table is loaded, which takes several seconds.
    """

    def __init__(self, table: Path | None = None, deadline: float = DEADLINE_SECONDS) -> None:
        self.deadline = deadline
        self._table = table
        self._closed = False
        self._process = self._start()

    @property
    def pid(self) -> int:
        """The JVM's process id."""
        return self._process.pid

    def _start(self) -> "subprocess.Popen[str]":
        jar = package_file("meteor/meteor-1.5.jar")
        # Always passed: METEOR does not find its own table in a folder whose path has a space.
        table = self._table.resolve() if self._table else whole_table()
        options = ["-stdio", "-l", "en", "-norm", "-a", str(table)]
        return subprocess.Popen(
            [java(), *OPTIONS, "-Xmx2G", "-jar", jar.name, "-", "-", *options],
            cwd=jar.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            bufsize=1,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closed = True
        self._end()

    def _end(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _ask(self, lines: Sequence[str]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write("".join(f"{line}\n" for line in lines))
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise _Ended from error

    def _answer(self) -> list[float]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise _Ended
        return [float(value) for value in line.split()]

    def statistics(self, hypotheses: Hypotheses, references: References) -> Array:
        """Returns METEOR's own sufficient statistics of every item, `[n, 23]`.

        Raises RunFailed if two JVMs ended or gave no answer within the deadline.
        """
        try:
            return self._all(hypotheses, references)
        except _Ended as error:
            if self._closed:
                raise RunFailed("METEOR's JVM was closed while it was counting") from error
            self._end()
            self._process = self._start()
        try:
            return self._all(hypotheses, references)
        except _Ended as error:
            raise RunFailed(
                f"METEOR's JVM ended or gave no answer within {self.deadline:.0f} s, twice; "
                "run: pixvox doctor"
            ) from error

    def _all(self, hypotheses: Hypotheses, references: References) -> Array:
        watchdog = threading.Timer(self.deadline, self._process.kill)
        watchdog.start()
        try:
            lines = [
                " ||| ".join(["SCORE", *map(_field, (*references[item], text))])
                for item, text in hypotheses.items()
            ]
            rows = []
            for start in range(0, len(lines), _AT_ONCE):
                batch = lines[start : start + _AT_ONCE]
                self._ask(batch)
                rows += [self._answer() for _ in batch]
        finally:
            watchdog.cancel()
        counts = np.array(rows, dtype=np.float64).reshape(-1, len(Meteor.columns))
        # METEOR counts no fragments if a hypothesis equals its reference in one chunk, both for one
        # item and for sums. With 0 chunks, the formula below needs no special case.
        whole = (counts[:, _CHUNKS] == 1) & (counts[:, 0:2] == counts[:, _MATCHED]).all(1)
        counts[whole, _CHUNKS] = 0
        return counts


class Meteor(Metric):
    """METEOR's own columns; the score is computed here, so that resampled corpora need no JVM."""

    name = "METEOR"
    columns = (
        "length",
        "reference length",
        "function words",
        "reference function words",
        *(
            f"{stage}, {kind} words{side}"
            for stage in ("exact", "stem", "synonym", "paraphrase")
            for kind in ("content", "function")
            for side in ("", " of the reference")
        ),
        "chunks",
        "matched words",
        "matched words of the reference",
    )
    waits = True
    scores = (Score("METEOR", "M", display_priority=4, most=100, hub="meteor"),)

    def statistics(self, hypotheses: Hypotheses, references: References) -> Array:
        """Returns `[n, 23]`, counted by a new JVM, which loads the whole paraphrase table."""
        with MeteorJvm() as jvm:
            return jvm.statistics(hypotheses, references)

    @contextmanager
    def opened(self, references: References, cache: Path) -> Iterator[Count]:
        """Starts one JVM, with only the part of the paraphrase table that the references need."""
        with MeteorJvm(paraphrases(whole_table(), references, cache)) as jvm:
            yield jvm.statistics

    def score(self, sums: Array) -> Array:
        """Follows Denkowski & Lavie 2014, section 2, with METEOR 1.5's parameters for English."""
        length, words = sums[..., 0:2], sums[..., 2:4]
        stages = sums[..., 4:20].reshape(*sums.shape[:-1], 4, 4)
        chunks, matched = sums[..., _CHUNKS], sums[..., _MATCHED]
        # For every stage (exact, stem, synonym, paraphrase): content words matched in the
        # hypothesis and in the reference, then function words.
        weighted = np.einsum(
            "s,...sk->...k", _WEIGHTS, _DELTA * stages[..., :2] + (1 - _DELTA) * stages[..., 2:]
        )
        possible = _DELTA * (length - words) + (1 - _DELTA) * words
        precision, recall = np.moveaxis(_divided(weighted, possible), -1, 0)
        mean = _divided(precision * recall, _ALPHA * precision + (1 - _ALPHA) * recall)
        fragments = _divided(chunks, matched.mean(-1))
        whole: Array = 100 * mean * (1 - _GAMMA * fragments**_BETA)
        return whole[..., None]


def _divided(above: Array, below: Array) -> Array:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)

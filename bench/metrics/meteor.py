"""METEOR 1.5 (Denkowski & Lavie 2014) on the JVM, with the jar of pycocoevalcap, supervised.

pycocoevalcap's own wrapper can hang for ever: a newline in a hypothesis shifts its protocol, its
stderr is never read, and its destructor waits for a lock. Here every call has a deadline, and a
JVM that ends or hangs is replaced once.
"""

import hashlib
import re
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.metrics.java import LOCALE, java
from bench.metrics.tokens import package_file
from bench.metrics.types import Hypotheses, References, Scored

NAME = "METEOR"
DEADLINE_SECONDS = 600.0
_UNSAFE = re.compile(r"\|\|\||[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]")


class _Ended(Exception):
    """The JVM ended or was ended by its deadline."""


def _field(text: str) -> str:
    return " ".join(_UNSAFE.sub(" ", text).split())


def paraphrases(references: References, folder: Path) -> Path:
    """METEOR's paraphrase table cut down to a reference set, kept in `folder`.

    By the jar's own FilterParaphrase: scores are the same, and loading it takes a tenth.
    """
    lines = sorted({_field(text) for texts in references.values() for text in texts})
    text = "\n".join(lines) + "\n"
    name = f"paraphrases-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    table = folder / f"{name}.gz"
    if table.exists():
        return table
    folder.mkdir(parents=True, exist_ok=True)
    listed, partial = folder / f".{name}.txt", folder / f".{name}.part.gz"
    listed.write_text(text, encoding="utf-8")
    jar = package_file("meteor/meteor-1.5.jar")
    command = [java(), *LOCALE, "-Xmx2G", "-cp", str(jar), "FilterParaphrase"]
    whole = jar.parent / "data" / "paraphrase-en.gz"
    for attempt in (1, 2):
        done = subprocess.run(
            [*command, str(whole), str(partial.resolve()), str(listed.resolve())],
            capture_output=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )
        if done.returncode == 0:
            break
        if attempt == 2:
            said = done.stderr.decode(errors="replace")[-300:].strip()
            raise RuntimeError(f"METEOR's FilterParaphrase failed: {said}; run: pixvox doctor")
    listed.unlink()
    partial.replace(table)
    return table


class Meteor:
    """One JVM, kept for as many corpora as needed; use it as a context manager.

    `table` is a paraphrase table cut down to the references (see `paraphrases`); without one the
    whole table is loaded, which takes several seconds.
    """

    def __init__(self, table: Path | None = None, deadline: float = DEADLINE_SECONDS) -> None:
        self.deadline = deadline
        self._table = table
        self._process = self._start()

    @property
    def pid(self) -> int:
        """The JVM's process."""
        return self._process.pid

    def _start(self) -> "subprocess.Popen[str]":
        jar = package_file("meteor/meteor-1.5.jar")
        table = ["-a", str(self._table.resolve())] if self._table else []
        options = ["-stdio", "-l", "en", "-norm", *table]
        return subprocess.Popen(
            [java(), *LOCALE, "-Xmx2G", "-jar", jar.name, "-", "-", *options],
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
        self._end()

    def _end(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _ask(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise _Ended from error

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise _Ended
        return line.strip()

    def score(self, hypotheses: Hypotheses, references: References) -> Scored:
        """The corpus score as METEOR aggregates it, and each item's own, in percent.

        Raises RuntimeError where two JVMs ended or gave no answer within the deadline.
        """
        try:
            return self._score(hypotheses, references)
        except _Ended:
            self._end()
            self._process = self._start()
        try:
            return self._score(hypotheses, references)
        except _Ended as error:
            raise RuntimeError(
                f"METEOR's JVM ended or gave no answer within {self.deadline:.0f} s, twice; "
                "run: pixvox doctor"
            ) from error

    def _score(self, hypotheses: Hypotheses, references: References) -> Scored:
        watchdog = threading.Timer(self.deadline, self._process.kill)
        watchdog.start()
        try:
            stats = [
                self._statistics(hypothesis, references[item])
                for item, hypothesis in hypotheses.items()
            ]
            self._ask(" ||| ".join(["EVAL", *stats]))
            items = [100 * float(self._answer()) for _ in stats]
            corpus = 100 * float(self._answer())
        finally:
            watchdog.cancel()
        return Scored({NAME: corpus}, {NAME: items})

    def _statistics(self, hypothesis: str, references: Sequence[str]) -> str:
        """METEOR's own sufficient statistics of one item, as it prints them."""
        self._ask(" ||| ".join(["SCORE", *map(_field, (*references, hypothesis))]))
        return self._answer()

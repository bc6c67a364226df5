"""METEOR 1.5 (Denkowski & Lavie 2014) on the JVM, with the jar of pycocoevalcap, supervised.

pycocoevalcap's own wrapper can hang for ever: a newline in a hypothesis shifts its protocol, its
stderr is never read, and its destructor waits for a lock. Here every call has a deadline.
"""

import re
import subprocess
import threading
from types import TracebackType
from typing import Self

from bench.metrics.java import LOCALE, java
from bench.metrics.tokens import package_file
from bench.metrics.types import Hypotheses, References, Scored

NAME = "METEOR"
DEADLINE_SECONDS = 600.0
_UNSAFE = re.compile(r"\|\|\||[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]")


def _field(text: str) -> str:
    return " ".join(_UNSAFE.sub(" ", text).split())


class Meteor:
    """One JVM, kept for as many corpora as needed; use it as a context manager."""

    def __init__(self, deadline: float = DEADLINE_SECONDS) -> None:
        self.deadline = deadline
        jar = package_file("meteor/meteor-1.5.jar")
        self._process = subprocess.Popen(
            [java(), *LOCALE, "-Xmx2G", "-jar", jar.name, "-", "-", "-stdio", "-l", "en", "-norm"],
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
        self._process.kill()
        self._process.communicate()

    def _ask(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise RuntimeError("METEOR's JVM ended early; run: pixvox doctor") from error

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(
                f"METEOR's JVM ended or gave no answer within {self.deadline:.0f} s; "
                "run: pixvox doctor"
            )
        return line.strip()

    def score(self, hypotheses: Hypotheses, references: References) -> Scored:
        """The corpus score as METEOR aggregates it, and each item's own."""
        watchdog = threading.Timer(self.deadline, self._process.kill)
        watchdog.start()
        try:
            stats = []
            for item, hypothesis in hypotheses.items():
                fields = [_field(text) for text in (*references[item], hypothesis)]
                self._ask(" ||| ".join(["SCORE", *fields]))
                stats.append(self._answer())
            self._ask(" ||| ".join(["EVAL", *stats]))
            items = [100 * float(self._answer()) for _ in stats]
            corpus = 100 * float(self._answer())
        finally:
            watchdog.cancel()
        return Scored({NAME: corpus}, {NAME: items})

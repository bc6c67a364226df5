"""SPICE (Anderson et al. 2016) and SPIDEr (Liu et al. 2017), by the program in pycocoevalcap.

It parses sentences with Stanford CoreNLP 3.6.0, which no package of the suite brings, and runs on
Java 8 or 11: the JRE that the suite brings is newer. Both are the user's, and neither is replaced
by another.
"""

import hashlib
import json
import math
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from bench.common.errors import RunFailed, UserError
from bench.common.yamlfile import FilePath
from bench.metrics.base import SHORT, Array, Count, Hypotheses, Metric, References, Score
from bench.metrics.cider import Cider
from bench.metrics.java import OPTIONS
from bench.metrics.settings import MetricSettings
from bench.metrics.tokens import package_file
from pixvox.digests import file_digest

_WHO = "scoring: metrics: spice"
JARS = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")
JAVAS = (8, 11)
_MAIN = "edu.anu.spice.SpiceScorer"
DEADLINE_SECONDS = 7200.0


@dataclass(frozen=True)
class Spice(Metric):
    """SPICE, the mean over items of the F score of scene graphs, and SPIDEr, its mean with CIDEr;
    both × 100.

    `corenlp` is the folder with JARS, `java` the program.
    """

    corenlp: Path
    java: Path

    name = "SPICE"
    columns = ("F", "CIDEr", "items")
    waits = True
    scores = (
        Score("SPICE", "S", display_priority=SHORT, most=100),
        Score("SPIDEr", "SPIDEr", display_priority=SHORT),
    )

    def weights(self) -> str:
        """Raises UserError where CoreNLP or Java is not there, or another version."""
        java_version(self.java)
        return _jars_digest(self.corenlp)

    def settings(self) -> str:
        return f"java-{java_version(self.java)}"

    def statistics(self, hypotheses: Hypotheses, references: References) -> Array:
        with tempfile.TemporaryDirectory() as cache, self.opened(references, Path(cache)) as count:
            return count(hypotheses, references)

    @contextmanager
    def opened(self, references: References, cache: Path) -> Iterator[Count]:
        """See Metric; parses of sentences lie in the cache."""
        parses = cache / "spice"
        parses.mkdir(parents=True, exist_ok=True)
        with Cider().opened(references, cache) as cider, Program() as program:

            def count(texts: Hypotheses, truths: References) -> Array:
                f = self.f_scores(texts, truths, parses, program)
                consensus = cider(texts, truths)[:, 0]
                return np.column_stack([100 * f, consensus, np.ones(len(f))])

            yield count

    def score(self, sums: Array) -> Array:
        means = sums[..., :2] / np.maximum(sums[..., 2:], 1e-9)
        return np.stack([means[..., 0], means.mean(-1)], axis=-1)

    def command(self, asked: Path, answer: Path, parses: Path) -> list[str]:
        """The command that scores the texts in a file; `parses` is a folder that it may fill."""
        folder = package_file("spice")
        # The program's own list of jars names CoreNLP in pycocoevalcap's folder.
        places = [folder / "spice-1.0.jar", folder / "lib" / "*", *(self.corenlp / n for n in JARS)]
        classes = os.pathsep.join(map(str, places))
        options = ["-cache", str(parses), "-out", str(answer), "-subset", "-silent"]
        return [str(self.java), *OPTIONS, "-Xmx8G", "-cp", classes, _MAIN, str(asked), *options]

    def f_scores(
        self, hypotheses: Hypotheses, references: References, parses: Path, program: "Program"
    ) -> Array:
        """Each item's F score, `[n]`, 0 to 1; raises RunFailed where the program fails."""
        with tempfile.TemporaryDirectory() as folder:
            asked, answer = Path(folder) / "asked.json", Path(folder) / "answer.json"
            content = [
                {"image_id": item, "test": text, "refs": list(references[item])}
                for item, text in hypotheses.items()
            ]
            asked.write_text(json.dumps(content))
            program.run(self.command(asked, answer, parses.absolute()))
            try:
                return read_f_scores(json.loads(answer.read_text()), list(hypotheses))
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise RunFailed(f"SPICE gave no scores that can be read: {error}") from error


class SpiceSettings(MetricSettings):
    """How many of the objects, attributes and relations of the references are named."""

    name: Literal["spice"]
    corenlp: FilePath
    """The folder of Stanford CoreNLP 3.6.0: `stanford-corenlp-3.6.0.jar` and
    `stanford-corenlp-3.6.0-models.jar`."""
    java: FilePath
    """The program `java` of a Java 8 or 11."""

    def metric(self) -> Spice:
        return Spice(self.corenlp.absolute(), self.java.absolute())


def read_f_scores(answer: Sequence[Mapping[str, Any]], items: Sequence[str]) -> Array:
    """The F scores `[n]` of items in SPICE's answer; what is no number is 0.

    Raises KeyError for an item that is not there.
    """
    scores = {each["image_id"]: each["scores"]["All"]["f"] for each in answer}
    values = [_number(scores[item]) for item in items]
    return np.array(values, dtype=np.float64)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else 0.0


class Program:
    """Runs commands one at a time; a context manager, whose end kills what still runs."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()

    def run(self, command: Sequence[str]) -> None:
        """Raises RunFailed where the command fails, or takes longer than the deadline."""
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        try:
            _, said = self._process.communicate(timeout=DEADLINE_SECONDS)
        except subprocess.TimeoutExpired as error:
            self._process.kill()
            raise RunFailed(f"SPICE gave no answer within {DEADLINE_SECONDS:.0f} s") from error
        if status := self._process.returncode:
            lines = [line for line in said.splitlines() if line.strip()] or ["no message"]
            raise RunFailed(f"SPICE ended with {status}: {lines[0][:300]}; run: pixvox doctor JOB")


@lru_cache(maxsize=4)
def java_version(java: Path) -> int:
    """The version of a Java; raises UserError without one, or for one that SPICE cannot use."""
    fix = "name the program of a Java 8 or 11, such as /usr/lib/jvm/java-11-openjdk-amd64/bin/java"
    if not java.is_file():
        raise UserError(f"{_WHO}: java: {java}: no such file; {fix}")
    try:
        done = subprocess.run([java, "-version"], capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"{_WHO}: java: {java} does not run; {fix}") from error
    said = (done.stderr + done.stdout).decode(errors="replace")
    stated = re.search(r'version "(?:1\.)?(\d+)', said)
    if done.returncode != 0 or stated is None:
        raise UserError(f"{_WHO}: java: {java} is no Java; {fix}")
    version = int(stated[1])
    if version not in JAVAS:
        raise UserError(f"{_WHO}: java: {java} is Java {version}; {fix}")
    return version


@lru_cache(maxsize=4)
def _jars_digest(corenlp: Path) -> str:
    """The digest of SPICE and CoreNLP, 16 hex digits; raises UserError without the latter."""
    missing = [name for name in JARS if not (corenlp / name).is_file()]
    if missing:
        raise UserError(
            f"{_WHO}: corenlp: {corenlp / missing[0]}: no such file; unpack "
            "stanford-corenlp-full-2015-12-09.zip of stanfordnlp.github.io/CoreNLP and name its "
            "folder"
        )
    jars = [package_file("spice/spice-1.0.jar"), *(corenlp / name for name in JARS)]
    return hashlib.sha256(" ".join(map(file_digest, jars)).encode()).hexdigest()[:16]

"""What a score stands on, printed with it: sacrebleu's idea (Post 2018) for speech.

Two scores may be compared as far as their signatures agree.
"""

import hashlib
import importlib.metadata
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bench.cells import Cell
from bench.datasets.types import Dataset
from bench.metrics.loading import metrics_text
from bench.spec import ScoringSpec

TOKENISER = "ptb-3.4.1"
"""The Penn Treebank tokeniser of Stanford CoreNLP, and its version."""


@dataclass(frozen=True)
class Signature:
    """The protocol of a cell's scores; every field is text or a count, and none is left out."""

    data: str
    references: str
    normaliser: str
    tokeniser: str
    metrics: str
    idf: str
    asr: str
    hear: str
    codec: str
    weights: str
    seeds: str
    n: int
    failed: int
    version: str

    def text(self, metric: str) -> str:
        """One line for one score."""
        named = (f"{name}:{'-' if value == '' else value}" for name, value in asdict(self).items())
        return "|".join([metric, *named])


def idf_digest(references: Mapping[str, tuple[str, ...]]) -> str:
    """A digest of the tokenised reference set that document frequencies come from."""
    state = hashlib.sha256()
    for item, texts in references.items():
        state.update("\0".join([item, *texts, ""]).encode())
    return state.hexdigest()[:8]


def asr_text(cell: Cell, facts: Mapping[str, Any]) -> str:
    """The ASR and how it decoded. A model is its digest, for its name may be a path."""
    if cell.asr is None:
        return "none"
    how = f"beam{cell.asr.beam_size}" if cell.asr.beam_size else "greedy"
    engine = f"{cell.asr.backend}@{facts['weights']}"
    return f"{engine}.{how}.{cell.asr.arithmetic}.v{facts['protocol']}"


def signature(
    cell: Cell,
    dataset: Dataset,
    scoring: ScoringSpec,
    idf: str,
    asr: Mapping[str, Any],
    n: int,
    failed: int,
) -> Signature:
    """A cell's signature over `n` items."""
    return Signature(
        data=f"{dataset.name}.{dataset.split}@{dataset.digest}",
        references=scoring.references,
        normaliser=scoring.normalisers[0],
        tokeniser=TOKENISER,
        metrics=metrics_text(scoring.metrics),
        idf=idf,
        asr=asr_text(cell, asr),
        hear=cell.hear,
        codec=cell.codec,
        weights=cell.weights,
        seeds="" if cell.seed is None else str(cell.seed),
        n=n,
        failed=failed,
        version=importlib.metadata.version("pixvox-bench"),
    )

"""Scores cells: every item asked for is in the denominator, failed ones as empty transcripts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from bench import taxonomy
from bench.cells import Cell
from bench.datasets.types import Dataset
from bench.errors import UserError
from bench.metrics.bleu import bleu_statistics
from bench.metrics.cider import cider_statistics
from bench.metrics.corpus import METRICS, joined, scores
from bench.metrics.meteor import Meteor, paraphrases
from bench.metrics.normalise import normaliser
from bench.metrics.rouge import rouge_statistics
from bench.metrics.tokens import tokenise
from bench.metrics.types import Array
from bench.metrics.wer import wer_statistics
from bench.signature import Signature, idf_digest, signature
from bench.spec import AsrSpec, ScoringSpec
from bench.statistics import Interval, intervals
from bench.systems.specs import RecordedSpec, ResynthesisSpec, TextSpec

AsrFacts = Mapping[AsrSpec, Mapping[str, Any]]


@dataclass(frozen=True)
class CellScores:
    """A cell's corpus scores in percent with their intervals, and its items' own.

    `values` are the sufficient statistics, `[n, D]` (see bench.metrics.corpus). WER, against the
    caption that was spoken, is there only where the words were not the model's own. `failed`
    items count as empty transcripts; `unended` is how many reached the length limit; `kinds` are
    the shares of items that failed in some way.
    """

    cell: Cell
    values: Array
    scores: dict[str, Interval]
    items: pl.DataFrame
    n: int
    failed: int
    unended: int
    kinds: dict[str, float]
    signature: Signature

    @property
    def corpus(self) -> dict[str, float]:
        """The corpus scores alone."""
        return {name: found.score for name, found in self.scores.items()}


class Scorer:
    """Tokenises a split's references once and keeps one METEOR; use it as a context manager.

    `cache` keeps METEOR's table for the reference set; it can be thrown away.
    """

    def __init__(self, dataset: Dataset, spec: ScoringSpec, asrs: AsrFacts, cache: Path) -> None:
        self.dataset = dataset
        self.spec = spec
        self.asrs = asrs
        self.clean = normaliser(spec.normalisers[0])
        self.texts = dataset.references
        flat = iter(self.tokens([text for texts in self.texts.values() for text in texts]))
        self.references = {
            item: tuple(next(flat) for _ in texts) for item, texts in self.texts.items()
        }
        self.idf = idf_digest(self.references)
        self.meteor = Meteor(paraphrases(self.references, cache))

    def __enter__(self) -> "Scorer":
        return self

    def __exit__(self, *error: object) -> None:
        self.meteor.__exit__(None, None, None)

    def tokens(self, texts: Sequence[str]) -> list[str]:
        """Texts normalised as the job asks, and tokenised."""
        return tokenise([self.clean(text) for text in texts])

    def without(self, left_out: Mapping[str, int]) -> dict[str, tuple[str, ...]]:
        """The references of the whole split, without one caption of the items named."""
        return {
            item: tuple(r for number, r in enumerate(rows) if number != left_out.get(item, -1))
            for item, rows in self.references.items()
        }

    def statistics(
        self, hypotheses: Mapping[str, str], references: Mapping[str, tuple[str, ...]]
    ) -> tuple[Array, Array, Array, Array]:
        """BLEU's, METEOR's, ROUGE's and CIDEr's; `references` are the whole split's.

        Raises UserError for an item without any.
        """
        own = {name: references[name] for name in hypotheses}
        lone = next((name for name, texts in own.items() if not texts), None)
        if lone is not None:
            raise UserError(
                f"{lone}: no reference is left beside the caption that was spoken; score with "
                "references: all, and leave out systems of kind text"
            )
        return (
            bleu_statistics(hypotheses, own),
            self.meteor.statistics(hypotheses, own),
            rouge_statistics(hypotheses, own),
            cider_statistics(hypotheses, references),
        )

    def score(self, cell: Cell, table: pl.DataFrame) -> CellScores:
        """Scores a cell's table, a row an item (see Evaluation.transcripts)."""
        names = table["item"].to_list()
        tokens = self.tokens([text or "" for text in table["transcript"].to_list()])
        captions = dict(table.select("item", "caption").iter_rows())
        # A caption beside itself would say nothing.
        others = self.spec.references == "others" or isinstance(cell.system, TextSpec)
        references = self.without(captions) if others else self.references
        if isinstance(cell.system, RecordedSpec | ResynthesisSpec):
            pairs = zip(names, table["transcript"].to_list(), strict=True)
            heard = [(self.texts[n][captions[n] or 0], t or "") for n, t in pairs]
            wer = wer_statistics([s for s, _ in heard], [t for _, t in heard])
        else:
            wer = None
        hypotheses = dict(zip(names, tokens, strict=True))
        values = joined(*self.statistics(hypotheses, references), wer)
        shortest = pl.Series([min(len(t.split()) for t in self.references[n]) for n in names])
        kinds = taxonomy.kinds(table, shortest)
        failed = table.filter(pl.col("status") != "ok")
        own = scores(values)
        facts = self.asrs[cell.asr] if cell.asr is not None else {}
        spec = self.spec.model_copy(update={"references": "others" if others else "all"})
        sizes = (len(names), failed.height)
        return CellScores(
            cell,
            values,
            intervals(values, self.spec.replicates, self.spec.confidence, self.spec.seed),
            table.with_columns(
                pl.Series("tokens", tokens),
                *(pl.Series(name, own[name]) for name in METRICS),
                *(kinds[name] for name in taxonomy.KINDS),
            ),
            *sizes,
            table.filter(~pl.col("ended")).height,
            taxonomy.shares(kinds),
            signature(cell, self.dataset, spec, self.idf, facts, *sizes),
        )

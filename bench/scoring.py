"""Scores cells: every item asked for is in the denominator, failed ones as empty transcripts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from bench.cells import Cell
from bench.datasets.types import Dataset
from bench.metrics.bleu import bleu
from bench.metrics.cider import cider
from bench.metrics.meteor import Meteor, paraphrases
from bench.metrics.rouge import rouge
from bench.metrics.tokens import tokenise
from bench.metrics.wer import wer
from bench.spec import ScoringSpec
from bench.systems.specs import CEILINGS

METRICS = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr")


@dataclass(frozen=True)
class CellScores:
    """A cell's corpus scores in percent, and its items' own.

    `wer` is against the caption that was spoken (None where the words were the model's own).
    `failed` items count as empty transcripts; `unended` is how many reached the length limit.
    """

    cell: Cell
    corpus: dict[str, float]
    items: pl.DataFrame
    wer: float | None
    n: int
    failed: int
    unended: int
    reasons: tuple[str, ...]


class Scorer:
    """Tokenises a split's references once and keeps one METEOR for all cells."""

    def __init__(self, dataset: Dataset, spec: ScoringSpec) -> None:
        self.spec = spec
        self.texts = dataset.references
        flat = iter(tokenise([text for texts in self.texts.values() for text in texts]))
        self.references = {
            item: tuple(next(flat) for _ in texts) for item, texts in self.texts.items()
        }

    def _references(self, table: pl.DataFrame) -> dict[str, tuple[str, ...]]:
        if self.spec.references == "all":
            return self.references
        left_out = dict(table.select("item", "caption").iter_rows())
        return {
            item: tuple(r for number, r in enumerate(rows) if number != left_out.get(item, -1))
            for item, rows in self.references.items()
        }

    def score(self, cell: Cell, table: pl.DataFrame, meteor: Meteor) -> CellScores:
        """Scores a cell's table (item, status, reason, transcript, caption, ended)."""
        names = table["item"].to_list()
        tokens = tokenise([text or "" for text in table["transcript"].to_list()])
        hypotheses = dict(zip(names, tokens, strict=True))
        references = self._references(table)
        own = {name: references[name] for name in names}
        parts = [
            bleu(hypotheses, own),
            meteor.score(hypotheses, own),
            rouge(hypotheses, own),
            cider(hypotheses, references),
        ]
        corpus: dict[str, float] = {}
        columns: dict[str, list[float]] = {}
        for part in parts:
            corpus |= part.corpus
            columns |= part.items
        failed = table.filter(pl.col("status") != "ok")
        reasons = failed["reason"].value_counts(sort=True).head(3).iter_rows()
        return CellScores(
            cell,
            corpus,
            table.with_columns(
                pl.Series("tokens", tokens), *(pl.Series(k, v) for k, v in columns.items())
            ),
            self._wer(cell, table),
            len(names),
            failed.height,
            table.filter(~pl.col("ended")).height,
            tuple(f"{count} × {reason}" for reason, count in reasons),
        )

    def _wer(self, cell: Cell, table: pl.DataFrame) -> float | None:
        if not isinstance(cell.system, CEILINGS):
            return None
        spoken = [
            self.texts[item][caption]
            for item, caption in table.select("item", "caption").iter_rows()
        ]
        return 100 * wer(spoken, [text or "" for text in table["transcript"].to_list()])


def score_cells(
    dataset: Dataset,
    spec: ScoringSpec,
    tables: Sequence[tuple[Cell, pl.DataFrame]],
    cache: Path,
) -> list[CellScores]:
    """Scores all cells with one tokenised reference set and one METEOR.

    `cache` keeps METEOR's table for the reference set; it can be thrown away.
    """
    scorer = Scorer(dataset, spec)
    with Meteor(paraphrases(scorer.references, cache)) as meteor:
        return [scorer.score(cell, table, meteor) for cell, table in tables]

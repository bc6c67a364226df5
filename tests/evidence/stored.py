"""Statistics of stored runs, and of simulated regressions of them.

A golden of one system with several seeds has independent runs of the same system on the same
images, which are equally good. Regressions are applied to copies; if words are lost, the
transcripts are scored again.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from bench.common.errors import UserError
from bench.gate.golden import Golden, matrix
from bench.gate.protocol import group_of, groups
from bench.metrics.base import Array
from bench.metrics.counted import Counted
from bench.metrics.shipped import METRICS
from bench.scoring.scorer import Scorer
from bench.scoring.signature import Signature
from tests.evidence.rates import LOSS, points

KEPT = 0.7
"""The share of truncated speech that is left, and of its words."""
TOUCHED = {"silent": 0.1, "dropped": 0.05}
_STEPS = 12


@dataclass(frozen=True)
class Stored:
    """Rows of every seed `[S × N]`, seed by seed, with the statistics of their damaged copies.

    `other` are rows of another model on the same N images.
    """

    golden: Golden
    cell: str
    signature: Signature
    rows: pl.DataFrame
    other: pl.DataFrame
    items: int
    worse: Array
    cut: Array
    nothing: Array

    @property
    def seeds(self) -> int:
        """How many runs of the system there are."""
        return self.rows.height // self.items


def _without_words(texts: Sequence[str], chance: float) -> list[str]:
    """Returns texts without some words; a higher probability loses the same words and more."""
    rng = np.random.default_rng(0)
    return [" ".join(w for w in text.split() if rng.random() >= chance) for text in texts]


def _cut(texts: Sequence[str]) -> list[str]:
    return [" ".join(text.split()[: round(KEPT * len(text.split()))]) for text in texts]


def _counted(scorer: Scorer, names: Sequence[str], texts: Sequence[str]) -> Counted:
    """Returns statistics of a system's transcripts, run by run: a row a text, as `names` name
    them."""
    parts = []
    count = len(scorer.references)
    for start in range(0, len(texts), count):
        window = slice(start, start + count)
        hypotheses = dict(zip(names[window], texts[window], strict=True))
        parts.append(scorer.counted(hypotheses))
    return parts[0].with_values(np.concatenate([part.values for part in parts]))


def read_stored(golden: Golden) -> Stored:
    """Returns the system with most seeds in a golden of scenes, and its damaged copies, scored.

    Raises UserError for a golden without a second seed or another model, or with other references.
    """
    from bench.datasets.scenes.load import load_scenes
    from bench.jobs.spec import ScoringSpec

    same = max(groups(list(golden.signatures)).values(), key=len)
    others = [name for name in golden.signatures if name not in same]
    if len(same) < 2 or not others:
        raise UserError(f"{golden.job}: a golden of one model's seeds and another model is needed")
    items = golden.rows.filter(cell=same[0])["item"].to_list()
    rows = pl.concat([golden.cell(name, items) for name in same])
    other = golden.cell(others[0], items)
    names, texts = rows["item"].to_list(), rows["transcript"].fill_null("").to_list()
    with (
        tempfile.TemporaryDirectory() as cache,
        Scorer(load_scenes(None), ScoringSpec(), {}, Path(cache)) as scorer,
    ):
        tokens = scorer.tokens(texts)
        counted = golden.counted(rows, same[0], METRICS)
        if len(scorer.references) != len(items) or not np.allclose(
            _counted(scorer, names, tokens).values, counted.values
        ):
            raise UserError(f"{golden.job}: a golden of all scenes, scored as usual, is needed")
        target, low, high = points(counted) - LOSS, 0.0, 0.5
        for _ in range(_STEPS):
            middle = (low + high) / 2
            worse = _counted(scorer, names, _without_words(tokens, middle))
            low, high = (middle, high) if points(worse) > target else (low, middle)
        cut = _counted(scorer, names, _cut(tokens))
        nothing = _counted(scorer, names, [""] * len(names))
    cell = same[0]
    injured = (runs.values for runs in (worse, cut, nothing))
    return Stored(golden, cell, golden.signatures[cell], rows, other, len(items), *injured)


def _run(
    stored: Stored,
    rows: pl.DataFrame,
    at: "np.ndarray[Any, np.dtype[np.int64]]",
    values: Array,
    weights: str = "",
    **columns: pl.Series | pl.Expr,
) -> Golden:
    """Returns runs of the rows drawn `[seeds, items]`, a cell a seed, with `values` as
    statistics."""
    seeds, items = at.shape
    cells = [f"{group_of(stored.cell)}, seed {seed}" for seed in range(seeds)]
    drawn = rows[at.ravel()].with_columns(
        cell=pl.Series(np.repeat(cells, items)),
        item=pl.Series([f"i{n:05d}" for n in range(items)] * seeds),
        values=pl.Series(values.tolist()),
        **columns,
    )
    signature = replace(stored.signature, weights=weights or stored.signature.weights)
    return replace(
        stored.golden,
        signatures=dict.fromkeys(cells, signature),
        columns=dict.fromkeys(cells, stored.golden.columns[stored.cell]),
        rows=drawn,
    )


def simulated(
    stored: Stored, items: int, rng: np.random.Generator, golden_seeds: int = 1, seeds: int = 1
) -> tuple[Golden, Mapping[str, Golden]]:
    """Returns a golden of `golden_seeds`, and runs of `seeds`: equally good and damaged ones.

    Images, and for every image and seed one of its stored runs, are drawn with replacement: the
    stored runs stand for everything that the system can say.
    """
    image = rng.integers(stored.items, size=items)
    at, again = (
        rng.integers(stored.seeds, size=(count, items)) * stored.items + image
        for count in (golden_seeds, seeds)
    )
    own_at = at[:seeds]
    rows = stored.rows
    own = matrix(rows)
    base = _run(stored, rows, at, own[at.ravel()])
    same = _run(stored, rows, own_at, own[own_at.ravel()])
    flat = own_at.ravel()
    silent = pl.Series(np.tile(_touched(items, TOUCHED["silent"], rng), seeds))
    untouched = np.flatnonzero(np.tile(~_touched(items, TOUCHED["dropped"], rng), seeds))
    quiet = np.where(silent.to_numpy()[:, None], stored.nothing[flat], own[flat])
    other = np.tile(image, (seeds, 1))
    heads = {
        "the same run": same,
        "other seeds, as good": _run(stored, rows, again, own[again.ravel()], weights="new"),
        "two points lost": _run(stored, rows, own_at, stored.worse[flat]),
        "two points lost, other seeds": _run(
            stored, rows, again, stored.worse[again.ravel()], weights="new"
        ),
        "truncated speech": _run(
            stored, rows, own_at, stored.cut[flat], seconds=pl.col("seconds") * KEPT
        ),
        "silent outputs": _run(
            stored,
            rows,
            own_at,
            quiet,
            silent=silent,
            transcript=pl.when(silent).then(pl.lit("")).otherwise(pl.col("transcript")),
        ),
        "dropped items": replace(same, rows=same.rows[untouched]),
        "cached outputs of the old weights": _run(stored, rows, own_at, own[flat], weights="new"),
        "another model's outputs": _run(
            stored, stored.other, other, matrix(stored.other)[other.ravel()]
        ),
    }
    return base, heads


def _touched(
    items: int, share: float, rng: np.random.Generator
) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    """Returns which items are affected: this share of them, and at least one."""
    hit = np.zeros(items, dtype=np.bool_)
    hit[rng.choice(items, size=max(1, round(share * items)), replace=False)] = True
    return hit

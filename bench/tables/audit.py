"""Compares two ASRs on the same speech, to tell errors of the ASR from unclear speech.

Speech that two independent ASRs transcribe alike is clear, whatever it says. If they disagree and
one of the transcripts scores well, the other ASR is probably at fault; if neither does, it is
probably the speech.
"""

from collections.abc import Sequence

import polars as pl

from bench.asr.base import Asr, names_of
from bench.jobs.naming import names_without_seed
from bench.metrics.counted import leading
from bench.scoring.scorer import CellScores
from bench.store.columns import Column, Columns, schema

UNALIKE = 0.5
"""Two transcripts disagree if more than this share of their words differs."""
WELL = 0.5
"""A transcript scores well from this share of the system's usual score."""

ITEMS: Columns = (
    Column(
        "system",
        pl.String,
        "The system's label, and its values where its cells differ, except the seed.",
    ),
    Column("prompt", pl.Float64, "The share of the reference speech that was given, 0 to 1."),
    Column("seed", pl.Int64, "The seed of its noise; null if there is none."),
    Column("item", pl.String, "The item's id in its dataset."),
    Column("asr", pl.String, "The job's own ASR."),
    Column("other", pl.String, "The other one."),
    Column("transcript", pl.String, "The transcript by the job's own ASR."),
    Column("other_transcript", pl.String, "The transcript by the other ASR."),
    Column("disagreement", pl.Float64, "Word edits between the two, as a share."),
    Column("score", pl.Float64, "The leading score of the job's own ASR's transcript, in %."),
    Column("other_score", pl.Float64, "The leading score of the other transcript, in percent."),
    Column(
        "fault",
        pl.String,
        "`asr` or `other`: that ASR is probably at fault; `speech`: it is probably unclear; else "
        "empty.",
    ),
)
SUMMARY: Columns = (
    *ITEMS[:2],
    *ITEMS[4:6],
    Column("n", pl.Int64, "The number of speeches that both transcribed, all seeds."),
    Column("disagreement", pl.Float64, "The mean share of words in which they differ, in percent."),
    Column(
        "asr_at_fault", pl.Float64, "Speeches with a probable error of the job's own ASR, in %."
    ),
    Column("other_at_fault", pl.Float64, "Speeches with a probable error of the other ASR, in %."),
    Column("unclear", pl.Float64, "Speeches that are probably unclear, in percent."),
)
SURVIVAL: Columns = (
    Column("system", pl.String, "The system."),
    Column("against", pl.String, "The first system of its prompt, which it is compared with."),
    Column("prompt", pl.Float64, "The share of the reference speech that was given, 0 to 1."),
    Column("metric", pl.String, "The score."),
    Column("asr", pl.String, "The job's own ASR."),
    Column("difference", pl.Float64, "The difference by the job's own ASR, in percent."),
    Column("p_adjusted", pl.Float64, "Its adjusted p-value."),
    Column("other", pl.String, "The other ASR."),
    Column("other_difference", pl.Float64, "The difference by the other ASR."),
    Column("other_p_adjusted", pl.Float64, "Its adjusted p-value."),
    Column("survives", pl.Boolean, "Whether both have the same outcome: which is better, or none."),
)


def disagreement(a: str, b: str) -> float:
    """Returns word edits between two tokenised texts, as a share of the longer one's words."""
    import jiwer

    lengths = [len(text.split()) for text in (a, b)]
    if not all(lengths):
        return float(any(lengths))
    edits = jiwer.process_words(a, b)
    return (edits.substitutions + edits.deletions + edits.insertions) / max(lengths)


def _fault(apart: float, score: float, other: float, usual: float) -> str:
    if apart <= UNALIKE:
        return ""
    well, other_well = score >= WELL * usual, other >= WELL * usual
    if well == other_well:
        return "" if well else "speech"
    return "other" if well else "asr"


def audited(scores: Sequence[CellScores], asrs: Sequence[Asr]) -> pl.DataFrame:
    """Returns a row for every speech that the first ASR and another one have transcribed."""
    names = names_of(asrs)
    called = names_without_seed([cell_scores.cell for cell_scores in scores])
    transcribed = [(s.cell.asr, s) for s in scores if s.cell.asr is not None]
    own = {(s.cell.speech_key, s.cell.part): s for asr, s in transcribed if asr == asrs[0]}
    rows = []
    for asr, other in transcribed:
        mine = own.get((other.cell.speech_key, other.cell.part))
        if mine is None or asr == asrs[0]:
            continue
        name = leading(mine.counted.scores).name
        usual = float(mine.corpus[name])
        columns = ("item", "status", "transcript", "tokens", name)
        pairs = mine.items.select(columns).join(other.items.select(columns), on="item", suffix="_")
        for row in pairs.filter(status="ok", status_="ok").iter_rows(named=True):
            apart = disagreement(row["tokens"], row["tokens_"])
            rows.append(
                {
                    "system": called[other.cell.name],
                    "prompt": other.cell.prompt,
                    "seed": other.cell.seed,
                    "item": row["item"],
                    "asr": names[asrs[0]],
                    "other": names[asr],
                    "transcript": row["transcript"],
                    "other_transcript": row["transcript_"],
                    "disagreement": apart,
                    "score": row[name],
                    "other_score": row[f"{name}_"],
                    "fault": _fault(apart, row[name], row[f"{name}_"], usual),
                }
            )
    return pl.DataFrame(rows, schema=schema(ITEMS))


def summary(items: pl.DataFrame) -> pl.DataFrame:
    """Returns the audit of every system, all seeds together."""
    by = [column.name for column in (*ITEMS[:2], *ITEMS[4:6])]

    def share(fault: str) -> pl.Expr:
        return 100 * (pl.col("fault") == fault).mean()

    frame = items.group_by(by, maintain_order=True).agg(
        n=pl.len().cast(pl.Int64),
        disagreement=100 * pl.col("disagreement").mean(),
        asr_at_fault=share("asr"),
        other_at_fault=share("other"),
        unclear=share("speech"),
    )
    return frame.select(*schema(SUMMARY))


def survival(
    own: pl.DataFrame, further: Sequence[tuple[str, pl.DataFrame]], asr: str, level: float
) -> pl.DataFrame:
    """Returns which conclusions of the job's own ASR's tests another ASR's tests confirm.

    Both are tables of tests (see bench.tables.testing.TESTS).
    """
    on = ["system", "against", "prompt", "metric"]
    frames = [pl.DataFrame(schema=schema(SURVIVAL))]
    for name, table in further:
        pairs = own.select(*on, "difference", "p_adjusted").join(
            table.select(*on, other_difference="difference", other_p_adjusted="p_adjusted"), on=on
        )
        sure, other_sure = (pl.col(p) < level for p in ("p_adjusted", "other_p_adjusted"))
        same = pl.col("difference").sign() == pl.col("other_difference").sign()
        frames.append(
            pairs.with_columns(
                asr=pl.lit(asr), other=pl.lit(name), survives=(sure == other_sure) & (same | ~sure)
            ).select(*schema(SURVIVAL))
        )
    return pl.concat(frames)

"""Cells of a table as text, the same in every format."""

from typing import Any

import polars as pl

from bench.common.text import clean
from bench.jobs.tables import table_of
from bench.metrics.shipped import METRICS, scores_of
from bench.systems.base import Role
from bench.tables.comparison import heads
from bench.tables.pooling import CONTINUATION
from bench.tables.protocol import Protocol
from bench.tables.published import IMAGES, load_noise, not_told_apart

LEFT = ("grade", "system", "training")
"""Columns whose text begins at the left."""
HEADINGS = {"grade": ""}
_REFERENCES = {
    "others": "all captions of the image but one, which ceilings say and prompts are cut from",
    "all": "all captions of the image, with the one that ceilings say and prompts are cut from, so "
    "that copying it scores",
}
_LOPSIDED, _WIDE = 0.5, 0.5
"""Shares of an interval's half by which its middle is off, and of a score that the half is."""
_WITHOUT_ITS_START = (
    "Continuation only: what follows the prompt is held against whole references. The longer the "
    "prompt, the fewer words are left to match them with, and BLEU's brevity penalty and every "
    "recall fall: over prompts such scores may fall though the speech gets better."
)
_LEFT_OUT = {"rotating": " and which rotates from image to image"}


def columns(frame: pl.DataFrame, table: str) -> list[str]:
    """Which columns a table shows."""
    return ["grade", "system", table_of(table).column, *heads(frame), "n", "failed"]


def heading(table: str, protocol: Protocol) -> str:
    """A table's heading, with what is unusual about the references that it is scored against."""
    reading = "" if protocol.references == "others" else ", scored against all references"
    return table_of(table).title + reading


def score(row: dict[str, Any], name: str) -> tuple[str, str]:
    """A score as papers print it, "-" where there is none, and what its interval is.

    That is `±` half of its width; `[low, high]` where a half would mislead: the score is not in
    the middle, or not much larger than the half; nothing where whatever is drawn gives the same.
    """
    value, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
    if value is None:
        return "-", ""
    half = 0.0 if low is None else (high - low) / 2
    if half < 0.05:
        return f"{value:z.2f}", ""
    if abs(high + low - 2 * value) > _LOPSIDED * half or half > _WIDE * value:
        return f"{value:z.2f}", f"[{low:.1f}, {high:.1f}]"
    return f"{value:z.2f}", f"±{half:.1f}"


def plain(row: dict[str, Any], name: str) -> str:
    """A cell that is no score."""
    value = row[name]
    if name == "prompt":
        return f"{value:.0%}"
    return "-" if value is None else clean(str(value))


def is_score(row: dict[str, Any], name: str) -> bool:
    """Whether a column of the row's table holds scores with intervals."""
    return f"{name}_low" in row


def block_title(block: str, frame: pl.DataFrame) -> str:
    """A block's heading: whether measured or published, and on which dataset."""
    names = ", ".join(sorted(frame.filter(pl.col("block") == block)["dataset"].unique()))
    return f"{block}, on {clean(names)}"


def _at(prompt: float) -> str:
    return f" at {prompt:.0%}" if prompt else ""


def notes(frame: pl.DataFrame, protocol: Protocol, halves: bool = True) -> list[str]:
    """What stands under a table: protocol, sources, grades, doubts, failures.

    Without `halves` the table shows no intervals.
    """
    count = protocol.unusable
    entries = "1 entry" if count == 1 else f"{count} entries"
    unusable = f"; {entries} of the split cannot be scored" if count else ""
    half = f"± and [low, high]: the {protocol.confidence:.0%} bootstrap interval over images. "
    lines = [
        _legend(frame),
        f"Measured: {clean(protocol.images)}, data {protocol.dataset_digest}, recordings: "
        f"{protocol.speech}; "
        f"ASR: {protocol.asr}; references: {_REFERENCES[protocol.references]}"
        f"{_LEFT_OUT.get(protocol.left_out, '')}; normaliser: "
        f"{protocol.normaliser}; n counts failed items too, as empty transcripts{unusable}.",
    ]
    read = f"{half if halves else ''}{_against(frame)}{_bounds(frame)}{_bold(frame)}".rstrip()
    lines += [read] if read else []
    if frame["system"].str.ends_with(CONTINUATION).any():
        lines.append(_WITHOUT_ITS_START)
    for mark in ("≈", "✗"):
        reasons = frame.filter(pl.col("grade") == mark)["reason"].unique(maintain_order=True)
        if len(reasons):
            lines.append(f"{mark} not to be ranked with the measured rows: {_joined(reasons)}.")
    ungraded = frame.filter(pl.col("grade") == "-")
    lines += [
        f"No grade for {clean(r['system'])}{_at(r['prompt'])}: {r['reason']}."
        for r in ungraded.to_dicts()
    ]
    published = frame.filter(pl.col("block") == "published")
    lines += [f"Published: {s}." for s in published["source"].unique(maintain_order=True)]
    if len(published) and halves:
        lines.append(
            f"± of published rows: what {IMAGES} images imply (simulated at that score by pixvox "
            "perf published); their papers state none."
        )
    same = not_told_apart(frame, load_noise())
    if same:
        lines.append(f"Published rows that {IMAGES} images do not tell apart: {'; '.join(same)}.")
    lines += [
        f"{clean(row['system'])}{_at(row['prompt'])}: {clean(row['note'])}."
        for row in frame.iter_rows(named=True)
        if row["note"]
    ]
    return lines


def _against(frame: pl.DataFrame) -> str:
    """What a star says, and against which rows."""
    bases = frame.filter(pl.col("base").fill_null("") != "")
    if bases.is_empty():
        return ""
    named = bases.select("base", "prompt").unique(maintain_order=True).iter_rows()
    said = " and ".join(f"{clean(base)}{_at(prompt)}" for base, prompt in named)
    starred = frame["significant"].list.len().fill_null(0).sum()
    differs = f"*: differs from {said}" if starred else f"No score differs from {said}'s"
    return (
        f"{differs} at 5% (paired permutation tests, adjusted together for all systems and scores "
        "of the table). "
    )


def _bold(frame: pl.DataFrame) -> str:
    """What bold says, where anything is, and which scores tell no system from another."""
    alike = _alike(frame)
    if not frame["best"].list.len().fill_null(0).sum():
        return alike
    return (
        "Bold, among systems marked ✓: the best of its prompt share, and what is not told apart "
        f"from it at 5% (permutation tests of all pairs, adjusted in the same way). {alike}"
    ).rstrip()


def _alike(frame: pl.DataFrame) -> str:
    """How many images cannot tell the systems of a prompt share apart, and by which scores."""
    competing = frame.filter(
        pl.col("block") == "measured",
        pl.col("grade") == "✓",
        pl.col("training").is_in([Role.CEILING.value, Role.FLOOR.value]).not_(),
    )
    said = []
    for (prompt,), rows in competing.group_by("prompt", maintain_order=True):
        marked = {name for names in rows["best"].drop_nulls() for name in names}
        names = [
            name
            for name in heads(frame)
            if name not in marked and is_score(rows.row(0, named=True), name)
            if rows[name].is_not_null().all()
        ]
        if rows.height > 1 and names:
            images = min(rows["n"].to_list())
            said.append(f"{images} images cannot tell these systems apart{_at(prompt)}: ")
            said[-1] += f"{', '.join(names)}."
    return " ".join(said)


def _legend(frame: pl.DataFrame) -> str:
    """What the columns of scores are called in full, and what the marks say."""
    known = {score.head: score.name for score in scores_of(METRICS)}
    named = [f"{head} {name}" for head in heads(frame) if (name := known.get(head, head)) != head]
    own = [head for head in heads(frame) if known.get(head, head) == head]
    return (
        f"{', '.join([*named, *own])}; in percent, of which some may exceed 100. ✓: the same "
        "protocol as the first system's; ≈: nearly; ✗: not to be ranked with it."
    )


def _bounds(frame: pl.DataFrame) -> str:
    """Which rows only bound what can be reached."""
    said = []
    for role, plural in ((Role.CEILING, "Ceilings"), (Role.FLOOR, "Floors")):
        names = frame.filter(pl.col("training") == role)["system"].unique(maintain_order=True)
        said += [f"{plural}: {', '.join(map(clean, names))}. "] if len(names) else []
    return "".join([*said, "They are neither ranked nor tested. "] if said else [])


def _joined(reasons: pl.Series) -> str:
    return "; or ".join(clean(reason) for reason in reasons)

"""Foreign text for a page, and the differences of a transcript from a reference."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

_KEY = re.compile(r"[^\w']+")
_SHOWN = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    r"\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff"
    r"\ufdd0-\ufdef\ufffe\uffff\U000e0000-\U000e0fff]"
)


def _symbol(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    return f"\u27e8U+{code:04X}\u27e9"


def visible(text: str) -> str:
    """Returns text with visible control and invisible characters: U+2400 and on, or `⟨U+202E⟩`."""
    return _SHOWN.sub(_symbol, text)


def all_visible(content: Any) -> Any:
    """Returns nested plain content with all its texts `visible`, including keys."""
    if isinstance(content, str):
        return visible(content)
    if isinstance(content, dict):
        return {visible(str(key)): all_visible(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [all_visible(value) for value in content]
    return content


Op = Literal["=", "+", "-", "~"]
"""Equal, only in the transcript, only in the reference, or substituted."""


@dataclass(frozen=True)
class Difference:
    """A transcript beside the reference with the fewest word edits.

    `reference` is that reference's number, -1 without references. `pieces` are runs of words: (op,
    words of the reference, words of the transcript); except for `=` and `~`, one is empty.
    """

    reference: int
    edits: int
    pieces: tuple[tuple[Op, str, str], ...]


def _words(text: str) -> list[tuple[str, str]]:
    """Returns each word as it is compared, without case and punctuation, and as it is written."""
    both = ((_KEY.sub("", word.lower()), word) for word in text.split())
    return [(key, word) for key, word in both if key]


def _aligned(pairs: Sequence[tuple[list[str], list[str]]]) -> Iterable[Any]:
    """Returns jiwer's alignments of word lists, reference first; without lists that are empty."""
    import jiwer

    split = jiwer.Compose([jiwer.ReduceToListOfListOfWords()])
    aligned = jiwer.process_words(
        [" ".join(reference) for reference, _ in pairs],
        [" ".join(hypothesis) for _, hypothesis in pairs],
        reference_transform=split,
        hypothesis_transform=split,
    )
    return aligned.alignments


_OPS: dict[str, Op] = {"equal": "=", "insert": "+", "delete": "-", "substitute": "~"}


def differences(
    transcripts: Sequence[str], references: Sequence[Sequence[tuple[int, str]]]
) -> list[Difference]:
    """Returns every transcript beside its nearest reference, ignoring case and punctuation.

    `references` are those of a transcript, each with its number. The nearest has the fewest word
    edits (Levenshtein); ties go to the first.
    """
    said = [_words(text) for text in transcripts]
    known = {text: _words(text) for refs in references for _, text in refs}
    wanted = [
        (row, number, known[text])
        for row, refs in enumerate(references)
        for number, text in refs
        if known[text]
    ]
    pairs = [([k for k, _ in ref], [k for k, _ in said[row]]) for row, _, ref in wanted]
    best: dict[int, Difference] = {}
    for (row, number, ref), chunks in zip(wanted, _aligned(pairs) if pairs else (), strict=True):
        edits = sum(
            max(c.ref_end_idx - c.ref_start_idx, c.hyp_end_idx - c.hyp_start_idx)
            for c in chunks
            if c.type != "equal"
        )
        if row in best and best[row].edits <= edits:
            continue
        pieces = tuple(
            (
                _OPS[c.type],
                " ".join(w for _, w in ref[c.ref_start_idx : c.ref_end_idx]),
                " ".join(w for _, w in said[row][c.hyp_start_idx : c.hyp_end_idx]),
            )
            for c in chunks
        )
        best[row] = Difference(number, edits, pieces)
    plain = (Difference(-1, 0, (("=", text, text),) if text else ()) for text in transcripts)
    return [best.get(row, other) for row, other in enumerate(plain)]
